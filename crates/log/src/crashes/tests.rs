use std::path::Path;

use bytes::Bytes;
use klamm_env::sim::disk::{CrashMode, Disk, Fault, Operation};
use klamm_model::{Offset, TopicId, Uuid};

use super::{History, Scenario, crash_everywhere};
use crate::dir::LogDir;
use crate::error::LogError;
use crate::flush::FlushScope;
use crate::life::Step::{self, Append, Checkpoint, CloseAndOpen, Commit, Flush, Retain, StartOver, Truncate};
use crate::testing::{Held, NOW, batch, end_of, partition, small, transactional};

fn survives(steps: &'static [Step]) {
    crash_everywhere(|| History::new(steps));
}

#[test]
fn appends_and_commits_survive_a_crash_anywhere() {
    survives(&[
        Append(2, 500),
        Commit,
        Append(1, 300),
        Append(3, 40),
        Commit,
        Checkpoint,
        Append(1, 10),
        Commit,
        Append(4, 500),
        Append(1, 1),
    ]);
}

#[test]
fn a_roll_survives_a_crash_anywhere() {
    survives(&[
        Append(1, 1500),
        Append(1, 1500),
        Commit,
        Append(2, 1900),
        Append(1, 1900),
        Commit,
        Flush(FlushScope::Sealed),
        Checkpoint,
        Append(1, 1900),
        Commit,
    ]);
}

#[test]
fn a_roll_after_an_end_in_order_survives_a_crash_anywhere() {
    survives(&[
        Append(1, 1500),
        CloseAndOpen,
        Append(1, 1500),
        Commit,
        CloseAndOpen,
        Append(1, 1900),
    ]);
}

#[test]
fn the_removal_of_segments_survives_a_crash_anywhere() {
    survives(&[
        Append(1, 1500),
        Append(1, 1500),
        Append(1, 1500),
        Append(1, 1500),
        Append(1, 1500),
        Append(1, 1500),
        Commit,
        Flush(FlushScope::All),
        Retain,
        Checkpoint,
        Append(1, 1500),
        Commit,
        Retain,
    ]);
}

#[test]
fn a_truncation_survives_a_crash_anywhere() {
    survives(&[
        Append(2, 900),
        Append(2, 900),
        Append(2, 900),
        Commit,
        Flush(FlushScope::All),
        Checkpoint,
        Truncate(200),
        Append(1, 700),
        Commit,
        Truncate(40),
        Append(1, 20),
        Commit,
        Checkpoint,
        StartOver,
        Append(1, 1),
        Commit,
    ]);
}

/// A partition that is deleted, and another one that is made under its name.
struct Deletion {
    disk: Disk,
    /// The records of the first that are on the device, and of the second.
    durable: [usize; 2],
    deleted: bool,
}

const SECOND: TopicId = Uuid([9; 16]);

impl Deletion {
    fn write(held: &Held, values: &[&str]) -> Result<(), LogError> {
        for value in values {
            held.append(&batch(NOW.0, &[value]))
                .map_err(|error| match error {
                    crate::AppendError::Storage(error) => error,
                    other => panic!("{other}"),
                })?;
        }
        held.commit()
    }

    fn check(held: &Held, name: &str, durable: usize) {
        let found = held.records(Offset(0));
        assert!(
            found.len() >= durable,
            "{} of {durable} records of the {name}",
            found.len()
        );
        for (_, value) in &found {
            assert!(value.starts_with(name.as_bytes()), "{value:?} in the {name}");
        }
    }
}

impl Scenario for Deletion {
    fn disk(&self) -> &Disk {
        &self.disk
    }

    fn work(&mut self) -> Result<(), LogError> {
        let held = Held::open(&self.disk, small())?;
        Self::write(&held, &["first 1", "first 2"])?;
        self.durable[0] = 2;
        held.checkpoint()?;
        let Held { log, dir } = held;
        drop(log);
        self.deleted = true;
        let gone = dir.retire(&[(partition(), Uuid([1; 16]))])?;
        self.durable[0] = 0;
        let held = Held::open_in(&dir, &partition(), SECOND, small())?;
        Self::write(&held, &["second 1"])?;
        self.durable[1] = 1;
        held.checkpoint()?;
        gone.iter().try_for_each(|folder| dir.remove_folder(folder))
    }

    fn recover(&mut self) -> Result<(), LogError> {
        let dir: std::sync::Arc<LogDir> = crate::testing::open_dir(&self.disk)?;
        dir.remove_deleted()?;
        let found = dir.partitions()?;
        let topic_id = found.first().and_then(|found| found.topic_id);
        match topic_id {
            Some(SECOND) => Self::check(
                &Held::open_in(&dir, &partition(), SECOND, small())?,
                "second",
                self.durable[1],
            ),
            Some(first) => {
                assert_eq!(self.durable[1], 0, "the second is gone");
                Self::check(
                    &Held::open_in(&dir, &partition(), first, small())?,
                    "first",
                    self.durable[0],
                );
            }
            None => assert!(self.durable[1] == 0 && (self.durable[0] == 0 || self.deleted)),
        }
        Ok(())
    }
}

#[test]
fn a_deleted_partition_and_the_next_of_its_name_survive_a_crash_anywhere() {
    crash_everywhere(|| Deletion {
        disk: Disk::default(),
        durable: [0; 2],
        deleted: false,
    });
}

/// Transactions that are aborted and committed, over several segments.
struct Transactions {
    disk: Disk,
    /// The transactions whose end is on the device: their first offset, and how they ended.
    ended: Vec<(i64, bool)>,
}

impl Transactions {
    fn transaction(&mut self, held: &Held, at: i32, committed: bool) -> Result<(), LogError> {
        let storage = |error| match error {
            crate::AppendError::Storage(error) => error,
            other => panic!("{other}"),
        };
        let first = held.log.lock().log_end_offset().0;
        for step in 0..3 {
            let value = format!("{at} {step} {}", "x".repeat(500));
            let values = [value.as_str()];
            held.append_verified(&transactional(7, 0, Some(at * 3 + step), &values))
                .map_err(storage)?;
        }
        held.end_transaction(&end_of(7, 0, committed, 1))
            .map_err(storage)?;
        held.commit()?;
        self.ended.push((first, committed));
        Ok(())
    }
}

impl Scenario for Transactions {
    fn disk(&self) -> &Disk {
        &self.disk
    }

    fn work(&mut self) -> Result<(), LogError> {
        let held = Held::open(&self.disk, small())?;
        for (at, committed) in [(0, false), (1, true), (2, false)] {
            self.transaction(&held, at, committed)?;
        }
        crate::flush::flush(&held.log, FlushScope::All)?;
        held.checkpoint()?;
        self.transaction(&held, 3, false)?;
        crate::flush::close(&held.log)
    }

    /// Readers of committed records are told which transactions were aborted; none is told of a committed one.
    fn recover(&mut self) -> Result<(), LogError> {
        let held = Held::open(&self.disk, small())?;
        let end = held.log.lock().log_end_offset();
        held.log.lock().update_high_watermark(end);
        let aborted = crate::aborted_transactions(&held.log, Offset(0)..end)?.unwrap_or_default();
        let told: Vec<i64> = aborted.iter().map(|one| one.first_offset.0).collect();
        for (first, committed) in &self.ended {
            assert_eq!(told.contains(first), !committed, "{first} {committed}: {told:?}");
        }
        let stable = held.log.lock().last_stable_offset();
        assert!(
            self.ended.last().is_none_or(|(first, _)| stable.0 > *first),
            "the last transaction that ended is open again: {stable}"
        );
        Ok(())
    }
}

#[test]
fn transactions_survive_a_crash_anywhere() {
    crash_everywhere(|| Transactions {
        disk: Disk::default(),
        ended: Vec::new(),
    });
}

/// A disk that gives up what was synced: the harness must see it.
#[test]
#[should_panic(expected = "are lost")]
fn a_disk_that_forgets_what_was_synced_is_found_out() {
    struct Forgetful(History);
    impl Scenario for Forgetful {
        fn disk(&self) -> &Disk {
            self.0.disk()
        }

        fn work(&mut self) -> Result<(), LogError> {
            self.0.work()
        }

        fn recover(&mut self) -> Result<(), LogError> {
            let path = Path::new("/data/orders-3/00000000000000000000.log");
            let file = klamm_env::Files::open(self.disk(), path, klamm_env::OpenMode::Write);
            if let Ok(file) = file {
                file.set_len(0).map_err(LogError::io(path))?;
            }
            self.0.recover()
        }
    }
    crash_everywhere(|| Forgetful(History::new(&[Append(1, 10), Commit, Append(1, 10)])));
}

/// EIO of a sync: what it should have written is gone, whatever a later sync says.
#[test]
fn a_sync_that_failed_is_never_a_success_later() {
    let (disk, held) = Held::new(small());
    held.append(&batch(NOW.0, &["before"])).unwrap();
    held.commit().unwrap();
    held.append(&batch(NOW.0, &["lost"])).unwrap();
    disk.inject(Fault::nth(Operation::SyncData, 0).on(".log"));
    assert!(held.commit().is_err());
    assert!(
        held.commit().is_err(),
        "the second sync succeeds, and says nothing"
    );
    assert_eq!(held.log.lock().durable_end_offset(), Offset(1));
    assert!(held.dir.failure().is_some());
    disk.crash(CrashMode::DropUnsynced);
    let found: Vec<Bytes> = Held::open(&disk, small())
        .unwrap()
        .records(Offset(0))
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(found, ["before"]);
}
