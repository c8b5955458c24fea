//! What must hold of every history, one file each.
//!
//! Always holds: a checker is a function of the [`History`] alone. It shares no code with the broker, and each has a test
//! in which it finds something.

mod acknowledged;
mod contents;
mod early;
mod offsets;
mod order;
mod producer_ids;
mod sightings;
mod topics;
mod watermark;

use std::fmt;

use crate::history::History;

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: &'static str,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// What a checker reports to.
pub(crate) struct Report<'a> {
    rule: &'static str,
    found: &'a mut Vec<Violation>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(rule: &'static str, found: &'a mut Vec<Violation>) -> Self {
        Self { rule, found }
    }

    pub(crate) fn add(&mut self, what: fmt::Arguments<'_>) {
        self.found.push(Violation {
            rule: self.rule,
            what: what.to_string(),
        });
    }
}

type Checker = fn(&History, &mut Report<'_>);

/// The rules by name.
const ALL: &[(&str, Checker)] = &[
    ("lost", acknowledged::check),
    ("order", order::check),
    ("offsets", offsets::check),
    ("contents", contents::check),
    ("sightings", sightings::check),
    ("early", early::check),
    ("watermark", watermark::check),
    ("producer ids", producer_ids::check),
    ("topics", topics::check),
];

/// The names of the rules.
pub fn rules() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(rule, _)| *rule)
}

/// All breaches of all rules.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    for (rule, checker) in ALL {
        checker(history, &mut Report::new(rule, &mut found));
    }
    found
}

/// How many records were lost, came twice, or are missing between others; out of the same history, for the counts of a
/// summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledged, and not there.
    pub lost: u64,
    /// There more than once.
    pub doubled: u64,
    /// Places in which numbers were left out.
    pub gaps: u64,
}

/// Counts what the end of a history shows.
pub fn count(history: &History) -> Counts {
    Counts {
        lost: acknowledged::lost(history).len() as u64,
        doubled: order::faults(history)
            .filter(|fault| fault.is_repetition())
            .count() as u64,
        gaps: order::faults(history)
            .filter(|fault| !fault.is_repetition())
            .count() as u64,
    }
}

#[cfg(test)]
mod testing;
