//! Nothing acknowledged is lost: each acknowledged record is there at the end, at the offset that the answer gave.

use std::collections::BTreeMap;

use super::Report;
use crate::history::History;
use crate::payload::RecordId;

pub(super) fn check(history: &History, report: &mut Report<'_>) {
    for (id, offset) in lost(history) {
        report.add(format_args!(
            "{id:?} was acknowledged at offset {offset} and is not there"
        ));
    }
}

/// The acknowledged records that are not where they should be.
pub(super) fn lost(history: &History) -> Vec<(RecordId, i64)> {
    let mut at: BTreeMap<u32, BTreeMap<i64, Option<RecordId>>> = BTreeMap::new();
    for (partition, look) in &history.end {
        let records = look.records.iter().map(|seen| (seen.offset, seen.id));
        at.insert(*partition, records.collect());
    }
    let mut lost = Vec::new();
    for ack in &history.acks {
        let partition = at.get(&ack.first.partition);
        for step in 0..ack.count {
            let id = RecordId {
                number: ack.first.number + step,
                ..ack.first
            };
            let offset = ack.base_offset + i64::from(step);
            if partition.and_then(|records| records.get(&offset)) != Some(&Some(id)) {
                lost.push((id, offset));
            }
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use crate::checkers::testing::{broken, good};

    #[test]
    fn a_lost_tail_is_found() {
        let mut history = good();
        history.looks.clear();
        let end = history.end.get_mut(&0).unwrap();
        end.records.truncate(4);
        end.high_watermark = 4;
        assert_eq!(broken(&history), ["lost", "watermark"]);
        assert_eq!(super::lost(&history).len(), 1);
    }

    #[test]
    fn a_wrong_offset_in_an_acknowledgement_is_found() {
        let mut history = good();
        history.acks[1].base_offset = 1;
        assert_eq!(broken(&history), ["lost"]);
    }

    #[test]
    fn a_partition_that_was_not_read_is_found() {
        let mut history = good();
        history.end.clear();
        assert!(broken(&history).contains(&"lost"));
    }
}
