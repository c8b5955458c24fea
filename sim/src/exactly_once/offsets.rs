//! The offsets of the group and the records of the transactions tell the same story: a committed offset is one that a transaction
//! that happened took inputs up to, it never goes back, and it is there for whoever asks after its transaction showed or was
//! said to be committed.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{GroupOffsets, Moment, Outcome, Step};
use super::view::View;
use crate::checkers::Report;

pub(super) fn check(view: &View<'_>, report: &mut Report<'_>) {
    let mut doubtful: BTreeSet<(i32, i64)> = BTreeSet::new();
    for (partition, offset) in view.committed_offsets() {
        let committers = view.committers(partition, offset);
        if committers.is_empty() {
            doubtful.insert((partition, offset));
            report.add(format_args!(
                "partition {partition}: {offset} is committed, and no transaction with this end is"
            ));
            continue;
        }
        // One that may have been it, and does not show, is torn.
        let is_shown = committers.iter().any(|name| view.seen.contains(name));
        if view.is_complete() && committers.len() > 1 && !is_shown {
            report.add(format_args!(
                "partition {partition}: {offset} is committed, and nothing shows of {committers:?}"
            ));
        }
    }
    behind(view, &doubtful, report);
}

/// Answers that do not have what was to be seen before they were asked for.
fn behind(view: &View<'_>, doubtful: &BTreeSet<(i32, i64)>, report: &mut Report<'_>) {
    let mut promises = promises(view);
    for row in &view.history.offsets {
        let offsets = row
            .offsets
            .iter()
            .filter(|(partition, offset)| !doubtful.contains(&(**partition, **offset)));
        promises.extend(offsets.map(|(partition, offset)| (row.answered, *partition, *offset, "an answer")));
    }
    promises.sort_unstable();
    let mut rows: Vec<&GroupOffsets> = view.history.offsets.iter().collect();
    rows.sort_unstable_by_key(|row| row.asked);
    let (mut promises, mut promised) = (promises.into_iter().peekable(), BTreeMap::new());
    for row in rows {
        while let Some((_, partition, offset, by)) = promises.next_if(|(at, ..)| *at < row.asked) {
            let most = promised.entry(partition).or_insert((offset, by));
            *most = (*most).max((offset, by));
        }
        for (partition, (offset, by)) in &promised {
            let there = row.offsets.get(partition).copied();
            if there.is_some_and(|there| there < *offset) {
                report.add(format_args!(
                    "partition {partition}: {there:?} is committed at {}, and {by} had said {offset}",
                    row.asked
                ));
            }
        }
    }
}

/// From which moment on which offset must be there, and by whose word.
fn promises<'a>(view: &View<'a>) -> Vec<(Moment, i32, i64, &'a str)> {
    let mut promises = Vec::new();
    let mut seen: BTreeMap<&str, Moment> = BTreeMap::new();
    for step in view.history.readers.iter().flat_map(|reader| &reader.steps) {
        if let Step::Saw(sighting) = step {
            let first = seen.entry(&sighting.transaction).or_insert(sighting.at);
            *first = sighting.at.min(*first);
        }
    }
    for (name, transaction) in &view.history.transactions {
        let answered = match transaction.outcome {
            Outcome::Committed(at) => Some(at),
            Outcome::Open | Outcome::Aborted | Outcome::Asked => None,
        };
        let moment = answered.into_iter().chain(seen.get(name.as_str()).copied()).min();
        let Some(moment) = moment else { continue };
        let taken = transaction.taken.iter();
        promises.extend(taken.map(|taken| (moment, taken.partition, taken.to, name.as_str())));
    }
    promises
}

#[cfg(test)]
mod tests {
    use crate::exactly_once::Outcome;
    use crate::exactly_once::testing::{broken, forget, good};

    #[test]
    fn offsets_that_nobody_committed_are_found() {
        // Of no transaction at all, and of one that was aborted.
        let mut history = good();
        history.offsets[0].offsets.insert(0, 1);
        assert_eq!(broken(&history), ["offsets"]);
        let mut history = good();
        history.transactions.get_mut("unanswered").unwrap().outcome = Outcome::Aborted;
        assert_eq!(broken(&history), ["aborted reads", "offsets"]);
    }

    #[test]
    fn offsets_that_go_back_are_found() {
        let mut history = good();
        let mut back = history.offsets[0].clone();
        (back.asked, back.answered) = (90, 91);
        history.offsets.push(back);
        assert_eq!(broken(&history), ["offsets"]);
    }

    #[test]
    fn an_offset_is_there_once_its_transaction_was_committed_or_showed() {
        for (asked, is_broken) in [(19, false), (21, true)] {
            let mut history = good();
            history.offsets[0].asked = asked;
            history.offsets[0].offsets.insert(0, 0);
            assert_eq!(!broken(&history).is_empty(), is_broken, "{asked}");
        }
        for (asked, is_broken) in [(49, false), (51, true)] {
            let mut history = good();
            history.offsets[1].asked = asked;
            history.offsets[1].offsets = [(0, 2)].into();
            assert_eq!(!broken(&history).is_empty(), is_broken, "{asked}");
        }
    }

    #[test]
    fn offsets_of_one_of_two_transactions_of_which_neither_shows_are_found() {
        let mut history = good();
        let again = history.transactions["unanswered"].clone();
        history.transactions.insert("again".to_owned(), again);
        assert!(broken(&history).is_empty());
        forget(&mut history, "unanswered");
        assert_eq!(broken(&history), ["inputs", "offsets"]);
    }
}
