//! Whole rounds over whole logs.

mod crashes;
mod given;
mod readers;
mod transactions;

use std::time::Duration;

use klamm_env::Files;
use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use klamm_records::{BatchBuilder, Compression};

use self::given::*;
use super::*;
use crate::flush::{FlushScope, close, flush};
use crate::offsets::{max_timestamp, offset_for_timestamp};
use crate::retention::retention;
use crate::testing::{Held, NOW, partition};

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    for compression in Compression::ALL {
        let (disk, held) = Held::new(compacted());
        let mut offset = 0;
        for n in 0..60_i64 {
            let (one, other) = (format!("k{}", n % 5), format!("once-{n}"));
            let value = format!("{n}");
            let filler = "x".repeat(150);
            append(
                &held,
                keyed(
                    compression,
                    NOW.0 + n,
                    &[
                        (&one, Some(&value)),
                        (if n % 10 == 0 { &other } else { "filler" }, Some(&filler)),
                    ],
                ),
            );
            offset += 2;
        }
        held.commit().unwrap();
        let before = content(&held);
        let segments = segment_count(&held);
        with_segments_of(&held, 6000);
        let (dirty, cleaned) = clean(&held, NOW).unwrap();
        let end = dirty.first_uncleanable.0;
        assert!(
            end > 80 && end < offset && cleaned.end == Offset(end),
            "{dirty:?}"
        );
        assert!(segment_count(&held) < segments);
        let after = content(&held);
        let expected: Vec<_> = before
            .iter()
            .filter(|(offset, key, _)| {
                let is_last = before.iter().rfind(|other| other.1 == *key && other.0 < end);
                *offset >= end || is_last.is_some_and(|last| last.0 == *offset)
            })
            .cloned()
            .collect();
        assert_eq!(after, expected, "{compression}");
        assert_eq!(held.log.lock().log_end_offset(), Offset(offset));
        assert_eq!(held.log.lock().log_start_offset(), Offset(0));
        for (from, key, value) in &before {
            let found = read_from(&held, *from);
            assert_eq!(
                found.first(),
                after.iter().find(|record| record.0 >= *from),
                "{from} {key} {value:?}"
            );
        }
        // By time, too: the first record that is young enough among those that are left.
        for n in [0, 7, 30, 50, 59] {
            let found = offset_for_timestamp(&held.log, TimestampMs(NOW.0 + n)).unwrap();
            let expected = after.iter().find(|record| timestamp_of(record.0) >= NOW.0 + n);
            assert_eq!(
                found.map(|found| found.offset.0),
                expected.map(|record| record.0),
                "{n}"
            );
        }
        assert!(max_timestamp(&held.log).unwrap().is_some());
        // Nothing new: a second round changes nothing.
        assert!(!dirtiness(&held.log, &POLICY, NOW).unwrap().is_due(&POLICY));
        let held = reopened(&disk, held, compacted());
        assert_eq!(content(&held), after);
        assert_eq!(held.dir.cleaned_up_to(&partition()), Some(Offset(end)));
    }
}

/// The offset's timestamp: two records a batch, a millisecond apart, the next batch from the second on.
fn timestamp_of(offset: i64) -> i64 {
    NOW.0 + offset / 2 + offset % 2
}

#[test]
fn a_batch_keeps_its_place_its_producer_and_its_sequence_numbers() {
    let (_disk, held) = Held::new(compacted());
    for sequence in 0..30 {
        let values = [
            ("a", Some("x")),
            ("b", Some("y")),
            (&*format!("c{sequence}"), Some("z")),
        ];
        append(&held, of_producer(9, sequence * 3, &values));
    }
    held.commit().unwrap();
    let before = headers(&held);
    clean(&held, NOW).unwrap();
    let after = headers(&held);
    assert_eq!(before.len(), after.len(), "each has a key of its own");
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after.base_offset, before.base_offset);
        assert_eq!(after.last_offset_delta, before.last_offset_delta);
        assert_eq!(after.producer(), before.producer());
        assert_eq!(after.leader_epoch(), before.leader_epoch());
        assert_eq!(after.max_timestamp.0, before.base_timestamp.0 + 2);
    }
    assert!(after[0].record_count == 1 && after[29].record_count == 3);
}

#[test]
fn tombstones_go_when_their_time_is_over() {
    let (_disk, held) = Held::new(compacted());
    append(
        &held,
        keyed(
            Compression::Lz4,
            NOW.0,
            &[("gone", Some("v")), ("stays", Some("w"))],
        ),
    );
    append(
        &held,
        keyed(Compression::Lz4, NOW.0, &[("gone", None), ("young", Some("w"))]),
    );
    fill(&held, 10);
    let keys = |held: &Held| -> Vec<_> {
        let all = content(held).into_iter();
        all.filter(|record| record.1 != "filler")
            .map(|(offset, key, _)| (offset, key))
            .collect()
    };
    let with_tombstone = [(1, "stays".into()), (2, "gone".into()), (3, "young".into())];
    clean(&held, NOW).unwrap();
    assert_eq!(keys(&held), with_tombstone);
    let tombstone = headers(&held)[1];
    assert_eq!(tombstone.delete_horizon(), Some(NOW.plus_ms(RETENTION_MS)));
    assert_eq!(tombstone.max_timestamp, NOW.plus_ms(1), "its records' times stay");
    // Another round, before its time and then behind it.
    for (later, left) in [
        (RETENTION_MS - 1, &with_tombstone[..]),
        (RETENTION_MS, &[(1, "stays".into()), (3, "young".into())]),
    ] {
        fill(&held, 10);
        clean(&held, NOW.plus_ms(later)).unwrap();
        assert_eq!(keys(&held), left, "{later}");
    }
}

#[test]
fn the_last_batch_of_a_producer_stays_so_that_repetitions_are_known() {
    let (disk, held) = Held::new(compacted());
    append(&held, of_producer(7, 0, &[("a", Some("1"))]));
    append(&held, of_producer(7, 1, &[("a", Some("2")), ("b", Some("2"))]));
    append(
        &held,
        keyed(Compression::None, NOW.0, &[("a", Some("3")), ("b", None)]),
    );
    fill(&held, 10);
    clean(&held, NOW).unwrap();
    let empty = headers(&held)[0];
    assert_eq!(
        (empty.base_offset, empty.last_offset(), empty.record_count),
        (Offset(1), Offset(2), 0)
    );
    // Also when the state has to be found from the batches.
    let folder = held.dir.folder(&partition());
    drop(held);
    for entry in disk.read_dir(&folder).unwrap() {
        if entry.name.ends_with(".snapshot") {
            disk.remove_file(&folder.join(entry.name)).unwrap();
        }
    }
    let held = Held::open(&disk, compacted()).unwrap();
    let repeated = held.append(&of_producer(7, 1, &[("a", Some("2")), ("b", Some("2"))]));
    assert!(
        matches!(
            repeated,
            Err(crate::AppendError::Duplicate {
                base_offset: Offset(1),
                ..
            })
        ),
        "{repeated:?}"
    );
    append(&held, of_producer(7, 3, &[("a", Some("4"))]));
}

#[test]
fn a_batch_without_records_has_no_record_of_its_time() {
    let (disk, held) = Held::new(compacted());
    let builder = BatchBuilder::default().producer(ProducerId(7), ProducerEpoch(0), Some(0));
    append(&held, built(builder, NOW.0 + 1_000_000, &[("filler", Some("x"))]));
    fill(&held, 10);
    clean(&held, NOW).unwrap();
    assert_eq!(headers(&held)[0].record_count, 0);
    let held = reopened(&disk, held, compacted());
    let found = max_timestamp(&held.log).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (Offset(10), NOW.plus_ms(9)));
    let later = offset_for_timestamp(&held.log, NOW.plus_ms(10)).unwrap();
    assert_eq!(later, None);
}

#[test]
fn a_round_ends_where_its_map_is_full() {
    let (_disk, held) = Held::new(compacted());
    for n in 0..100 {
        append(
            &held,
            keyed(
                Compression::None,
                NOW.0,
                &[(&format!("{}", n % 50), Some("some value"))],
            ),
        );
    }
    fill(&held, 3);
    let expected: Vec<_> = (50..100).collect();
    let settings = CleanSettings {
        map_bytes: 24 * 12,
        map_load_factor: 0.9,
        ..SETTINGS
    };
    let mut rounds = 0;
    loop {
        let dirty = dirtiness(&held.log, &POLICY, NOW).unwrap();
        if dirty.dirty_bytes == 0 {
            break;
        }
        let cleaned = run(&held, &dirty, settings, NOW, 100).unwrap();
        assert!(cleaned.end > dirty.first_dirty, "each goes on");
        assert!(cleaned.end.0 - dirty.first_dirty.0 <= 60);
        rounds += 1;
    }
    assert!(rounds >= 6, "{rounds}");
    let left: Vec<_> = content(&held)
        .into_iter()
        .filter(|record| record.1 != "filler")
        .map(|record| record.0)
        .collect();
    assert_eq!(left, expected);
}

#[test]
fn what_is_young_open_or_undecided_is_left_alone() {
    let (_disk, held) = Held::new(compacted());
    fill(&held, 10);
    let all = dirtiness(&held.log, &POLICY, NOW).unwrap();
    let active = held.log.lock().active().base_offset;
    assert_eq!(
        (all.first_dirty, all.first_uncleanable, all.clean_bytes),
        (Offset(0), active, 0)
    );
    assert!(all.ratio() > 0.99 && all.is_due(&POLICY));
    // Records have the time of their number.
    let young = CleanPolicy {
        min_lag: Duration::from_millis(1000),
        ..POLICY
    };
    let borders: Vec<_> = held
        .log
        .lock()
        .segments
        .iter()
        .map(|segment| segment.base_offset)
        .collect();
    for (later, border) in [
        (0, 0),
        (1000, 0),
        (1000 + borders[1].0, 1),
        (1000 + borders[2].0 + 1, 2),
        (9000, borders.len() - 1),
    ] {
        let found = dirtiness(&held.log, &young, NOW.plus_ms(later)).unwrap();
        assert_eq!(found.first_uncleanable, borders[border], "{later}");
    }
    let late = CleanPolicy {
        min_dirty_ratio: 1.0,
        max_lag: Some(Duration::from_millis(500)),
        ..POLICY
    };
    for (later, overdue) in [(400, 0), (500, 0), (510, 10), (2000, 1500)] {
        let found = dirtiness(&held.log, &late, NOW.plus_ms(later)).unwrap();
        assert_eq!(found.overdue, Duration::from_millis(overdue), "{later}");
        assert_eq!(found.is_due(&late), overdue > 0);
    }
    let open = open_transaction(&held);
    fill(&held, 10);
    assert_eq!(
        dirtiness(&held.log, &POLICY, NOW).unwrap().first_uncleanable,
        segment_below(&held, open)
    );
}

#[test]
fn small_segments_become_one_as_far_as_it_may_grow() {
    let (_disk, held) = Held::new(compacted());
    for n in 0..40 {
        append(
            &held,
            keyed(
                Compression::None,
                NOW.0,
                &[("same", Some(&"x".repeat(300))), (&format!("{n}"), Some("x"))],
            ),
        );
    }
    held.commit().unwrap();
    let before = segment_count(&held);
    clean(&held, NOW).unwrap();
    // As Kafka: what they had, not what is left, must fit.
    assert_eq!(segment_count(&held), before);
    fill(&held, 12);
    clean(&held, NOW).unwrap();
    let limit = compacted().segment_bytes;
    let sizes: Vec<_> = held
        .log
        .lock()
        .segments
        .iter()
        .map(|segment| segment.size)
        .collect();
    assert!(sizes.len() < before, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= limit), "{sizes:?}");
}

#[test]
fn what_is_cleaned_is_on_the_device_to_the_next_start() {
    let (_disk, held) = Held::new(compacted());
    fill(&held, 20);
    assert_eq!(held.dir.positions(&partition()).recovery_point, Offset(0));
    let (dirty, _) = clean(&held, NOW).unwrap();
    assert!(held.dir.positions(&partition()).recovery_point >= dirty.first_uncleanable);
}

#[test]
fn a_log_that_changes_ends_the_round() {
    for (kind, change) in [("retention", 0), ("truncation", 1), ("deletion", 2)] {
        for steps in 0..40 {
            let (_disk, held) = Held::new(LogConfig {
                retention_bytes: Some(0),
                delete: true,
                ..compacted()
            });
            fill(&held, 20);
            let dirty = dirtiness(&held.log, &POLICY, NOW).unwrap();
            let mut round = Round::begin(&held.log, &dirty, SETTINGS, (1, 2), NOW)
                .unwrap()
                .unwrap();
            assert!(
                Round::begin(&held.log, &dirty, SETTINGS, (1, 2), NOW)
                    .unwrap()
                    .is_none(),
                "one at a time"
            );
            let mut over = false;
            for _ in 0..steps {
                over |= !matches!(round.step(&held.log, 1).unwrap(), Progress::More(_));
            }
            if over {
                assert!(steps > 5);
                break;
            }
            match change {
                0 => drop(retention(&held.log, NOW).unwrap()),
                1 => drop(crate::truncate::truncate_to(&held.log, Offset(3), NOW).unwrap()),
                _ => crate::retire(&held.log),
            }
            let after = content_unless_retired(&held, change == 2);
            let outcome = (0..1000).find_map(|_| match round.step(&held.log, 1) {
                Ok(Progress::More(_)) => None,
                other => Some(other),
            });
            let is_over = matches!(outcome, Some(Ok(Progress::Overtaken) | Err(LogError::Retired)));
            assert!(is_over, "{kind} after {steps}: {outcome:?}");
            assert_eq!(
                content_unless_retired(&held, change == 2),
                after,
                "{kind} after {steps}"
            );
            if change != 2 {
                assert_eq!(unfinished(&held), Vec::<String>::new());
            }
        }
    }
}

#[test]
fn a_round_that_is_given_up_leaves_nothing() {
    let (_disk, held) = Held::new(compacted());
    fill(&held, 30);
    let before = content(&held);
    let dirty = dirtiness(&held.log, &POLICY, NOW).unwrap();
    let mut round = Round::begin(&held.log, &dirty, SETTINGS, (1, 2), NOW)
        .unwrap()
        .unwrap();
    while unfinished(&held).is_empty() {
        assert!(matches!(round.step(&held.log, 1).unwrap(), Progress::More(_)));
    }
    round.give_up().unwrap();
    drop(round);
    assert_eq!((unfinished(&held), content(&held)), (Vec::new(), before));
    clean(&held, NOW).unwrap();
}

#[test]
fn a_damaged_batch_is_an_error_and_changes_nothing() {
    let (disk, held) = Held::new(compacted());
    fill(&held, 20);
    close(&held.log).unwrap();
    let path = held
        .dir
        .folder(&partition())
        .join(crate::names::FileKind::Log.name(Offset(0)));
    let file = disk.open(&path, klamm_env::OpenMode::Write).unwrap();
    file.write_at(&[std::io::IoSlice::new(b"!")], 100).unwrap();
    let dirty = dirtiness(&held.log, &POLICY, NOW).unwrap();
    let error = run(&held, &dirty, SETTINGS, NOW, 1 << 20).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
    assert_eq!(held.dir.cleaned_up_to(&partition()), None);
    assert_eq!(unfinished(&held), Vec::<String>::new());
}

#[test]
fn the_gaps_of_a_compacted_log_are_no_damage_when_the_checkpoint_is_lost() {
    let (disk, held) = Held::new(compacted());
    for n in 0..40 {
        let key = if n < 35 { "same" } else { "other" };
        append(
            &held,
            keyed(Compression::None, NOW.0, &[(key, Some(&"x".repeat(300)))]),
        );
    }
    held.commit().unwrap();
    clean(&held, NOW).unwrap();
    let after = content(&held);
    flush(&held.log, FlushScope::All).unwrap();
    let path = held.dir.path().join("recovery-point-offset-checkpoint");
    drop(held);
    disk.remove_file(&path).unwrap();
    let held = Held::open(&disk, compacted()).unwrap();
    assert_eq!(content(&held), after);
}
