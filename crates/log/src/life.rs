//! The life of a log, beside a model of it: what tests of crashes and of random histories run.
//!
//! Always holds: the model knows every record that may be there, and up to where they must be there.

mod beside;

use std::sync::Arc;

use bytes::Bytes;
use klamm_env::sim::disk::{CrashMode, Disk};
use klamm_model::{Offset, TimestampMs};
use proptest::prelude::*;

use beside::Beside;

use crate::config::LogConfig;
use crate::error::LogError;
use crate::flush::{FlushScope, close, flush};
use crate::read::ReadRequest;
use crate::retention::{reap, retention};
use crate::testing::{Held, NOW, batch, records_of, small};
use crate::truncate::{truncate_fully_and_start_at, truncate_to};

/// One thing that happens to a log.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A batch of so many records of so many bytes.
    Append(u8, u16),
    Commit,
    /// Of this log alone, where others are committed with it else.
    CommitAlone,
    Flush(FlushScope),
    Checkpoint,
    /// To this share (of 256) of the log.
    Truncate(u8),
    StartOver,
    Retain,
    CloseAndOpen,
    Crash(CrashMode),
    Evict,
    /// From this share of the log, at most so many bytes, bounded by another share.
    Read(u8, u16, u8),
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let crash = prop_oneof![
        Just(CrashMode::KeepPageCache),
        Just(CrashMode::DropUnsynced),
        any::<u64>().prop_map(|seed| CrashMode::Torn { seed }),
    ];
    let step = prop_oneof![
        12 => (1..5u8, 0..600u16).prop_map(|(records, bytes)| Step::Append(records, bytes)),
        3 => Just(Step::Commit),
        1 => Just(Step::CommitAlone),
        1 => Just(Step::Flush(FlushScope::Sealed)),
        1 => Just(Step::Flush(FlushScope::All)),
        1 => Just(Step::Checkpoint),
        1 => any::<u8>().prop_map(Step::Truncate),
        1 => Just(Step::Retain),
        1 => Just(Step::CloseAndOpen),
        1 => crash.prop_map(Step::Crash),
        1 => Just(Step::Evict),
        4 => (any::<u8>(), 0..3000u16, any::<u8>()).prop_map(|(at, bytes, bound)| Step::Read(at, bytes, bound)),
    ];
    prop::collection::vec(step, 0..60)
}

/// A log with its model.
pub(crate) struct Life {
    pub(crate) disk: Disk,
    pub(crate) held: Option<Arc<Held>>,
    config: LogConfig,
    /// Others in the same log dir, with which it is committed by a journal.
    beside: Option<Beside>,
    /// Every record that may be there, from `start` on.
    records: Vec<Bytes>,
    start: i64,
    /// Everything below must be there, whatever happens.
    durable: i64,
    /// Makes every record different from every other.
    count: u64,
    batch_ends: Vec<i64>,
    /// The log is being started over: of the old records any run may be left.
    starting_over: bool,
}

impl Life {
    pub(crate) fn new(config: LogConfig) -> Self {
        Self {
            disk: Disk::default(),
            held: None,
            config,
            beside: None,
            records: Vec::new(),
            start: 0,
            durable: 0,
            count: 0,
            batch_ends: Vec::new(),
            starting_over: false,
        }
    }

    /// A log that is committed with three others, by a journal of a few rounds.
    pub(crate) fn journaled(config: LogConfig) -> Self {
        Self {
            beside: Some(Beside::default()),
            ..Self::new(config)
        }
    }

    /// How many rounds the journal has written.
    pub(crate) fn rounds(&self) -> u64 {
        self.beside.as_ref().map_or(0, Beside::rounds)
    }

    fn end(&self) -> i64 {
        self.start + self.records.len() as i64
    }

    fn held(&self) -> &Held {
        self.held.as_ref().expect("open")
    }

    /// Opens the log and compares it with the model; what is there becomes the model.
    pub(crate) fn open(&mut self) -> Result<(), LogError> {
        self.held = None;
        if let Some(beside) = &mut self.beside {
            beside.leave();
        }
        let held = Held::open(&self.disk, self.config.clone())?;
        let (start, end, watermark) = {
            let log = held.log.lock();
            assert_eq!(
                log.durable_end_offset(),
                log.log_end_offset(),
                "what recovery kept was synced"
            );
            (
                log.log_start_offset().0,
                log.log_end_offset().0,
                log.high_watermark().0,
            )
        };
        assert!(end >= self.durable, "offsets {end} to {} are lost", self.durable);
        if self.starting_over && start > self.start {
            self.records
                .drain(..(start.min(self.end()) - self.start) as usize);
            self.start = start;
        }
        assert!(
            end <= self.end() && start <= self.start && watermark <= end,
            "{start} {watermark} {end}"
        );
        let found = held.records(Offset(self.start.min(end)));
        let expected: Vec<_> = (self.start..end).zip(self.records.iter().cloned()).collect();
        assert_eq!(found, expected);
        self.records.truncate((end - self.start).max(0) as usize);
        self.batch_ends.retain(|batch_end| *batch_end <= end);
        (self.durable, self.starting_over) = (end, false);
        held.log.lock().update_high_watermark(Offset(end));
        self.held = Some(match &mut self.beside {
            None => Arc::new(held),
            Some(beside) => beside.open(held)?,
        });
        Ok(())
    }

    pub(crate) fn run(&mut self, step: &Step) -> Result<(), LogError> {
        match *step {
            Step::Append(records, bytes) => self.append(records, bytes),
            Step::Commit => {
                match &mut self.beside {
                    None => self.held().commit()?,
                    Some(beside) => beside.commit()?,
                }
                let durable = self.held().log.lock().durable_end_offset().0;
                self.durable = durable;
                Ok(())
            }
            Step::CommitAlone => {
                self.held().commit()?;
                let durable = self.held().log.lock().durable_end_offset().0;
                self.durable = durable;
                Ok(())
            }
            Step::Flush(scope) => flush(&self.held().log, scope),
            Step::Checkpoint => self.held().checkpoint(),
            Step::Truncate(share) => self.truncate(share),
            Step::StartOver => {
                let offset = self.end() + 10;
                (self.durable, self.starting_over) = (0, true);
                truncate_fully_and_start_at(&self.held().log, Offset(offset), NOW)?;
                (self.start, self.records, self.batch_ends) = (offset, Vec::new(), Vec::new());
                (self.durable, self.starting_over) = (offset, false);
                Ok(())
            }
            Step::Retain => self.retain(),
            Step::CloseAndOpen => {
                close(&self.held().log)?;
                self.durable = self.end();
                self.held().checkpoint()?;
                if let Some(beside) = &mut self.beside {
                    beside.close()?;
                }
                self.held().dir.mark_clean(-1)?;
                self.open()
            }
            Step::Crash(mode) => {
                self.disk.crash(mode);
                self.open()
            }
            Step::Evict => {
                self.disk.evict_page_cache();
                Ok(())
            }
            Step::Read(at, bytes, bound) => {
                self.read(at, bytes, bound);
                Ok(())
            }
        }
    }

    fn append(&mut self, records: u8, bytes: u16) -> Result<(), LogError> {
        let values: Vec<String> = (0..records)
            .map(|_| {
                self.count += 1;
                format!(
                    "{:width$}",
                    self.count,
                    width = usize::from(bytes) / usize::from(records)
                )
            })
            .collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let bytes = batch(NOW.0 + self.count as i64, &values);
        // Whether it gets there or not: a crash may keep it.
        let expected = self.end();
        self.records.extend(
            values
                .iter()
                .map(|value| Bytes::copy_from_slice(value.as_bytes())),
        );
        self.batch_ends.push(self.end());
        match self.held().append(&bytes) {
            Ok(appended) => {
                assert_eq!(appended.base_offset.0, expected);
                Ok(())
            }
            Err(crate::AppendError::Storage(error)) => {
                if self.held().dir.failure().is_none() {
                    // The log goes on without them.
                    self.records.truncate((expected - self.start) as usize);
                    self.batch_ends.pop();
                }
                Err(error)
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn truncate(&mut self, share: u8) -> Result<(), LogError> {
        let target = self.start + (self.records.len() * usize::from(share) / 256) as i64;
        self.durable = self.durable.min(self.batch_end_up_to(target));
        let end = truncate_to(&self.held().log, Offset(target), NOW)?;
        assert_eq!(
            end.0,
            if target >= self.end() {
                self.end()
            } else {
                self.batch_end_up_to(target)
            }
        );
        self.records.truncate((end.0 - self.start) as usize);
        self.batch_ends.retain(|batch_end| *batch_end <= end.0);
        Ok(())
    }

    fn batch_end_up_to(&self, offset: i64) -> i64 {
        self.batch_ends
            .iter()
            .copied()
            .filter(|end| *end <= offset)
            .max()
            .unwrap_or(self.start)
    }

    fn retain(&mut self) -> Result<(), LogError> {
        let now = TimestampMs(NOW.0 + self.count as i64);
        let result = retention(&self.held().log, now);
        let start = self.held().log.lock().log_start_offset().0;
        // Also after a failure: what was dropped may be gone, and may come back after a crash.
        let gone = (start - self.start).max(0);
        self.records.drain(..gone as usize);
        self.start += gone;
        reap(&self.held().dir, result?)
    }

    /// A read by each way, compared with the model.
    fn read(&self, at: u8, bytes: u16, bound: u8) {
        let share = |share: u8| self.start + (self.records.len() * usize::from(share) / 255) as i64;
        let request = ReadRequest {
            offset: Offset(share(at)),
            max_bytes: usize::from(bytes),
            upper_bound: Offset(share(bound)),
            min_one: bytes.is_multiple_of(2),
        };
        let held = self.held();
        let blocking = crate::read::read_blocking(&held.log, &request, NOW).unwrap();
        if let Ok(read) = held.log.lock().read(&request) {
            assert_eq!(read.next_offset, blocking.next_offset, "{request:?}");
            assert_eq!(
                read.range.map(|range| (range.position, range.len)),
                blocking.range.as_ref().map(|range| (range.position, range.len))
            );
        }
        let Some(range) = blocking.range else {
            assert_eq!(blocking.next_offset, request.offset);
            let nothing_below = self.batch_end_after(request.offset.0) > request.upper_bound.0;
            assert!(nothing_below || !request.min_one, "{request:?}");
            return;
        };
        range.verify().unwrap();
        let found = records_of(&range);
        let (first, next) = (found[0].0, blocking.next_offset.0);
        assert!(
            first <= request.offset.0 && request.offset.0 < self.batch_end_after(first),
            "{request:?}"
        );
        assert!(
            next <= request.upper_bound.0 && next == first + found.len() as i64,
            "{request:?}"
        );
        let one = self.batch_end_after(first) == next;
        assert!(
            range.len <= request.max_bytes || (one && request.min_one),
            "{request:?}"
        );
        for (offset, value) in found.iter().filter(|record| record.0 >= self.start) {
            assert_eq!(value, &self.records[(offset - self.start) as usize]);
        }
    }

    fn batch_end_after(&self, offset: i64) -> i64 {
        self.batch_ends
            .iter()
            .copied()
            .filter(|end| *end > offset)
            .min()
            .unwrap_or(i64::MAX)
    }
}

/// Segments of a few batches, of which a handful is kept.
pub(crate) fn config() -> LogConfig {
    LogConfig {
        retention_bytes: Some(6000),
        ..small()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_the_model_s(steps in steps()) {
        run_all(Life::new(config()), &steps);
    }

    #[test]
    fn any_history_with_a_journal_is_the_model_s(steps in steps()) {
        run_all(Life::journaled(config()), &steps);
    }
}

fn run_all(mut life: Life, steps: &[Step]) {
    life.open().unwrap();
    for step in steps {
        life.run(step).unwrap();
    }
    life.disk.crash(CrashMode::DropUnsynced);
    life.open().unwrap();
}
