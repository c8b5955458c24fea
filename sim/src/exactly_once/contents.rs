//! What is read is what was written, where it was said to stand; and no client met what it should not.

use super::view::View;
use crate::checkers::Report;

pub(super) fn check(view: &View<'_>, report: &mut Report<'_>) {
    for fault in &view.history.faults {
        report.add(format_args!("{fault}"));
    }
    for reader in &view.readers {
        for seen in reader.sightings() {
            let (name, record, place, offset) = (&seen.transaction, &seen.record, &seen.place, seen.offset);
            let Some(transaction) = view.history.transactions.get(name) else {
                report.add(format_args!(
                    "{} read {record} in {place} at {offset}, of {name}, which nobody began",
                    reader.name
                ));
                continue;
            };
            let mut planned = transaction.writes.iter();
            match planned.find(|write| write.place == *place && write.record == *record) {
                None => report.add(format_args!(
                    "{} read {record} in {place} at {offset}, which {name} did not write there",
                    reader.name
                )),
                Some(write) if write.offset.is_some_and(|said| said != offset) => report.add(format_args!(
                    "{} read {record} in {place} at {offset}, and {:?} was acknowledged",
                    reader.name, write.offset
                )),
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exactly_once::testing::{broken, good, saw};

    #[test]
    fn records_that_nobody_wrote_and_offsets_that_nobody_was_told_are_found() {
        for strange in [
            saw("b", 5, "nobody", "2:0 b", 80),
            saw("b", 5, "second", "2:0 b", 80),
        ] {
            let mut history = good();
            history.readers[1].steps.push(strange);
            assert_eq!(broken(&history), ["contents"]);
        }
        let mut history = good();
        history.transactions.get_mut("second").unwrap().writes[0].offset = Some(3);
        assert!(broken(&history).contains(&"contents"));
    }

    #[test]
    fn a_fault_of_a_client_and_books_that_are_none_are_found() {
        let mut history = good();
        history.faults.push("an answer that must not be".to_owned());
        assert_eq!(broken(&history), ["contents"]);
        let mut history = good();
        history.wrote("nobody", &[1]);
        assert_eq!(broken(&history), ["contents"]);
        let mut history = good();
        history.began("dead", Vec::new(), Vec::new());
        assert_eq!(broken(&history), ["contents"]);
    }
}
