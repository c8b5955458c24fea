//! A history in which all is well, for the checkers' tests to spoil.

use crate::history::{Ack, History, Look, Seen};
use crate::payload::RecordId;

pub(super) fn id(producer: u32, number: u32) -> RecordId {
    RecordId {
        producer,
        partition: 0,
        number,
    }
}

fn seen(records: &[(u32, u32)]) -> Vec<Seen> {
    let offsets = 0..;
    let records = offsets.zip(records);
    records
        .map(|(offset, (producer, number))| Seen {
            offset,
            id: Some(id(*producer, *number)),
        })
        .collect()
}

/// One partition: two records of producer 1, one of producer 2, two of producer 1; read twice.
pub(super) fn good() -> History {
    let mut history = History::default();
    history.partitions = 1;
    history.sent = [((1, 0), 4), ((2, 0), 1)].into();
    for (producer, number, count, base_offset) in [(1, 0, 2, 0), (2, 0, 1, 2), (1, 2, 2, 3)] {
        let answered = history.moment();
        history.acks.push(Ack {
            first: id(producer, number),
            count,
            base_offset,
            answered,
        });
    }
    let records = seen(&[(1, 0), (1, 1), (2, 0), (1, 2), (1, 3)]);
    let look = |history: &mut History| Look {
        partition: 0,
        asked: history.moment(),
        answered: history.moment(),
        high_watermark: 5,
        log_start_offset: 0,
        records: records.clone(),
    };
    let first = look(&mut history);
    history.looks.push(first);
    let end = look(&mut history);
    history.end.insert(0, end);
    history
}

/// The rules that a history breaks.
pub(super) fn broken(history: &History) -> Vec<&'static str> {
    let mut rules: Vec<_> = super::check(history).iter().map(|found| found.rule).collect();
    rules.dedup();
    rules
}

#[test]
fn a_history_in_which_all_is_well_breaks_no_rule() {
    assert_eq!(super::check(&good()), []);
    assert_eq!(super::count(&good()), super::Counts::default());
}
