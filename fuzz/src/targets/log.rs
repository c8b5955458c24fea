//! A log dir with one partition, every file of it, on the simulated disk.
//!
//! Always holds: opening gives a log or an error. A log that opened can be read, appended to, cut and closed; each call
//! gives its result or an error; and a log that was closed in order opens again at the same end. The first byte of an
//! input says which checksums are set right before, and whether the last end was in order.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use klamm_env::Files;
use klamm_env::sim::disk::Disk;
use klamm_log::dir::meta::Meta;
use klamm_log::flush::{close, flush};
use klamm_log::prepare::prepare;
use klamm_log::read::read_blocking;
use klamm_log::retention::{reap, retention};
use klamm_log::truncate::truncate_to;
use klamm_log::{
    FlushScope, FollowerError, HandleCache, Incoming, Log, LogConfig, LogDir, LogError, ReadRequest,
    RecoveryState, offsets,
};
use klamm_model::{BrokerId, LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition, Uuid};
use klamm_protocol::schema::sample::Seed;
use klamm_records::{Batch, BatchHeader, HEADER_BYTES};
use parking_lot::Mutex;

use super::folder::{self, NamedFile};
use super::records;

const FOLDER: &str = "/data";
const NOW: TimestampMs = TimestampMs(1_700_000_100_000);
const TOPIC_ID: TopicId = Uuid([7; 16]);
const EPOCH: LeaderEpoch = LeaderEpoch(3);

/// Bits of the first byte of an input.
const SEAL_BATCHES: u8 = 1;
const SEAL_SNAPSHOTS: u8 = 2;
const AS_FOLLOWER: u8 = 4;
const TRUNCATE: u8 = 8;

fn partition() -> TopicPartition {
    TopicPartition::new("orders", 3)
}

fn open_dir(disk: &Disk) -> Result<Arc<LogDir>, LogError> {
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    LogDir::open(
        files,
        Path::new(FOLDER),
        Arc::new(HandleCache::new(5)),
        "the fuzzer",
    )
}

fn open_log(dir: &Arc<LogDir>) -> Result<Mutex<Log>, LogError> {
    let config = LogConfig {
        segment_bytes: 1000,
        index_interval_bytes: 100,
        ..LogConfig::default()
    };
    let recovery = RecoveryState {
        clean: dir.was_clean(),
        positions: dir.positions(&partition()),
    };
    Log::open(dir, &partition(), TOPIC_ID, Arc::new(config), recovery, NOW).map(Mutex::new)
}

/// Appends `batch` as leader, or as the follower of one; true if it is in.
fn append(log: &Mutex<Log>, batch: &Bytes, as_follower: bool) -> bool {
    let mut header = *Batch::parse(batch).expect("the batch is valid").header();
    // A segment to open, one to begin: nothing takes more steps.
    for _ in 0..8 {
        let need = if as_follower {
            match log.lock().append_as_follower(batch, NOW) {
                Ok(()) => return true,
                Err(FollowerError::Append(_)) => return false,
                Err(FollowerError::NotReady(need)) => need,
            }
        } else {
            let incoming = Incoming {
                header: &mut header,
                body: &batch[HEADER_BYTES..],
                guard: None,
            };
            match log.lock().append_one(incoming, EPOCH, NOW) {
                Ok(outcome) => return outcome.is_ok(),
                Err(need) => need,
            }
        };
        if prepare(log, need, NOW).is_err() {
            return false;
        }
    }
    panic!("the log does not get ready");
}

/// Ends in order: checkpoints, then the mark.
fn end(dir: &LogDir, log: &Mutex<Log>) -> Result<(), LogError> {
    flush(log, FlushScope::All)?;
    close(log)?;
    dir.checkpoint(|| vec![(partition(), log.lock().positions())])?;
    dir.mark_clean(7)
}

pub(super) fn sample(seed: &mut Seed) -> Vec<u8> {
    let disk = Disk::default();
    let meta = Meta {
        cluster_id: "cluster".into(),
        node_id: BrokerId(1),
        directory_id: Uuid([5; 16]),
    };
    let made = || -> Result<(Arc<LogDir>, Mutex<Log>), LogError> {
        let dir = open_dir(&disk)?;
        dir.format(meta)?;
        let log = open_log(&dir)?;
        Ok((dir, log))
    };
    let (dir, log) = made().expect("an empty disk takes a log");
    for _ in 0..seed.below(12) {
        append(&log, &records::batch(seed, 0), false);
        if seed.below(4) == 0 {
            flush(&log, FlushScope::All).expect("the disk is well");
        }
    }
    let clean = seed.below(2) == 0;
    if clean {
        end(&dir, &log).expect("the disk is well");
    }
    let mut input = vec![seed.next_u64() as u8];
    folder::pack(&folder::read(&disk, Path::new(FOLDER)), &mut input);
    input
}

fn seal(files: &mut [NamedFile], how: u8) {
    for (name, contents) in files {
        if how & SEAL_BATCHES != 0 && name.ends_with(".log") {
            let mut at = 0;
            while let Some(size) = contents
                .get(at..)
                .and_then(|rest| BatchHeader::peek_size(rest).ok())
            {
                records::seal(&mut contents[at..], false);
                at += size;
            }
        }
        if how & SEAL_SNAPSHOTS != 0 && name.ends_with(".snapshot") && contents.len() > 6 {
            let crc = folder::crc32c(&contents[6..]);
            contents[2..6].copy_from_slice(&crc);
        }
    }
}

pub(super) fn run(input: &[u8]) {
    let Some((how, packed)) = input.split_first() else {
        return;
    };
    let mut files = folder::unpack(packed);
    seal(&mut files, *how);
    let disk = Disk::default();
    let shared: Arc<dyn Files> = Arc::new(disk.clone());
    folder::write(&files, &shared, Path::new(FOLDER));
    disk.sync_all();

    let Ok(dir) = open_dir(&disk) else { return };
    let _ = (dir.meta(), dir.partitions(), dir.remove_deleted());
    let Ok(log) = open_log(&dir) else { return };
    read_all(&log);
    look_at(&log);
    if *how & TRUNCATE != 0 {
        let start = log.lock().log_start_offset();
        let end = log.lock().log_end_offset();
        let middle = Offset(start.0 + (end.0 - start.0) / 2);
        let _ = truncate_to(&log, middle, NOW);
    }
    let log_end = log.lock().log_end_offset();
    let mut seed = Seed(u64::from(*how));
    for _ in 0..3 {
        append(
            &log,
            &records::batch(&mut seed, log_end.0),
            *how & AS_FOLLOWER != 0,
        );
    }
    if let Ok(retired) = retention(&log, NOW) {
        let _ = reap(&dir, retired);
    }
    if end(&dir, &log).is_err() {
        return;
    }
    let log_end = log.lock().log_end_offset();
    drop((dir, log));
    let dir = open_dir(&disk).expect("a log dir that ended in order opens");
    let log = open_log(&dir).expect("a log that ended in order opens");
    assert_eq!(log.lock().log_end_offset(), log_end, "and ends where it ended");
    read_all(&log);
}

fn read_all(log: &Mutex<Log>) {
    let mut at = log.lock().log_start_offset();
    let bound = log.lock().log_end_offset();
    loop {
        let request = ReadRequest {
            offset: at,
            max_bytes: 300,
            upper_bound: bound,
            min_one: true,
        };
        let Ok(read) = read_blocking(log, &request, NOW) else {
            return;
        };
        let Some(range) = read.range else { return };
        // What is damaged is not sent, so nobody goes on from there.
        let _ = range.is_resident();
        if range.verify().is_err() {
            return;
        }
        assert!(read.next_offset > at, "a read goes on");
        at = read.next_offset;
    }
}

fn look_at(log: &Mutex<Log>) {
    for timestamp in [i64::MIN, -1, 0, NOW.0 - 100_000, i64::MAX] {
        let _ = offsets::offset_for_timestamp(log, TimestampMs(timestamp));
    }
    let _ = offsets::max_timestamp(log);
    let log = &mut *log.lock();
    for epoch in [-1, 0, 3, i32::MAX] {
        let _ = log.epoch_end(LeaderEpoch(epoch));
    }
    let _ = (log.summary(), log.positions(), log.last_stable_offset());
    let _ = (log.producers().active().count(), log.leader_epochs().latest());
    log.expire_producers(NOW);
    let request = ReadRequest {
        offset: log.log_start_offset(),
        max_bytes: 1,
        upper_bound: Offset(i64::MAX),
        min_one: false,
    };
    let _ = log.read(&request);
}
