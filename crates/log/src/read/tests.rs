use klamm_env::OpenMode;
use klamm_env::sim::disk::Disk;

use super::*;
use crate::error::LogError;
use crate::flush::close;
use crate::testing::{Held, NOW, batch, expected, records_of, small};

fn request(offset: i64, max_bytes: usize, upper_bound: i64) -> ReadRequest {
    ReadRequest {
        offset: Offset(offset),
        max_bytes,
        upper_bound: Offset(upper_bound),
        min_one: true,
    }
}

#[test]
fn offsets_outside_the_log_are_refused() {
    let (_disk, held) = Held::new(small());
    held.append(&batch(NOW.0, &["a", "b"])).unwrap();
    let read = |offset| held.log.lock().read(&request(offset, 1000, 2));
    assert_eq!(read(2).unwrap().next_offset, Offset(2));
    assert!(read(2).unwrap().range.is_none());
    for offset in [-1, 3] {
        assert!(
            matches!(read(offset), Err(ReadError::OffsetOutOfRange { .. })),
            "{offset}"
        );
    }
    held.log.lock().update_high_watermark(Offset(1));
    held.log.lock().advance_log_start_offset(Offset(1)).unwrap();
    assert!(matches!(
        read(0),
        Err(ReadError::OffsetOutOfRange {
            log_start_offset: Offset(1),
            ..
        })
    ));
    assert_eq!(
        records_of(&read(1).unwrap().range.unwrap()),
        expected(0, &["a", "b"]),
        "whole batches"
    );
}

#[test]
fn a_read_at_the_tail_needs_no_search() {
    let (disk, held) = Held::new(small());
    let mut at = 0;
    for n in 0..30 {
        held.append(&batch(NOW.0, &["a", "b"])).unwrap();
        held.commit().unwrap();
        let watermark = held.log.lock().high_watermark();
        assert_eq!(watermark, Offset(2 * n + 2));
        // Nothing can be read from the device: a search would have to.
        disk.evict_page_cache();
        let read = held.log.lock().read(&request(at, 1 << 20, watermark.0)).unwrap();
        at = read.next_offset.0;
        assert_eq!(records_of(&read.range.unwrap()), expected(2 * n, &["a", "b"]));
    }
    assert!(held.log.lock().summary().segment_count > 1);
}

#[test]
fn what_is_not_in_memory_is_read_elsewhere_and_verified() {
    let (disk, held) = Held::new(small());
    let values: Vec<String> = (0..40).map(|n| format!("{n:300}")).collect();
    for value in &values {
        held.append(&batch(NOW.0, &[value])).unwrap();
    }
    close(&held.log).unwrap();
    disk.evict_page_cache();
    let wanted = request(17, 1000, 40);
    assert!(matches!(
        held.log.lock().read(&wanted),
        Err(ReadError::NotReady(NotReady::Segment(_)))
    ));
    let read = read_blocking(&held.log, &wanted, NOW).unwrap();
    let range = read.range.unwrap();
    disk.evict_page_cache();
    assert!(!range.is_resident());
    range.verify().unwrap();
    assert!(range.is_resident());
    assert_eq!(
        records_of(&range)[0],
        (17, values[17].clone().into_bytes().into())
    );

    let damaged = range.position + 80;
    let segments: Vec<i64> = held
        .log
        .lock()
        .segments
        .iter()
        .map(|segment| segment.base_offset.0)
        .collect();
    let base_offset = segments.iter().rfind(|base_offset| **base_offset <= 17).unwrap();
    let log = format!("/data/orders-3/{base_offset:020}.log");
    let file = klamm_env::Files::open(&disk, log.as_ref(), OpenMode::Write).unwrap();
    file.write_at(&[io::IoSlice::new(b"#")], damaged).unwrap();
    let error = range.verify().unwrap_err();
    assert!(
        matches!(error, VerifyError::Corrupt { position, source: BatchError::Crc { .. } } if position == range.position)
    );
    // The look brought it into memory, where nobody may take it from unchecked.
    let again = read_blocking(&held.log, &wanted, NOW).unwrap().range.unwrap();
    assert!(!again.is_resident() && !again.copy_resident(&mut Vec::new()));
    assert!(again.verify().is_err());
}

/// No checksum covers a base offset.
#[test]
fn a_read_does_not_stand_still_at_a_damaged_base_offset() {
    let (disk, held) = Held::new(small());
    let one = batch(NOW.0, &["value"]);
    for _ in 0..3 {
        held.append(&one).unwrap();
    }
    let log = "/data/orders-3/00000000000000000000.log";
    let file = klamm_env::Files::open(&disk, log.as_ref(), OpenMode::Write).unwrap();
    file.write_at(&[io::IoSlice::new(&[0; 8])], 2 * one.len() as u64)
        .unwrap();
    // The first two batches fit; what is behind them says where to go on.
    let error = read_blocking(&held.log, &request(0, 2 * one.len(), 3), NOW).unwrap_err();
    assert!(
        matches!(&error, ReadError::Storage(LogError::Io { .. })),
        "{error:?}"
    );
}

/// Every index file of a log of many segments is lost or damaged while the log is closed.
#[test]
fn lost_and_damaged_indexes_are_made_anew() {
    let damages: [fn(&Disk, &std::path::Path); 4] = [
        |disk, path| klamm_env::Files::remove_file(disk, path).unwrap(),
        |disk, path| write(disk, path, &[0; 5]),
        |disk, path| write(disk, path, &[0; 96]),
        |disk, path| write(disk, path, &[0x7f; 24]),
    ];
    for damage in damages {
        let (disk, held) = Held::new(small());
        for n in 0..40 {
            held.append(&batch(NOW.0 + n, &[&format!("{n:300}")])).unwrap();
        }
        let all = held.records(Offset(0));
        close(&held.log).unwrap();
        held.checkpoint().unwrap();
        held.dir.mark_clean(-1).unwrap();
        drop(held);
        let folder = std::path::Path::new("/data/orders-3");
        for entry in klamm_env::Files::read_dir(&disk, folder).unwrap() {
            if entry.name.ends_with("index") {
                damage(&disk, &folder.join(entry.name));
            }
        }
        let held = Held::open(&disk, small()).unwrap();
        for from in [0, 1, 13, 22, 39] {
            assert_eq!(held.records(Offset(from)), all[from as usize..], "{from}");
        }
        let found = crate::offsets::offset_for_timestamp(&held.log, NOW.plus_ms(23)).unwrap();
        assert_eq!(found.map(|record| record.offset), Some(Offset(23)));
    }
}

fn write(disk: &Disk, path: &std::path::Path, bytes: &[u8]) {
    let file = klamm_env::Files::open(disk, path, OpenMode::Write).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[io::IoSlice::new(bytes)], 0).unwrap();
}

#[test]
fn records_are_found_by_time() {
    let (_disk, held) = Held::new(small());
    // Times go back and forth between batches, and within one.
    for time in [100, 300, 200, 500, 400, 700, 600] {
        let long = "x".repeat(250);
        held.append(&batch(time, &[&long, &long, &long])).unwrap();
    }
    held.log.lock().update_high_watermark(Offset(21));
    let find = |time| {
        let found = crate::offsets::offset_for_timestamp(&held.log, TimestampMs(time)).unwrap();
        found.map(|record| (record.offset.0, record.timestamp.0))
    };
    for (time, offset) in [
        (0, Some((0, 100))),
        (101, Some((1, 101))),
        (103, Some((3, 300))),
        (302, Some((5, 302))),
        (303, Some((9, 500))),
        (503, Some((15, 700))),
        (702, Some((17, 702))),
        (703, None),
    ] {
        assert_eq!(find(time), offset, "{time}");
    }
    let max = crate::offsets::max_timestamp(&held.log).unwrap().unwrap();
    assert_eq!((max.offset, max.timestamp), (Offset(17), TimestampMs(702)));
    held.log.lock().advance_log_start_offset(Offset(4)).unwrap();
    assert_eq!(find(0), Some((4, 301)));
}
