//! A place has each record once, and a reader is given each offset once, in ascending order.

use std::collections::BTreeMap;

use super::history::{Place, Step};
use super::view::View;
use crate::checkers::Report;

pub(super) fn check(view: &View<'_>, report: &mut Report<'_>) {
    for reader in &view.history.readers {
        let name = &reader.name;
        let mut last: BTreeMap<&Place, i64> = BTreeMap::new();
        let mut places: BTreeMap<(&Place, &str), i64> = BTreeMap::new();
        for step in &reader.steps {
            let Step::Saw(seen) = step else { continue };
            let (place, offset, record) = (&seen.place, seen.offset, &seen.record);
            if let Some(before) = last.insert(place, offset)
                && before >= offset
            {
                report.add(format_args!(
                    "{name} was given {place} at {offset} after {before}"
                ));
            }
            if let Some(before) = places.insert((place, record), offset) {
                report.add(format_args!(
                    "{name} read {record} in {place} at {before} and at {offset}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exactly_once::testing::{broken, good, saw};

    #[test]
    fn a_record_that_is_there_twice_is_found() {
        let mut history = good();
        history.readers[1]
            .steps
            .push(saw("a", 6, "unanswered", "0:2 a", 90));
        assert!(broken(&history).contains(&"duplicates"));
    }

    #[test]
    fn a_reader_that_goes_back_is_found() {
        let mut history = good();
        let again = history.readers[1].steps[0].clone();
        history.readers[1].steps.push(again);
        assert_eq!(broken(&history), ["duplicates"]);
    }
}
