//! The results of one scenario, by name, on their way into the tally.

use std::fmt::Display;

use anyhow::Result;

use super::tally::Tally;

/// Results of one scenario: every name is prefixed with where it ran.
pub(super) struct Checks<'a> {
    prefix: String,
    tally: &'a mut Tally,
}

impl<'a> Checks<'a> {
    pub(super) fn new(prefix: String, tally: &'a mut Tally) -> Self {
        Checks { prefix, tally }
    }

    pub(super) fn ok(&mut self, name: &str) {
        println!("ok {}/{name}", self.prefix);
        self.tally.passed();
    }

    pub(super) fn not_ok(&mut self, name: &str, reason: impl Display) {
        self.tally.failed(format!("{}/{name}", self.prefix), reason);
    }

    /// One result that this machine cannot give.
    pub(super) fn skipped(&mut self, name: &str, reason: impl Display) {
        self.tally.skipped(format!("{}/{name}", self.prefix), reason);
    }

    /// One result: what `work` says.
    pub(super) fn check(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        match work() {
            Ok(()) => self.ok(name),
            Err(error) => self.not_ok(name, format!("{error:#}")),
        }
    }

    /// How many results there are, of all scenarios.
    pub(super) fn total(&self) -> u64 {
        self.tally.total()
    }

    /// How many of them are bad.
    pub(super) fn failures(&self) -> usize {
        self.tally.failures()
    }
}
