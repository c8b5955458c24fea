//! The rule of links: what a page links to is there, and every page under `docs/` is linked to from another.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use super::{Finding, Source};

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let files: BTreeSet<&Path> = sources.iter().map(|source| source.path.as_path()).collect();
    let mut linked = BTreeSet::new();
    let mut findings = Vec::new();
    for page in sources.iter().filter(|source| source.is("md")) {
        for link in links(&page.text) {
            let folder = page.path.parent().unwrap_or(Path::new(""));
            let target = normal(&folder.join(link));
            let is_folder = || files.iter().any(|file| file.starts_with(&target));
            if !files.contains(target.as_path()) && !is_folder() {
                findings.push(Finding::new(
                    page.place(),
                    format!("links to {link}, which is not there"),
                ));
            }
            if target != page.path {
                linked.insert(target);
            }
        }
    }
    for page in sources
        .iter()
        .filter(|source| source.is("md") && source.path.starts_with("docs"))
    {
        // The index of all pages is where a reader starts.
        if page.path != Path::new("docs/README.md") && !linked.contains(&page.path) {
            findings.push(Finding::new(page.place(), "no page links here"));
        }
    }
    findings
}

/// The targets of a page's links to files, without the part after `#`; code blocks and other sites left out.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        if code {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let target = rest.split([')', ' ']).next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") {
                links.push(file);
            }
        }
    }
    links
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::CurDir => {}
            part => parts.push(part),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    #[test]
    fn links_of_a_page() {
        let text = "See [a](a.md), [b](../b.md#part) and [c](https://example.org/c.md).\n```\n[d](d.md)\n```\n[e](#here)";
        assert_eq!(links(text), ["a.md", "../b.md"]);
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        let pages = |text: &str| {
            [
                source("README.md", text),
                source("docs/x/a.md", "up: [r](../../README.md)"),
            ]
        };
        assert_eq!(check(&pages("[a](docs/x/a.md) [all](docs/x)")), []);
        assert_eq!(check(&pages("[a](docs/x/a.md) [b](docs/x/b.md)")).len(), 1);
    }

    #[test]
    fn a_page_that_nothing_links_to_is_found() {
        let found = check(&[
            source("docs/README.md", "[a](a.md)"),
            source("docs/a.md", "[me](a.md)"),
            source("docs/b.md", ""),
        ]);
        assert_eq!(found, [Finding::new("docs/b.md", "no page links here")]);
    }
}
