//! Readers while segments are replaced.

use super::given::*;
use crate::names::FileKind;
use crate::read::{FileRange, ReadRequest, read_blocking};
use crate::testing::{Held, NOW, bytes_of};
use klamm_env::sim::disk::Disk;
use klamm_model::Offset;
use klamm_records::Compression;

fn some_log() -> (Disk, Held) {
    let (disk, held) = Held::new(compacted());
    for n in 0..60 {
        let key = format!("k{}", if n % 3 == 0 { n } else { 0 });
        append(
            &held,
            keyed(Compression::None, NOW.0, &[(&key, Some(&"x".repeat(100 + n)))]),
        );
    }
    held.commit().unwrap();
    (disk, held)
}

fn range_at(held: &Held, offset: i64) -> FileRange {
    let request = ReadRequest {
        offset: Offset(offset),
        max_bytes: 500,
        upper_bound: held.log.lock().log_end_offset(),
        min_one: true,
    };
    let read = read_blocking(&held.log, &request, NOW).unwrap();
    read.range.unwrap()
}

#[test]
fn a_reader_of_an_old_segment_ends_in_peace() {
    let (_disk, held) = some_log();
    let range = range_at(&held, 5);
    let before = bytes_of(&range);
    clean(&held, NOW).unwrap();
    assert_eq!(bytes_of(&range), before);
    range.verify().unwrap();
}

/// Whoever goes on where a read has ended, after the bytes there were replaced, must find out.
#[test]
fn places_of_an_old_segment_are_not_used_in_the_new_one() {
    let (_disk, held) = some_log();
    // Reads leave their places behind, by each way.
    for offset in 0..58 {
        range_at(&held, offset);
        let request = ReadRequest {
            offset: Offset(offset),
            max_bytes: 300,
            upper_bound: Offset(59),
            min_one: true,
        };
        let _ = held.log.lock().read(&request);
    }
    clean(&held, NOW).unwrap();
    let after = content(&held);
    for offset in 0..58 {
        let request = ReadRequest {
            offset: Offset(offset),
            max_bytes: 300,
            upper_bound: held.log.lock().log_end_offset(),
            min_one: true,
        };
        let blocking = read_blocking(&held.log, &request, NOW).unwrap();
        let range = blocking.range.unwrap();
        range.verify().unwrap();
        let read = held.log.lock().read(&request).unwrap();
        assert_eq!(
            read.range.map(|range| (range.position, range.len)),
            Some((range.position, range.len)),
            "{offset}"
        );
        let first = after.iter().find(|record| record.0 >= offset).unwrap();
        assert_eq!(read_from(&held, offset).first(), Some(first));
    }
}

#[test]
fn files_that_were_closed_are_not_taken_for_those_of_the_new_segment() {
    let (_disk, held) = some_log();
    let old: Vec<_> = {
        let log = held.log.lock();
        log.segments.iter().map(|segment| segment.files.clone()).collect()
    };
    old.iter().for_each(|files| files.close_all());
    clean(&held, NOW).unwrap();
    let replaced = old.len() - 1;
    for files in &old[..replaced] {
        files.close_all();
        let error = files.open(FileKind::Log).unwrap_err();
        assert!(matches!(error, crate::LogError::Superseded), "{error}");
    }
    old[replaced].open(FileKind::Log).unwrap();
}
