//! A batch is validated and appended to the log of a partition, as the leader does, into the page cache.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use klamm_env::Env;
use klamm_log::prepare::prepare;
use klamm_log::truncate::truncate_fully_and_start_at;
use klamm_log::{Durability, HandleCache, Incoming, Log, LogCell, LogConfig, LogDir, RecoveryState};
use klamm_model::{LeaderEpoch, Offset, TopicPartition, Uuid};
use klamm_records::{Origin, Rules, Scratch, validate_briefly};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::Work;
use crate::inputs::{self, NOW};

/// A log that is larger begins anew.
const MOST_BYTES: usize = 64 << 20;
/// What a broker unpacks at most on a network thread.
const BRIEF_BYTES: u64 = 512 * 1024;

/// The log of a partition, in a folder of its own.
pub(crate) struct Partition {
    pub(crate) log: Mutex<Log>,
    rules: Rules,
    scratch: Scratch,
    appended_bytes: usize,
    _folder: TempDir,
}

impl Partition {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let files = Env::real().files().clone();
        let dir = LogDir::open(
            files,
            folder.path(),
            Arc::new(HandleCache::new(10)),
            "a benchmark",
        )?;
        let partition = TopicPartition::new("orders", 3);
        let config = LogConfig {
            durability: Durability::PageCache,
            ..LogConfig::default()
        };
        let recovery = RecoveryState {
            clean: dir.was_clean(),
            positions: dir.positions(&partition),
        };
        let log = Log::open(&dir, &partition, Uuid([7; 16]), Arc::new(config), recovery, NOW)?;
        Ok(Self {
            log: Mutex::new(log),
            rules: Rules::defaults(Origin::Client { produce_version: 13 }, NOW),
            scratch: Scratch::new(),
            appended_bytes: 0,
            _folder: folder,
        })
    }

    /// Makes room for `bytes` more.
    fn make_room(&mut self, bytes: usize) -> Result<()> {
        self.appended_bytes += bytes;
        if self.appended_bytes > MOST_BYTES {
            let end = self.log.with(|log| log.log_end_offset());
            truncate_fully_and_start_at(&self.log, end, NOW)?;
            self.appended_bytes = bytes;
        }
        Ok(())
    }

    /// Validates and appends.
    pub(crate) fn append(&mut self, batch: &Bytes) -> Result<Offset> {
        let validated = validate_briefly(batch, &self.rules, BRIEF_BYTES, &mut self.scratch);
        let validated = validated.ok_or_else(|| anyhow!("a batch that is not packed"))??;
        let mut header = validated.header;
        let outcome = loop {
            let incoming = Incoming {
                header: &mut header,
                body: &validated.body,
                guard: None,
            };
            let appended = self.log.lock().append_one(incoming, LeaderEpoch(3), NOW);
            match appended {
                Ok(outcome) => break outcome,
                Err(need) => prepare(&self.log, need, NOW)?,
            }
        };
        Ok(outcome?.last_offset)
    }
}

pub(crate) fn thousand_records() -> Result<Box<dyn Work>> {
    same(inputs::batch(1000)?)
}

pub(crate) fn one_record() -> Result<Box<dyn Work>> {
    same(inputs::batch(1)?)
}

/// The same batch again and again.
fn same(batch: Bytes) -> Result<Box<dyn Work>> {
    let mut partition = Partition::new()?;
    partition.append(&batch)?;
    Ok(Box::new(Same { partition, batch }))
}

struct Same {
    partition: Partition,
    batch: Bytes,
}

impl Work for Same {
    fn prepare(&mut self, times: usize) -> Result<()> {
        self.partition.make_room(times * self.batch.len())
    }

    fn run(&mut self, times: usize) {
        for _ in 0..times {
            self.partition.append(&self.batch).expect("appended before");
        }
    }
}

pub(crate) fn idempotent() -> Result<Box<dyn Work>> {
    let mut partition = Partition::new()?;
    partition.append(&inputs::idempotent(0)?)?;
    Ok(Box::new(Idempotent {
        partition,
        next_sequence: 1,
        batches: Vec::new(),
    }))
}

/// Each batch follows the one before.
struct Idempotent {
    partition: Partition,
    next_sequence: i32,
    batches: Vec<Bytes>,
}

impl Work for Idempotent {
    fn prepare(&mut self, times: usize) -> Result<()> {
        self.batches.clear();
        for _ in 0..times {
            self.batches.push(inputs::idempotent(self.next_sequence)?);
            self.next_sequence += 1;
        }
        self.partition
            .make_room(self.batches.iter().map(Bytes::len).sum())
    }

    fn run(&mut self, times: usize) {
        for batch in &self.batches[..times] {
            self.partition.append(batch).expect("the next sequence");
        }
    }
}
