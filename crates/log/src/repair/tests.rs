use std::io::IoSlice;

use klamm_env::OpenMode;
use klamm_env::sim::disk::Disk;

use super::*;
use crate::flush::close;
use crate::names::FileKind;
use crate::testing::{Held, NOW, batch, end_of, expected, partition, small, transactional};
use crate::verify;

const DIR: &str = "/data";
const FOLDER: &str = "/data/orders-3";

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Twenty batches of a record each, closed in order or not.
fn twenty(is_clean: bool) -> Disk {
    let (disk, held) = Held::new(small());
    for i in 0..20 {
        held.append(&batch(NOW.0 + i, &[&value(i)])).unwrap();
    }
    held.commit().unwrap();
    close(&held.log).unwrap();
    held.checkpoint().unwrap();
    if is_clean {
        held.dir.mark_clean(1).unwrap();
    }
    disk
}

fn value(i: i64) -> String {
    format!("{i}-{}", "v".repeat(200))
}

fn damage(disk: &Disk, name: &str, position: u64) {
    let file = disk.open(&path(name), OpenMode::Write).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_at(&[IoSlice::new(&[!byte[0]])], position).unwrap();
    file.sync_data().unwrap();
}

fn report(disk: &Disk) -> (bool, PartitionReport) {
    let facts = verify::facts(disk, Path::new(DIR)).unwrap();
    let report = verify::in_dir(disk, Path::new(DIR), &facts, &partition(), None, &mut |_| ());
    (facts.is_clean, report.unwrap())
}

fn repaired(disk: &Disk, cut_damaged: bool) -> Plan {
    let (is_clean, report) = report(disk);
    let dir = Some(Path::new(DIR));
    let plan = plan(disk, dir, is_clean, &report, Allowed { cut_damaged }).unwrap();
    execute(disk, dir, Path::new(FOLDER), &plan, small().index_interval_bytes).unwrap();
    plan
}

fn names(disk: &Disk) -> Vec<String> {
    let entries = disk.read_dir(Path::new(FOLDER)).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn a_damaged_range_is_moved_aside_only_when_that_is_wanted() {
    for is_clean in [true, false] {
        let disk = twenty(is_clean);
        let log = "00000000000000000000.log";
        let whole = disk.read(&path(log), 1 << 20).unwrap();
        damage(&disk, log, 400);
        let (_, found) = report(&disk);
        let plan = repaired(&disk, false);
        assert_eq!(plan.steps, []);
        assert!(plan.left[0].1.contains("--cut-damaged"));
        assert_eq!(report(&disk).1.findings, found.findings, "nothing was done");

        repaired(&disk, true);
        let range = found.findings[0].positions.clone().unwrap();
        let (first, next) = found.findings[0].offsets.unwrap();
        let kept = verify::damaged_name(Offset(0), range.start, &(first..next.unwrap()));
        let kept = disk.read(&path(&kept), 1 << 20).unwrap();
        assert_eq!(kept.len() as u64, range.end - range.start);
        let place = usize::try_from(400 - range.start).unwrap();
        assert_eq!(!kept[place], whole[400]);
        assert_eq!(report(&disk).1.findings, [], "{is_clean}");
        let held = Held::open(&disk, small()).unwrap();
        let records = held.records(Offset(0));
        let values: Vec<_> = (0..20)
            .filter(|i| *i != first.0)
            .map(|i| (i, value(i).into()))
            .collect();
        assert!(records == values, "{is_clean}");
    }
}

#[test]
fn an_end_below_the_recovery_point_that_is_gone_can_be_given_up() {
    for is_clean in [true, false] {
        let disk = twenty(is_clean);
        let listing = Listing::of(&disk, Path::new(FOLDER)).unwrap();
        let (last, length) = listing.segments.last_key_value().unwrap();
        let file = disk
            .open(&path(&FileKind::Log.name(*last)), OpenMode::Write)
            .unwrap();
        file.set_len(length - 10).unwrap();
        assert!(
            Held::open(&disk, small()).is_err(),
            "the log says what is missing"
        );
        repaired(&disk, true);
        let held = Held::open(&disk, small()).unwrap();
        assert_eq!(held.log.lock().log_end_offset(), Offset(19));
        assert_eq!(held.records(Offset(18)), expected(18, &[&value(18)]));
    }
}

#[test]
fn what_the_journal_may_bring_back_is_left() {
    let disk = twenty(false);
    damage(&disk, "00000000000000000000.log", 400);
    disk.create_dir_all(&Path::new(DIR).join(JOURNAL)).unwrap();
    disk.write_atomically(&Path::new(DIR).join(JOURNAL).join("a"), b"x")
        .unwrap();
    let plan = repaired(&disk, true);
    assert_eq!(plan.steps, []);
    assert!(plan.left[0].1.contains("journal"), "{plan:?}");
}

/// What is made anew is what was written at first, byte for byte.
#[test]
fn indexes_are_made_as_they_were() {
    let (disk, held) = Held::new(small());
    for i in 0..12 {
        let sequence = i32::try_from(i).unwrap();
        held.append_verified(&transactional(5, 0, Some(sequence), &[&value(i)]))
            .unwrap();
        held.append(&batch(NOW.0 - i * i % 50, &[&value(i)])).unwrap();
        if i % 4 == 3 {
            held.end_transaction(&end_of(5, 0, false, 1)).unwrap();
        }
    }
    held.commit().unwrap();
    close(&held.log).unwrap();
    held.checkpoint().unwrap();
    held.dir.mark_clean(1).unwrap();
    drop(held);
    let of = |name: &str| disk.read(&path(name), 1 << 20).unwrap();
    let mut compared = 0;
    for segment in segments_in(&disk, Path::new(FOLDER)).unwrap() {
        let kinds = [
            FileKind::OffsetIndex,
            FileKind::TimeIndex,
            FileKind::TransactionIndex,
        ];
        let there: Vec<String> = kinds
            .map(|kind| kind.name(segment))
            .into_iter()
            .filter(|name| disk.entry(&path(name)).unwrap().is_some())
            .collect();
        let before: Vec<_> = there.iter().map(|name| of(name)).collect();
        there
            .iter()
            .for_each(|name| disk.remove_file(&path(name)).unwrap());
        rebuild_indexes(&disk, Path::new(FOLDER), segment, small().index_interval_bytes).unwrap();
        let after: Vec<_> = there.iter().map(|name| of(name)).collect();
        assert_eq!(after, before, "{there:?}");
        compared += there.len();
    }
    assert!(compared > 8, "{compared}");
    assert_eq!(report(&disk).1.findings, []);
}

#[test]
fn small_files_are_set_aside_or_made_anew() {
    let disk = twenty(true);
    damage(&disk, "00000000000000000020.snapshot", 4);
    let epochs = of_epochs(&disk);
    disk.write_atomically(&path(EPOCHS), b"0\n1\nx y\n").unwrap();
    damage(&disk, "00000000000000000000.index", 3);
    let plan = repaired(&disk, false);
    assert_eq!(plan.left, []);
    assert_eq!(report(&disk).1.findings, []);
    assert_eq!(of_epochs(&disk), epochs);
    for name in [
        "00000000000000000020.snapshot.damaged",
        "leader-epoch-checkpoint.damaged",
    ] {
        assert!(
            names(&disk).iter().any(|found| found == name),
            "{:?}",
            names(&disk)
        );
    }
    Held::open(&disk, small()).unwrap();
}

fn of_epochs(disk: &Disk) -> Vec<u8> {
    disk.read(&path(EPOCHS), 1 << 20).unwrap()
}

/// The machine goes down after each change that a repair makes: the next repair finishes, and nothing that was whole is lost.
#[test]
fn a_repair_that_is_cut_short_is_done_again() {
    use klamm_env::sim::disk::CrashMode;
    for mode in [
        CrashMode::DropUnsynced,
        CrashMode::KeepPageCache,
        CrashMode::Torn { seed: 3 },
    ] {
        for changes in 0.. {
            let disk = twenty(true);
            damage(&disk, "00000000000000000000.log", 400);
            let (_, found) = report(&disk);
            let missing = found.findings[0].offsets.unwrap().0.0;
            disk.crash(CrashMode::KeepPageCache);
            let dir = Some(Path::new(DIR));
            let allowed = Allowed { cut_damaged: true };
            let first = plan(&disk, dir, true, &found, allowed).unwrap();
            disk.crash_after(changes);
            let done = execute(&disk, dir, Path::new(FOLDER), &first, 200).is_ok();
            disk.crash(mode);
            repaired(&disk, true);
            assert_eq!(report(&disk).1.findings, [], "{mode:?} after {changes}");
            let held = Held::open(&disk, small()).unwrap();
            let values: Vec<_> = (0..20)
                .filter(|i| *i != missing)
                .map(|i| (i, value(i).into()))
                .collect();
            assert!(held.records(Offset(0)) == values, "{mode:?} after {changes}");
            if done {
                assert!(changes > 5);
                break;
            }
        }
    }
}

#[test]
fn nobody_changes_the_files_of_a_broker_that_runs() {
    let disk = twenty(true);
    let held = Held::open(&disk, small()).unwrap();
    let refused = lock(&disk, Path::new(DIR), "x").err().unwrap();
    assert!(matches!(refused, LogError::Locked { .. }), "{refused}");
    drop(held);
    drop(lock(&disk, Path::new(DIR), "x").unwrap());
}
