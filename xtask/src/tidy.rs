//! `cargo xtask tidy`: the rules of the code that the compiler does not know.
//!
//! Each rule is a module with a pure function from what it looks at to what it found, and a test in which it finds
//! something. A rule has no switch: what may break it stands in a list of its own, and such a list only gets shorter.

mod configuration;
mod dependencies;
mod handlers;
mod layers;
mod links;
mod sizes;
mod text;

use std::{
    fmt::{self, Display},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{docs, workspace};

/// One breach of a rule: where, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    place: String,
    what: String,
}

impl Finding {
    fn new(place: impl Display, what: impl Into<String>) -> Self {
        Finding {
            place: place.to_string(),
            what: what.into(),
        }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// A file of the project: its path from the root, and what it says.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn is(&self, extension: &str) -> bool {
        self.path.extension().is_some_and(|end| end == extension)
    }

    /// Code that a command wrote is held to the rules of the command.
    fn is_generated(&self) -> bool {
        self.path.components().any(|part| part.as_os_str() == "generated")
    }

    fn place(&self) -> std::path::Display<'_> {
        self.path.display()
    }
}

/// Checks every rule and prints what was found; true when nothing was.
pub(crate) fn run() -> Result<bool> {
    let root = workspace::root();
    let sources = read(root, &workspace::files()?)?;
    let packages = layers::packages()?;
    let mut findings = layers::check(&packages);
    findings.extend(dependencies::check(&packages, &sources));
    findings.extend(sizes::check(&sources)?);
    findings.extend(handlers::check(&sources));
    findings.extend(text::check(&sources));
    findings.extend(links::check(&sources));
    findings.extend(configuration::check(
        &configuration::unproven(),
        &docs::stale_pages()?,
    ));
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: {} files, {} packages", sources.len(), packages.len()),
        count => println!("tidy: {count} findings"),
    }
    Ok(findings.is_empty())
}

/// Reads the files that are text; others have no rules.
fn read(root: &Path, files: &[PathBuf]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in files {
        let bytes = fs::read(root.join(path)).with_context(|| format!("cannot read {}", path.display()))?;
        if let Ok(text) = String::from_utf8(bytes) {
            sources.push(Source {
                path: path.clone(),
                text,
            });
        }
    }
    Ok(sources)
}

#[cfg(test)]
fn source(path: &str, text: &str) -> Source {
    Source {
        path: PathBuf::from(path),
        text: text.to_owned(),
    }
}
