//! Lookups and the last stable offset, beside a model that knows every batch.

use std::collections::BTreeMap;

use klamm_env::sim::disk::{CrashMode, Disk, Failure, Fault, Operation};
use klamm_model::ProducerId;
use klamm_records::{Batch, EndTransactionMarker};
use proptest::prelude::*;

use super::*;
use crate::config::LogConfig;
use crate::error::AppendError;
use crate::flush::close;
use crate::producers::EndTransaction;
use crate::read::ReadRequest;
use crate::retention::{reap, retention};
use crate::testing::{EPOCH, Held, NOW, batch, bytes_of, end_of, small, transactional};
use crate::truncate::truncate_to;

#[derive(Clone, Debug)]
enum Step {
    /// Of this producer, or of none; so many bytes.
    Append(Option<u8>, u16),
    End(u8, bool),
    Commit,
    Checkpoint,
    Truncate(u8),
    Retain,
    CloseAndOpen,
    Crash(CrashMode),
    Evict,
    /// Between these shares of the log.
    Lookup(u8, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let crash = prop_oneof![
        Just(CrashMode::KeepPageCache),
        Just(CrashMode::DropUnsynced),
        any::<u64>().prop_map(|seed| CrashMode::Torn { seed }),
    ];
    let producer = prop_oneof![3 => (0..4u8).prop_map(Some), 1 => Just(None)];
    let step = prop_oneof![
        10 => (producer, 0..500u16).prop_map(|(id, bytes)| Step::Append(id, bytes)),
        6 => (0..4u8, any::<bool>()).prop_map(|(id, committed)| Step::End(id, committed)),
        3 => Just(Step::Commit),
        1 => Just(Step::Checkpoint),
        1 => any::<u8>().prop_map(Step::Truncate),
        1 => Just(Step::Retain),
        1 => Just(Step::CloseAndOpen),
        1 => crash.prop_map(Step::Crash),
        1 => Just(Step::Evict),
        6 => (any::<u8>(), any::<u8>()).prop_map(|(start, end)| Step::Lookup(start, end)),
    ];
    prop::collection::vec(step, 0..80)
}

#[derive(Clone, Copy)]
struct Written {
    offset: i64,
    producer: Option<i64>,
    /// Whether it is a marker, and of which kind.
    committed: Option<bool>,
}

/// What the batches of a log say.
#[derive(Default)]
struct Told {
    /// (producer, first offset, marker)
    aborted: Vec<(i64, i64, i64)>,
    /// The first offsets of what is open or has its marker at the high watermark or above.
    unstable: Vec<i64>,
}

fn told(batches: &[Written], high_watermark: i64) -> Told {
    let mut told = Told::default();
    let mut open = BTreeMap::new();
    for written in batches {
        let Some(id) = written.producer else { continue };
        match written.committed {
            None => drop(open.entry(id).or_insert(written.offset)),
            Some(committed) => {
                let Some(first) = open.remove(&id) else { continue };
                if !committed {
                    told.aborted.push((id, first, written.offset));
                }
                if written.offset >= high_watermark {
                    told.unstable.push(first);
                }
            }
        }
    }
    told.unstable.extend(open.into_values());
    told
}

struct Life {
    disk: Disk,
    held: Option<Held>,
    batches: Vec<Written>,
    last_stable_offset: i64,
    /// Of a marker below, that is not below the high watermark, the log need not know: what it ends is decided all the same.
    forgotten: i64,
}

fn config() -> LogConfig {
    LogConfig {
        retention_bytes: Some(8000),
        ..small()
    }
}

impl Life {
    fn new() -> Self {
        let (disk, held) = Held::new(config());
        Self {
            disk,
            held: Some(held),
            batches: Vec::new(),
            last_stable_offset: 0,
            forgotten: 0,
        }
    }

    fn open(&mut self) {
        // One process at a time has the folder.
        self.held = None;
        self.held = Some(Held::open(&self.disk, config()).unwrap());
        self.shrunk();
    }

    fn held(&self) -> &Held {
        self.held.as_ref().expect("open")
    }

    /// The log may be shorter: the model is, too.
    fn shrunk(&mut self) {
        let end = self.held().log.lock().log_end_offset().0;
        self.batches.retain(|written| written.offset < end);
        self.last_stable_offset = 0;
        self.forgotten = end;
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Append(producer, bytes) => {
                let text = "x".repeat(usize::from(bytes));
                let appended = match producer {
                    Some(id) => self
                        .held()
                        .append_verified(&transactional(i64::from(id), 0, None, &[&text])),
                    None => self.held().append(&batch(NOW.0, &[&text])),
                };
                self.wrote(appended.unwrap().base_offset, producer, None);
            }
            Step::End(id, committed) => {
                let appended = self
                    .held()
                    .end_transaction(&end_of(i64::from(id), 0, committed, 1));
                self.wrote(appended.unwrap().base_offset, Some(id), Some(committed));
            }
            Step::Commit => self.held().commit().unwrap(),
            Step::Checkpoint => self.held().checkpoint().unwrap(),
            Step::Truncate(share) => {
                truncate_to(&self.held().log, Offset(self.share(share)), NOW).unwrap();
                self.shrunk();
            }
            Step::Retain => {
                let retired = retention(&self.held().log, NOW).unwrap();
                reap(&self.held().dir, retired).unwrap();
            }
            Step::CloseAndOpen => {
                close(&self.held().log).unwrap();
                self.held().checkpoint().unwrap();
                self.held().dir.mark_clean(-1).unwrap();
                self.open();
            }
            Step::Crash(mode) => {
                self.disk.crash(mode);
                self.open();
            }
            Step::Evict => self.disk.evict_page_cache(),
            Step::Lookup(start, end) => self.look_up(self.share(start), self.share(end)),
        }
    }

    fn wrote(&mut self, offset: Offset, producer: Option<u8>, committed: Option<bool>) {
        self.batches.push(Written {
            offset: offset.0,
            producer: producer.map(i64::from),
            committed,
        });
    }

    fn share(&self, share: u8) -> i64 {
        let log = self.held().log.lock();
        let (start, end) = (log.log_start_offset().0, log.log_end_offset().0);
        start + (end - start) * i64::from(share) / 255
    }

    fn look_up(&self, start: i64, end: i64) {
        let range = Offset(start)..Offset(end);
        let found = aborted_transactions(&self.held().log, range.clone())
            .unwrap()
            .unwrap();
        if let Ok(quick) = self.held().log.lock().aborted_transactions(range) {
            assert_eq!(quick, found);
        }
        let key = |entry: &AbortedTransaction| {
            let ProducerId(id) = entry.producer_id;
            (id, entry.first_offset.0, entry.last_offset.0)
        };
        let found: Vec<_> = found.iter().map(key).collect();
        let overlaps = |entry: &&(i64, i64, i64)| entry.2 >= start && entry.1 < end;
        let aborted = told(&self.batches, 0).aborted;
        let expected: Vec<_> = aborted.iter().filter(overlaps).copied().collect();
        assert_eq!(found, expected, "{start}..{end}");
    }

    fn check_stable_offset(&mut self) {
        let (start, high_watermark, found) = {
            let log = self.held().log.lock();
            (
                log.log_start_offset().0,
                log.high_watermark().0,
                log.last_stable_offset().0,
            )
        };
        let stable = |settled: i64| {
            let first = told(&self.batches, settled).unstable.into_iter().min();
            first.map_or(high_watermark, |first| first.clamp(start, high_watermark))
        };
        let (least, most) = (stable(high_watermark), stable(high_watermark.max(self.forgotten)));
        assert!((least..=most).contains(&found), "{found}: {least} to {most}");
        assert!(found >= self.last_stable_offset, "it went back");
        self.last_stable_offset = found;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lookups_and_the_stable_offset_are_the_model_s(steps in steps()) {
        let mut life = Life::new();
        for step in &steps {
            life.run(step);
            life.check_stable_offset();
        }
        let end = life.share(255);
        life.look_up(life.share(0), end);
        life.look_up(end, end);
    }
}

/// Ends so many transactions, each of one record, and returns the log's end.
fn abort_many(held: &Held, count: usize) -> Offset {
    for _ in 0..count {
        held.append_verified(&transactional(1, 0, None, &["v"])).unwrap();
        held.end_transaction(&end_of(1, 0, false, 1)).unwrap();
    }
    held.log.lock().log_end_offset()
}

#[test]
fn what_is_in_memory_is_written_out_in_lots() {
    let (_disk, held) = Held::new(LogConfig::default());
    let end = abort_many(&held, LOT + 5);
    let (written, pending) = {
        let log = held.log.lock();
        let index = log.active().aborted.as_ref().unwrap();
        (index.written as usize, index.pending.len())
    };
    assert_eq!((written, pending), (LOT, 5));
    let all = aborted_transactions(&held.log, Offset(0)..end).unwrap().unwrap();
    assert_eq!(all.len(), LOT + 5);
    let middle = Offset(LOT as i64);
    let some = aborted_transactions(&held.log, middle..middle.plus(4))
        .unwrap()
        .unwrap();
    assert_eq!(
        some.iter().map(|entry| entry.first_offset).collect::<Vec<_>>(),
        [middle, middle.plus(2)]
    );
    let near_end = Offset(end.0 - 4);
    let quick = held.log.lock().aborted_transactions(near_end..end).unwrap();
    assert_eq!(quick.len(), 2, "a reader at the end does not ask the device");
}

#[test]
fn a_roll_that_fails_writes_no_entry_twice() {
    let (disk, held) = Held::new(LogConfig::default());
    let end = abort_many(&held, 3);
    disk.inject(Fault {
        path_contains: Some(format!("{:020}.log", end.0)),
        failure: Failure::NoSpace,
        ..Fault::nth(Operation::Create, 0)
    });
    held.prepare(NotReady::Roll(Offset(0))).unwrap_err();
    let end = abort_many(&held, 2);
    held.prepare(NotReady::Roll(Offset(0))).unwrap();
    assert_eq!(held.log.lock().summary().segment_count, 2);
    let found = aborted_transactions(&held.log, Offset(0)..end).unwrap().unwrap();
    let markers: Vec<i64> = found.iter().map(|entry| entry.last_offset.0).collect();
    assert_eq!(markers, [1, 3, 5, 7, 9]);
}

#[test]
fn a_leader_appends_what_belongs_to_an_open_transaction() {
    let (_disk, held) = Held::new(LogConfig::default());
    let first = transactional(1, 0, Some(0), &["a"]);
    assert!(matches!(
        held.append(&first),
        Err(AppendError::InvalidTransactionState { .. })
    ));
    held.append_verified(&first).unwrap();
    held.append(&transactional(1, 0, Some(1), &["b"])).unwrap();
    let again = held.append(&first).unwrap_err();
    assert!(
        matches!(
            again,
            AppendError::Duplicate {
                base_offset: Offset(0),
                ..
            }
        ),
        "{again}"
    );
    let late = held.end_transaction(&end_of(1, 0, true, 2)).unwrap_err();
    assert!(matches!(late, AppendError::InvalidProducerEpoch { .. }), "{late}");
    let end = held.end_transaction(&end_of(1, 1, true, 2)).unwrap();
    assert_eq!(end.base_offset, Offset(2));
    let zombie = EndTransaction {
        marker: EndTransactionMarker {
            committed: false,
            coordinator_epoch: 4,
        },
        ..end_of(1, 1, true, 2)
    };
    let fenced = held.end_transaction(&zombie).unwrap_err();
    assert!(
        matches!(fenced, AppendError::CoordinatorFenced { .. }),
        "{fenced}"
    );
    held.commit().unwrap();
    let mut log = held.log.lock();
    assert_eq!(log.last_stable_offset(), Offset(3));
    let request = ReadRequest {
        offset: Offset(2),
        max_bytes: 1000,
        upper_bound: Offset(3),
        min_one: true,
    };
    let range = log.read(&request).unwrap().range.unwrap();
    let marker = Batch::parse(&bytes_of(&range)).unwrap();
    assert!(marker.header().is_control() && marker.header().is_transactional());
    assert_eq!(marker.header().leader_epoch(), Some(EPOCH));
    let record = marker.records(1000).unwrap().next().unwrap().unwrap();
    // Version and type; version and coordinator epoch.
    assert_eq!(record.key.as_deref(), Some(&[0, 0, 0, 1][..]));
    assert_eq!(record.value.as_deref(), Some(&[0, 0, 0, 0, 0, 5][..]));
}

#[test]
fn a_transaction_may_end_in_a_later_segment() {
    let (_disk, held) = Held::new(LogConfig::default());
    held.append_verified(&transactional(1, 0, None, &["v"])).unwrap();
    held.append(&batch(NOW.0, &["w"])).unwrap();
    held.prepare(NotReady::Roll(Offset(0))).unwrap();
    held.append(&batch(NOW.0, &["x"])).unwrap();
    held.prepare(NotReady::Roll(Offset(2))).unwrap();
    held.end_transaction(&end_of(1, 0, false, 1)).unwrap();
    held.prepare(NotReady::Roll(Offset(3))).unwrap();
    for (start, end, count) in [(0, 1, 1), (1, 2, 1), (2, 3, 1), (3, 4, 1), (4, 4, 0)] {
        let found = aborted_transactions(&held.log, Offset(start)..Offset(end))
            .unwrap()
            .unwrap();
        assert_eq!(found.len(), count, "{start}..{end}");
    }
}

#[test]
fn a_range_that_was_deleted_meanwhile_is_not_taken_for_one_without_aborted_transactions() {
    let (_disk, held) = Held::new(LogConfig {
        retention_bytes: Some(1),
        ..LogConfig::default()
    });
    let end = abort_many(&held, 1);
    held.prepare(NotReady::Roll(Offset(0))).unwrap();
    held.append(&batch(NOW.0, &["x"])).unwrap();
    held.commit().unwrap();
    let read = Offset(0)..end;
    let found = aborted_transactions(&held.log, read.clone()).unwrap();
    assert_eq!(found.map(|found| found.len()), Some(1));
    let retired = retention(&held.log, NOW).unwrap();
    reap(&held.dir, retired).unwrap();
    assert_eq!(held.log.lock().log_start_offset(), end, "the segment is gone");
    assert_eq!(aborted_transactions(&held.log, read).unwrap(), None);
    assert_eq!(
        aborted_transactions(&held.log, end..end.plus(2)).unwrap(),
        None,
        "beyond the end"
    );
}
