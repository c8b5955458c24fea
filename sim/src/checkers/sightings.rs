//! What was once read is there at the end, at the same offset.

use super::Report;
use crate::history::History;

pub(super) fn check(history: &History, report: &mut Report<'_>) {
    for look in &history.looks {
        let partition = look.partition;
        let end = history.end.get(&partition);
        let end = end.map_or(&[][..], |end| &end.records);
        for seen in &look.records {
            let at = end.binary_search_by_key(&seen.offset, |seen| seen.offset);
            let there = at.ok().map(|at| end[at]);
            if there != Some(*seen) {
                report.add(format_args!(
                    "partition {partition}: {seen:?} was read, at the end it is {there:?}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checkers::testing::{broken, good, id};

    #[test]
    fn a_record_that_was_read_and_then_replaced_is_found() {
        let mut history = good();
        history.looks[0].records[4].id = Some(id(2, 1));
        assert_eq!(broken(&history), ["sightings"]);
    }
}
