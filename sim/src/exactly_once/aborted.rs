//! Nothing of a transaction is ever read that was aborted, or whose commit nobody asked for.

use super::history::Outcome;
use super::view::View;
use crate::checkers::Report;

pub(super) fn check(view: &View<'_>, report: &mut Report<'_>) {
    for reader in &view.readers {
        for seen in reader.sightings() {
            let Some(transaction) = view.history.transactions.get(&seen.transaction) else {
                continue;
            };
            let how = match transaction.outcome {
                Outcome::Open => "was never committed",
                Outcome::Aborted => "was aborted",
                Outcome::Asked | Outcome::Committed(_) => continue,
            };
            let (name, place, offset) = (&seen.transaction, &seen.place, seen.offset);
            report.add(format_args!(
                "{} read {place} at {offset}, of {name}, which {how}",
                reader.name
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exactly_once::Outcome;
    use crate::exactly_once::testing::{broken, good, saw};

    #[test]
    fn a_record_of_an_aborted_transaction_is_found() {
        let mut history = good();
        // Where it stands; whoever reads everything sees it.
        history.readers[0].steps.push(saw("a", 2, "aborted", "0:2", 30));
        assert!(broken(&history).contains(&"aborted reads"));
    }

    #[test]
    fn a_record_of_a_transaction_whose_writer_died_is_found() {
        let mut history = good();
        history.transactions.get_mut("unanswered").unwrap().outcome = Outcome::Open;
        history.offsets.clear();
        assert_eq!(broken(&history), ["aborted reads"]);
    }
}
