//! Transactions in a log that is compacted.

use std::ops::Range;

use super::given::*;
use crate::aborted::aborted_transactions;
use crate::testing::{Held, NOW, end_of, partition};
use klamm_model::{Offset, ProducerEpoch, ProducerId};
use klamm_records::BatchBuilder;

fn write(held: &Held, id: i64, sequence: i32, records: &[(&str, Option<&str>)]) {
    let builder = BatchBuilder::default()
        .producer(ProducerId(id), ProducerEpoch(0), Some(sequence))
        .transactional();
    held.append_verified(&built(builder, NOW.0, records)).unwrap();
}

fn end(held: &Held, id: i64, committed: bool) {
    held.end_transaction(&end_of(id, 0, committed, 1)).unwrap();
}

/// What readers of committed records must leave out: whose, from where to where.
fn aborted(held: &Held, range: Range<i64>) -> Vec<(i64, i64, i64)> {
    let range = Offset(range.start)..Offset(range.end);
    let found = aborted_transactions(&held.log, range).unwrap().unwrap();
    let fields =
        |entry: &crate::AbortedTransaction| (entry.producer_id.0, entry.first_offset.0, entry.last_offset.0);
    found.iter().map(fields).collect()
}

fn without_fillers(held: &Held) -> Vec<(i64, String)> {
    let records = content(held).into_iter().filter(|record| record.1 != "filler");
    records.map(|(offset, key, _)| (offset, key)).collect()
}

fn given(records: &[(i64, &str)]) -> Vec<(i64, String)> {
    records
        .iter()
        .map(|(offset, key)| (*offset, (*key).to_owned()))
        .collect()
}

#[test]
fn aborted_records_go_and_markers_follow_when_nobody_needs_them() {
    let (disk, held) = Held::new(compacted());
    write(&held, 1, 0, &[("a", Some("aborted")), ("b", Some("aborted"))]);
    write(&held, 2, 0, &[("c", Some("committed"))]);
    end(&held, 1, false);
    end(&held, 2, true);
    // News of both producers, so that their last batches are elsewhere.
    write(&held, 1, 2, &[("a", Some("committed"))]);
    end(&held, 1, true);
    write(&held, 2, 1, &[("d", Some("aborted"))]);
    end(&held, 2, false);
    write(&held, 1, 3, &[("e", Some("1"))]);
    write(&held, 2, 2, &[("f", Some("2"))]);
    end(&held, 1, true);
    end(&held, 2, true);
    fill(&held, 10);
    let first = [(1, 0, 3), (2, 7, 8)];
    assert_eq!(aborted(&held, 0..20), first);
    // The first round removes the records; the entries stay, for there were some.
    clean(&held, NOW).unwrap();
    let data = [(2, "c"), (5, "a"), (9, "e"), (10, "f")];
    let markers = [3, 4, 6, 8, 11, 12].map(|offset| (offset, "control"));
    let mut all: Vec<_> = data.into_iter().chain(markers).collect();
    all.sort_unstable();
    assert_eq!(without_fillers(&held), given(&all));
    assert_eq!(aborted(&held, 0..20), first);
    // The second finds none: the markers get their time.
    fill(&held, 10);
    clean(&held, NOW).unwrap();
    assert_eq!(without_fillers(&held), given(&all));
    assert_eq!(aborted(&held, 0..20), []);
    let of_markers: Vec<_> = headers(&held)
        .iter()
        .filter(|header| header.is_control())
        .map(|header| (header.base_offset.0, header.has_delete_horizon()))
        .collect();
    assert_eq!(
        of_markers,
        [
            (3, true),
            (4, false),
            (6, false),
            (8, true),
            (11, false),
            (12, false)
        ]
    );
    let held = reopened(&disk, held, compacted());
    held.log.lock().update_high_watermark(Offset(i64::MAX));
    fill(&held, 10);
    clean(&held, NOW.plus_ms(RETENTION_MS)).unwrap();
    all.retain(|record| record.0 != 3 && record.0 != 8);
    assert_eq!(without_fillers(&held), given(&all));
    assert_eq!(held.dir.failure(), None);
}

/// The marker of a transaction may stand where nothing may be cleaned yet.
#[test]
fn a_transaction_that_ends_beyond_the_clean_part_is_known() {
    for committed in [false, true] {
        let (_disk, held) = Held::new(compacted());
        write(&held, 1, 0, &[("a", Some("1"))]);
        fill(&held, 8);
        let open = open_transaction(&held);
        end(&held, 1, committed);
        fill(&held, 3);
        let (dirty, _) = clean(&held, NOW).unwrap();
        assert!(dirty.first_uncleanable <= open && dirty.first_uncleanable > Offset(0));
        let is_there = without_fillers(&held)
            .first()
            .is_some_and(|record| record.1 == "a");
        assert_eq!(is_there, committed);
        // Whose last batch it was is still known: it is there without its record.
        assert_eq!(headers(&held)[0].record_count, i32::from(committed));
    }
}

/// The entries of the segments that became one stand in its index, on the device.
#[test]
fn the_index_of_aborted_transactions_is_made_anew() {
    let (disk, held) = Held::new(compacted());
    let mut expected = Vec::new();
    for n in 0..12 {
        let start = held.log.lock().log_end_offset().0;
        write(&held, n % 3, (n / 3) as i32, &[("a", Some("aborted"))]);
        fill(&held, 1);
        end(&held, n % 3, false);
        expected.push((n % 3, start, start + 2));
    }
    fill(&held, 5);
    let files = |held: &Held| {
        let entries = klamm_env::Files::read_dir(&disk, &held.dir.folder(&partition())).unwrap();
        entries
            .iter()
            .filter(|entry| entry.name.ends_with(".txnindex"))
            .count()
    };
    let before = files(&held);
    with_segments_of(&held, 6000);
    clean(&held, NOW).unwrap();
    assert!(files(&held) < before, "{before}");
    let all = 0..held.log.lock().log_end_offset().0;
    assert_eq!(aborted(&held, all.clone()), expected);
    let held = reopened(&disk, held, compacted());
    assert_eq!(aborted(&held, all), expected);
}
