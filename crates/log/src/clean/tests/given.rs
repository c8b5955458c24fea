//! Logs to be compacted, and what is in them.

use std::time::Duration;

use bytes::Bytes;
use klamm_env::sim::disk::Disk;
use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use klamm_records::{BatchBuilder, BatchHeader, Compression};

use crate::clean::{CleanPolicy, CleanSettings, Cleaned, Dirtiness, Progress, Round, dirtiness};
pub(super) use crate::config::LogConfig;
use crate::error::{LogError, ReadError};
use crate::flush::close;
use crate::read::{ReadRequest, read_blocking};
use crate::testing::{Held, NOW, bytes_of, partition, small, transactional};

/// Offset, key and value.
pub(super) type Found = (i64, String, Option<String>);

pub(super) const RETENTION_MS: i64 = 60_000;

pub(super) const POLICY: CleanPolicy = CleanPolicy {
    min_dirty_ratio: 0.01,
    min_lag: Duration::ZERO,
    max_lag: None,
    tombstone_retention: Duration::from_millis(RETENTION_MS as u64),
};

pub(super) const SETTINGS: CleanSettings = CleanSettings {
    map_bytes: 1 << 20,
    map_load_factor: 0.9,
    read_bytes: 500,
    write_bytes: 300,
    tombstone_retention: POLICY.tombstone_retention,
};

pub(super) fn compacted() -> LogConfig {
    LogConfig {
        compact: true,
        delete: false,
        ..small()
    }
}

pub(super) fn keyed(compression: Compression, timestamp: i64, records: &[(&str, Option<&str>)]) -> Bytes {
    built(BatchBuilder::new(compression), timestamp, records)
}

pub(super) fn of_producer(id: i64, sequence: i32, records: &[(&str, Option<&str>)]) -> Bytes {
    let builder = BatchBuilder::default().producer(ProducerId(id), ProducerEpoch(0), Some(sequence));
    built(builder, NOW.0, records)
}

pub(super) fn built(mut builder: BatchBuilder, timestamp: i64, records: &[(&str, Option<&str>)]) -> Bytes {
    for (at, (key, value)) in records.iter().enumerate() {
        let timestamp = TimestampMs(timestamp + at as i64);
        builder.append(timestamp, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    }
    builder.build(Offset(0)).unwrap()
}

pub(super) fn append(held: &Held, batch: Bytes) -> i64 {
    held.append(&batch).unwrap().base_offset.0
}

/// So many records of one key, of which a segment takes a few; everything is committed. Each has the time of its number.
pub(super) fn fill(held: &Held, count: usize) {
    for n in 0..count {
        let value = format!("{n:400}");
        append(
            held,
            keyed(Compression::None, NOW.0 + n as i64, &[("filler", Some(&value))]),
        );
    }
    held.commit().unwrap();
}

/// Begins a transaction that stays open, and returns where.
pub(super) fn open_transaction(held: &Held) -> Offset {
    let batch = transactional(77, 0, Some(0), &["open"]);
    let appended = held.append_verified(&batch).unwrap();
    held.commit().unwrap();
    appended.base_offset
}

/// Where the segment of the offset begins.
pub(super) fn segment_below(held: &Held, offset: Offset) -> Offset {
    let log = held.log.lock();
    log.segment(log.segment_of(offset)).base_offset
}

pub(super) fn segment_count(held: &Held) -> usize {
    held.log.lock().segments.len()
}

/// The batches of the whole log, from an offset on.
pub(super) fn batches_from(held: &Held, offset: i64) -> Vec<klamm_records::Batch> {
    try_batches_from(held, offset).unwrap()
}

fn try_batches_from(held: &Held, offset: i64) -> Result<Vec<klamm_records::Batch>, LogError> {
    let (mut at, mut found) = (Offset(offset), Vec::new());
    loop {
        let request = ReadRequest {
            offset: at,
            max_bytes: 300,
            upper_bound: held.log.lock().log_end_offset(),
            min_one: true,
        };
        let read = match read_blocking(&held.log, &request, NOW) {
            Err(ReadError::Storage(error)) => return Err(error),
            read => read.unwrap(),
        };
        let Some(range) = read.range else { return Ok(found) };
        range.verify().unwrap();
        found.extend(klamm_records::Batches::new(bytes_of(&range)).map(Result::unwrap));
        assert!(read.next_offset > at, "a read goes on");
        at = read.next_offset;
    }
}

pub(super) fn headers(held: &Held) -> Vec<BatchHeader> {
    let start = held.log.lock().log_start_offset().0;
    batches_from(held, start)
        .iter()
        .map(|batch| *batch.header())
        .collect()
}

/// The records from an offset on; those of control batches have the key `control`.
pub(super) fn read_from(held: &Held, offset: i64) -> Vec<Found> {
    try_read_from(held, offset).unwrap()
}

fn try_read_from(held: &Held, offset: i64) -> Result<Vec<Found>, LogError> {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found = Vec::new();
    for batch in try_batches_from(held, offset)? {
        for record in batch.records(1 << 20).unwrap() {
            let record = record.unwrap();
            if record.offset.0 < offset {
                continue;
            }
            found.push(match batch.header().is_control() {
                true => (record.offset.0, "control".to_owned(), None),
                false => (record.offset.0, text(record.key.unwrap()), record.value.map(text)),
            });
        }
    }
    Ok(found)
}

pub(super) fn try_content(held: &Held) -> Result<Vec<Found>, LogError> {
    let start = held.log.lock().log_start_offset().0;
    try_read_from(held, start)
}

/// Has the segments become larger from now on.
pub(super) fn with_segments_of(held: &Held, segment_bytes: u32) {
    held.log.lock().set_config(std::sync::Arc::new(LogConfig {
        segment_bytes,
        ..compacted()
    }));
}

pub(super) fn content(held: &Held) -> Vec<Found> {
    let start = held.log.lock().log_start_offset().0;
    read_from(held, start)
}

pub(super) fn content_unless_retired(held: &Held, is_retired: bool) -> Vec<Found> {
    match is_retired {
        true => Vec::new(),
        false => content(held),
    }
}

/// Runs a round to its end.
pub(super) fn run(
    held: &Held,
    dirty: &Dirtiness,
    settings: CleanSettings,
    now: TimestampMs,
    budget: u64,
) -> Result<Cleaned, LogError> {
    let mut round = Round::begin(&held.log, dirty, settings, (1, 2), now)?.expect("something is dirty");
    for _ in 0..100_000 {
        match round.step(&held.log, budget)? {
            Progress::More(_) => {}
            Progress::Done(cleaned) => {
                if let Some(retired) = round.take_retired(&held.log, now) {
                    crate::retention::reap(&held.dir, retired)?;
                }
                return Ok(*cleaned);
            }
            Progress::Overtaken => panic!("nobody else is there"),
        }
    }
    panic!("the round does not end");
}

pub(super) fn clean(held: &Held, now: TimestampMs) -> Result<(Dirtiness, Cleaned), LogError> {
    let dirty = dirtiness(&held.log, &POLICY, now)?;
    let cleaned = run(held, &dirty, SETTINGS, now, 1000)?;
    Ok((dirty, cleaned))
}

/// The names of files that count for nothing yet.
pub(super) fn unfinished(held: &Held) -> Vec<String> {
    let entries = held.dir.files().read_dir(&held.dir.folder(&partition())).unwrap();
    let names = entries.into_iter().map(|entry| entry.name);
    names
        .filter(|name| name.ends_with(".cleaned") || name.ends_with(".swap"))
        .collect()
}

/// Ends in order, and begins anew.
pub(super) fn reopened(disk: &Disk, held: Held, config: LogConfig) -> Held {
    close(&held.log).unwrap();
    held.checkpoint().unwrap();
    held.dir.mark_clean(-1).unwrap();
    drop(held);
    Held::open(disk, config).unwrap()
}
