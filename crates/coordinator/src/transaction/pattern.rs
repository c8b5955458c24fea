//! Regular expressions over transactional ids (KIP-1152).
//!
//! Always holds: matching takes time that grows with the ids' bytes only, whatever the expression, which is compiled to an automaton
//! of bounded size. What is common to Java's expressions, which Kafka uses, and to those of automata means the same: `\w`, `\d`,
//! `\s` and case are those of ASCII. What needs backtracking (looking around, referring back, possessive repetition) is refused.

use regex_automata::hybrid::dfa;
use regex_automata::nfa::thompson;
use regex_automata::{Anchored, Input};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, Look};

/// Bytes of the automaton that an expression is compiled to.
const AUTOMATON_BYTES: usize = 256 * 1024;
/// Bytes of the states that are made of it while ids are matched.
const STATES_BYTES: usize = 2 * 1024 * 1024;
/// How deeply an expression may nest.
const NESTING: u32 = 100;

/// A regular expression over whole ids.
#[derive(Debug)]
pub struct IdPattern {
    automaton: dfa::DFA,
}

/// A text is no expression, or one that is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a regular expression that is served")]
pub struct InvalidPattern;

impl IdPattern {
    /// Reads an expression.
    pub fn compile(text: &str) -> Result<Self, InvalidPattern> {
        // Characters beyond ASCII are matched as such, and byte by byte beside what is ASCII's.
        let automaton = compile(text, !asks_for_ascii(text));
        Ok(Self {
            automaton: automaton.ok_or(InvalidPattern)?,
        })
    }

    /// What matches many ids.
    pub(super) fn matcher(&self) -> Matcher<'_> {
        Matcher {
            pattern: self,
            states: self.automaton.create_cache(),
        }
    }
}

/// Whether there are classes, boundaries or flags in an expression, which are ASCII's in Java.
fn asks_for_ascii(text: &str) -> bool {
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\\'
            && letters
                .next()
                .is_some_and(|escaped| escaped.is_ascii_alphabetic())
        {
            return true;
        }
    }
    text.contains("(?")
}

fn compile(text: &str, unicode: bool) -> Option<dfa::DFA> {
    let mut parser = ParserBuilder::new();
    parser.nest_limit(NESTING).unicode(unicode).utf8(unicode);
    let parsed = parser.build().parse(text).ok()?;
    let whole_id = Hir::concat(vec![parsed, Hir::look(Look::End)]);
    let config = thompson::Config::new()
        .nfa_size_limit(Some(AUTOMATON_BYTES))
        .which_captures(thompson::WhichCaptures::None);
    let automaton = thompson::Compiler::new()
        .configure(config)
        .build_from_hir(&whole_id)
        .ok()?;
    let config = dfa::Config::new().cache_capacity(STATES_BYTES);
    dfa::Builder::new()
        .configure(config)
        .build_from_nfa(automaton)
        .ok()
}

/// Matches ids, and gets quicker with each.
pub(super) struct Matcher<'a> {
    pattern: &'a IdPattern,
    states: dfa::Cache,
}

impl Matcher<'_> {
    pub(super) fn is_match(&mut self, id: &str) -> bool {
        let input = Input::new(id).anchored(Anchored::Yes).earliest(true);
        let found = self.pattern.automaton.try_search_fwd(&mut self.states, &input);
        // States are made anew without a limit, so a search never gives up.
        found.is_ok_and(|end| end.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_match_as_a_whole() {
        for (pattern, id, expected) in [
            ("app", "app", true),
            ("app", "app-1", false),
            ("app-.*", "app-1", true),
            ("pp-.*", "app-1", false),
            ("a|ab", "ab", true),
            (r"app-\d+", "app-17", true),
            (r"app-\d+", "app-x", false),
            (r"\w+", "ä", false),
            ("...", "äöü", true),
            ("(?i)APP", "app", true),
            ("^app$", "app", true),
            ("[^a]*", "ö", true),
            (".*", "ö\u{1F600}", true),
        ] {
            let compiled = IdPattern::compile(pattern).unwrap();
            assert_eq!(compiled.matcher().is_match(id), expected, "{pattern} {id}");
        }
    }

    #[test]
    fn what_is_no_expression_or_needs_backtracking_is_refused() {
        for pattern in [
            "(",
            ")(",
            "a)(b",
            "[",
            "*",
            "(?=a)",
            "(?<!a)b",
            r"(a)\1",
            "(a{1000}){1000}",
        ] {
            assert_eq!(
                IdPattern::compile(pattern).unwrap_err(),
                InvalidPattern,
                "{pattern}"
            );
        }
        let nested = "(".repeat(10_000) + &")".repeat(10_000);
        assert_eq!(IdPattern::compile(&nested).unwrap_err(), InvalidPattern);
    }

    #[test]
    fn an_expression_made_to_explode_matches_in_no_time() {
        let pattern = IdPattern::compile("(a*)*b|(a|aa)+|(.*a){20}").unwrap();
        let mut matcher = pattern.matcher();
        assert!(!matcher.is_match(&("a".repeat(30_000) + "c")));
    }
}
