use std::io::IoSlice;
use std::path::Path;

use klamm_env::sim::disk::Disk;
use klamm_env::{Files, OpenMode};
use proptest::prelude::*;

use super::*;
use crate::testing::batch;

/// A segment of three batches.
fn segment() -> (Vec<u8>, Vec<u64>) {
    let (mut bytes, mut starts) = (Vec::new(), Vec::new());
    for offset in 0..3 {
        starts.push(bytes.len() as u64);
        let mut one = batch(1_000, &[&"x".repeat(40)]).to_vec();
        one[..8].copy_from_slice(&(offset as i64).to_be_bytes());
        bytes.extend(one);
    }
    (bytes, starts)
}

fn walked(bytes: &[u8]) -> Vec<Piece> {
    let disk = Disk::default();
    let path = Path::new("/a");
    let file = disk.open(path, OpenMode::Create).unwrap();
    file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    let mut walk = Walk::new(
        file,
        bytes.len() as u64,
        Offset(0)..Offset(i64::MAX),
        Depth::Records,
    );
    std::iter::from_fn(|| walk.step()).collect()
}

/// A flipped base offset leads no later batch astray.
#[test]
fn a_wrong_base_offset_is_told_by_the_batch_behind_it() {
    let (mut bytes, starts) = segment();
    // The first of three is at offset 16 now.
    bytes[7] ^= 0x10;
    let pieces = walked(&bytes);
    let [
        Piece::Damaged {
            positions,
            next_offset,
            ..
        },
        Piece::Batch { .. },
        Piece::Batch { .. },
    ] = &pieces[..]
    else {
        panic!("{pieces:?}");
    };
    assert_eq!((positions.clone(), *next_offset), (0..starts[1], Some(Offset(1))));
}

proptest! {
    /// The pieces are the file, whatever is in it.
    #[test]
    fn every_byte_is_in_one_piece(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut bytes, _) = segment();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let mut end = 0;
        for piece in walked(&bytes) {
            let (start, next) = match piece {
                Piece::Batch { position, batch } => (position, position + batch.bytes().len() as u64),
                Piece::Damaged { positions, .. } => (positions.start, positions.end),
            };
            prop_assert_eq!(start, end);
            prop_assert!(next > start);
            end = next;
        }
        prop_assert_eq!(end, bytes.len() as u64);
    }
}
