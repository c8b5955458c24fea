use klamm_env::sim::disk::{Failure, Fault, Operation};
use klamm_model::Offset;
use klamm_records::{Batch, BatchHeader, HEADER_BYTES};

use super::*;
use crate::config::LogConfig;
use crate::testing::{EPOCH, Held, NOW, batch, expected, idempotent, small};

#[test]
fn what_is_appended_is_read_back() {
    let (_disk, held) = Held::new(small());
    let first = held.append(&batch(NOW.0, &["a", "b"])).unwrap();
    assert_eq!((first.base_offset, first.last_offset), (Offset(0), Offset(1)));
    let second = held.append(&batch(NOW.0, &["c"])).unwrap();
    assert_eq!((second.base_offset, second.last_offset), (Offset(2), Offset(2)));
    assert_eq!(held.records(Offset(0)), expected(0, &["a", "b", "c"]));
    assert_eq!(held.records(Offset(2)), expected(2, &["c"]));
    assert_eq!(held.log.lock().leader_epochs().entries(), [(EPOCH, Offset(0))]);
}

#[test]
fn a_full_segment_is_rolled() {
    let (_disk, held) = Held::new(small());
    let text = "x".repeat(700);
    for n in 0..20 {
        assert_eq!(
            held.append(&batch(NOW.0, &[&text])).unwrap().base_offset,
            Offset(n)
        );
    }
    assert_eq!(held.log.lock().summary().segment_count, 10);
    assert_eq!(held.records(Offset(0)), expected(0, &vec![text.as_str(); 20]));
}

/// Appends `batches` in one call.
fn append_all(held: &Held, batches: &[bytes::Bytes]) -> Result<Vec<Outcome>, NotReady> {
    append_with(batches, |incoming, outcomes| {
        held.log
            .lock()
            .append_as_leader(incoming, EPOCH, NOW, |outcome| outcomes.push(outcome))
    })
}

fn append_with(
    batches: &[bytes::Bytes],
    append: impl FnOnce(&mut [Incoming<'_>], &mut Vec<Outcome>) -> Result<(), NotReady>,
) -> Result<Vec<Outcome>, NotReady> {
    let mut headers: Vec<BatchHeader> = batches
        .iter()
        .map(|bytes| *Batch::parse(bytes).unwrap().header())
        .collect();
    let mut incoming: Vec<Incoming<'_>> = headers
        .iter_mut()
        .zip(batches)
        .map(|(header, bytes)| Incoming {
            header,
            body: &bytes[HEADER_BYTES..],
            guard: None,
        })
        .collect();
    let mut outcomes = Vec::new();
    append(&mut incoming, &mut outcomes).map(|()| outcomes)
}

#[test]
fn nothing_is_appended_behind_one_of_an_order_that_failed() {
    let config = LogConfig {
        max_message_bytes: 500,
        ..LogConfig::default()
    };
    let large = batch(NOW.0, &[&"x".repeat(600)]);
    let small: Vec<_> = (0..40).map(|_| batch(NOW.0, &["v"])).collect();
    // Where the one that is refused stands: within a write, as its first, in a later one.
    for refused in [0, 1, 15, 16, 17, 39] {
        let (_disk, held) = Held::new(config.clone());
        held.prepare(NotReady::Open).unwrap();
        let mut batches = small.clone();
        batches[refused] = large.clone();
        let append = |incoming: &mut [Incoming<'_>], outcomes: &mut Vec<Outcome>| {
            let mut log = held.log.lock();
            log.append_in_order(incoming, EPOCH, NOW, |outcome| outcomes.push(outcome))
        };
        let outcomes = append_with(&batches, append).unwrap();
        assert_eq!(outcomes.len(), refused + 1);
        assert!(matches!(outcomes[refused], Err(AppendError::TooLarge { .. })));
        assert!(outcomes[..refused].iter().all(Result::is_ok));
        assert_eq!(held.records(Offset(0)), expected(0, &vec!["v"; refused]));
    }

    let (disk, held) = Held::new(config);
    held.prepare(NotReady::Open).unwrap();
    // There is room again before the next write.
    disk.inject(Fault::nth(Operation::Write, 0).with(Failure::NoSpace));
    let outcomes = append_with(&small, |incoming, outcomes| {
        let mut log = held.log.lock();
        log.append_in_order(incoming, EPOCH, NOW, |outcome| outcomes.push(outcome))
    });
    assert!(outcomes.unwrap().iter().all(Result::is_err));
    assert_eq!(held.log.lock().log_end_offset(), Offset(0));
}

#[test]
fn several_batches_go_out_in_one_write() {
    let (disk, held) = Held::new(LogConfig::default());
    let batches: Vec<_> = (0..16).map(|n| idempotent(1, 0, n, &["v"])).collect();
    held.prepare(NotReady::Open).unwrap();
    let before = disk.changes();
    let outcomes = append_all(&held, &batches).unwrap();
    assert_eq!(disk.changes() - before, 1);
    let offsets: Vec<i64> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().unwrap().base_offset.0)
        .collect();
    assert_eq!(offsets, (0..16).collect::<Vec<_>>());
    assert_eq!(held.records(Offset(0)), expected(0, &["v"; 16]));
}

#[test]
fn a_refused_batch_does_not_keep_the_next_one_out() {
    let config = LogConfig {
        max_message_bytes: 500,
        ..small()
    };
    let (_disk, held) = Held::new(config);
    held.prepare(NotReady::Open).unwrap();
    let batches = [
        idempotent(1, 0, 0, &["a"]),
        idempotent(1, 0, 5, &["gap"]),
        idempotent(1, 0, 0, &["a"]),
        batch(NOW.0, &[&"x".repeat(600)]),
        idempotent(1, 0, 1, &["b"]),
    ];
    let outcomes = append_all(&held, &batches).unwrap();
    assert!(matches!(
        outcomes[0],
        Ok(Appended {
            base_offset: Offset(0),
            ..
        })
    ));
    assert!(matches!(
        outcomes[1],
        Err(AppendError::OutOfOrderSequence {
            found: 5,
            last: 0,
            ..
        })
    ));
    assert!(matches!(
        outcomes[2],
        Err(AppendError::Duplicate {
            base_offset: Offset(0),
            ..
        })
    ));
    assert!(matches!(
        outcomes[3],
        Err(AppendError::TooLarge { limit: 500, .. })
    ));
    assert!(matches!(
        outcomes[4],
        Ok(Appended {
            base_offset: Offset(1),
            ..
        })
    ));
    assert_eq!(held.records(Offset(0)), expected(0, &["a", "b"]));
}

#[test]
fn a_segment_is_rolled_by_age_and_by_its_indexes() {
    let by_age = LogConfig {
        segment_ms: std::time::Duration::from_millis(1000),
        roll_jitter: std::time::Duration::from_millis(100),
        ..LogConfig::default()
    };
    let by_index = LogConfig {
        index_interval_bytes: 0,
        segment_index_bytes: 24,
        ..LogConfig::default()
    };
    for (config, times, segments) in [
        (by_age.clone(), [0, 899, 900, 900], 1),
        (by_age.clone(), [0, 900, 901, 901], 2),
        (by_age, [0, 901, 1000, 1803], 3),
        (by_index, [0, 0, 0, 0], 2),
    ] {
        let (_disk, held) = Held::new(config);
        for time in times {
            held.append(&batch(NOW.0 + time, &["v"])).unwrap();
        }
        assert_eq!(held.log.lock().summary().segment_count, segments, "{times:?}");
        assert_eq!(held.records(Offset(0)).len(), 4);
    }
}

#[test]
fn a_full_device_costs_only_the_batch() {
    let (disk, held) = Held::new(small());
    held.append(&batch(NOW.0, &["a"])).unwrap();
    disk.inject(Fault::nth(Operation::Write, 0).with(Failure::NoSpace));
    assert!(matches!(
        held.append(&batch(NOW.0, &["lost"])),
        Err(AppendError::Storage(_))
    ));
    assert!(held.dir.failure().is_none());
    assert_eq!(held.append(&batch(NOW.0, &["b"])).unwrap().base_offset, Offset(1));
    assert_eq!(held.records(Offset(0)), expected(0, &["a", "b"]));
}

/// Index entries are written when many have gathered: without room for them they gather on.
#[test]
fn a_full_device_under_the_indexes_costs_nothing() {
    let config = LogConfig {
        index_interval_bytes: 0,
        ..LogConfig::default()
    };
    let (disk, held) = Held::new(config);
    let mut fault = Fault::always(Operation::Write).with(Failure::NoSpace);
    fault.path_contains = Some("index".to_owned());
    disk.inject(fault);
    for n in 0..600 {
        held.append(&batch(NOW.0 + n, &["value"])).unwrap();
    }
    assert_eq!(held.dir.failure(), None);
    assert_eq!(held.records(Offset(0)).len(), 600);
}

#[test]
fn a_failed_write_takes_the_dir_out_of_service() {
    let (disk, held) = Held::new(small());
    held.append(&batch(NOW.0, &["a"])).unwrap();
    disk.inject(Fault::nth(Operation::Write, 0));
    for _ in 0..2 {
        assert!(matches!(
            held.append(&batch(NOW.0, &["lost"])),
            Err(AppendError::Storage(_))
        ));
    }
    assert!(held.dir.failure().is_some());
}

#[test]
fn a_follower_has_what_the_leader_has() {
    let (disk, leader) = Held::new(small());
    for n in 0..12 {
        let value = n.to_string().repeat(100);
        leader.append(&batch(NOW.0, &[&value, "second"])).unwrap();
    }
    let mut fetched = Vec::new();
    for base in leader
        .log
        .lock()
        .segments
        .iter()
        .map(|segment| segment.base_offset)
    {
        let path = format!("/data/orders-3/{:020}.log", base.0);
        fetched.extend(klamm_env::Files::read(&disk, path.as_ref(), 1 << 20).unwrap());
    }
    let fetched = bytes::Bytes::from(fetched);
    let (_disk, follower) = Held::new(small());
    // A fetch may end within a batch, and begin again before the log end.
    for length in [fetched.len() - 10, fetched.len()] {
        loop {
            let result = follower
                .log
                .lock()
                .append_as_follower(&fetched.slice(..length), NOW);
            match result {
                Ok(()) => break,
                Err(crate::FollowerError::NotReady(need)) => follower.prepare(need).unwrap(),
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(follower.records(Offset(0)), leader.records(Offset(0)));
    assert_eq!(
        follower.log.lock().leader_epochs().entries(),
        [(EPOCH, Offset(0))]
    );
    assert_eq!(follower.log.lock().summary(), leader.log.lock().summary());

    let mut damaged = batch(NOW.0, &["v"]).to_vec();
    damaged[7] = 99;
    *damaged.last_mut().unwrap() ^= 1;
    let result = follower.log.lock().append_as_follower(&damaged.into(), NOW);
    assert!(matches!(
        result,
        Err(crate::FollowerError::Append(AppendError::Batch(
            BatchError::Crc { .. }
        )))
    ));
}
