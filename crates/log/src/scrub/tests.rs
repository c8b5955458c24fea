use std::io::IoSlice;
use std::path::Path;

use klamm_env::{Files, OpenMode};

use super::*;
use crate::testing::{Held, NOW, batch, small};

#[test]
fn a_flipped_bit_in_any_sealed_segment_is_found_in_small_steps() {
    let (disk, held) = Held::new(small());
    for i in 0..20 {
        held.append(&batch(NOW.0 + i, &[&"v".repeat(300)])).unwrap();
    }
    assert_eq!(sealed(&held.log), [], "nothing is on the device yet");
    held.commit().unwrap();
    let segments = sealed(&held.log);
    assert!(segments.len() > 2, "{segments:?}");
    for (base_offset, size) in &segments {
        let path = Path::new("/data/orders-3").join(FileKind::Log.name(*base_offset));
        let file = disk.open(&path, OpenMode::Write).unwrap();
        for flipped in [None, Some(size / 2)] {
            if let Some(position) = flipped {
                let mut byte = [0];
                file.read_exact_at(&mut byte, position).unwrap();
                file.write_at(&[IoSlice::new(&[byte[0] ^ 1])], position).unwrap();
            }
            let mut scrub = begin(&held.log, *base_offset).unwrap().unwrap();
            let (mut read, mut found) = (0, Vec::new());
            loop {
                let (bytes, damaged) = scrub.step(100);
                if bytes == 0 {
                    break;
                }
                assert!(bytes < 1_000, "{bytes}");
                read += bytes;
                found.extend(damaged);
            }
            assert_eq!(read, *size);
            let ranges: Vec<_> = found.iter().map(|one| one.positions.clone().unwrap()).collect();
            assert_eq!(ranges.len(), usize::from(flipped.is_some()), "{found:?}");
            assert!(ranges.iter().all(|range| range.contains(&(size / 2))));
        }
    }
    let active = held.log.lock().active().base_offset;
    assert!(begin(&held.log, active).unwrap().is_none(), "it is written to");
    assert!(begin(&held.log, Offset(1)).unwrap().is_none(), "there is none");
}
