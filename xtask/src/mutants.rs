//! `cargo xtask mutants`: breaks the code in known ways, and demands that a named test sees each.
//!
//! Always: the checkout is not touched: a copy of it below the target folder is, and put right after each break. A break whose
//! place is not in the code any more is an error (a unit test says so at once), one that does not compile too: both would prove nothing.
//!
//! Where to go next: [`list`] has the breaks.

mod list;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use self::list::{Mutant, mutants};
use crate::{
    broker::target_folder,
    process,
    test::{Skips, Tally},
    workspace,
};

/// Which breaks to try.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only breaks whose name contains this
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    let copy = Copy::make(&target_folder()?.join("mutants"))?;
    let mut tally = Tally::default();
    for mutant in mutants() {
        if args
            .filter
            .as_ref()
            .is_some_and(|filter| !mutant.name.contains(filter.as_str()))
        {
            continue;
        }
        println!("== {}", mutant.name);
        match copy.try_out(mutant) {
            Ok(()) => tally.passed(),
            Err(error) => tally.failed(mutant.name.to_owned(), format!("{error:#}")),
        }
    }
    Ok(tally.report(Skips::Fail))
}

/// A copy of the project's files.
struct Copy {
    root: PathBuf,
    target: PathBuf,
}

impl Copy {
    /// Files that are the same already are left alone, so that what was built of them is of use again.
    fn make(folder: &Path) -> Result<Self> {
        let copy = Copy {
            root: folder.join("copy"),
            target: folder.join("target"),
        };
        for file in workspace::files()? {
            let (from, to) = (workspace::root().join(&file), copy.root.join(&file));
            let bytes = fs::read(&from)?;
            if fs::read(&to).is_ok_and(|there| there == bytes) {
                continue;
            }
            fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
            fs::write(&to, bytes)?;
        }
        Ok(copy)
    }

    /// The test passes as the code is, and fails when it is broken.
    fn try_out(&self, mutant: &Mutant) -> Result<()> {
        let path = self.root.join(mutant.file);
        let sound = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let broken = mutant.break_it(&sound)?;
        fs::write(&path, broken)?;
        let outcome = self.test(mutant);
        fs::write(&path, sound)?;
        let printed = outcome?;
        ensure!(
            printed.contains(&format!("test {} ... FAILED", mutant.test)),
            "{} does not see it\n{}",
            mutant.test,
            process::last_lines(&printed, 12)
        );
        Ok(())
    }

    /// What a run of the test prints; an error when it cannot be run.
    fn test(&self, mutant: &Mutant) -> Result<String> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .args(["test", "--quiet", "--locked", "--package", mutant.package])
            .args(mutant.target)
            // One line for each test, whatever the terminal.
            .args(["--", "--format", "pretty", "--exact", mutant.test]);
        let done = cargo.output().context("cannot run cargo")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, errors) = (text(&done.stdout), text(&done.stderr));
        if !printed.contains("running 1 test") {
            bail!(
                "{} was not run\n{}",
                mutant.test,
                process::last_lines(&errors, 20)
            );
        }
        Ok(printed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_break_has_its_place_in_the_code() {
        for mutant in mutants() {
            let text = fs::read_to_string(workspace::root().join(mutant.file)).unwrap();
            let broken = mutant
                .break_it(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", mutant.name));
            assert_ne!(text, broken, "{}", mutant.name);
        }
    }

    #[test]
    fn every_break_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = mutants().iter().map(|mutant| mutant.name).collect();
        assert_eq!(names.len(), mutants().len());
    }
}
