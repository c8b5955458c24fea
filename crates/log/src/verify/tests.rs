use std::io::IoSlice;

use klamm_env::sim::disk::{CrashMode, Disk};

use super::*;
use crate::flush::{FlushScope, close, flush};
use crate::testing::{Held, NOW, batch, end_of, idempotent, partition, small, transactional};

const FOLDER: &str = "/data/orders-3";

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// A closed log of several segments, with producers, and a transaction that was aborted.
pub(crate) fn closed() -> Disk {
    let (disk, held) = Held::new(small());
    fill(&held);
    close(&held.log).unwrap();
    held.checkpoint().unwrap();
    held.dir.mark_clean(7).unwrap();
    disk
}

fn fill(held: &Held) {
    for sequence in 0..6 {
        held.append(&idempotent(9, 0, sequence, &[&"a".repeat(400)]))
            .unwrap();
        held.append(&batch(NOW.0 + i64::from(sequence), &["b", "c"]))
            .unwrap();
        let mine = transactional(5, 0, Some(sequence), &[&"t".repeat(100)]);
        held.append_verified(&mine).unwrap();
        if sequence % 2 == 1 {
            held.end_transaction(&end_of(5, 0, sequence == 1, 1)).unwrap();
        }
    }
    held.commit().unwrap();
}

fn verified(disk: &Disk) -> PartitionReport {
    let dir = Path::new("/data");
    let facts = facts(disk, dir).unwrap();
    in_dir(disk, dir, &facts, &partition(), None, &mut |_| ()).unwrap()
}

fn flip(disk: &Disk, path: &Path, position: u64) {
    let file = disk.open(path, OpenMode::Write).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_at(&[IoSlice::new(&[byte[0] ^ 0x10])], position)
        .unwrap();
}

fn kinds(report: &PartitionReport) -> Vec<FindingKind> {
    report.findings.iter().map(|finding| finding.kind).collect()
}

#[test]
fn a_closed_log_is_whole() {
    let disk = closed();
    let mut read = 0;
    let dir = Path::new("/data");
    let facts = facts(&disk, dir).unwrap();
    assert!(facts.is_clean);
    let report = in_dir(&disk, dir, &facts, &partition(), None, &mut |bytes| read += bytes).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.segments >= 3, "{report:?}");
    assert_eq!((report.records, report.end_offset), (27, Offset(27)));
    assert_eq!(report.bytes, read);
}

/// Whatever bit flips, in whatever file, is found, and where it is.
#[test]
fn no_flipped_bit_goes_unseen() {
    let disk = closed();
    let listing = Listing::of(&disk, Path::new(FOLDER)).unwrap();
    let first = *listing.segments.keys().next().unwrap();
    let second = *listing.segments.keys().nth(1).unwrap();
    for (base_offset, step) in [(first, 7), (second, 61)] {
        let log = path(&FileKind::Log.name(base_offset));
        let length = listing.segments[&base_offset];
        for position in (0..length).step_by(step) {
            flip(&disk, &log, position);
            let report = verified(&disk);
            let found = report.findings.iter().find(|finding| {
                let positions = finding.positions.clone().unwrap_or_default();
                finding.kind == FindingKind::Batches && positions.contains(&position) && finding.path == log
            });
            // The leader epoch is not covered by the checksum either.
            let by_epoch = kinds(&report).contains(&FindingKind::LeaderEpochs);
            assert!(
                found.is_some() || by_epoch,
                "{log:?} {position}: {:?}",
                report.findings
            );
            flip(&disk, &log, position);
        }
    }
    for (kind, expected) in [
        (FileKind::OffsetIndex, FindingKind::OffsetIndex),
        (FileKind::TimeIndex, FindingKind::TimeIndex),
        (FileKind::Snapshot, FindingKind::Producers),
    ] {
        let index = path(&kind.name(second));
        for position in 0..disk.entry(&index).unwrap().unwrap().len {
            flip(&disk, &index, position);
            let report = verified(&disk);
            assert_eq!(kinds(&report), [expected], "{index:?} {position}");
            assert_eq!(report.findings[0].path, index);
            flip(&disk, &index, position);
        }
    }
    assert_eq!(verified(&disk).findings, []);
}

#[test]
fn an_aborted_transaction_that_is_not_in_its_index_is_missed() {
    let disk = closed();
    let listing = Listing::of(&disk, Path::new(FOLDER)).unwrap();
    let name = |offset: &Offset| path(&FileKind::TransactionIndex.name(*offset));
    let has = |offset: &&Offset| disk.entry(&name(offset)).unwrap().is_some();
    let index = name(listing.segments.keys().find(has).unwrap());
    for position in [9, 17, 25] {
        flip(&disk, &index, position);
        assert_eq!(
            kinds(&verified(&disk)),
            [FindingKind::TransactionIndex],
            "{position}"
        );
        flip(&disk, &index, position);
    }
    disk.remove_file(&index).unwrap();
    let report = verified(&disk);
    assert_eq!(kinds(&report), [FindingKind::TransactionIndex]);
    assert!(
        report.findings[0].what.contains("producer 5 aborted"),
        "{report:?}"
    );
}

#[test]
fn damage_ends_where_the_next_batch_begins() {
    let disk = closed();
    let log = path("00000000000000000000.log");
    let sizes: Vec<_> = crate::inspect::Segment::open(&disk, &log)
        .unwrap()
        .map(|at| at.unwrap().batch)
        .map(|batch| (batch.bytes().len() as u64, batch.header().next_offset()))
        .collect();
    let (first, second) = (sizes[0].0, sizes[1].0);
    let ends = [sizes[0].1, sizes[1].1, sizes[2].1];
    // Its body; its length, so that nobody knows where it ends; and two batches at once.
    let cases = [
        (vec![first + 70], first..first + second, ends[0]..ends[1]),
        (vec![first + 10], first..first + second, ends[0]..ends[1]),
        (vec![70, first + 10], 0..first + second, Offset(0)..ends[1]),
    ];
    for (flips, positions, offsets) in cases {
        flips.iter().for_each(|position| flip(&disk, &log, *position));
        let report = verified(&disk);
        let damaged: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| finding.kind == FindingKind::Batches)
            .collect();
        let (begin, end) = (damaged.first().unwrap(), damaged.last().unwrap());
        let found = begin.positions.clone().unwrap().start..end.positions.clone().unwrap().end;
        assert_eq!(found, positions, "{damaged:?}");
        assert_eq!(begin.offsets.unwrap().0..end.offsets.unwrap().1.unwrap(), offsets);
        flips.iter().for_each(|position| flip(&disk, &log, *position));
    }
}

#[test]
fn what_a_crash_leaves_above_the_recovery_point_is_no_damage() {
    let (disk, held) = Held::new(small());
    fill(&held);
    flush(&held.log, FlushScope::All).unwrap();
    held.checkpoint().unwrap();
    held.append(&batch(NOW.0, &["torn"])).unwrap();
    let log = held.log.lock();
    let name = FileKind::Log.name(log.active().base_offset);
    drop(log);
    drop(held);
    disk.crash(CrashMode::KeepPageCache);
    let length = disk.entry(&path(&name)).unwrap().unwrap().len;
    let file = disk.open(&path(&name), OpenMode::Write).unwrap();
    file.set_len(length - 3).unwrap();
    let report = verified(&disk);
    assert_eq!(kinds(&report), [FindingKind::Unfinished], "{report:?}");
    assert!(!report.is_damaged());
    // What was known to be there is another thing.
    file.set_len(100).unwrap();
    assert!(verified(&disk).is_damaged());
}

#[test]
fn a_segment_that_is_gone_is_missed_unless_the_log_was_compacted() {
    let disk = closed();
    let listing = Listing::of(&disk, Path::new(FOLDER)).unwrap();
    let second = *listing.segments.keys().nth(1).unwrap();
    let third = *listing.segments.keys().nth(2).unwrap();
    for kind in FileKind::ALL {
        let _ = disk.remove_file(&path(&kind.name(second)));
    }
    let report = verified(&disk);
    assert_eq!(kinds(&report), [FindingKind::Gap]);
    assert_eq!(report.findings[0].offsets, Some((second, Some(third))));
    let name = Path::new("/data/cleaner-offset-checkpoint");
    checkpoint::write_offsets(&disk, name, &[(partition(), Offset(20))].into()).unwrap();
    assert_eq!(verified(&disk).findings, []);
}

#[test]
fn checkpoints_are_judged() {
    let disk = closed();
    let path = Path::new("/data/recovery-point-offset-checkpoint");
    checkpoint::write_offsets(&disk, path, &[(partition(), Offset(28))].into()).unwrap();
    let report = verified(&disk);
    assert_eq!(kinds(&report), [FindingKind::Checkpoint]);
    assert_eq!(
        report.findings[0].what,
        "orders-3: the recovery point is 28, the log ends at 27"
    );
    disk.write_atomically(path, b"0\n7\n").unwrap();
    let facts = facts(&disk, Path::new("/data")).unwrap();
    assert_eq!(facts.findings[0].path, path);
}
