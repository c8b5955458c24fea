//! A transaction of which anything shows, be it one record or the offsets, shows wholly: to every reader that has come past its
//! records.

use super::history::Outcome;
use super::view::View;
use crate::checkers::Report;

pub(super) fn check(view: &View<'_>, report: &mut Report<'_>) {
    for (name, transaction) in view.happened() {
        let is_seen = view.seen.contains(name);
        // What was answered and is nowhere is lost, and not torn.
        if !is_seen && matches!(transaction.outcome, Outcome::Committed(_)) {
            continue;
        }
        let missing = view.missing(name, transaction);
        let Some((reader, write)) = missing.first() else {
            continue;
        };
        let shown = if is_seen { "some of it" } else { "only its offsets" };
        let (record, place, offset, others) = (&write.record, &write.place, write.offset, missing.len() - 1);
        report.add(format_args!(
            "{name} shows, {shown}; {reader} did not see {record} in {place} at {offset:?} ({others} more)"
        ));
    }
}

#[cfg(test)]
mod tests {
    use crate::exactly_once::testing::{broken, forget, forget_in, good};

    #[test]
    fn half_a_transaction_is_found_whether_its_commit_was_answered_or_not() {
        for (name, expected) in [
            ("unanswered", &["torn transactions"][..]),
            ("first", &["lost writes", "torn transactions"]),
        ] {
            let mut history = good();
            forget_in(&mut history, name, "b");
            assert_eq!(broken(&history), expected, "{name}");
        }
    }

    #[test]
    fn a_read_in_the_middle_of_a_commit_is_found_even_if_all_is_there_at_the_end() {
        let mut history = good();
        let steps = &mut history.readers[0].steps;
        steps.retain(|step| !matches!(step, crate::exactly_once::Step::Saw(seen) if seen.record == "0:2 b"));
        assert_eq!(broken(&history), ["torn transactions", "readers"]);
    }

    #[test]
    fn offsets_without_their_records_are_found() {
        let mut history = good();
        forget(&mut history, "unanswered");
        assert_eq!(broken(&history), ["torn transactions"]);
    }
}
