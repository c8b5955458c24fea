//! Every event is applied once: to each event before the group's offset one record is committed, to none behind it.

use std::collections::BTreeMap;

use super::{Report, atomic};
use crate::work::ledger::{AttemptId, Input, Pages};
use crate::work::worker;

pub(super) fn check(pages: &Pages, report: &mut Report<'_>) {
    let mut applied: BTreeMap<Input, Vec<AttemptId>> = BTreeMap::new();
    for (attempt, inputs) in atomic::visible(pages) {
        for input in inputs {
            applied.entry(input).or_default().push(attempt);
        }
    }
    for (input, attempts) in applied.iter().filter(|(_, attempts)| attempts.len() > 1) {
        report.add(format_args!(
            "event {input:?} is applied by transactions {attempts:?}"
        ));
    }
    for ((group, partition), found) in &pages.found_at_the_end {
        if *group != worker::GROUP {
            continue;
        }
        let reached = found.unwrap_or(0);
        let lost = (0..reached).filter(|offset| !applied.contains_key(&(*partition, *offset)));
        let lost: Vec<i64> = lost.collect();
        if !lost.is_empty() {
            report.add(format_args!(
                "partition {partition}: events {lost:?} are passed over, the group is at {reached}"
            ));
        }
        let early = applied.range((*partition, reached)..=(*partition, i64::MAX));
        for (input, attempts) in early {
            report.add(format_args!(
                "event {input:?} is applied by {attempts:?}, and the group is at {reached}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::work::rules::testing::{broken, good, output};
    use crate::work::worker;

    #[test]
    fn an_event_that_is_applied_twice_is_found() {
        let mut pages = good();
        pages.readings.clear();
        // Another transaction that did the same.
        pages.attempts[2].inputs = pages.attempts[0].inputs.clone();
        for output in &mut pages.end.get_mut(&(0, true)).unwrap().outputs {
            if output.attempt == 2 {
                output.input = pages.attempts[0].inputs[0];
            }
        }
        assert!(broken(&pages).contains(&"once"));
    }

    #[test]
    fn an_event_that_is_passed_over_or_applied_early_is_found() {
        let mut pages = good();
        pages.found_at_the_end.insert((worker::GROUP, 0), Some(4));
        assert!(broken(&pages).contains(&"once"));
        let mut pages = good();
        pages.attempts[2].inputs.push((0, 7));
        let end = pages.end.get_mut(&(0, true)).unwrap();
        end.outputs.push(output(7, 2, (0, 7)));
        pages.readings.clear();
        assert_eq!(broken(&pages), ["once"]);
    }
}
