//! A commit that was answered is there: each of its records, for every reader that has come past it.

use super::history::Outcome;
use super::view::View;
use crate::checkers::Report;

pub(super) fn check(view: &View<'_>, report: &mut Report<'_>) {
    for (name, transaction) in &view.history.transactions {
        if !matches!(transaction.outcome, Outcome::Committed(_)) {
            continue;
        }
        for (reader, write) in view.missing(name, transaction) {
            let (record, place, offset) = (&write.record, &write.place, write.offset);
            report.add(format_args!(
                "{name} was committed, and {reader} did not see {record} in {place} at {offset:?}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exactly_once::testing::{broken, forget, good};

    #[test]
    fn a_committed_transaction_that_nobody_sees_is_found() {
        let mut history = good();
        forget(&mut history, "second");
        assert_eq!(broken(&history), ["lost writes"]);
    }

    #[test]
    fn a_reader_is_not_expected_to_see_what_it_has_not_come_to() {
        let mut history = good();
        history.readers[0].steps.truncate(2);
        assert!(broken(&history).is_empty());
    }
}
