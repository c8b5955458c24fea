//! The question before something that cannot be undone.
//!
//! Always holds: it is asked on standard error, so that the data on standard output stays data; where nobody can answer, the
//! command fails and does nothing.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::Hinted;
use crate::output::printable;

/// Asks; an answer other than yes is an error.
pub(crate) fn confirm(question: &str) -> anyhow::Result<()> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let message = "nothing was done: this cannot be undone, and there is no terminal to ask";
        return Err(Hinted::error(message, "-y does it without asking"));
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "{} [y/N] ", printable(question))?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if is_yes(&answer) {
        return Ok(());
    }
    Err(Hinted::error(
        "nothing was done",
        "y goes on; -y does it without asking",
    ))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (answer, is) in [
            ("y\n", true),
            (" YES \n", true),
            ("\n", false),
            ("", false),
            ("yup", false),
        ] {
            assert_eq!(is_yes(answer), is, "{answer:?}");
        }
    }
}
