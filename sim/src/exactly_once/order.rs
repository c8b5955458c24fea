//! What comes of a partition of the source stands in a place in the order of the inputs, and within a transaction in the order in
//! which it was written.

use std::collections::BTreeMap;

use super::view::View;
use crate::checkers::Report;

pub(super) fn check(view: &View<'_>, report: &mut Report<'_>) {
    for reader in &view.readers {
        for (place, column) in &reader.places {
            // By partition of the source, and by transaction.
            let mut inputs: BTreeMap<i32, (i64, &str)> = BTreeMap::new();
            let mut writes: BTreeMap<&str, usize> = BTreeMap::new();
            for (offset, seen) in &column.seen {
                let name = seen.transaction.as_str();
                let Some(transaction) = view.history.transactions.get(name) else {
                    continue;
                };
                for taken in &transaction.taken {
                    let last = inputs.insert(taken.partition, (taken.from, name));
                    if let Some((from, before)) = last.filter(|(from, _)| *from > taken.from) {
                        report.add(format_args!(
                            "{}: in {place} at {offset} stands {name}, from input {}-{} on, after {before}, from {from} on",
                            reader.name, taken.partition, taken.from
                        ));
                    }
                }
                let mut planned = transaction.writes.iter();
                let at = planned.position(|write| write.place == **place && write.record == seen.record);
                let Some(at) = at else { continue };
                if writes.insert(name, at).is_some_and(|before| before > at) {
                    report.add(format_args!(
                        "{}: in {place} at {offset} stands {} of {name}, after what was written later",
                        reader.name, seen.record
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exactly_once::Step;
    use crate::exactly_once::testing::{broken, good};

    #[test]
    fn inputs_that_changed_places_are_found() {
        let mut history = good();
        let one = &mut history.transactions.get_mut("first").unwrap().taken[0];
        (one.from, one.to) = (1, 3);
        let other = &mut history.transactions.get_mut("unanswered").unwrap().taken[0];
        (other.from, other.to) = (0, 1);
        history.offsets.clear();
        assert_eq!(broken(&history), ["order"]);
    }

    #[test]
    fn records_of_a_transaction_that_changed_places_are_found() {
        let mut history = good();
        let changed = |record: &str| match record {
            "0:0 a" => "0:1 a".to_owned(),
            "0:1 a" => "0:0 a".to_owned(),
            other => other.to_owned(),
        };
        for step in history.readers.iter_mut().flat_map(|reader| &mut reader.steps) {
            if let Step::Saw(seen) = step {
                seen.record = changed(&seen.record);
            }
        }
        assert!(broken(&history).contains(&"order"));
    }
}
