//! A transaction is wholly visible or wholly not, over all partitions, and as its producer was told; without an answer to a
//! commit it may be either. The offsets that it commits go with its records.

use std::collections::{BTreeMap, BTreeSet};

use super::Report;
use crate::work::ledger::{AttemptId, Input, Pages, Told};
use crate::work::worker;

/// What is committed at the end: of each transaction, what it wrote for which event.
pub(super) fn visible(pages: &Pages) -> BTreeMap<AttemptId, Vec<Input>> {
    let mut visible: BTreeMap<AttemptId, Vec<Input>> = BTreeMap::new();
    for end in pages.end.values().filter(|end| end.committed) {
        for output in &end.outputs {
            visible.entry(output.attempt).or_default().push(output.input);
        }
    }
    visible
}

pub(super) fn check(pages: &Pages, report: &mut Report<'_>) {
    let mut visible = visible(pages);
    for (id, attempt) in (0..).zip(&pages.attempts) {
        let mut seen = visible.remove(&id).unwrap_or_default();
        seen.sort_unstable();
        let wanted: BTreeSet<Input> = attempt.inputs.iter().copied().collect();
        let is_whole = seen.iter().eq(&wanted);
        if !seen.is_empty() && !is_whole {
            report.add(format_args!(
                "transaction {id} is visible in part: {seen:?} of {wanted:?}"
            ));
        }
        match attempt.told {
            Told::Committed if !is_whole => {
                report.add(format_args!(
                    "transaction {id} was committed, {seen:?} of {wanted:?} is there"
                ));
            }
            Told::Aborted if !seen.is_empty() => {
                report.add(format_args!("transaction {id} was aborted, {seen:?} is there"));
            }
            _ if attempt.commit_asked.is_none() && !seen.is_empty() => {
                report.add(format_args!(
                    "transaction {id} is there and nobody asked to commit it"
                ));
            }
            _ => {}
        }
    }
    for (id, seen) in visible {
        report.add(format_args!(
            "nobody began transaction {id}, of which {seen:?} is there"
        ));
    }
    offsets(pages, report);
}

/// At the end a group is where the transactions that are visible took it.
fn offsets(pages: &Pages, report: &mut Report<'_>) {
    let visible = visible(pages);
    let mut reached: BTreeMap<i32, i64> = BTreeMap::new();
    for (id, attempt) in (0..).zip(&pages.attempts) {
        if visible.contains_key(&id) {
            for (partition, offset) in &attempt.offsets {
                let so_far = reached.entry(*partition).or_default();
                *so_far = (*so_far).max(*offset);
            }
        }
    }
    for ((group, partition), found) in &pages.found_at_the_end {
        let expected = reached.get(partition).copied();
        if *group == worker::GROUP && *found != expected {
            report.add(format_args!(
                "partition {partition}: the group is at {found:?}, its transactions took it to {expected:?}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::work::ledger::Told;
    use crate::work::rules::testing::{broken, good};
    use crate::work::worker;

    #[test]
    fn a_transaction_that_is_visible_in_part_is_found() {
        let mut pages = good();
        pages.readings.clear();
        pages.end.get_mut(&(0, true)).unwrap().outputs.remove(0);
        assert_eq!(broken(&pages), ["atomic", "once"]);
    }

    #[test]
    fn what_its_producer_was_told_is_compared() {
        for (told, asked, is_broken) in [
            (Told::Committed, true, false),
            (Told::Nothing, true, false),
            (Told::Nothing, false, true),
            (Told::Aborted, false, true),
        ] {
            let mut pages = good();
            pages.attempts[0].told = told;
            if !asked {
                pages.attempts[0].commit_asked = None;
            }
            assert_eq!(broken(&pages) == ["atomic"], is_broken, "{told:?}");
        }
        let mut pages = good();
        pages.attempts[1].told = Told::Committed;
        assert_eq!(broken(&pages), ["atomic"]);
    }

    #[test]
    fn offsets_that_do_not_go_with_the_records_are_found() {
        let mut pages = good();
        pages.found_at_the_end.insert((worker::GROUP, 0), Some(1));
        assert_eq!(broken(&pages), ["atomic", "once"]);
    }
}
