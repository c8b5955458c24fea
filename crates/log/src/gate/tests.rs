use std::sync::Arc;

use klamm_model::{Offset, TimestampMs, TopicId, Uuid};
use parking_lot::Mutex;

use super::*;
use crate::config::{Durability, LogConfig};
use crate::flush::{FlushScope, close, flush, rest};
use crate::log::{Log, RecoveryState};
use crate::offsets::{max_timestamp, offset_for_timestamp};
use crate::prepare::prepare;
use crate::read::{ReadRequest, read_blocking};
use crate::retention::retention;
use crate::testing::{Held, NOW, batch, expected, partition, small};
use crate::truncate::{truncate_fully_and_start_at, truncate_to};
use crate::{LogDir, NotReady, ReadError};

const LATER: TimestampMs = TimestampMs(NOW.0 + 1_000_000_000_000);
const NEXT_ID: TopicId = Uuid([8; 16]);

fn page_cache() -> LogConfig {
    LogConfig {
        durability: Durability::PageCache,
        ..small()
    }
}

/// A log of several segments, which has files open and bytes that are not synced.
fn in_use() -> Held {
    let (_, held) = Held::new(page_cache());
    for n in 0..9 {
        held.append(&batch(NOW.0 + n, &[&"x".repeat(600)])).unwrap();
    }
    held.log.lock().update_high_watermark(Offset(9));
    held
}

/// Retires the log, and makes one of the same name with one record.
fn replace(held: &Held) -> Held {
    retire(&held.log);
    held.dir.retire(&[(partition(), Uuid([1; 16]))]).unwrap();
    let recovery = RecoveryState {
        clean: false,
        positions: held.dir.positions(&partition()),
    };
    let dir: &Arc<LogDir> = &held.dir;
    let log = Log::open(dir, &partition(), NEXT_ID, Arc::new(small()), recovery, NOW).unwrap();
    let next = Held {
        log: Mutex::new(log),
        dir: Arc::clone(dir),
    };
    next.append(&batch(NOW.0, &["new"])).unwrap();
    next.commit().unwrap();
    next
}

/// Everything that finds files by their names, started before the partition was deleted and going on afterwards.
#[test]
fn work_on_a_deleted_partition_does_not_touch_the_next_one_of_its_name() {
    type Work = fn(&Mutex<Log>) -> Result<(), LogError>;
    let works: [(&str, Work); 11] = [
        ("retention", |log| retention(log, LATER).map(drop)),
        ("flush", |log| flush(log, FlushScope::All)),
        ("flush of the sealed", |log| flush(log, FlushScope::Sealed)),
        ("close", |log| close(log)),
        ("rest", |log| rest(log)),
        ("open", |log| prepare(log, NotReady::Open, NOW)),
        ("segment", |log| prepare(log, NotReady::Segment(Offset(0)), NOW)),
        ("roll", |log| {
            let need = log.lock().roll_need();
            prepare(log, need, NOW)
        }),
        ("truncate", |log| truncate_to(log, Offset(1), NOW).map(drop)),
        ("start over", |log| {
            truncate_fully_and_start_at(log, Offset(100), NOW)
        }),
        ("offset of a time", |log| {
            log.lock()
                .segments
                .iter_mut()
                .for_each(|segment| segment.checked = false);
            offset_for_timestamp(log, NOW).map(drop)?;
            max_timestamp(log).map(drop)
        }),
    ];
    for (name, work) in works {
        let old = in_use();
        let next = replace(&old);
        let before = old.dir.files().read_dir(&old.dir.folder(&partition())).unwrap();
        assert!(
            matches!(work(&old.log), Err(LogError::Retired)),
            "{name} was not kept out"
        );
        assert_eq!(old.dir.failure(), None, "{name}");
        let after = old.dir.files().read_dir(&old.dir.folder(&partition())).unwrap();
        assert_eq!(before, after, "{name}");
        assert_eq!(next.records(Offset(0)), expected(0, &["new"]), "{name}");
    }
}

#[test]
fn a_reader_of_a_deleted_partition_does_not_read_the_next_one_of_its_name() {
    let old = in_use();
    // Let go by the cache, as files are that nobody read for a while.
    for segment in &old.log.lock().segments {
        segment.files.close_all();
    }
    let _next = replace(&old);
    let request = ReadRequest {
        offset: Offset(0),
        max_bytes: 1 << 20,
        upper_bound: Offset(9),
        min_one: true,
    };
    assert!(matches!(
        read_blocking(&old.log, &request, NOW),
        Err(ReadError::Storage(LogError::Retired))
    ));
}

#[test]
fn a_commit_of_a_deleted_partition_does_not_sync_the_next_one_of_its_name() {
    let old = in_use();
    for segment in &old.log.lock().segments {
        segment.files.close_all();
    }
    let ticket = {
        let mut log = old.log.lock();
        // Under fsync again: what is only in the page cache has to be synced, by name.
        log.set_config(Arc::new(small()));
        log.flush_target().unwrap()
    };
    let _next = replace(&old);
    assert!(matches!(ticket.sync(), Err(LogError::Retired)));
    assert_eq!(old.dir.failure(), None);
}
