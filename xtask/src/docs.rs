//! `cargo xtask docs`: the reference pages that are made from the code's own tables.
//!
//! The pages are committed, so that they can be read where the code is read; `cargo xtask tidy` finds one that is not what
//! the tables say any more.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{process, workspace};

/// What to do with the pages.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing, and fail when a page is not up to date
    #[arg(long)]
    check: bool,
}

struct Page {
    path: &'static str,
    text: fn() -> String,
}

const PAGES: &[Page] = &[Page {
    path: "docs/reference/configuration.md",
    text: klamm_config::reference::markdown,
}];

/// Pages that the broker prints, and by what name. A unit test of the broker holds each against its table, so that this
/// program need not be built with the whole broker.
const BROKER_PAGES: &[(&str, &str)] = &[
    ("docs/reference/metrics.md", "metrics"),
    ("docs/reference/protocol.md", "protocol"),
];

pub(crate) fn run(args: &Args) -> Result<bool> {
    let stale = stale(workspace::root(), PAGES)?;
    for page in &stale {
        if args.check {
            println!("{} is not up to date: cargo xtask docs", page.path);
        } else {
            let path = workspace::root().join(page.path);
            fs::create_dir_all(path.parent().context("a page lies in a folder")?)?;
            fs::write(&path, (page.text)())?;
            println!("{} is written", page.path);
        }
    }
    if !args.check {
        for (path, name) in BROKER_PAGES {
            let example = [
                "run",
                "--quiet",
                "--package",
                "klamm-broker",
                "--example",
                "reference",
                "--",
                name,
            ];
            let text = process::output(workspace::cargo().args(example))?;
            fs::write(workspace::root().join(path), text)?;
            println!("{path} is written");
        }
    }
    Ok(stale.is_empty() || !args.check)
}

/// The paths of the pages that do not say what the tables say.
pub(crate) fn stale_pages() -> Result<Vec<&'static str>> {
    Ok(stale(workspace::root(), PAGES)?
        .iter()
        .map(|page| page.path)
        .collect())
}

fn stale<'a>(root: &Path, pages: &'a [Page]) -> Result<Vec<&'a Page>> {
    let mut stale = Vec::new();
    for page in pages {
        let path = root.join(page.path);
        let written = match path.try_exists()? {
            true => fs::read_to_string(&path).with_context(|| format!("cannot read {}", page.path))?,
            false => String::new(),
        };
        if written != (page.text)() {
            stale.push(page);
        }
    }
    Ok(stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_missing_or_older_is_stale() {
        let pages = [Page {
            path: "page.md",
            text: || "# New\n".to_owned(),
        }];
        let root = tempfile::tempdir().unwrap();
        assert_eq!(stale(root.path(), &pages).unwrap().len(), 1);
        fs::write(root.path().join("page.md"), "# Old\n").unwrap();
        assert_eq!(stale(root.path(), &pages).unwrap().len(), 1);
        fs::write(root.path().join("page.md"), "# New\n").unwrap();
        assert!(stale(root.path(), &pages).unwrap().is_empty());
    }
}
