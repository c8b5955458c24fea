//! All readers of committed records see the same: what one saw at an offset, every other has seen there that is past it,
//! however often the broker died in between.

use std::collections::BTreeMap;

use super::history::{Place, Sighting};
use super::view::View;
use crate::checkers::Report;

pub(super) fn check(view: &View<'_>, report: &mut Report<'_>) {
    let mut all: BTreeMap<(&Place, i64), (&str, &Sighting)> = BTreeMap::new();
    for reader in &view.readers {
        for seen in reader.sightings() {
            all.entry((&seen.place, seen.offset))
                .or_insert((reader.name, seen));
        }
    }
    for reader in &view.readers {
        for ((place, offset), (other, seen)) in &all {
            let column = reader.places.get(place);
            let is_past = column.is_some_and(|column| column.next > *offset);
            let there = column.and_then(|column| column.seen.get(offset));
            let is_same = there
                .is_some_and(|there| there.record == seen.record && there.transaction == seen.transaction);
            if is_past && !is_same {
                let (name, found) = (reader.name, there.map(|there| &there.record));
                report.add(format_args!(
                    "{place} at {offset}: {other} saw {} and {name} {found:?}",
                    seen.record
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exactly_once::testing::{broken, good, saw};

    #[test]
    fn what_one_saw_and_is_another_thing_later_is_found() {
        let mut history = good();
        history.readers[0].steps[0] = saw("a", 0, "first", "0:1 a", 25);
        assert!(broken(&history).contains(&"readers"));
    }

    #[test]
    fn what_one_saw_and_is_gone_later_is_found() {
        let mut history = good();
        // Of a transaction without an answer, and at an offset that the last reader is past.
        history.readers[1].steps.retain(
            |step| !matches!(step, crate::exactly_once::Step::Saw(seen) if seen.transaction == "unanswered"),
        );
        assert_eq!(broken(&history), ["torn transactions", "readers"]);
    }
}
