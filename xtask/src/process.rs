//! Running other programs: each failure names the program, so that the last line of a log is enough to act on.

use std::{
    env,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Where `program` stands on the search path, if it does.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Why there is no `program`; on a Debian machine of which we are root its `package` is installed.
pub(crate) fn or_installed(program: &str, package: &str) -> Option<String> {
    if find(program).is_some() {
        return None;
    }
    if find("apt-get").is_none() {
        return Some(format!(
            "there is no {program} on this machine, and no apt-get to install it with"
        ));
    }
    let root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !root {
        return Some(format!(
            "there is no {program} on this machine: apt-get install {package}"
        ));
    }
    println!("installing {package}");
    let install = || quietly(Command::new("apt-get").args(["install", "-y", "-qq", package]));
    let updated = || quietly(Command::new("apt-get").args(["update", "-qq"]));
    install()
        .or_else(|_| updated().and_then(|()| install()))
        .err()
        .map(|error| format!("{error:#}"))
}

/// Runs a command with its output shown; true when it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", name(command)))?;
    Ok(status.success())
}

/// Runs a command quietly; its output appears only in the error of one that failed.
pub(crate) fn quietly(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a command and returns what it wrote to standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let bytes = bytes(command)?;
    String::from_utf8(bytes).with_context(|| format!("{} wrote something that is not UTF-8", name(command)))
}

/// As [`output`], for programs that write anything.
pub(crate) fn bytes(command: &mut Command) -> Result<Vec<u8>> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", name(command)))?;
    if !done.status.success() {
        let out = String::from_utf8_lossy(&done.stdout);
        let err = String::from_utf8_lossy(&done.stderr);
        bail!(
            "{} ended with {}\n{}{}",
            name(command),
            done.status,
            last_lines(&out, 20),
            last_lines(&err, 20)
        );
    }
    Ok(done.stdout)
}

/// Lets the system kill what this command starts when the thread that started it ends, however that happens. A process
/// that is stopped would else outlive an interrupt from the keyboard, and stay stopped.
pub(crate) fn end_with_us(command: &mut Command) {
    let prepare = || {
        let signal = Some(rustix::process::Signal::KILL);
        Ok(rustix::process::set_parent_process_death_signal(signal)?)
    };
    // SAFETY: it runs between fork and exec, and makes one system call without memory or locks.
    unsafe { command.pre_exec(prepare) };
}

/// The last `count` lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = lines[lines.len().saturating_sub(count)..].join("\n");
    if !kept.is_empty() {
        kept.push('\n');
    }
    kept
}

/// The command as it would be typed, shortened.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    let mut line = std::iter::once(program)
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ");
    if let Some((cut, _)) = line.char_indices().nth(160) {
        line.truncate(cut);
        line.push_str(" ...");
    }
    format!("`{line}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_program_and_what_it_said() {
        let error = quietly(Command::new("sh").args(["-c", "echo the reason >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("the reason") && error.contains("`sh -c") && error.contains('3'),
            "{error}"
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_not_found() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-program-has-this-name"), None);
    }

    #[test]
    fn the_end_of_a_text() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last_lines("", 2), "");
    }
}
