use super::*;
use crate::segment::Segment;
use crate::testing::{Held, NOW, batch, small};

#[test]
fn a_log_at_rest_is_small_and_has_no_file_open() {
    let fixed = size_of::<Log>() + size_of::<Segment>() + size_of::<SegmentFiles>();
    assert!(fixed <= 900, "{fixed} bytes");
    let (_disk, held) = Held::new(small());
    for _ in 0..5 {
        held.append(&batch(NOW.0, &[&"x".repeat(150)])).unwrap();
    }
    held.commit().unwrap();
    rest(&held.log).unwrap();
    let log = held.log.lock();
    assert!(log.marks.is_none() && log.active().unsynced.is_none());
    assert!(log.active().offsets.pending().is_empty() && log.active().offsets.len() > 0);
    drop(log);
    assert_eq!(held.records(klamm_model::Offset(3)).len(), 2);
}

#[test]
fn flushes_raise_the_recovery_point_as_far_as_they_reach() {
    let (_disk, held) = Held::new(small());
    for _ in 0..5 {
        held.append(&batch(NOW.0, &[&"x".repeat(900)])).unwrap();
    }
    let points = || {
        let log = held.log.lock();
        (log.recovery_point().0, log.durable_end_offset().0)
    };
    held.commit().unwrap();
    assert_eq!(points(), (0, 5), "a commit says nothing of the next start");
    flush(&held.log, FlushScope::Sealed).unwrap();
    assert_eq!(points(), (4, 5));
    flush(&held.log, FlushScope::All).unwrap();
    assert_eq!(points(), (5, 5));
}
