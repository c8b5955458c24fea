//! Committed offsets: what was answered is found, also after a restart; what is found was committed by somebody; and where each
//! event is applied once, the group never goes back.

use std::collections::{BTreeMap, BTreeSet};

use super::{Report, atomic};
use crate::history::Moment;
use crate::work::ledger::{Commit, Found, Pages, Told};
use crate::work::{watcher, worker};

fn found_in<'a>(pages: &'a Pages, group: &'static str) -> impl Iterator<Item = &'a Found> {
    pages.found.iter().filter(move |found| found.group == group)
}

/// Of the group whose offsets are committed in transactions.
pub(super) fn check_transactional(pages: &Pages, report: &mut Report<'_>) {
    let visible = atomic::visible(pages);
    let mut known: BTreeSet<(i32, i64)> = BTreeSet::new();
    // When it was said that the group is at least there.
    let mut promises: BTreeMap<i32, Vec<(Moment, i64)>> = BTreeMap::new();
    for (id, attempt) in (0..).zip(&pages.attempts) {
        if !visible.contains_key(&id) {
            continue;
        }
        for (partition, offset) in &attempt.offsets {
            known.insert((*partition, *offset));
        }
    }
    for found in found_in(pages, worker::GROUP) {
        if let Some(offset) = found.offset {
            let promise = (found.answered, offset);
            promises.entry(found.partition).or_default().push(promise);
        }
    }
    let committed = committed(pages);
    for found in found_in(pages, worker::GROUP) {
        if let Some(offset) = found.offset
            && !known.contains(&(found.partition, offset))
        {
            report.add(format_args!(
                "{found:?}, and no transaction that is there committed that"
            ));
        }
        let promises = promises.get(&found.partition).into_iter().flatten();
        let before = promises.filter(|(moment, _)| *moment < found.asked);
        let promised = before.map(|(_, offset)| *offset).max();
        if found.offset < promised {
            report.add(format_args!("{found:?}, and it was {promised:?} before"));
        }
        let committed = committed.get(&found.partition).into_iter().flatten();
        let before = committed.filter(|(moment, _)| *moment < found.asked);
        let decided = before.map(|(_, offset)| *offset).max();
        if found.stable && found.offset < decided {
            report.add(format_args!(
                "{found:?}, and a transaction was committed with {decided:?} before"
            ));
        }
    }
}

/// What producers were told is committed, and when: whoever asks for what is decided must find it from then on, or be told to
/// ask again.
fn committed(pages: &Pages) -> BTreeMap<i32, Vec<(Moment, i64)>> {
    let mut committed: BTreeMap<i32, Vec<(Moment, i64)>> = BTreeMap::new();
    let attempts = pages.attempts.iter();
    for attempt in attempts.filter(|attempt| attempt.told == Told::Committed) {
        for (partition, offset) in &attempt.offsets {
            let at = attempt.told_at.map(|moment| (moment, *offset));
            committed.entry(*partition).or_default().extend(at);
        }
    }
    committed
}

/// Of the group whose members commit without transactions: as if each commit was made at some moment between question and answer.
pub(super) fn check_plain(pages: &Pages, report: &mut Report<'_>) {
    let mut of: BTreeMap<i32, Vec<&Commit>> = BTreeMap::new();
    for commit in &pages.commits {
        of.entry(commit.partition).or_default().push(commit);
    }
    for found in found_in(pages, watcher::GROUP) {
        let commits = of.get(&found.partition).map_or(&[][..], Vec::as_slice);
        if !is_explained(found, commits) {
            report.add(format_args!("{found:?} is not what was committed last"));
        }
    }
}

fn is_explained(found: &Found, commits: &[&Commit]) -> bool {
    // Of those that were surely made before the question, the last to begin: what surely ended before that is replaced.
    let before = commits
        .iter()
        .filter(|commit| commit.answered.is_some_and(|answered| answered < found.asked));
    let replaced = before.map(|commit| commit.asked).max().unwrap_or(0);
    let Some(offset) = found.offset else {
        return replaced == 0;
    };
    commits.iter().any(|commit| {
        let may_be = commit.offset == offset && !commit.refused && commit.asked < found.answered;
        may_be && commit.answered.is_none_or(|answered| answered >= replaced)
    })
}

#[cfg(test)]
mod tests {
    use crate::work::ledger::{Commit, Found};
    use crate::work::rules::testing::{broken, good};
    use crate::work::watcher;

    #[test]
    fn a_group_that_goes_back_and_an_offset_of_nobody_are_found() {
        let mut pages = good();
        let mut again = pages.found[0].clone();
        again.offset = Some(1);
        (again.asked, again.answered) = (pages.moment(), pages.moment());
        pages.found.push(again);
        assert_eq!(broken(&pages), ["group offsets"]);
        let mut pages = good();
        pages.found[0].offset = Some(77);
        assert_eq!(broken(&pages), ["group offsets"]);
    }

    fn commit(pages: &mut crate::work::ledger::Pages, offset: i64, is_answered: bool) {
        let asked = pages.moment();
        let answered = is_answered.then(|| pages.moment());
        pages.commits.push(Commit {
            partition: 0,
            offset,
            asked,
            answered,
            refused: false,
        });
    }

    fn found(pages: &mut crate::work::ledger::Pages, offset: Option<i64>) {
        let (asked, answered) = (pages.moment(), pages.moment());
        pages.found.push(Found {
            group: watcher::GROUP,
            partition: 0,
            offset,
            stable: false,
            asked,
            answered,
        });
    }

    #[test]
    fn an_offset_from_before_a_commit_is_found_where_what_is_decided_was_asked_for() {
        for (stable, offset, is_good) in [(true, 2, false), (false, 2, true), (true, 3, true)] {
            let mut pages = good();
            let answered = &mut pages.found[0];
            (answered.stable, answered.offset) = (stable, Some(offset));
            assert_eq!(broken(&pages).is_empty(), is_good, "{stable} {offset}");
        }
    }

    #[test]
    fn a_commit_that_was_answered_and_is_not_there_is_found() {
        for (offset, is_good) in [
            (Some(5), false),
            (Some(6), true),
            (Some(7), true),
            (None, false),
            (Some(8), false),
        ] {
            let mut pages = good();
            commit(&mut pages, 5, true);
            commit(&mut pages, 6, true);
            commit(&mut pages, 7, false);
            found(&mut pages, offset);
            assert_eq!(broken(&pages).is_empty(), is_good, "{offset:?}");
        }
        let mut pages = good();
        found(&mut pages, None);
        assert!(broken(&pages).is_empty());
        commit(&mut pages, 5, true);
        pages.commits[0].refused = true;
        pages.commits[0].answered = None;
        found(&mut pages, Some(5));
        assert_eq!(broken(&pages), ["commits"]);
    }
}
