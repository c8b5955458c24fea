//! Every input is applied once: the transactions that happened took each offset of the source, and no offset twice.

use std::collections::BTreeMap;

use super::view::View;
use crate::checkers::Report;

pub(super) fn check(view: &View<'_>, report: &mut Report<'_>) {
    let mut taken: BTreeMap<i32, Vec<(i64, i64, &str)>> = BTreeMap::new();
    for (name, transaction) in view.happened() {
        for one in &transaction.taken {
            taken
                .entry(one.partition)
                .or_default()
                .push((one.from, one.to, name));
        }
    }
    let known = view.history.inputs.keys().chain(taken.keys());
    let partitions: std::collections::BTreeSet<i32> = known.copied().collect();
    for partition in partitions {
        let mut parts = taken.remove(&partition).unwrap_or_default();
        parts.sort_unstable();
        // Offsets that are not there count only when it is known who happened and who did not.
        let end = view.history.inputs.get(&partition).filter(|_| view.is_complete());
        let (mut next, mut before) = (0, "");
        for (from, to, name) in parts {
            if from < next {
                let until = next.min(to);
                report.add(format_args!(
                    "partition {partition}: {from} to {until} were applied by {before} and by {name}"
                ));
            } else if from > next && end.is_some() {
                report.add(format_args!(
                    "partition {partition}: {next} to {from} were never applied"
                ));
            }
            if to > next {
                (next, before) = (to, name);
            }
        }
        match end {
            Some(end) if next < *end => report.add(format_args!(
                "partition {partition}: {next} to {end} were never applied"
            )),
            Some(end) if next > *end => report.add(format_args!(
                "partition {partition}: {before} applied up to {next}, and {end} is the end"
            )),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exactly_once::testing::{broken, good};
    use crate::exactly_once::{Outcome, check};

    #[test]
    fn an_input_that_two_transactions_applied_is_found() {
        let mut history = good();
        let mut again = history.transactions["first"].clone();
        again.outcome = Outcome::Committed(70);
        again.writes.clear();
        history.transactions.insert("again".to_owned(), again);
        assert_eq!(broken(&history), ["inputs"]);
        // It need not be known at the end.
        history.ends.clear();
        assert_eq!(broken(&history), ["inputs"]);
    }

    #[test]
    fn inputs_that_nobody_applied_are_found() {
        for (partition, end) in [(0, 4), (1, 2), (2, 1)] {
            let mut history = good();
            history.inputs.insert(partition, end);
            assert_eq!(broken(&history), ["inputs"], "{partition}");
        }
    }

    #[test]
    fn a_hole_between_the_inputs_and_more_than_there_are_are_found() {
        let mut history = good();
        history.transactions.get_mut("unanswered").unwrap().taken[0].from = 3;
        history.transactions.get_mut("unanswered").unwrap().taken[0].to = 4;
        let found: Vec<String> = check(&history).iter().map(ToString::to_string).collect();
        assert!(
            found.contains(&"inputs: partition 0: 2 to 3 were never applied".to_owned()),
            "{found:?}"
        );
        assert!(
            found.contains(&"inputs: partition 0: unanswered applied up to 4, and 3 is the end".to_owned()),
            "{found:?}"
        );
    }
}
