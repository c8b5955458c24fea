//! What passed, what failed and what was skipped, over every kind of test.

use std::fmt::Display;

/// Whether a skipped test fails the run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skips {
    Allow,
    Fail,
}

/// Counts of one run. Names are kept only where somebody has to act.
#[derive(Default)]
pub(crate) struct Tally {
    passed: u64,
    failed: Vec<(String, String)>,
    skipped: Vec<(String, String)>,
}

impl Tally {
    pub(crate) fn passed(&mut self) {
        self.passed += 1;
    }

    pub(crate) fn failed(&mut self, name: String, reason: impl Display) {
        let reason = reason.to_string();
        println!("FAILED {name}: {reason}");
        self.failed.push((name, reason));
    }

    pub(crate) fn skipped(&mut self, name: String, reason: impl Display) {
        let reason = reason.to_string();
        println!("skipped {name}: {reason}");
        self.skipped.push((name, reason));
    }

    /// How many tests have failed so far.
    pub(super) fn failures(&self) -> usize {
        self.failed.len()
    }

    /// How many tests have reported so far.
    pub(super) fn total(&self) -> u64 {
        self.passed + (self.failed.len() + self.skipped.len()) as u64
    }

    /// Prints what needs attention and, last, the counts; true when the run is good.
    pub(crate) fn report(&self, skips: Skips) -> bool {
        println!();
        for (name, reason) in &self.skipped {
            println!("skipped {name}: {reason}");
        }
        for (name, reason) in &self.failed {
            println!("FAILED {name}: {}", reason.lines().next().unwrap_or_default());
        }
        println!("{}", self.line());
        self.is_good(skips)
    }

    fn is_good(&self, skips: Skips) -> bool {
        self.failed.is_empty() && (skips == Skips::Allow || self.skipped.is_empty()) && self.passed > 0
    }

    fn line(&self) -> String {
        format!(
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failed.len(),
            self.skipped.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_all_three() {
        let mut tally = Tally::default();
        for _ in 0..5 {
            tally.passed();
        }
        tally.failed("a".to_owned(), "reason");
        tally.skipped("b".to_owned(), "no go");
        assert_eq!(tally.line(), "5 passed, 1 failed, 1 skipped");
        assert_eq!(tally.total(), 7);
    }

    #[test]
    fn a_skip_fails_only_when_asked() {
        let mut tally = Tally::default();
        tally.passed();
        assert!(tally.is_good(Skips::Fail));
        tally.skipped("b".to_owned(), "no go");
        assert!(tally.is_good(Skips::Allow));
        assert!(!tally.is_good(Skips::Fail));
    }

    #[test]
    fn a_run_without_a_test_is_not_good() {
        assert!(!Tally::default().is_good(Skips::Allow));
    }
}
