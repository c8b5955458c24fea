//! The rule of dependencies: each direct one has its line of reason in `docs/explanation/dependencies.md`, and nothing
//! else has.

use std::collections::BTreeSet;

use super::{Finding, Source, layers::Package};

const PAGE: &str = "docs/explanation/dependencies.md";

pub(super) fn check(packages: &[Package], sources: &[Source]) -> Vec<Finding> {
    let Some(page) = sources.iter().find(|source| source.path.as_os_str() == PAGE) else {
        return vec![Finding::new(PAGE, "is missing")];
    };
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let used: BTreeSet<&str> = packages
        .iter()
        .flat_map(|package| package.uses.iter().chain(&package.tests_use))
        .map(String::as_str)
        .filter(|name| !ours.contains(name))
        .collect();
    let explained: BTreeSet<&str> = page.text.lines().filter_map(explained).collect();
    let missing = used
        .difference(&explained)
        .map(|name| format!("{name} has no line of reason"));
    let stale = explained
        .difference(&used)
        .map(|name| format!("{name} is explained and no longer used"));
    missing
        .chain(stale)
        .map(|what| Finding::new(PAGE, what))
        .collect()
}

/// The crate that a row of the table is about: a table's first cell in backticks.
fn explained(line: &str) -> Option<&str> {
    line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    #[test]
    fn a_crate_without_a_reason_and_a_reason_without_a_crate_are_found() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let packages = [
            Package {
                name: "klamm-a".to_owned(),
                uses: names(&["bytes", "klamm-b"]),
                tests_use: names(&["proptest"]),
            },
            Package {
                name: "klamm-b".to_owned(),
                uses: names(&[]),
                tests_use: names(&[]),
            },
        ];
        let page = source(
            PAGE,
            "| crate | why |\n|---|---|\n| `bytes` | slices |\n| `proptest` | cases |\n",
        );
        assert_eq!(check(&packages, &[page]), []);
        let page = source(PAGE, "| `bytes` | slices |\n| `gone` | old |\n");
        let found: Vec<String> = check(&packages, &[page])
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("proptest") && found[1].contains("gone"));
        assert_eq!(check(&packages, &[]).len(), 1);
    }
}
