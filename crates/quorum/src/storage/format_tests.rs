//! The files byte for byte, what recovery cuts and what it refuses.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use klamm_env::Files;
use klamm_env::OpenMode;
use klamm_env::sim::{CrashMode, Disk, World};
use klamm_model::Uuid;
use openraft::EntryPayload;
use proptest::prelude::*;

use super::frame::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use super::log::{DiskLog, Recovered};
use super::{Folder, snapshot, vote};
use crate::config::Endpoint;
use crate::error::FileError;
use crate::types::{
    Decision, Entry, LogId, Membership, Snapshot, SnapshotMeta, StoredMembership, Vote, log_id,
};

const FIRST: &str = "/data/metadata/00000000000000000000.raft";

fn folder(disk: &Disk) -> Folder {
    let folder = Folder {
        files: Arc::new(disk.clone()),
        path: "/data/metadata".into(),
        cluster_id: Uuid([0xc1; 16]),
        node_id: 7,
    };
    folder.open().unwrap();
    folder
}

fn disk() -> Disk {
    World::new(1).disk("node")
}

fn entry(term: u64, index: u64) -> Entry {
    decision(term, index, format!("entry {index}").as_bytes())
}

fn decision(term: u64, index: u64, bytes: &[u8]) -> Entry {
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(Decision(Bytes::copy_from_slice(bytes))),
    }
}

fn membership() -> Membership {
    let nodes = [(7, Endpoint::new("localhost", 9093))];
    Membership::new(vec![[7].into()], std::collections::BTreeMap::from(nodes)).unwrap()
}

fn open(disk: &Disk) -> Result<(DiskLog, Recovered), FileError> {
    DiskLog::open(folder(disk), 1 << 20, None)
}

fn indexes(recovered: &Recovered) -> Vec<u64> {
    recovered
        .entries
        .iter()
        .map(|(entry, _)| entry.log_id.index)
        .collect()
}

fn hex(disk: &Disk, path: &str) -> String {
    let bytes = disk.read(Path::new(path), 1 << 20).unwrap();
    let lines = bytes
        .chunks(16)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    lines.collect::<Vec<_>>().join("\n")
}

fn golden(name: &str) -> String {
    let text = match name {
        "segment" => include_str!("../../tests/golden/segment.hex"),
        "vote" => include_str!("../../tests/golden/vote.hex"),
        "snapshot" => include_str!("../../tests/golden/snapshot.hex"),
        other => panic!("no golden file {other}"),
    };
    text.trim_end().to_owned()
}

/// Three entries in two writes: the membership and a blank entry, then a decision.
fn write_sample(disk: &Disk) {
    let mut log = open(disk).unwrap().0;
    let first = Entry {
        log_id: log_id(0, 0),
        payload: EntryPayload::Membership(membership()),
    };
    let second = Entry {
        log_id: log_id(1, 1),
        payload: EntryPayload::Blank,
    };
    log.append(None, &[first, second], 0).unwrap();
    log.append(Some(log_id(1, 1)), &[decision(1, 2, b"decision")], 2)
        .unwrap();
}

#[test]
fn the_files_are_as_documented() {
    let disk = disk();
    write_sample(&disk);
    vote::write(&folder(&disk), &Vote::new_committed(5, 7)).unwrap();
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(1, 2)),
        last_membership: StoredMembership::new(Some(log_id(0, 0)), membership()),
    };
    let state = Bytes::from_static(b"image");
    snapshot::write(
        &folder(&disk),
        &Snapshot {
            meta,
            snapshot: state,
        },
    )
    .unwrap();
    for (name, path) in [
        ("segment", FIRST),
        ("vote", "/data/metadata/vote"),
        ("snapshot", "/data/metadata/00000000000000000002.snapshot"),
    ] {
        assert_eq!(hex(&disk, path), golden(name), "{name}");
    }
}

#[test]
fn what_was_written_comes_back() {
    let disk = disk();
    write_sample(&disk);
    let recovered = open(&disk).unwrap().1;
    assert_eq!(indexes(&recovered), [0, 1, 2]);
    assert_eq!(recovered.entries[2].0, decision(1, 2, b"decision"));
    assert_eq!(
        recovered.entries[2].1.read().unwrap(),
        decision(1, 2, b"decision")
    );
    assert_eq!((recovered.committed_end, recovered.torn_bytes), (2, 0));

    let vote = Vote::new(9, 3);
    vote::write(&folder(&disk), &vote).unwrap();
    assert_eq!(vote::read(&folder(&disk)).unwrap(), Some(vote));
}

#[test]
fn a_torn_tail_is_cut_and_written_over() {
    let whole = disk();
    write_sample(&whole);
    let bytes = whole.read(Path::new(FIRST), 1 << 20).unwrap();
    let last = bytes.len() - FRAME_HEADER_BYTES - b"decision".len();
    for length in last..bytes.len() {
        let disk = disk();
        write_sample(&disk);
        let file = disk.open(Path::new(FIRST), OpenMode::Write).unwrap();
        file.set_len(length as u64).unwrap();
        let (mut log, recovered) = open(&disk).unwrap();
        assert_eq!(indexes(&recovered), [0, 1]);
        assert_eq!(recovered.torn_bytes, (length - last) as u64);
        log.append(Some(log_id(1, 1)), &[entry(2, 2)], 0).unwrap();
        assert_eq!(indexes(&open(&disk).unwrap().1), [0, 1, 2]);
    }
}

#[test]
fn corruption_before_what_was_synced_stops_the_start() {
    let whole = disk();
    write_sample(&whole);
    let bytes = whole.read(Path::new(FIRST), 1 << 20).unwrap();
    let last = bytes.len() - FRAME_HEADER_BYTES - b"decision".len();
    for (at, byte) in bytes[..last].iter().enumerate() {
        let disk = disk();
        write_sample(&disk);
        let file = disk.open(Path::new(FIRST), OpenMode::Write).unwrap();
        file.write_at(&[std::io::IoSlice::new(&[byte ^ 0x10])], at as u64)
            .unwrap();
        let error = open(&disk).err().unwrap();
        match error {
            FileError::Corrupt { position, .. } => assert!(position <= at as u64, "byte {at}: {position}"),
            FileError::NewerVersion { .. } => assert!((6..8).contains(&at), "byte {at}"),
            FileError::Foreign { .. } => assert!((8..24).contains(&at), "byte {at}"),
            other => panic!("byte {at}: {other}"),
        }
    }
}

#[test]
fn an_intact_last_entry_that_is_not_understood_is_not_cut() {
    let disk = disk();
    write_sample(&disk);
    let bytes = disk.read(Path::new(FIRST), 1 << 20).unwrap();
    let last = bytes.len() - FRAME_HEADER_BYTES - b"decision".len();
    let file = disk.open(Path::new(FIRST), OpenMode::Write).unwrap();
    // A kind to come, with the checksum of its header.
    let mut header = bytes[last..last + FRAME_HEADER_BYTES].to_vec();
    header[48] = 9;
    let crc = crate::codec::crc32c(&header[8..]);
    header[4..8].copy_from_slice(&crc.to_be_bytes());
    file.write_at(&[std::io::IoSlice::new(&header)], last as u64)
        .unwrap();
    let error = open(&disk).err().unwrap().to_string();
    assert_eq!(
        error,
        format!(
            "{FIRST}: corrupt at byte {last}: an intact entry is not readable: an entry of an unknown kind"
        )
    );
    assert_eq!(file.len().unwrap(), bytes.len() as u64, "nothing is cut");
}

#[test]
fn every_file_of_a_newer_version_is_refused_by_name() {
    let disk = disk();
    write_sample(&disk);
    vote::write(&folder(&disk), &Vote::new(1, 7)).unwrap();
    for path in [FIRST, "/data/metadata/vote"] {
        let file = disk.open(Path::new(path), OpenMode::Write).unwrap();
        file.write_at(&[std::io::IoSlice::new(&[0, 9])], 6).unwrap();
    }
    let expected = "format version 9, but this version of Klamm reads up to 1";
    let log = open(&disk).err().unwrap().to_string();
    assert_eq!(log, format!("{FIRST}: {expected}"));
    let vote = vote::read(&folder(&disk)).unwrap_err().to_string();
    assert_eq!(vote, format!("/data/metadata/vote: {expected}"));
}

#[test]
fn a_vote_that_does_not_agree_with_its_checksum_stops_the_start() {
    let disk = disk();
    vote::write(&folder(&disk), &Vote::new(1, 7)).unwrap();
    let file = disk
        .open(Path::new("/data/metadata/vote"), OpenMode::Write)
        .unwrap();
    file.write_at(&[std::io::IoSlice::new(&[1])], 33).unwrap();
    assert!(matches!(
        vote::read(&folder(&disk)),
        Err(FileError::Corrupt { .. })
    ));
}

#[test]
fn a_missing_segment_is_noticed() {
    let disk = disk();
    let mut log = DiskLog::open(folder(&disk), 1, None).unwrap().0;
    for index in 0u64..4 {
        let previous = index.checked_sub(1).map(|index| log_id(1, index));
        log.append(previous, &[entry(1, index)], 0).unwrap();
    }
    disk.remove_file(Path::new("/data/metadata/00000000000000000001.raft"))
        .unwrap();
    let error = open(&disk).err().unwrap();
    assert!(matches!(error, FileError::Gap { from: 1, to: 1, .. }), "{error}");
}

/// Something done to the log of `model`: (entry, term) pairs by index.
#[derive(Clone, Debug)]
enum Step {
    Append { entries: u64, is_new_term: bool },
    Cut { back: u64 },
    Purge { behind: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1u64..5, any::<bool>()).prop_map(|(entries, is_new_term)| Step::Append { entries, is_new_term }),
        1 => (1u64..6).prop_map(|back| Step::Cut { back }),
        1 => (0u64..6).prop_map(|behind| Step::Purge { behind }),
    ];
    proptest::collection::vec(step, 1..12)
}

/// The log as it should be, and the log.
struct Run {
    log: DiskLog,
    recovered: Vec<(Entry, super::log::Place)>,
    purged: Option<LogId>,
    snapshot: Option<LogId>,
    term: u64,
}

impl Run {
    fn last(&self) -> Option<LogId> {
        self.recovered
            .last()
            .map(|(entry, _)| entry.log_id)
            .or(self.purged)
    }

    fn step(&mut self, step: &Step) -> Result<(), FileError> {
        match step {
            Step::Append { entries, is_new_term } => {
                self.term += u64::from(*is_new_term);
                let next = self.last().map_or(0, |id| id.index + 1);
                let entries = (next..next + entries)
                    .map(|index| entry(self.term, index))
                    .collect::<Vec<_>>();
                let places = self.log.append(self.last(), &entries, 0)?;
                self.recovered.extend(entries.into_iter().zip(places));
            }
            Step::Cut { back } => {
                let keep = self.recovered.len().saturating_sub(*back as usize);
                if let Some((_, place)) = self.recovered.get(keep) {
                    self.log.cut(&place.clone())?;
                    self.recovered.truncate(keep);
                }
            }
            Step::Purge { behind } => {
                let at = self.recovered.len().checked_sub(1 + *behind as usize);
                if let Some(id) = at.map(|at| self.recovered[at].0.log_id) {
                    self.snapshot = Some(id);
                    self.log.purge(id, self.last())?;
                    self.recovered.retain(|(entry, _)| entry.log_id.index > id.index);
                    self.purged = Some(id);
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Power fails during any change of the disk: what was acknowledged is there, and nothing that was never written.
    #[test]
    fn a_crash_loses_nothing_that_was_acknowledged(steps in steps(), segment_bytes in 100u64..600, seed in any::<u64>()) {
        for crash_after in 0.. {
            let disk = disk();
            let log = DiskLog::open(folder(&disk), segment_bytes, None).unwrap().0;
            let mut run = Run { log, recovered: Vec::new(), purged: None, snapshot: None, term: 1 };
            disk.crash_after(crash_after);
            let mut acknowledged = Vec::new();
            let mut failed = None;
            for step in &steps {
                acknowledged = run.recovered.iter().map(|(entry, _)| entry.clone()).collect();
                if run.step(step).is_err() {
                    failed = Some(step.clone());
                    break;
                }
            }
            let Some(failed) = failed else {
                break;
            };
            let mode = match crash_after % 3 {
                0 => CrashMode::KeepPageCache,
                1 => CrashMode::DropUnsynced,
                _ => CrashMode::Torn { seed },
            };
            disk.crash(mode);
            let (mut log, found) = DiskLog::open(folder(&disk), segment_bytes, run.snapshot).unwrap();
            let found_entries = found.entries.iter().map(|(entry, _)| entry.clone()).collect::<Vec<_>>();
            let survives = |entry: &&Entry| match failed {
                Step::Append { .. } => true,
                // The cut may have happened, in part or whole.
                Step::Cut { back } => entry.log_id.index + back < acknowledged.last().map_or(0, |e| e.log_id.index + 1),
                Step::Purge { .. } => run.snapshot.is_none_or(|upto| entry.log_id.index > upto.index),
            };
            for entry in acknowledged.iter().filter(survives) {
                prop_assert!(found_entries.contains(entry), "{} lost by {failed:?}, {mode:?}, {crash_after}", entry.log_id);
            }
            // And it goes on from there, on ground that is durable.
            let last = found.entries.last().map(|(entry, _)| entry.log_id).or(found.purged);
            let next = last.map_or(0, |id| id.index + 1);
            log.append(last, &[entry(99, next)], 0).unwrap();
            drop(log);
            disk.crash(CrashMode::DropUnsynced);
            let again = DiskLog::open(folder(&disk), segment_bytes, run.snapshot).unwrap().1;
            prop_assert_eq!(again.entries.last().unwrap().0.log_id, log_id(99, next));
        }
    }
}

#[test]
fn a_segment_header_is_as_long_as_documented() {
    assert_eq!((SEGMENT_HEADER_BYTES, FRAME_HEADER_BYTES), (48, 52));
}
