use klamm_model::TimestampMs;
use klamm_records::HEADER_BYTES;

use super::*;
use crate::flush::close;
use crate::testing::{EPOCH, Held, NOW, batch, idempotent, small};

fn path(name: &str) -> std::path::PathBuf {
    Path::new("/data/orders-3").join(name)
}

/// A closed log of three batches, the last of a producer.
fn closed() -> klamm_env::sim::disk::Disk {
    let (disk, held) = Held::new(small());
    held.append(&batch(NOW.0, &["a", "b"])).unwrap();
    held.append(&batch(NOW.0 + 50, &[&"c".repeat(300)])).unwrap();
    held.append(&idempotent(9, 0, 0, &["d"])).unwrap();
    close(&held.log).unwrap();
    disk
}

#[test]
fn every_file_of_a_closed_log_is_read() {
    let disk = closed();
    let batches: Vec<BatchAt> = Segment::open(&disk, &path("00000000000000000000.log"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let found: Vec<_> = batches
        .iter()
        .map(|at| (at.position, at.batch.header().base_offset.0))
        .collect();
    let size = |at: usize| batches[at].batch.bytes().len() as u64;
    assert_eq!(found, [(0, 0), (size(0), 2), (size(0) + size(1), 3)]);
    assert!(batches.iter().all(|at| at.checksum.is_ok()));

    let entry = OffsetAt {
        offset: Offset(3),
        position: (size(0) + size(1)) as u32,
    };
    assert_eq!(
        offset_index(&disk, &path("00000000000000000000.index")).unwrap(),
        [entry]
    );
    let entry = TimeAt {
        timestamp: NOW.0 + 50,
        offset: Offset(2),
    };
    assert_eq!(
        time_index(&disk, &path("00000000000000000000.timeindex")).unwrap(),
        [entry]
    );
    let producers = producer_snapshot(&disk, &path("00000000000000000004.snapshot")).unwrap();
    assert_eq!(producers.len(), 1);
    assert_eq!(
        (producers[0].producer_id.0, producers[0].last_sequence),
        (9, Some(0))
    );
    assert_eq!(producers[0].last_timestamp, TimestampMs(NOW.0));
    assert_eq!(
        leader_epochs(&disk, &path("leader-epoch-checkpoint")).unwrap(),
        [(EPOCH, Offset(0))]
    );
}

#[test]
fn damage_is_named_with_its_position() {
    let disk = closed();
    let log = path("00000000000000000000.log");
    let file = disk.open(&log, OpenMode::Write).unwrap();
    file.write_at(&[io::IoSlice::new(b"?")], HEADER_BYTES as u64 + 2)
        .unwrap();
    let batches: Vec<_> = Segment::open(&disk, &log).unwrap().map(Result::unwrap).collect();
    assert!(matches!(batches[0].checksum, Err(BatchError::Crc { .. })));
    assert!(batches[1].checksum.is_ok());

    file.set_len(file.len().unwrap() - 1).unwrap();
    let last = Segment::open(&disk, &log).unwrap().last().unwrap();
    let at = batches[2].position;
    assert!(
        matches!(last, Err(InspectError::Batch { position, source: BatchError::Incomplete { .. } }) if position == at)
    );

    let index = path("00000000000000000000.index");
    disk.open(&index, OpenMode::Write).unwrap().set_len(5).unwrap();
    let text = offset_index(&disk, &index).unwrap_err().to_string();
    assert_eq!(text, "5 bytes are not a multiple of the 8 of an entry");
    assert!(matches!(time_index(&disk, &index), Err(InspectError::Name(_))));
}
