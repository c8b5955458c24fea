use klamm_env::sim::disk::{Disk, Failure, Fault, Operation};
use klamm_model::{LeaderEpoch, Offset};
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
