//! Order, no repetition, no gap: the records of a producer in a partition are 0, 1, 2 ..., at most as many as it sent.

use std::collections::BTreeMap;

use super::Report;
use crate::history::History;
use crate::payload::RecordId;

/// A record in the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Misplaced {
    id: RecordId,
    offset: i64,
    expected: u32,
}

impl Misplaced {
    /// Whether the record, or a later one, was there before: else some were left out.
    pub(super) fn is_repetition(&self) -> bool {
        self.id.number < self.expected
    }
}

pub(super) fn check(history: &History, report: &mut Report<'_>) {
    for Misplaced { id, offset, expected } in faults(history) {
        report.add(format_args!(
            "at offset {offset} stands {id:?}, expected was number {expected}"
        ));
    }
    for look in history.end.values() {
        for id in look.records.iter().filter_map(|seen| seen.id) {
            let sent = history.sent.get(&(id.producer, id.partition)).copied();
            if sent.is_none_or(|sent| id.number >= sent) {
                report.add(format_args!("{id:?} was never sent"));
            }
        }
    }
}

/// The records that are not where they should be, after each of which counting goes on from it.
pub(super) fn faults(history: &History) -> impl Iterator<Item = Misplaced> {
    history.end.values().flat_map(|look| {
        let mut next: BTreeMap<u32, u32> = BTreeMap::new();
        let records = look.records.iter();
        records.filter_map(move |seen| {
            let id = seen.id?;
            let next = next.entry(id.producer).or_default();
            let expected = std::mem::replace(next, id.number + 1);
            (id.number != expected).then_some(Misplaced {
                id,
                offset: seen.offset,
                expected,
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::checkers::testing::{broken, good, id};
    use crate::checkers::{Counts, count};
    use crate::history::Seen;

    #[test]
    fn a_record_twice_is_found() {
        let mut history = good();
        let end = history.end.get_mut(&0).unwrap();
        end.records.push(Seen {
            offset: 5,
            id: Some(id(1, 3)),
        });
        end.high_watermark = 6;
        assert_eq!(broken(&history), ["order"]);
        assert_eq!(
            count(&history),
            Counts {
                doubled: 1,
                ..Counts::default()
            }
        );
    }

    #[test]
    fn a_gap_is_found() {
        let mut history = good();
        history.acks.pop();
        history.looks.clear();
        history.end.get_mut(&0).unwrap().records[3].id = Some(id(1, 3));
        history.end.get_mut(&0).unwrap().records[4].id = Some(id(1, 4));
        history.sent.insert((1, 0), 5);
        assert_eq!(broken(&history), ["order"]);
        assert_eq!(
            count(&history),
            Counts {
                gaps: 1,
                ..Counts::default()
            }
        );
    }

    #[test]
    fn a_record_that_nobody_sent_is_found() {
        let mut history = good();
        history.sent.remove(&(2, 0));
        assert_eq!(broken(&history), ["order"]);
    }
}
