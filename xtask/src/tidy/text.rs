//! The rule of text: no path of a machine, no address of a registry, nothing that is left to do.

use super::{Finding, Source};

/// What stands in no file, and why. Put together here, or this file would break its own rule.
const EVERYWHERE: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("arti", "factory"), "the address of a registry"),
    (concat!("registry.", "npmjs.org"), "the address of a registry"),
    (concat!("repo.maven.", "apache.org"), "the address of a registry"),
    (concat!("repo1.maven.", "org"), "the address of a registry"),
    (concat!("files.", "pythonhosted.org"), "the address of a registry"),
];

/// What stands in no Rust file: it compiles, and fails when it is reached.
const RUST: &[(&str, &str)] = &[
    (concat!("to", "do!("), "is not written yet"),
    (concat!("unimplem", "ented!("), "is not written yet"),
    (concat!("allow(", "dead_code)"), "keeps code that nothing uses"),
    (concat!("    #[ign", "ore"), "is a test that does not run"),
];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let rust = if source.is("rs") { RUST } else { &[] };
        for (number, line) in source.text.lines().enumerate() {
            for (words, why) in EVERYWHERE.iter().chain(rust) {
                if line.contains(words) {
                    findings.push(Finding::new(
                        format!("{}:{}", source.place(), number + 1),
                        format!("{words} {why}"),
                    ));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    #[test]
    fn each_of_the_words_is_found_in_its_place() {
        for (words, _) in EVERYWHERE {
            assert_eq!(
                check(&[source("a.md", &format!("one\nsee {words}x\n"))]).len(),
                1,
                "{words}"
            );
        }
        for (words, _) in RUST {
            assert_eq!(
                check(&[source("a.rs", &format!("    {words}\n"))]).len(),
                1,
                "{words}"
            );
            assert_eq!(check(&[source("a.md", words)]), [], "prose may speak of it");
        }
    }

    #[test]
    fn the_line_is_named() {
        let found = check(&[source("a.rs", &format!("fn a() {{\n{}) }}\n", RUST[0].0))]);
        assert!(found[0].to_string().starts_with("a.rs:2: "));
    }
}
