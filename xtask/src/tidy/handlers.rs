//! The rule of handlers: one API is one file, which opens with what it does and has its row in the one API table.

use std::path::Path;

use super::{Finding, Source};

const FOLDER: &str = "crates/broker/src/handlers";
const TABLE: &str = "crates/broker/src/api_table.rs";

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let handlers = || {
        sources
            .iter()
            .filter(|source| source.path.parent() == Some(Path::new(FOLDER)) && source.is("rs"))
    };
    if handlers().next().is_none() {
        return Vec::new();
    }
    let Some(table) = sources.iter().find(|source| source.path.as_os_str() == TABLE) else {
        return vec![Finding::new(TABLE, "is missing, and there are handlers")];
    };
    let mut findings = Vec::new();
    for handler in handlers() {
        if !handler.text.starts_with("//!") {
            findings.push(Finding::new(
                handler.place(),
                "does not open with what the API does",
            ));
        }
        let name = handler.path.file_stem().unwrap_or_default().to_string_lossy();
        if !mentions(&table.text, &name) {
            findings.push(Finding::new(handler.place(), format!("has no row in {TABLE}")));
        }
    }
    findings
}

/// Whether the table names a handler's module: as a whole word, and not in a comment.
fn mentions(table: &str, name: &str) -> bool {
    let code = table
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .any(|word| word == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    fn found(handler: &str, table: &str) -> usize {
        check(&[
            source("crates/broker/src/handlers/list_offsets.rs", handler),
            source(TABLE, table),
        ])
        .len()
    }

    #[test]
    fn a_head_and_a_row() {
        assert_eq!(
            found("//! Finds offsets.\n", "row(handlers::list_offsets::API),"),
            0
        );
        assert_eq!(
            found("use x;\n", "row(handlers::list_offsets::API),"),
            1,
            "no head"
        );
        assert_eq!(
            found("//! Finds.\n", "row(handlers::list_offsets_2::API),"),
            1,
            "another name"
        );
        assert_eq!(
            found("//! Finds.\n", "// list_offsets comes later"),
            1,
            "only a comment"
        );
    }

    #[test]
    fn no_handlers_need_no_table_and_handlers_do() {
        assert_eq!(check(&[]), []);
        assert_eq!(
            check(&[source("crates/broker/src/handlers/fetch.rs", "//! Fetches.")]).len(),
            1
        );
    }
}
