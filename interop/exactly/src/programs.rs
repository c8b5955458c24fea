//! The clients' processes: each is started with a pipe that it is told by to end, and another one that carries its books.
//!
//! Always holds: what a process said before it was killed is heard before its end is. A process goes with its handle.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::{Context, Result};

use crate::Surroundings;
use crate::entry::Said;

/// A process, by the order in which they were started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(u32);

#[cfg(test)]
impl Id {
    pub(crate) fn of(number: u32) -> Self {
        Id(number)
    }
}

/// What is heard.
#[derive(Debug)]
pub(crate) enum Heard {
    /// An entry of the books of a process.
    Said { by: Id, said: Said },
    /// A line that is none, which a killed process leaves at the end.
    Odd { by: Id, line: String },
    /// A process has ended.
    Ended { by: Id },
    /// The broker's next life has begun.
    Again,
}

/// Starts them.
pub(crate) struct Programs {
    surroundings: Surroundings,
    heard: Sender<Heard>,
    started: u32,
}

/// One of them.
pub(crate) struct Program {
    pub(crate) id: Id,
    process: Child,
    input: Option<ChildStdin>,
}

/// Lets the system kill what this command starts when this program ends, however that happens: one that is stopped reads no end of
/// its input, and would stay stopped. To be called on the thread that outlives all others.
fn end_with_us(command: &mut Command) {
    let prepare = || {
        let signal = Some(rustix::process::Signal::KILL);
        Ok(rustix::process::set_parent_process_death_signal(signal)?)
    };
    // SAFETY: it runs between fork and exec, and makes one system call without memory or locks.
    unsafe { command.pre_exec(prepare) };
}

impl Programs {
    pub(crate) fn new(surroundings: Surroundings, heard: Sender<Heard>) -> Self {
        let again = heard.clone();
        thread::spawn(move || {
            for line in io::stdin().lines().map_while(Result::ok) {
                if line == "again" && again.send(Heard::Again).is_err() {
                    break;
                }
            }
        });
        Programs {
            surroundings,
            heard,
            started: 0,
        }
    }

    /// Starts a program of the clients' folder.
    pub(crate) fn start(&mut self, program: &str, arguments: &[String]) -> Result<Program> {
        let place = &self.surroundings;
        let mut command = Command::new(&place.python);
        command
            .args(["-u", "-B"])
            .arg(place.programs.join(program))
            .args(["--bootstrap", &place.bootstrap])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        end_with_us(&mut command);
        let mut process = command
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let output = output.expect("standard output is piped");
        self.started += 1;
        let (id, heard) = (Id(self.started), self.heard.clone());
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let line = match Said::parse(&line) {
                    Ok(said) => Heard::Said { by: id, said },
                    Err(_) => Heard::Odd { by: id, line },
                };
                if heard.send(line).is_err() {
                    return;
                }
            }
            // Nobody listens any more when all is over.
            let _ = heard.send(Heard::Ended { by: id });
        });
        Ok(Program { id, process, input })
    }

    /// Runs the command line of Klamm; its standard output, or an error when it fails.
    pub(crate) fn klamm(&self, arguments: &[&str]) -> Result<String> {
        let place = &self.surroundings;
        let mut command = Command::new(&place.klamm);
        command.args(["--bootstrap", &place.bootstrap]).args(arguments);
        let done = command
            .stdin(Stdio::null())
            .output()
            .context("cannot run klamm")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        anyhow::ensure!(
            done.status.success(),
            "klamm {}: {}",
            arguments.join(" "),
            text(&done.stderr).trim()
        );
        Ok(text(&done.stdout))
    }
}

impl Program {
    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Stops it in the middle of whatever it does, or lets it go on as if nothing had been.
    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        let process = self.process.id().to_string();
        let status = Command::new("kill")
            .args([signal, &process])
            .status()
            .context("cannot run kill")?;
        anyhow::ensure!(status.success(), "kill {signal} {process}: {status}");
        Ok(())
    }

    /// Tells it to come to its end.
    pub(crate) fn tell_to_end(&mut self) {
        self.input = None;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Nothing is left to report to when this fails: the process is gone already.
        let _ = self.kill();
    }
}
