//! Several things that are asked about by name in one command.
//!
//! Always holds: one that cannot be shown keeps none of the others from being shown, and fails the command.

use std::collections::BTreeSet;

use crate::failure;
use crate::output::{Output, Show};

/// The names in their order, each once.
pub(crate) fn once_each(names: &[String]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    let names = names.iter().map(String::as_str);
    names.filter(|name| seen.insert(*name)).collect()
}

/// Shows those that were found; the last failure is the command's.
pub(crate) fn show<T, S: Show>(
    found: Vec<T>,
    mut failed: Vec<anyhow::Error>,
    shown: impl FnOnce(Vec<T>) -> S,
    out: &mut Output,
) -> anyhow::Result<()> {
    if !found.is_empty() || failed.is_empty() {
        out.show(&shown(found))?;
        out.flush()?;
    }
    let last = failed.pop();
    failed.iter().for_each(failure::report);
    last.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_twice_is_meant_once() {
        let names = ["b", "a", "b", "a"].map(str::to_owned);
        assert_eq!(once_each(&names), ["b", "a"]);
    }
}
