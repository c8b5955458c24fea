use std::path::Path;

use klamm_env::Files;
use klamm_env::sim::disk::{CrashMode, Disk};
use klamm_env::sim::{Fault, Operation};
use klamm_model::LeaderEpoch;

use super::*;
use crate::HandleCache;
use crate::dir::FoundPartition;
use crate::producers::Verification;
use crate::testing::{
    EPOCH, Held, NOW, TOPIC_ID, batch, end_of, expected, idempotent, partition, small, transactional,
};

const UNIQUE: Uuid = Uuid([1; 16]);

fn dir(disk: &Disk, path: &str) -> Result<Arc<LogDir>, LogError> {
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    LogDir::open(files, Path::new(path), Arc::new(HandleCache::new(20)), "a test")
}

fn open(dir: &Arc<LogDir>) -> Result<Held, LogError> {
    let recovery = RecoveryState {
        clean: dir.was_clean(),
        positions: dir.positions(&partition()),
    };
    let log = Log::open(dir, &partition(), TOPIC_ID, Arc::new(small()), recovery, NOW)?;
    Ok(Held {
        log: Mutex::new(log),
        dir: Arc::clone(dir),
    })
}

/// A log in the first of two log dirs, and the second.
fn two() -> (Disk, Held, Arc<LogDir>) {
    let disk = Disk::default();
    let held = open(&dir(&disk, "/one").unwrap()).unwrap();
    let second = dir(&disk, "/two").unwrap();
    (disk, held, second)
}

fn copy_all(held: &Held, future: &Mutex<Log>) -> Result<(), MoveError> {
    while copy(&held.log, future, 500, NOW)? > 0 {}
    Ok(())
}

/// The copy takes the log's place.
fn swap(held: &Held, future: &Mutex<Log>) -> Result<Option<PathBuf>, MoveError> {
    let exchange = || held.log.lock().exchange(&mut future.lock());
    finish(&held.log, future, UNIQUE, NOW, exchange)
}

fn move_to(held: &Held, second: &Arc<LogDir>) -> Result<Option<PathBuf>, MoveError> {
    let future = Mutex::new(begin(&held.log, second, Arc::new(small()), NOW)?);
    copy_all(held, &future)?;
    swap(held, &future)
}

fn names(disk: &Disk, path: &str) -> Vec<String> {
    let entries = disk.read_dir(Path::new(path)).unwrap();
    entries
        .into_iter()
        .filter(|entry| entry.is_dir)
        .map(|entry| entry.name)
        .collect()
}

const VALUES: [&str; 30] = ["a value of some length, of which few fit a segment, and all are alike"; 30];

fn fill(held: &Held, from: usize, to: usize) -> Result<(), AppendError> {
    for n in from..to {
        held.append(&batch(NOW.0 + n as i64, &VALUES[..1]))?;
    }
    Ok(held.commit()?)
}

#[test]
fn a_log_moves_while_it_is_written_to() {
    let (disk, held, second) = two();
    fill(&held, 0, 20).unwrap();
    let future = Mutex::new(begin(&held.log, &second, Arc::new(small()), NOW).unwrap());
    assert_eq!(
        names(&disk, "/two"),
        [format!(
            "orders-3.{:032x}-future",
            u128::from_be_bytes(TOPIC_ID.0)
        )]
    );
    copy(&held.log, &future, 500, NOW).unwrap();
    fill(&held, 20, 25).unwrap();
    copy_all(&held, &future).unwrap();
    fill(&held, 25, 30).unwrap();
    let gone = swap(&held, &future).unwrap().unwrap();
    assert!(disk.entry(&gone).unwrap().is_some(), "it is removed later");
    assert_eq!(
        names(&disk, "/one"),
        [gone.file_name().unwrap().to_str().unwrap()]
    );
    assert_eq!(names(&disk, "/two"), ["orders-3"]);
    assert_eq!(held.records(Offset(0)), expected(0, &VALUES));
    let end = held.append(&batch(NOW.0, &["b"])).unwrap().base_offset;
    assert_eq!(end, Offset(30));
    held.commit().unwrap();
    let log = held.log.lock();
    assert_eq!(
        (log.high_watermark(), log.dir().path()),
        (Offset(31), Path::new("/two"))
    );
}

#[test]
fn what_a_log_knows_beside_its_records_moves_with_it() {
    let (disk, held, second) = two();
    fill(&held, 0, 25).unwrap();
    held.log.lock().advance_log_start_offset(Offset(11)).unwrap();
    held.append(&idempotent(5, 0, 0, &["a"])).unwrap();
    held.append_verified(&transactional(6, 0, Some(0), &["b"]))
        .unwrap();
    held.end_transaction(&end_of(6, 0, false, 1)).unwrap();
    held.append_verified(&transactional(7, 0, Some(0), &["open"]))
        .unwrap();
    held.commit().unwrap();
    held.log.lock().assign_leader_epoch(LeaderEpoch(9));
    let asked = Verification {
        producer_id: klamm_model::ProducerId(8),
        producer_epoch: klamm_model::ProducerEpoch(0),
        base_sequence: Some(0),
        bumps_epoch: false,
    };
    let guard = held.log.lock().verify(&asked, NOW).unwrap();
    let told = |held: &Held| {
        let log = held.log.lock();
        let aborted = log.aborted_transactions(Offset(25)..Offset(29));
        (
            (log.log_start_offset(), log.high_watermark(), log.log_end_offset()),
            (log.last_stable_offset(), log.leader_epochs().entries().to_vec()),
            aborted.ok(),
        )
    };
    let before = told(&held);
    move_to(&held, &second).unwrap();
    assert_eq!(told(&held), before);
    assert!(matches!(
        held.append(&idempotent(5, 0, 0, &["a"])),
        Err(AppendError::Duplicate {
            base_offset: Offset(25),
            ..
        })
    ));
    held.append_guarded(&transactional(8, 0, Some(0), &["verified"]), guard)
        .unwrap();
    held.commit().unwrap();
    // The next start finds it all: what was deleted stays deleted.
    flush(&held.log, FlushScope::All).unwrap();
    drop(held);
    drop(second);
    disk.crash(CrashMode::DropUnsynced);
    let held = open(&dir(&disk, "/two").unwrap()).unwrap();
    let log = held.log.lock();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset()),
        (Offset(11), Offset(30))
    );
    assert_eq!(log.last_stable_offset(), Offset(28), "the transaction is open");
    assert_eq!(log.leader_epochs().entries()[0], (EPOCH, Offset(11)));
}

/// The partition as the next start finds it, in the log dir with more moves.
fn found(disk: &Disk) -> Held {
    let dirs = ["/one", "/two"].map(|path| dir(disk, path).unwrap());
    let of = |dir: &Arc<LogDir>| -> Option<FoundPartition> { dir.partitions().unwrap().pop() };
    let counts = dirs.each_ref().map(|dir| of(dir).map(|found| found.moves));
    assert_ne!(counts[0], counts[1], "it is known which one counts");
    let newest = usize::from(counts[1] > counts[0]);
    let other = &dirs[1 - newest];
    if of(other).is_some() {
        other.set_aside(&partition(), UNIQUE).unwrap();
    }
    open(&dirs[newest]).unwrap()
}

#[test]
fn a_crash_at_any_point_of_a_move_leaves_all_records_in_one_of_the_log_dirs() {
    for mode in [
        CrashMode::KeepPageCache,
        CrashMode::DropUnsynced,
        CrashMode::Torn { seed: 3 },
    ] {
        for changes in 0.. {
            let (disk, held, second) = two();
            fill(&held, 0, 12).unwrap();
            held.checkpoint().unwrap();
            disk.crash_after(changes);
            let moved = move_to(&held, &second);
            let mut committed = 12;
            for n in 12..15 {
                if fill(&held, n, n + 1).is_err() {
                    break;
                }
                committed = n + 1;
            }
            let was_killed = disk.is_down();
            assert!(was_killed || moved.is_ok(), "{moved:?}");
            drop((held, second));
            disk.crash(mode);
            let held = found(&disk);
            let records = held.records(Offset(0));
            assert!(
                records.len() >= committed,
                "{mode:?} {changes}: {} of {committed}",
                records.len()
            );
            assert_eq!(
                records,
                expected(0, &VALUES[..records.len()]),
                "{mode:?} {changes}"
            );
            fill(&held, records.len(), records.len() + 1).unwrap();
            // And moves again, back or forth.
            let to = if held.dir.path() == Path::new("/one") {
                "/two"
            } else {
                "/one"
            };
            let count = records.len() + 1;
            move_to(&held, &dir(&disk, to).unwrap()).unwrap();
            assert_eq!(
                held.records(Offset(0)),
                expected(0, &VALUES[..count]),
                "{mode:?} {changes}"
            );
            if !was_killed {
                break;
            }
        }
    }
}

#[test]
fn a_copy_that_cannot_take_the_place_leaves_a_log_that_goes_on_and_counts() {
    for (operation, text) in [
        (Operation::Rename, "-future"),
        (Operation::SyncDir, "/two"),
        (Operation::Create, "klamm.moves"),
        (Operation::Create, "/two/replication-offset-checkpoint"),
    ] {
        let (disk, held, second) = two();
        fill(&held, 0, 10).unwrap();
        held.checkpoint().unwrap();
        let future = Mutex::new(begin(&held.log, &second, Arc::new(small()), NOW).unwrap());
        copy_all(&held, &future).unwrap();
        disk.inject(Fault::nth(operation, 0).on(text));
        swap(&held, &future).unwrap_err();
        assert_eq!(held.dir.failure(), None);
        fill(&held, 10, 20).unwrap();
        drop((held, second, future));
        disk.clear_faults();
        disk.crash(CrashMode::KeepPageCache);
        let held = found(&disk);
        assert_eq!(
            held.records(Offset(0)),
            expected(0, &VALUES[..20]),
            "{operation:?} {text}"
        );
        assert_eq!(held.dir.path(), Path::new("/one"));
    }
}

#[test]
fn a_log_dir_that_fails_when_the_log_has_moved_away_takes_nothing_with_it() {
    let (disk, held, second) = two();
    fill(&held, 0, 10).unwrap();
    let future = Mutex::new(begin(&held.log, &second, Arc::new(small()), NOW).unwrap());
    copy_all(&held, &future).unwrap();
    disk.inject(Fault::nth(Operation::Rename, 0).on("/one/orders-3"));
    assert_eq!(swap(&held, &future).unwrap(), None);
    assert!(held.dir.failure().is_some());
    fill(&held, 10, 20).unwrap();
    drop((held, second, future));
    disk.crash(CrashMode::DropUnsynced);
    let held = found(&disk);
    assert_eq!(held.records(Offset(0)), expected(0, &VALUES[..20]));
    assert_eq!(held.dir.path(), Path::new("/two"));
}

#[test]
fn a_copy_goes_on_after_a_crash_and_starts_over_when_its_records_are_deleted() {
    let (disk, held, second) = two();
    fill(&held, 0, 20).unwrap();
    held.checkpoint().unwrap();
    let future = Mutex::new(begin(&held.log, &second, Arc::new(small()), NOW).unwrap());
    copy(&held.log, &future, 1_500, NOW).unwrap();
    let half = future.lock().log_end_offset();
    assert!(half > Offset(5));
    flush(&future, FlushScope::All).unwrap();
    drop((held, second, future));
    disk.crash(CrashMode::DropUnsynced);

    let (held, second) = (
        open(&dir(&disk, "/one").unwrap()).unwrap(),
        dir(&disk, "/two").unwrap(),
    );
    let futures = second.futures().unwrap();
    assert_eq!((futures[0].topic_id, futures[0].partition), (Some(TOPIC_ID), 3));
    let future = Mutex::new(begin(&held.log, &second, Arc::new(small()), NOW).unwrap());
    assert_eq!(future.lock().log_end_offset(), half);

    held.log.lock().update_high_watermark(Offset(20));
    held.log.lock().advance_log_start_offset(Offset(20)).unwrap();
    copy_all(&held, &future).unwrap();
    assert_eq!(future.lock().log_end_offset(), Offset(20));
    fill(&held, 20, 22).unwrap();
    copy_all(&held, &future).unwrap();
    swap(&held, &future).unwrap();
    assert_eq!(held.records(Offset(20)).len(), 2);
    assert_eq!(held.log.lock().log_start_offset(), Offset(20));
}

#[test]
fn a_copy_that_is_not_wanted_is_removed() {
    let (disk, held, second) = two();
    fill(&held, 0, 10).unwrap();
    let future = Mutex::new(begin(&held.log, &second, Arc::new(small()), NOW).unwrap());
    copy(&held.log, &future, 500, NOW).unwrap();
    let folder = abandon(&future);
    second.remove_folder(&folder).unwrap();
    assert!(names(&disk, "/two").is_empty());
    assert!(matches!(
        swap(&held, &future),
        Err(MoveError::Log(LogError::Retired))
    ));
    fill(&held, 10, 12).unwrap();
    // Of a partition that is gone nothing is copied into the place of the next.
    let future = Mutex::new(begin(&held.log, &second, Arc::new(small()), NOW).unwrap());
    copy_all(&held, &future).unwrap();
    crate::gate::retire(&held.log);
    assert!(matches!(
        swap(&held, &future),
        Err(MoveError::Log(LogError::Retired))
    ));
}

#[test]
fn how_often_a_partition_was_moved_is_found_again() {
    let disk = Disk::default();
    let folder = Path::new("/one/orders-3");
    disk.create_dir_all(folder).unwrap();
    assert_eq!(moves::read(&disk, folder).unwrap(), 0);
    moves::write(&disk, folder, 7).unwrap();
    assert_eq!(moves::read(&disk, folder).unwrap(), 7);
    for (text, says) in [
        (
            "version: 1\nmoves: 7\n",
            "format version 1, this binary knows up to 0",
        ),
        ("version: 0\nmoves: x\n", "no count"),
        ("", "no version"),
    ] {
        disk.write_atomically(&folder.join("klamm.moves"), text.as_bytes())
            .unwrap();
        let error = moves::read(&disk, folder).unwrap_err().to_string();
        assert!(error.ends_with(says), "{error}");
    }
}
