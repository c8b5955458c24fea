//! The results, in the words that the test harness reads.

use std::process::ExitCode;

use klamm_sim::exactly_once::{self, History};

/// Breaches of a rule that are shown.
const SHOWN: usize = 5;

/// What was said so far.
#[derive(Default)]
pub(crate) struct Verdict {
    is_bad: bool,
}

impl Verdict {
    /// One result: good when nothing is wrong.
    pub(crate) fn say(&mut self, name: &str, wrong: &[String]) {
        if wrong.is_empty() {
            println!("ok {name}");
        } else {
            self.is_bad = true;
            let shown = wrong[..wrong.len().min(SHOWN)].join("; ");
            println!("not ok {name}: {} breaches: {shown}", wrong.len());
        }
    }

    /// One result for each rule.
    pub(crate) fn rules(&mut self, history: &History) {
        let violations = exactly_once::check(history);
        for rule in exactly_once::rules() {
            let wrong = violations.iter().filter(|violation| violation.rule == rule);
            let wrong: Vec<String> = wrong.map(|violation| violation.what.clone()).collect();
            self.say(rule, &wrong);
        }
    }

    pub(crate) fn code(&self) -> ExitCode {
        match self.is_bad {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}

/// A list with this in it when something is not so.
pub(crate) fn unless(is_so: bool, what: impl FnOnce() -> String) -> Vec<String> {
    if is_so { Vec::new() } else { vec![what()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_breach_is_enough() {
        let mut verdict = Verdict::default();
        let mut history = History::default();
        verdict.rules(&history);
        assert_eq!(verdict.code(), ExitCode::SUCCESS);
        history.faults.push("what must not be".to_owned());
        verdict.rules(&history);
        verdict.say("another", &[]);
        assert_eq!(verdict.code(), ExitCode::FAILURE);
    }
}
