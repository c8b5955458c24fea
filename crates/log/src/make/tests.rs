use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use klamm_env::sim::disk::{CrashMode, Disk, Failure, Fault, Operation};
use klamm_env::{Files, OpenMode};
use klamm_model::Offset;
use parking_lot::Mutex;

use crate::append::Appended;
use crate::config::{Durability, LogConfig};
use crate::dir::LogDir;
use crate::error::LogError;
use crate::log::{Log, RecoveryState};
use crate::testing::{Held, NOW, TOPIC_ID, batch, expected, open_dir, partition, small};
use crate::truncate::truncate_fully_and_start_at;

const FOLDER: &str = "/data/orders-3";

fn config(durability: Durability) -> LogConfig {
    LogConfig {
        durability,
        ..small()
    }
}

fn put(disk: &Disk, name: &str, bytes: &[u8]) {
    disk.create_dir_all(Path::new(FOLDER)).unwrap();
    let file = disk
        .open(&Path::new(FOLDER).join(name), OpenMode::Create)
        .unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
}

fn names(disk: &Disk) -> Vec<String> {
    let entries = disk.read_dir(Path::new(FOLDER)).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

/// A log that follows from an offset on must not be found at 0 by the next start.
#[test]
fn an_empty_log_that_begins_elsewhere_is_on_the_device() {
    let (disk, held) = Held::new(small());
    truncate_fully_and_start_at(&held.log, Offset(70), NOW).unwrap();
    drop(held);
    disk.crash(CrashMode::DropUnsynced);
    let held = Held::open(&disk, small()).unwrap();
    assert_eq!(held.log.lock().log_end_offset(), Offset(70));
}

/// A process, or the power, ends after each change of the first start and append; then the next process writes, and the power
/// ends.
#[test]
fn a_crash_before_the_first_record_ends_in_a_log_that_can_be_written() {
    for durability in [Durability::Fsync, Durability::PageCache] {
        let torn = (0..3).map(|seed| CrashMode::Torn { seed });
        let modes = [CrashMode::KeepPageCache, CrashMode::DropUnsynced];
        for mode in modes.into_iter().chain(torn) {
            let mut changes = 0;
            while first_record_ends_after(changes, durability, mode) {
                changes += 1;
            }
            assert!(changes > 8, "{changes} changes");
        }
    }
}

/// Whether there was an end: up to the first record there are more changes than so many.
fn first_record_ends_after(changes: u64, durability: Durability, mode: CrashMode) -> bool {
    let context = format!("after {changes} changes, {durability:?}, {mode:?}");
    let disk = Disk::default();
    disk.crash_after(changes);
    let is_committed = Held::open(&disk, config(durability))
        .is_ok_and(|held| held.append(&batch(1, &["a"])).is_ok() && held.commit().is_ok());
    let is_safe = is_committed && (durability == Durability::Fsync || mode == CrashMode::KeepPageCache);
    let was_down = disk.is_down();
    disk.crash(mode);

    let held = Held::open(&disk, small()).unwrap_or_else(|error| panic!("{context}: {error}"));
    let found = held.records(Offset(0)).len() as i64;
    assert!(found == 1 || (found == 0 && !is_safe), "{context}");
    let Appended { base_offset, .. } = held.append(&batch(1, &["b"])).unwrap();
    assert_eq!(base_offset.0, found, "{context}");
    held.commit().unwrap();
    drop(held);
    disk.crash(CrashMode::DropUnsynced);
    let held = Held::open(&disk, small()).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(held.records(base_offset), expected(found, &["b"]), "{context}");
    was_down
}

/// Else a power cut leaves a segment without the folder, or without the topic, that it is of.
#[test]
fn the_first_record_is_written_when_all_names_are_durable() {
    for durability in [Durability::Fsync, Durability::PageCache] {
        let disk = Disk::default();
        let held = Held::open(&disk, config(durability)).unwrap();
        held.append(&batch(1, &["a"])).unwrap();
        drop(held);
        disk.crash(CrashMode::DropUnsynced);
        let files = [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "partition.metadata",
        ];
        assert_eq!(names(&disk), files, "{durability:?}");
    }
}

/// What a folder may look like that does not say of which topic it is.
#[test]
fn a_folder_that_does_not_name_its_topic_is_used_only_if_it_is_empty() {
    let segment = "00000000000000000000.log";
    for said in [None, Some(&b""[..]), Some(b"version: 0\ntop"), Some(b"\xff")] {
        for (name, bytes, is_used) in [
            (segment, &b""[..], true),
            ("00000000000000000000.timeindex", b"", true),
            ("partition.metadata.tmp", b"version: 0\ntop", true),
            (segment, b"records", false),
            ("00000000000000000007.log", b"", false),
            ("00000000000000000007.snapshot", b"", false),
            ("00000000000000000000.txnindex", b"", false),
            ("00000000000000000000.log.deleted", b"", false),
            ("leader-epoch-checkpoint", b"0\n0\n", false),
        ] {
            let disk = Disk::default();
            put(&disk, name, bytes);
            if let Some(said) = said {
                put(&disk, "partition.metadata", said);
            }
            let opened = Held::open(&disk, small());
            let context = format!("{said:?} {name} {bytes:?}");
            if !is_used {
                assert!(opened.is_err(), "{context}");
                let path = Path::new(FOLDER).join(name);
                assert_eq!(disk.read(&path, 100).unwrap(), bytes, "{context}: data is kept");
                continue;
            }
            let held = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
            held.append(&batch(1, &["a"])).unwrap();
            held.commit().unwrap();
            drop(held);
            disk.crash(CrashMode::DropUnsynced);
            let held = Held::open(&disk, small()).unwrap();
            assert_eq!(held.records(Offset(0)), expected(0, &["a"]), "{context}");
        }
    }
}

#[test]
fn a_partition_for_which_there_was_no_room_is_made_later() {
    for (operation, failure, calls) in [
        (Operation::Create, Failure::NoSpace, 4),
        (Operation::Write, Failure::NoSpace, 1),
        (Operation::Create, Failure::TooManyFiles, 4),
        (Operation::SyncDir, Failure::TooManyFiles, 1),
    ] {
        for after in 0..calls {
            let disk = Disk::default();
            let dir = open_dir(&disk).unwrap();
            disk.inject(Fault::nth(operation, after).on("orders-3").with(failure));
            assert!(open(&dir).is_err(), "{operation:?} {after}");
            assert_eq!(dir.failure(), None);
            let held = Held {
                log: Mutex::new(open(&dir).unwrap()),
                dir,
            };
            held.append(&batch(1, &["b"])).unwrap();
            held.commit().unwrap();
            drop(held);
            disk.crash(CrashMode::DropUnsynced);
            let held = Held::open(&disk, small()).unwrap();
            assert_eq!(
                held.records(Offset(0)),
                expected(0, &["b"]),
                "{operation:?} {after}"
            );
        }
    }
}

fn open(dir: &Arc<LogDir>) -> Result<Log, LogError> {
    let recovery = RecoveryState {
        clean: false,
        positions: dir.positions(&partition()),
    };
    Log::open(dir, &partition(), TOPIC_ID, Arc::new(small()), recovery, NOW)
}

/// The next sync would say yes to names that are lost.
#[test]
fn names_that_cannot_be_synced_take_the_log_dir_out_of_service() {
    for after in 0..2 {
        let disk = Disk::default();
        let dir = open_dir(&disk).unwrap();
        disk.inject(Fault::nth(Operation::SyncDir, after).with(Failure::Io));
        assert!(open(&dir).is_err());
        assert!(matches!(open(&dir), Err(LogError::DirFailed(_))));
    }
}

/// The next record would have no offset.
#[test]
fn a_log_that_ends_at_the_last_offset_is_refused() {
    let disk = Disk::default();
    put(&disk, "09223372036854775807.log", &[0; 443]);
    put(
        &disk,
        "partition.metadata",
        format!("version: 0\ntopic_id: {TOPIC_ID}").as_bytes(),
    );
    let error = Held::open(&disk, small()).err().unwrap().to_string();
    assert!(error.contains("no more records fit behind it"), "{error}");
}
