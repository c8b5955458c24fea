//! The group `cli`: every command and flag of `klamm`, against Klamm and against Apache Kafka.
//!
//! Always: a row says what goes in, what must come out on standard output, word for word, and on standard error, and the
//! exit code. A command that is done and has nothing to tell is silent on standard error.
//!
//! Where to go next: [`rows`] is the table; a row may build on those above it. [`transactions`] needs a producer that is
//! kept waiting.

mod rows;
mod transactions;

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, ensure};

use self::rows::{Call, FILES, calls};
use super::{
    check::Checks,
    group::{Ready, Scenario},
    patience::Patience,
};
use crate::broker::{self, Broker, Kind};

pub(super) fn prepare(kind: Kind) -> Result<Ready> {
    let program = broker::program()?;
    let commands = program.clone();
    let calls_alone = Scenario::calm("commands", move |broker, checks| {
        let folder = tempfile::tempdir()?;
        let mut patience = Patience::with(kind);
        for (name, content) in FILES {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().context("a file lies in a folder")?)?;
            fs::write(&file, content.replace("ADDRESS", broker.address()))?;
        }
        for call in calls().filter(|call| call.only.is_none_or(|only| only == kind)) {
            let name = format!("{} {}", call.name, call.arguments);
            checks.check(name.trim_end(), || {
                patience.wait_for(|| run(call, &commands, broker, folder.path()))
            });
        }
        completions(&commands, checks);
        Ok(())
    });
    let open_transactions = Scenario::calm("transactions", move |broker, checks| {
        transactions::check(&program, broker, checks)
    });
    Ok(Ready::Scenarios(vec![calls_alone, open_transactions]))
}

fn run(call: &Call, program: &Path, broker: &Broker, folder: &Path) -> Result<()> {
    let here = |text: &str| {
        text.replace("ADDRESS", broker.address())
            .replace("LOGDIR", &broker.log_dir().to_string_lossy())
            .replace("FOLDER", &folder.to_string_lossy())
    };
    let mut command = Command::new(program);
    command
        .args(
            call.arguments
                .split(' ')
                .filter(|word| !word.is_empty())
                .map(here),
        )
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .env_remove("KLAMM_PROFILE")
        .env_remove("RUST_LOG");
    match call.bootstrap {
        true => command.env("KLAMM_BOOTSTRAP", broker.address()),
        false => command.env_remove("KLAMM_BOOTSTRAP"),
    };
    let (code, stdout, stderr) = finish(&mut command, call.stdin.as_bytes())?;
    let all = format!("stdout:\n{stdout}stderr:\n{stderr}");
    ensure!(
        code == Some(call.code),
        "exit code {code:?}, not {}\n{all}",
        call.code
    );
    let expected = here(call.stdout);
    ensure!(is_like(&expected, &stdout), "not as expected:\n{expected}{all}");
    if call.stderr.is_empty() {
        ensure!(stderr.is_empty(), "it says something on standard error\n{all}");
    }
    for words in call.stderr {
        let words = here(words);
        ensure!(
            stderr.contains(&words),
            "{words:?} is not on standard error\n{all}"
        );
    }
    Ok(())
}

/// Runs a command to its end with this input; exit code, standard output and standard error.
fn finish(command: &mut Command, input: &[u8]) -> Result<(Option<i32>, String, String)> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run klamm")?;
    let mut stdin = child.stdin.take().expect("standard input is piped");
    let done = thread::scope(|scope| {
        // Beside the reading: a command may answer before it has read all. One that reads nothing ends the pipe.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output()
    })?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("it writes something that is not UTF-8");
    Ok((done.status.code(), text(done.stdout)?, text(done.stderr)?))
}

/// Whether `text` is `pattern`, in which `*` stands for any part of a line, and a line `...` for any number of lines.
pub(super) fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<&str>, Vec<&str>) = (pattern.lines().collect(), text.lines().collect());
    are_like(&pattern, &text)
}

fn are_like(pattern: &[&str], text: &[&str]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ["...", rest @ ..] => (0..=text.len()).any(|skipped| are_like(rest, &text[skipped..])),
        [line, rest @ ..] => match text {
            [first, others @ ..] => is_line_like(line, first) && are_like(rest, others),
            [] => false,
        },
    }
}

fn is_line_like(pattern: &str, line: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else {
        return pattern == line;
    };
    let Some(line) = line.strip_prefix(begin) else {
        return false;
    };
    let mut ends = line.char_indices().map(|(place, _)| place).chain([line.len()]);
    ends.any(|place| is_line_like(rest, &line[place..]))
}

/// The scripts for shells: those that are here read them.
fn completions(program: &Path, checks: &mut Checks) {
    for (shell, read, names) in [
        ("bash", "source /dev/stdin && complete -p klamm", "complete"),
        ("zsh", "compdef() { echo \"$@\"; }; source /dev/stdin", "_klamm"),
        ("fish", "source; complete -C 'klamm topic '", "describe"),
    ] {
        checks.check(&format!("completion {shell}"), || {
            let (code, script, _) = finish(Command::new(program).args(["completion", shell]), b"")?;
            ensure!(code == Some(0) && script.contains("klamm"), "{script}");
            for word in ["consume", "compression", "describe"] {
                ensure!(script.contains(word), "there is no {word} in it");
            }
            if crate::process::find(shell).is_some() {
                let (code, stdout, stderr) =
                    finish(Command::new(shell).args(["-c", read]), script.as_bytes())?;
                ensure!(
                    code == Some(0) && stdout.contains(names),
                    "{shell} reads it with {code:?}: {stdout}{stderr}"
                );
            }
            Ok(())
        });
    }
}

/// The environment's search path with the folder of `program` at its beginning.
pub(super) fn search_path(program: &Path) -> Result<std::ffi::OsString> {
    let folder = program.parent().map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(
        folder.into_iter().chain(env::split_paths(&path)),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_compared_line_by_line() {
        for (pattern, text, is) in [
            ("", "", true),
            ("", "a\n", false),
            ("a\n", "a\n", true),
            ("a\n", "b\n", false),
            ("a\nb\n", "a\n", false),
            ("a*c\n", "abc\n", true),
            ("a*c\n", "ac\n", true),
            ("a*c\n", "ab\nc\n", false),
            ("*b*\n", "abab\n", true),
            ("a*\n", "ä\n", false),
            ("...\nb\n...\n", "a\nb\nc\n", true),
            ("...\nb\n", "a\nb\nc\n", false),
            ("...\n", "", true),
        ] {
            assert_eq!(is_like(pattern, text), is, "{pattern:?} and {text:?}");
        }
    }

    #[test]
    fn rows_have_names_and_say_something() {
        for call in calls() {
            assert!(!call.name.is_empty(), "{}", call.arguments);
            // A failure is always explained.
            assert!(call.code == 0 || !call.stderr.is_empty(), "{}", call.arguments);
        }
    }
}
