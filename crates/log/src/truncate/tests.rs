use std::io::IoSlice;
use std::path::Path;

use klamm_env::{Files, OpenMode};

use super::*;
use crate::config::LogConfig;
use crate::testing::{Held, NOW, batch};

/// Where `last_offset_delta` stands in a batch.
const DELTA: u64 = 23;

#[test]
fn a_batch_that_ends_before_it_begins_is_damage_to_a_truncation_and_no_log_end() {
    for delta in [-5, i32::MIN, -1] {
        let (disk, held) = Held::new(LogConfig::default());
        held.append(&batch(1, &["a"])).unwrap();
        held.append(&batch(2, &["b"])).unwrap();
        held.commit().unwrap();
        let path = Path::new("/data/orders-3/00000000000000000000.log");
        let file = disk.open(path, OpenMode::Write).unwrap();
        let delta = i32::to_be_bytes(delta);
        file.write_at(&[IoSlice::new(&delta)], DELTA).unwrap();
        assert!(truncate_to(&held.log, Offset(1), NOW).is_err());
        assert_eq!(held.log.lock().log_end_offset(), Offset(2));
    }
}
