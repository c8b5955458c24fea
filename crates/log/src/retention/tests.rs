use std::time::Duration;

use klamm_env::sim::disk::{CrashMode, Disk};
use klamm_env::sim::{HostClock, SimTime, Trace};
use klamm_model::TimestampMs;

use super::*;
use crate::config::LogConfig;
use crate::testing::{Held, NOW, batch, small};

/// Ten segments of one record, 100 ms apart, all committed; closed and opened again if `reopen`.
fn ten_segments(config: LogConfig, reopen: bool) -> Held {
    let config = LogConfig {
        segment_bytes: 1100,
        ..config
    };
    let (disk, held) = Held::new(config.clone());
    for n in 0..10 {
        held.append(&batch(NOW.0 + n * 100, &[&"x".repeat(930)])).unwrap();
    }
    held.commit().unwrap();
    assert_eq!(held.log.lock().summary().segment_count, 10);
    if !reopen {
        return held;
    }
    crate::flush::close(&held.log).unwrap();
    held.checkpoint().unwrap();
    held.dir.mark_clean(-1).unwrap();
    drop(held);
    Held::open(&disk, config).unwrap()
}

#[test]
fn age_size_and_log_start_remove_the_oldest() {
    let none = LogConfig {
        retention_ms: None,
        ..small()
    };
    let by_age = LogConfig {
        retention_ms: Some(Duration::from_millis(1000)),
        ..none.clone()
    };
    let by_size = LogConfig {
        retention_bytes: Some(3 * 1000),
        ..none.clone()
    };
    let compacted = LogConfig {
        delete: false,
        ..by_age.clone()
    };
    // (settings, log start, high watermark, time since the first record, first offset left, segments left)
    let cases = [
        (&none, 0, 10, 1_000_000, 0, 10),
        (&none, 4, 10, 0, 4, 6),
        (&by_age, 0, 10, 1000, 0, 10),
        (&by_age, 0, 10, 1001, 1, 9),
        (&by_age, 0, 10, 1401, 5, 5),
        (&by_age, 0, 3, 1401, 3, 7),
        (&by_age, 0, 10, 9999, 10, 1),
        (&by_size, 0, 10, 0, 7, 3),
        (&by_size, 8, 10, 0, 8, 2),
        (&compacted, 2, 10, 9999, 2, 8),
    ];
    for reopen in [false, true] {
        for (config, log_start, watermark, age, first, left) in cases {
            let held = ten_segments(config.clone(), reopen);
            let mut log = held.log.lock();
            log.high_watermark = Offset(watermark);
            if log_start > 0 {
                assert!(log.advance_log_start_offset(Offset(log_start)).unwrap());
            }
            drop(log);
            let now = TimestampMs(NOW.0 + age);
            let retired = retention(&held.log, now).unwrap();
            let log = held.log.lock();
            let found = (log.log_start_offset().0, log.summary().segment_count);
            assert_eq!(
                found,
                (first, left),
                "reopen {reopen} start {log_start} watermark {watermark} age {age}"
            );
            assert_eq!(log.local_log_start_offset().0, first);
            assert_eq!(retired.not_before, now.plus_ms(60_000));
            drop(log);
            let files = held.dir.files();
            let renamed = |held: &Held| {
                let folder = held.dir.folder(&crate::testing::partition());
                files
                    .read_dir(&folder)
                    .unwrap()
                    .iter()
                    .filter(|entry| entry.name.ends_with(DELETED))
                    .count()
            };
            assert_eq!(renamed(&held), retired.files.len());
            reap(&held.dir, retired).unwrap();
            assert_eq!(renamed(&held), 0);
        }
    }
}

#[test]
fn the_log_start_stays_below_the_high_watermark() {
    let held = ten_segments(small(), false);
    let mut log = held.log.lock();
    log.high_watermark = Offset(5);
    assert!(log.advance_log_start_offset(Offset(6)).is_err());
    assert!(log.advance_log_start_offset(Offset(5)).unwrap());
    assert!(!log.advance_log_start_offset(Offset(3)).unwrap());
    assert_eq!(log.log_start_offset(), Offset(5));
}

#[test]
fn records_without_timestamps_are_as_old_as_their_file() {
    let config = LogConfig {
        segment_bytes: 1100,
        retention_ms: Some(Duration::from_millis(1000)),
        ..small()
    };
    for reopen in [false, true] {
        let time = SimTime::default();
        let disk = Disk::new("disk", HostClock::new(time.clone(), NOW), Trace::default());
        let mut held = Held::open(&disk, config.clone()).unwrap();
        for _ in 0..3 {
            held.append(&batch(-1, &[&"x".repeat(930)])).unwrap();
            held.commit().unwrap();
            time.advance(Duration::from_millis(100));
        }
        if reopen {
            crate::flush::close(&held.log).unwrap();
            held.checkpoint().unwrap();
            held.dir.mark_clean(-1).unwrap();
            drop(held);
            held = Held::open(&disk, config.clone()).unwrap();
        }
        // (time since the first write, segments left); the first was written at 0, the second 100 ms later.
        for (age, left) in [(1000, 3), (1001, 2), (1101, 1)] {
            retention(&held.log, TimestampMs(NOW.0 + age)).unwrap();
            let found = held.log.lock().summary().segment_count;
            assert_eq!(found, left, "reopen {reopen} age {age}");
        }
    }
}

#[test]
fn a_power_cut_while_segments_go_leaves_no_gap_between_those_that_stay() {
    for seed in 0..64 {
        let config = LogConfig {
            segment_bytes: 1100,
            retention_bytes: Some(3 * 1000),
            ..small()
        };
        let (disk, held) = Held::new(config.clone());
        for n in 0..10 {
            held.append(&batch(NOW.0 + n, &[&"x".repeat(930)])).unwrap();
        }
        held.commit().unwrap();
        let retired = retention(&held.log, NOW).unwrap();
        assert_eq!(retired.segment_count, 7, "too few to leave a gap");
        drop(held);
        disk.crash(CrashMode::Torn { seed });
        let held = Held::open(&disk, config).unwrap();
        let (start, end) = {
            let log = held.log.lock();
            (log.log_start_offset().0, log.log_end_offset().0)
        };
        assert_eq!(end, 10, "seed {seed}: committed records are lost");
        assert!(start <= 7, "seed {seed}");
        let found: Vec<i64> = held
            .records(Offset(start))
            .iter()
            .map(|record| record.0)
            .collect();
        let expected: Vec<i64> = (start..end).collect();
        assert_eq!(found, expected, "seed {seed}");
    }
}
