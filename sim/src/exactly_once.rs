//! What must hold of clients that read, process and write in transactions, and of whoever reads what came of it: one file for
//! each rule.
//!
//! Always holds: a rule is a function of the [`History`], which clients wrote; it knows neither a broker nor a client. What
//! a client does not know (a commit without an answer) may have happened or not, but wholly, and for all readers alike. Each
//! rule has a test in which it finds something.
//!
//! Start with [`history`] for what is written down, and `view.rs` for what follows from it.

mod aborted;
mod contents;
mod duplicates;
mod ends;
pub mod history;
mod inputs;
mod lost;
mod offsets;
mod order;
mod readers;
mod torn;
mod view;

pub use history::{
    End, GroupOffsets, History, Moment, Outcome, Place, Reader, Sighting, Step, Taken, Transaction, Write,
};

use self::view::View;
use crate::checkers::{Report, Violation};

type Rule = fn(&View<'_>, &mut Report<'_>);

/// The rules by name.
const ALL: &[(&str, Rule)] = &[
    ("aborted reads", aborted::check),
    ("lost writes", lost::check),
    ("torn transactions", torn::check),
    ("duplicates", duplicates::check),
    ("inputs", inputs::check),
    ("order", order::check),
    ("offsets", offsets::check),
    ("readers", readers::check),
    ("contents", contents::check),
    ("ends", ends::check),
];

/// The names of the rules.
pub fn rules() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(rule, _)| *rule)
}

/// All breaches of all rules.
pub fn check(history: &History) -> Vec<Violation> {
    let view = View::new(history);
    let mut found = Vec::new();
    for (rule, check) in ALL {
        let found = &mut found;
        check(&view, &mut Report::new(rule, found));
    }
    found
}

#[cfg(test)]
mod testing;
