use std::path::{Path, PathBuf};

use klamm_env::sim::disk::{CrashMode, Disk, Failure, Fault, Operation};
use klamm_env::{Files, OpenMode};
use klamm_model::{TimestampMs, TopicPartition, Uuid};

use super::*;
use crate::config::{Durability, LogConfig};
use crate::flush::{FlushScope, close, flush};
use crate::relocate;
use crate::retention::{reap, retention};
use crate::testing::{Held, NOW, Owner, batch, open_dir};
use crate::truncate::truncate_to;

const LIMITS: Limits = Limits {
    file_bytes: 16 * 1024,
    max_bytes: 32 * 1024,
};
const FOLDER: &str = "/data/klamm.journal";

/// Some logs of one log dir, committed by its journal.
struct Room {
    disk: Disk,
    dir: Arc<LogDir>,
    journal: Journal,
    logs: Vec<(Arc<Owner>, Arc<Submission>)>,
}

fn name(log: usize) -> TopicPartition {
    TopicPartition::new("room", i32::try_from(log).unwrap())
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1000,
        ..LogConfig::default()
    }
}

impl Room {
    fn open(disk: &Disk, logs: usize) -> Result<Self, LogError> {
        let dir = open_dir(disk)?;
        let open = |log| {
            Ok(Owner::new(Held::open_in(
                &dir,
                &name(log),
                Uuid([5; 16]),
                config(),
            )?))
        };
        Ok(Self {
            disk: disk.clone(),
            logs: (0..logs).map(open).collect::<Result<_, LogError>>()?,
            journal: Journal::new(Arc::clone(&dir), LIMITS),
            dir,
        })
    }

    /// With a file that is ready.
    fn ready(logs: usize) -> Self {
        let room = Self::open(&Disk::default(), logs).unwrap();
        room.round("first");
        room.journal.tidy();
        assert_eq!(room.journal.stats().ready_files, 1);
        room
    }

    fn held(&self, log: usize) -> &Held {
        &self.logs[log].0.held
    }

    fn append(&self, log: usize, text: &str) {
        self.held(log).append(&batch(NOW.0, &[text])).unwrap();
    }

    /// Appends to each log and commits all; whether all was made durable.
    fn round(&self, text: &str) -> bool {
        (0..self.logs.len()).for_each(|log| self.append(log, text));
        self.commit()
    }

    fn commit(&self) -> bool {
        for (_, submission) in &self.logs {
            self.journal.submit(submission);
        }
        while self.journal.run_round() > 0 {}
        let told = |owner: &Arc<Owner>| owner.told.lock().drain(..).all(|told| told.1);
        self.logs.iter().all(|(owner, _)| told(owner))
    }

    fn durable(&self, log: usize) -> i64 {
        self.held(log).log.lock().durable_end_offset().0
    }

    fn checkpoint(&self) {
        let positions = |(owner, _): &(Arc<Owner>, Arc<Submission>)| owner.held.log.lock().with_positions();
        self.dir
            .checkpoint(|| self.logs.iter().map(positions).collect())
            .unwrap();
    }

    /// Loses power and starts anew.
    fn crash(self) -> Result<Self, LogError> {
        let (disk, logs) = (self.disk.clone(), self.logs.len());
        drop(self);
        disk.crash(CrashMode::DropUnsynced);
        Self::open(&disk, logs)
    }

    fn end(&self, log: usize) -> i64 {
        self.held(log).log.lock().log_end_offset().0
    }

    fn values(&self, log: usize) -> Vec<String> {
        let start = self.held(log).log.lock().log_start_offset();
        let records = self.held(log).records(start);
        records
            .into_iter()
            .map(|(_, value)| String::from_utf8(value.to_vec()).unwrap())
            .collect()
    }
}

impl crate::log::Log {
    fn with_positions(&self) -> (TopicPartition, crate::dir::Positions) {
        (self.partition().clone(), self.positions())
    }
}

fn journal_files(disk: &Disk) -> Vec<PathBuf> {
    let entries = disk.read_dir(Path::new(FOLDER)).unwrap_or_default();
    entries
        .iter()
        .map(|entry| Path::new(FOLDER).join(&entry.name))
        .collect()
}

fn change(disk: &Disk, path: &Path, at: u64, change: impl Fn(u8) -> u8) {
    let file = disk.open(path, OpenMode::Write).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] = change(byte[0]);
    file.write_at(&[std::io::IoSlice::new(&byte)], at).unwrap();
    file.sync_data().unwrap();
}

#[test]
fn one_sync_makes_many_logs_durable_and_a_power_cut_keeps_them() {
    let room = Room::ready(5);
    let before = room.journal.stats();
    room.disk
        .inject(Fault::always(Operation::SyncData).on("/data/room"));
    assert!(room.round("second"), "no segment was synced");
    let after = room.journal.stats();
    assert_eq!(after.rounds, before.rounds + 1);
    assert_eq!(after.direct_syncs, before.direct_syncs);
    assert!((0..5).all(|log| room.durable(log) == 2));
    assert!(room.held(0).log.lock().is_flush_owed());
    room.disk.clear_faults();
    let room = room.crash().unwrap();
    for log in 0..5 {
        assert_eq!(room.values(log), ["first", "second"]);
    }
}

#[test]
fn a_few_logs_and_large_ranges_make_no_journal() {
    let room = Room::open(&Disk::default(), 2).unwrap();
    for _ in 0..5 {
        assert!(room.round("x"));
        room.journal.tidy();
    }
    assert!(journal_files(&room.disk).is_empty());
    assert_eq!(room.journal.stats().direct_syncs, 10);
    // One that is large goes by itself, the others together.
    let room = Room::ready(5);
    let before = room.journal.stats();
    for _ in 0..100 {
        room.append(0, &"x".repeat(900));
    }
    assert!(room.round("small"));
    let after = room.journal.stats();
    assert_eq!(
        (after.rounds, after.direct_syncs),
        (before.rounds + 1, before.direct_syncs + 1)
    );
    assert!(!room.held(0).log.lock().is_flush_owed());
    assert!(room.held(1).log.lock().is_flush_owed());
}

#[test]
fn a_journal_that_fails_takes_the_log_dir_out_of_service_and_nobody_is_told_of_durability() {
    for operation in [Operation::Write, Operation::SyncData] {
        let room = Room::ready(4);
        assert!(room.round("second"));
        room.disk.inject(Fault::nth(operation, 0).on("klamm.journal"));
        assert!(!room.round("third"));
        assert!(room.dir.failure().is_some());
        assert!((0..4).all(|log| room.durable(log) == 2), "{operation:?}");
    }
}

#[test]
fn a_full_file_is_used_again_only_when_nobody_needs_it() {
    let room = Room::ready(4);
    let mut count = 1;
    while journal_files(&room.disk).len() < 2 || room.journal.stats().ready_files > 0 {
        count += 1;
        assert!(room.round(&format!("round {count}")));
        if journal_files(&room.disk).len() < 2 {
            room.journal.tidy();
        }
    }
    // No file is free: the segments are synced.
    let before = room.journal.stats();
    for _ in 0..10 {
        count += 1;
        assert!(room.round(&format!("round {count}")));
    }
    assert!(room.journal.stats().direct_syncs > before.direct_syncs);
    // What keeps a log from being flushed keeps its file from being used again.
    room.disk.inject(
        Fault::nth(Operation::Create, 0)
            .on("leader-epoch")
            .with(Failure::NoSpace),
    );
    room.journal.tidy();
    assert_eq!(room.journal.stats().ready_files, 0);
    room.disk.clear_faults();
    (0..4).for_each(|log| flush(&room.held(log).log, FlushScope::All).unwrap());
    room.journal.due.store(true, Ordering::Release);
    room.journal.tidy();
    assert_eq!(room.journal.stats().ready_files, 2);
    let rounds = room.journal.stats().rounds;
    count += 1;
    assert!(room.round(&format!("round {count}")));
    assert_eq!(room.journal.stats().rounds, rounds + 1);
    let room = room.crash().unwrap();
    for log in 0..4 {
        assert_eq!(room.end(log), count);
    }
}

#[test]
fn what_a_truncation_has_cut_does_not_come_back() {
    let room = Room::ready(4);
    for round in 0..3 {
        assert!(room.round(&format!("cut {round}")));
    }
    truncate_to(&room.held(0).log, Offset(2), NOW).unwrap();
    room.append(0, "instead");
    assert!(room.commit());
    let room = room.crash().unwrap();
    assert_eq!(room.values(0), ["first", "cut 0", "instead"]);
    assert_eq!(room.values(1), ["first", "cut 0", "cut 1", "cut 2"]);
}

#[test]
fn what_a_truncation_keeps_is_in_the_segments_before_the_journal_forgets_it() {
    let room = Room::ready(4);
    for round in 0..6 {
        assert!(room.round(&format!("{round}{}", "x".repeat(400))));
        if room.journal.is_tidying_due() {
            room.journal.make_wanted();
        }
    }
    assert!(room.held(0).log.lock().summary().segment_count > 2);
    truncate_to(&room.held(0).log, Offset(5), NOW).unwrap();
    let room = room.crash().unwrap();
    assert_eq!((room.end(0), room.values(0).len()), (5, 5));
}

#[test]
fn what_a_truncation_after_a_clean_start_has_cut_does_not_come_back() {
    let room = Room::ready(4);
    for round in 0..3 {
        assert!(room.round(&format!("cut {round}")));
    }
    (0..4).for_each(|log| close(&room.held(log).log).unwrap());
    room.checkpoint();
    room.dir.mark_clean(1).unwrap();
    let disk = room.disk.clone();
    drop(room);
    let room = Room::open(&disk, 4).unwrap();
    truncate_to(&room.held(0).log, Offset(2), NOW).unwrap();
    room.append(0, "instead");
    room.held(0).commit().unwrap();
    let room = room.crash().unwrap();
    assert_eq!(room.values(0), ["first", "cut 0", "instead"]);
}

#[test]
fn a_partition_made_anew_with_its_id_does_not_meet_its_old_rounds() {
    let room = Room::ready(4);
    assert!(room.round("old 1") && room.round("old 2"));
    crate::gate::retire(&room.held(0).log);
    room.dir.retire(&[(name(0), Uuid([1; 16]))]).unwrap();
    let disk = room.disk.clone();
    let held = Held::open_in(&room.dir, &name(0), Uuid([5; 16]), config()).unwrap();
    held.append(&batch(NOW.0, &["new"])).unwrap();
    held.commit().unwrap();
    drop((held, room));
    disk.crash(CrashMode::DropUnsynced);
    let room = Room::open(&disk, 4).unwrap();
    assert_eq!(room.values(0), ["new"]);
    assert_eq!(room.values(1), ["first", "old 1", "old 2"]);
}

#[test]
fn a_folder_that_is_gone_at_the_start_and_made_anew_does_not_meet_its_old_rounds() {
    let room = Room::ready(4);
    assert!(room.round("old 1") && room.round("old 2"));
    let disk = room.disk.clone();
    drop(room);
    disk.remove_dir_all(Path::new("/data/room-0")).unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    disk.crash(CrashMode::DropUnsynced);
    let room = Room::open(&disk, 4).unwrap();
    room.append(0, "new");
    room.held(0).commit().unwrap();
    let room = room.crash().unwrap();
    assert_eq!(room.values(0), ["new"]);
}

#[test]
fn segments_that_retention_has_removed_are_not_missed() {
    let room = Room::ready(4);
    for round in 0..6 {
        assert!(room.round(&format!("{round}{}", "x".repeat(400))));
        if room.journal.is_tidying_due() {
            room.journal.tidy();
        }
    }
    let end = room.end(0);
    room.held(0)
        .log
        .lock()
        .advance_log_start_offset(Offset(end - 1))
        .unwrap();
    let retired = retention(&room.held(0).log, NOW).unwrap();
    assert!(retired.segment_count > 1);
    reap(&room.dir, retired).unwrap();
    let room = room.crash().unwrap();
    assert_eq!((room.end(0), room.end(1)), (end, end));
}

#[test]
fn a_log_that_does_not_reach_to_its_first_entry_is_not_opened_and_the_others_are() {
    let room = Room::ready(4);
    (0..4).for_each(|log| flush(&room.held(log).log, FlushScope::All).unwrap());
    assert!(room.round("second"));
    let disk = room.disk.clone();
    drop(room);
    let segment = disk
        .open(
            Path::new("/data/room-0/00000000000000000000.log"),
            OpenMode::Write,
        )
        .unwrap();
    segment.set_len(10).unwrap();
    segment.sync_data().unwrap();
    drop(segment);
    disk.crash(CrashMode::DropUnsynced);
    // At each start, not only at the first.
    for _ in 0..2 {
        let dir = open_dir(&disk).unwrap();
        let open = |log| Held::open_in(&dir, &name(log), Uuid([5; 16]), config());
        let error = open(0).err().unwrap().to_string();
        assert!(error.contains("has 10 bytes"), "{error}");
        assert_eq!(open(1).unwrap().log.lock().log_end_offset(), Offset(2));
        drop(dir);
        disk.crash(CrashMode::DropUnsynced);
    }
}

#[test]
fn a_durable_round_that_is_damaged_is_an_error_and_a_torn_last_one_is_not() {
    let room = Room::ready(4);
    assert!(room.round("second") && room.round("third"));
    let disk = room.disk.clone();
    drop(room);
    let path = journal_files(&disk).remove(0);
    let (first, second) = (4096 + 100, 8192 + 100);
    change(&disk, &path, first, |byte| byte ^ 1);
    disk.crash(CrashMode::DropUnsynced);
    let error = open_dir(&disk).unwrap_err().to_string();
    assert!(error.contains("damaged at position 4096"), "{error}");
    change(&disk, &path, first, |byte| byte ^ 1);
    change(&disk, &path, second, |byte| byte ^ 1);
    let room = Room::open(&disk, 4).unwrap();
    assert!((0..4).all(|log| room.end(log) == 2));
}

#[test]
fn a_header_that_cannot_be_read_is_made_up_for_or_is_an_error() {
    let room = Room::ready(4);
    let mut count = 1;
    while room.dir.book().ring.lock().live.len() < 2 {
        count += 1;
        assert!(room.round(&format!("round {count}")));
        let half = room.dir.book().ring.lock().wants_another(LIMITS);
        if half {
            let made = make(&room.dir, 7, LIMITS.file_bytes).unwrap();
            room.dir.book().ring.lock().ready.push_back(made);
        }
    }
    let disk = room.disk.clone();
    drop(room);
    let files = journal_files(&disk);
    // Of the older file: its rounds say which one it is.
    change(&disk, &files[0], 20, |byte| !byte);
    disk.crash(CrashMode::DropUnsynced);
    let room = Room::open(&disk, 4).unwrap();
    assert!((0..4).all(|log| room.end(log) == count));
    drop(room);
    // Of the newest: what counts is not known.
    change(&disk, &files[1], 20, |byte| !byte);
    disk.crash(CrashMode::DropUnsynced);
    let error = open_dir(&disk).unwrap_err().to_string();
    assert!(error.contains("no header that says so"), "{error}");
    change(&disk, &files[1], 20, |byte| !byte);
    disk.remove_file(&files[0]).unwrap();
    let error = open_dir(&disk).unwrap_err().to_string();
    assert!(error.contains("only 1 are there"), "{error}");
}

#[test]
fn without_room_for_a_journal_the_segments_are_synced() {
    let room = Room::open(&Disk::default(), 4).unwrap();
    room.disk.inject(
        Fault {
            times: 2,
            ..Fault::nth(Operation::Write, 0).with(Failure::NoSpace)
        }
        .on("klamm.journal"),
    );
    assert!(room.round("first"));
    room.journal.tidy();
    assert!(room.round("second"));
    assert_eq!(room.journal.stats().rounds, 0);
    assert!(room.dir.failure().is_none());
    assert!(journal_files(&room.disk).is_empty());
    assert!(!room.journal.is_tidying_due(), "not with every commit");
    let room = room.crash().unwrap();
    assert!((0..4).all(|log| room.end(log) == 2));
}

#[test]
fn a_change_of_durability_goes_through_the_segments_first() {
    let room = Room::ready(4);
    let set = |durability| {
        let config = Arc::new(LogConfig {
            durability,
            ..config()
        });
        room.held(0).log.lock().set_config(config);
    };
    set(Durability::PageCache);
    assert!(room.round("in the page cache"));
    set(Durability::Fsync);
    assert!(!room.held(0).log.lock().flush_target().unwrap().may_be_journaled());
    assert!(room.round("second"));
    assert_eq!(room.durable(0), 3);
    assert!(room.round("third"));
    assert!(room.held(0).log.lock().is_flush_owed(), "in the journal again");
    let room = room.crash().unwrap();
    assert!((0..4).all(|log| room.end(log) == 4));
}

#[test]
fn a_crash_after_a_deletion_that_was_cut_short_recovers() {
    for changes in 0.. {
        let room = Room::ready(4);
        assert!(room.round("second"));
        room.disk.crash_after(changes);
        crate::gate::retire(&room.held(0).log);
        let done = room.dir.retire(&[(name(0), Uuid([1; 16]))]).is_ok();
        let room = room.crash().unwrap();
        assert_eq!(room.values(1), ["first", "second"]);
        assert!(room.values(0).is_empty() || room.values(0) == ["first", "second"]);
        if done {
            break;
        }
    }
}

/// The bytes of a file with a round of two partitions and one that forgets, as `docs/formats/journal.md` draws them.
#[test]
fn a_file_is_written_as_before() {
    let room = Room::open(&Disk::default(), 3).unwrap();
    room.round("one");
    room.journal.tidy();
    for (log, text) in ["two", "three", "four"].iter().enumerate() {
        room.held(log)
            .append(&batch(TimestampMs(1000).0, &[text]))
            .unwrap();
    }
    assert!(room.commit());
    truncate_to(&room.held(2).log, Offset(1), NOW).unwrap();
    let bytes = room.disk.read(&journal_files(&room.disk)[0], 1 << 20).unwrap();
    let mut text = String::new();
    for (number, line) in bytes.chunks(32).enumerate() {
        if line.iter().any(|byte| *byte != 0) {
            let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("{:5} {hex}\n", number * 32);
        }
    }
    const GOLDEN: &str = include_str!("../../tests/golden/journal.txt");
    assert!(text == GOLDEN, "the file is now:\n{text}");
}

#[test]
fn a_log_that_has_moved_does_not_go_into_the_journal_that_it_left() {
    let room = Room::ready(4);
    let open_second = |disk: &Disk| {
        let files: Arc<dyn Files> = Arc::new(disk.clone());
        let handles = Arc::new(crate::HandleCache::new(20));
        LogDir::open(files, Path::new("/second"), handles, "a test").unwrap()
    };
    let second = open_second(&room.disk);
    room.round("before");
    // Asked for before the move, and done after it.
    room.append(0, "before");
    room.journal.submit(&room.logs[0].1);
    let log = &room.held(0).log;
    let future = relocate::begin(log, &second, Arc::new(config()), NOW).unwrap();
    let future = parking_lot::Mutex::new(future);
    while relocate::copy(log, &future, 10_000, NOW).unwrap() > 0 {}
    let exchange = || log.lock().exchange(&mut future.lock());
    relocate::finish(log, &future, Uuid([1; 16]), NOW, exchange).unwrap();
    assert!(room.round("after"));
    assert_eq!(room.durable(0), room.end(0));
    assert!(room.journal.stats().rounds > 0, "the others are journaled");
    let (disk, all) = (room.disk.clone(), room.values(0));
    drop((room, future, second));
    disk.crash(CrashMode::DropUnsynced);
    let room = Room::open(&disk, 0).unwrap();
    let there = Held::open_in(&open_second(&disk), &name(0), Uuid([5; 16]), config()).unwrap();
    let found = there.records(Offset(0)).into_iter();
    let found: Vec<_> = found
        .map(|(_, value)| String::from_utf8(value.to_vec()).unwrap())
        .collect();
    assert_eq!(found, all);
    drop(room);
}
