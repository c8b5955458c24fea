use std::io::IoSlice;
use std::path::{Path, PathBuf};

use klamm_env::sim::disk::Disk;
use klamm_env::{Files, OpenMode};
use klamm_model::{LeaderEpoch, Offset};

use crate::flush::{FlushScope, close, flush};
use crate::testing::{EPOCH, Held, NOW, batch, small};

const FOLDER: &str = "/data/orders-3";

/// A log of some segments, each with one record; ended in order, or after a flush and a checkpoint.
fn segments(clean: bool) -> Disk {
    let (disk, held) = Held::new(small());
    for n in 0..4 {
        held.append(&batch(NOW.0 + n, &["x".repeat(1500).as_str()]))
            .unwrap();
    }
    held.commit().unwrap();
    flush(&held.log, FlushScope::All).unwrap();
    if clean {
        close(&held.log).unwrap();
    }
    held.checkpoint().unwrap();
    if clean {
        held.dir.mark_clean(7).unwrap();
    }
    disk
}

fn path(base_offset: i64, ending: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{base_offset:020}.{ending}"))
}

#[test]
fn epochs_are_taken_from_the_batches_when_their_checkpoint_is_gone_or_cannot_be_read() {
    let checkpoint = Path::new(FOLDER).join("leader-epoch-checkpoint");
    for clean in [true, false] {
        for damaged in [None, Some("0\n1\n3"), Some("")] {
            let disk = segments(clean);
            disk.remove_file(&checkpoint).unwrap();
            if let Some(text) = damaged {
                let file = disk.open(&checkpoint, OpenMode::Create).unwrap();
                file.write_at(&[IoSlice::new(text.as_bytes())], 0).unwrap();
            }
            let held = Held::open(&disk, small()).unwrap();
            let entries: Vec<(LeaderEpoch, Offset)> = held.log.lock().epochs.entries().to_vec();
            assert_eq!(entries, [(EPOCH, Offset(0))], "{clean} {damaged:?}");
            drop(held);
            // And the next start finds it on the device.
            let text = disk.read(&checkpoint, 100).unwrap();
            assert_eq!(text, b"0\n1\n3 0\n", "{clean} {damaged:?}");
        }
    }
}

#[test]
fn a_segment_that_is_gone_or_emptied_is_missed_by_its_index() {
    for (gone, clean) in [(1, true), (1, false), (2, true), (0, true), (0, false)] {
        for emptied in [false, true] {
            // The next test.
            if (gone, clean, emptied) == (0, false, false) {
                continue;
            }
            let disk = segments(clean);
            match emptied {
                false => disk.remove_file(&path(gone, "log")).unwrap(),
                true => disk
                    .open(&path(gone, "log"), OpenMode::Write)
                    .unwrap()
                    .set_len(0)
                    .unwrap(),
            }
            let error = Held::open(&disk, small()).err().unwrap().to_string();
            let expected = format!("offsets {gone} to {}", gone + 1);
            assert!(
                error.contains(&expected) && error.contains(&format!("{gone:020}.log")),
                "{gone} {clean} {emptied}: {error}"
            );
        }
    }
}

/// The oldest segment's file went, and the power before its indexes did.
#[test]
fn what_a_removal_left_in_front_of_the_log_is_removed() {
    let disk = segments(false);
    disk.remove_file(&path(0, "log")).unwrap();
    let held = Held::open(&disk, small()).unwrap();
    assert_eq!(held.log.lock().log_start_offset(), Offset(1));
    for ending in ["index", "timeindex"] {
        assert_eq!(disk.entry(&path(0, ending)).unwrap(), None);
    }
}
