//! Regular expressions that stand for topics, with the syntax and the meaning of RE2, which Kafka uses (KIP-848).
//!
//! Always holds: matching takes time that grows with the names' bytes only, whatever the expression: it is compiled to an automaton
//! of bounded size, whose states are made as they are needed, and once too many had to be made it is given up. Names of topics are
//! ASCII, so an expression is read as one over ASCII: what is beyond matches nothing.
//!
//! Next: `expression/syntax.rs` for the syntax, `expression/set.rs` for classes of characters.

mod set;
mod syntax;

use klamm_metadata::Image;
use klamm_protocol::ByteString;
use regex_automata::hybrid::dfa;
use regex_automata::nfa::thompson;
use regex_automata::{Anchored, Input};

/// Bytes of the automaton that an expression is compiled to.
const AUTOMATON_BYTES: usize = 256 * 1024;
/// Bytes of the states that are made of it while names are matched.
const STATES_BYTES: usize = 512 * 1024;
/// How often these may be made anew while the topics of a cluster are matched.
const STATES_MADE_ANEW: usize = 3;

/// A regular expression.
#[derive(Debug)]
pub struct Expression {
    automaton: dfa::DFA,
}

/// Why a text is no expression for us; the texts are RE2's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum InvalidExpression {
    #[error("missing closing )")]
    MissingParenthesis,
    #[error("regexp/syntax: internal error")]
    UnexpectedParenthesis,
    #[error("missing closing ]")]
    MissingBracket,
    #[error("missing argument to repetition operator")]
    NothingToRepeat,
    #[error("invalid nested repetition operator")]
    RepeatedRepetition,
    #[error("invalid repeat count")]
    RepeatCount,
    #[error("invalid or unsupported Perl syntax")]
    PerlSyntax,
    #[error("invalid named capture")]
    GroupName,
    #[error("duplicate capture group name")]
    DuplicateGroupName,
    #[error("invalid escape sequence")]
    Escape,
    #[error("trailing backslash at end of expression")]
    TrailingBackslash,
    #[error("invalid character class range")]
    Range,
    #[error("expression nests too deeply")]
    TooDeep,
    #[error("expression too large")]
    TooLarge,
    /// Not RE2's: it has no such bound.
    #[error("expression takes too long to match")]
    TooSlow,
    /// Nor this: the topics that it stands for are recorded in one batch.
    #[error("expression matches too many topics")]
    TooManyTopics,
}

impl Expression {
    /// Reads an expression.
    pub fn compile(text: &str) -> Result<Self, InvalidExpression> {
        let whole_name = syntax::parse(text)?;
        let config = thompson::Config::new()
            .nfa_size_limit(Some(AUTOMATON_BYTES))
            .which_captures(thompson::WhichCaptures::None);
        let automaton = thompson::Compiler::new()
            .configure(config)
            .build_from_hir(&whole_name)
            .map_err(|_| InvalidExpression::TooLarge)?;
        let config = dfa::Config::new()
            .cache_capacity(STATES_BYTES)
            .minimum_cache_clear_count(Some(STATES_MADE_ANEW));
        let automaton = dfa::Builder::new()
            .configure(config)
            .build_from_nfa(automaton)
            .map_err(|_| InvalidExpression::TooLarge)?;
        Ok(Self { automaton })
    }

    /// The names, of these, that match as a whole.
    fn matching<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<ByteString>, InvalidExpression> {
        let mut states = self.automaton.create_cache();
        let mut matching = Vec::new();
        for name in names {
            let input = Input::new(name).anchored(Anchored::Yes).earliest(true);
            let found = self.automaton.try_search_fwd(&mut states, &input);
            if found.map_err(|_| InvalidExpression::TooSlow)?.is_some() {
                matching.push(ByteString::from(name));
            }
        }
        Ok(matching)
    }

    /// The topics that match, in order.
    pub fn topics(&self, image: &Image) -> Result<Vec<ByteString>, InvalidExpression> {
        self.matching(image.topics().iter().map(|topic| &*topic.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, name: &str) -> bool {
        let expression = Expression::compile(expression).unwrap();
        !expression.matching([name].into_iter()).unwrap().is_empty()
    }

    #[test]
    fn names_match_as_a_whole() {
        let table = [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("b", "ab", false),
            ("a|b", "b", true),
            ("a|b", "ab", false),
            ("a||b", "", true),
            (".*", "any.topic_name-1", true),
            ("a.c", "a-c", true),
            (r"a\.c", "a-c", false),
            ("[a-c]+", "abcabc", true),
            ("[^a-c]+", "xyz", true),
            ("[^a-c]+", "xyzc", false),
            ("[]a]+", "]a", true),
            ("[^]a]", "]", false),
            ("[a-]+", "a-", true),
            ("[-a]+", "-a", true),
            ("[a-z-9]+", "b-9", true),
            ("[[:alpha:]]+", "abC", true),
            ("[[:^alpha:]x]+", "1x", true),
            ("[[:alpha]+", "[:alph", true),
            (r"[\d_]+", "12_3", true),
            (r"[\D]+", "ab", true),
            (r"\w+\W\d\D\s?\S", "ab_9-1xy", true),
            (r"\pL+\p{Nd}", "ab1", true),
            (r"\PL+", "12", true),
            (r"\p{^L}+", "12", true),
            (r"\p{Greek}", "a", false),
            (r"\P{Greek}", "a", true),
            ("a{2}", "aa", true),
            ("a{2,}", "aaaa", true),
            ("a{2,3}", "aaaa", false),
            ("a{,5}", "a{,5}", true),
            ("a{", "a{", true),
            ("a{1,x}", "a{1,x}", true),
            ("(ab)*?c", "ababc", true),
            ("(|a)*", "aa", true),
            ("(a*)*", "aaa", true),
            ("(?i)aB", "Ab", true),
            ("(?i:a)b", "Ab", true),
            ("(?i:a)b", "AB", false),
            ("((?i)a)b", "Ab", true),
            ("((?i)a)b", "AB", false),
            ("(?i)[a-c]+", "ABc", true),
            ("(?i)[^a]", "A", false),
            ("(?i-s:a)", "A", true),
            ("(?s).", "x", true),
            ("^a$", "a", true),
            ("a$b", "ab", false),
            (r"\Aa\z", "a", true),
            (r"a\b-\Bx?", "a-", true),
            (r"\ba\b", "a", true),
            (r"\Qa.b\E", "a.b", true),
            (r"\Qa.b\E+", "a.bb", true),
            (r"\Qa.b", "axb", false),
            (r"\x41\x{42}\103", "ABC", true),
            (r"\07", "a", false),
            (r"\_\-\.", "_-.", true),
            ("(?P<n>a)(?<m>b)", "ab", true),
            ("\u{430}|a", "a", true),
            ("[\u{430}a]", "a", true),
            ("[a-\u{430}]", "z", true),
            ("[^\u{430}]", "z", true),
            ("(?)a", "a", true),
            ("[a&&b]+", "a&b", true),
            (r"\<|a", "a", true),
        ];
        for (expression, name, expected) in table {
            assert_eq!(matches(expression, name), expected, "`{expression}` `{name}`");
        }
    }

    #[test]
    fn what_re2_refuses_is_refused_with_its_words() {
        let table = [
            ("(", "missing closing )"),
            ("a)", "regexp/syntax: internal error"),
            ("a**", "invalid nested repetition operator"),
            ("a*+", "invalid nested repetition operator"),
            ("a???", "invalid nested repetition operator"),
            ("a{2}??", "invalid nested repetition operator"),
            ("x{2}{3}", "invalid nested repetition operator"),
            ("a{1001}", "invalid repeat count"),
            ("a{2,1}", "invalid repeat count"),
            ("a{99999999999999999999}", "invalid repeat count"),
            ("(?=x)", "invalid or unsupported Perl syntax"),
            ("(?!x)", "invalid or unsupported Perl syntax"),
            ("(?>x)", "invalid or unsupported Perl syntax"),
            ("(?#x)", "invalid or unsupported Perl syntax"),
            ("(?x)a", "invalid or unsupported Perl syntax"),
            ("(?u)a", "invalid or unsupported Perl syntax"),
            ("(?P=n)", "invalid or unsupported Perl syntax"),
            ("(?i-:a)", "invalid or unsupported Perl syntax"),
            ("(?-)a", "invalid or unsupported Perl syntax"),
            ("(?i", "invalid or unsupported Perl syntax"),
            ("(?P<n", "invalid named capture"),
            ("(?P<>a)", "invalid named capture"),
            ("(?P<n>a)(?<n>b)", "duplicate capture group name"),
            ("[a--b]", "invalid character class range"),
            ("[z-a]", "invalid character class range"),
            ("[[:foo:]]", "invalid character class range"),
            (r"\pX", "invalid character class range"),
            (r"\p{", "invalid character class range"),
            ("[a", "missing closing ]"),
            ("[", "missing closing ]"),
            ("[a-", "missing closing ]"),
            (r"\C", "invalid escape sequence"),
            (r"\8", "invalid escape sequence"),
            (r"\1", "invalid escape sequence"),
            (r"\y", "invalid escape sequence"),
            (r"\Z", "invalid escape sequence"),
            (r"\Eab", "invalid escape sequence"),
            (r"\x4", "invalid escape sequence"),
            (r"\x{110000}", "invalid escape sequence"),
            (r"[a-\d]", "invalid escape sequence"),
            (r"[\b]", "invalid escape sequence"),
            (r"a\", "trailing backslash at end of expression"),
            ("*", "missing argument to repetition operator"),
            ("+a", "missing argument to repetition operator"),
            ("a|*", "missing argument to repetition operator"),
            ("(*a)", "missing argument to repetition operator"),
        ];
        for (expression, expected) in table {
            let error = Expression::compile(expression).map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), expected, "`{expression}`");
        }
    }

    #[test]
    #[allow(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "the time that it takes is what is asked"
    )]
    fn brackets_without_an_end_are_read_in_no_time() {
        let text = format!("[{}", "[:".repeat(100_000));
        let begin = std::time::Instant::now();
        assert_eq!(
            Expression::compile(&text).unwrap_err(),
            InvalidExpression::MissingBracket
        );
        // Some 50 ms in a build for debugging; each with each takes half a minute.
        let took = begin.elapsed();
        assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    }

    #[test]
    fn expressions_made_to_explode_are_refused() {
        assert_eq!(
            Expression::compile(&"(".repeat(30_000)).unwrap_err(),
            InvalidExpression::TooDeep
        );
        for large in [
            "(a{1000}){1000}",
            "((a{100}){100}){100}",
            "(.{1000}|b{1000}){1000}",
        ] {
            assert_eq!(
                Expression::compile(large).unwrap_err(),
                InvalidExpression::TooLarge
            );
        }
        // So many states that they can never be kept.
        let slow = Expression::compile("(a|b)*a(a|b){200}c(a|b)*").unwrap();
        let names: Vec<String> = (0..20_000_u64)
            .map(|number| {
                let bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (0..249)
                    .map(|at| if bits.rotate_left(at) & 1 == 0 { 'a' } else { 'b' })
                    .collect()
            })
            .collect();
        let matching = slow.matching(names.iter().map(String::as_str));
        assert_eq!(matching.unwrap_err(), InvalidExpression::TooSlow);
    }
}
