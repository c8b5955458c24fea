//! What must hold of groups and transactions, whatever happened: one file for each subject.
//!
//! Always holds: a rule is a function of the [`Pages`] alone and shares no code with the broker; each has a test in which it finds
//! something.

mod atomic;
mod fencing;
mod offsets;
mod once;
mod owners;
mod reads;
mod told;

use super::ledger::Pages;
use crate::checkers::{Report, Violation};

type Rule = fn(&Pages, &mut Report<'_>);

/// The rules by name.
const ALL: &[(&str, Rule)] = &[
    ("told", told::check),
    ("reads", reads::check),
    ("stable", reads::check_ends),
    ("atomic", atomic::check),
    ("once", once::check),
    ("fencing", fencing::check),
    ("group offsets", offsets::check_transactional),
    ("commits", offsets::check_plain),
    ("owners", owners::check),
];

/// The names of the rules.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// All breaches of all rules.
pub(crate) fn check(pages: &Pages) -> Vec<Violation> {
    let mut found = Vec::new();
    for (name, rule) in ALL {
        rule(pages, &mut Report::new(name, &mut found));
    }
    found
}

#[cfg(test)]
mod testing;
