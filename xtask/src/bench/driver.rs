//! The load program, `klamm-load`, as a process: it sets up, waits for a line, measures, and says what it did.
//!
//! Always holds: the program prints one line of JSON at each step and goes on when it is told to, so that what is read
//! from a broker's process is read at the borders of the measured work and not of the set-up. A run without a result is
//! an error, and so is a result with errors in it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::probe;
use crate::process;

/// No measurement lasts this long: a broker that does not answer must not hold up the rest for ever.
const LIMIT: Duration = Duration::from_secs(300);
/// A thread of the load program above this share of a processor had nothing left to give.
const BUSIEST_THREAD_LIMIT: f64 = 0.9;
/// What the load program may add of its own to the time of the slowest in a hundred records.
const SLIP_LIMIT: f64 = 0.1;

/// What the load program says at the end. What makes no sense for a command is absent.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Done {
    pub(super) requests: Option<u64>,
    pub(super) records: Option<u64>,
    /// Of batches, as they were on the wire.
    pub(super) bytes: Option<u64>,
    /// Of keys and values before compression.
    pub(super) payload_bytes: Option<u64>,
    /// Wall time of the measured part.
    pub(super) seconds: f64,
    pub(super) errors: u64,
    pub(super) driver_cpu_seconds: f64,
    /// The largest share of a processor that one of its threads used.
    pub(super) busiest_thread: f64,
    pub(super) ack_us: Option<Quantiles>,
    pub(super) end_to_end_us: Option<Quantiles>,
    /// How late requests were sent because of the load program itself.
    pub(super) slip_us: Option<Quantiles>,
    /// From EndTxn to its answer.
    pub(super) commit_us: Option<Quantiles>,
    /// From when a transaction was due until its EndTxn was answered.
    pub(super) transaction_us: Option<Quantiles>,
    /// What a group took to go on after a member came or went.
    pub(super) rebalance_us: Option<Quantiles>,
    /// Requests that were sent again, as the broker asked for.
    pub(super) retries: Option<u64>,
}

/// What a histogram of microseconds says.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct Quantiles {
    pub(super) count: u64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

impl Done {
    /// Whether the load program, and not the broker, decided how fast this was.
    pub(super) fn is_bottleneck(&self) -> bool {
        self.busiest_thread > BUSIEST_THREAD_LIMIT
    }

    /// The share of the time of the slowest in a hundred records that is the load program's own lateness, if it is too
    /// large for the time to be the broker's.
    pub(super) fn late_share(&self) -> Option<f64> {
        let share = self.slip_us?.p99 / self.since_due()?.p99;
        (share > SLIP_LIMIT).then_some(share)
    }

    /// What was timed from when it was due; nothing is where there was no schedule.
    pub(super) fn since_due(&self) -> Option<Quantiles> {
        let acknowledged = self.slip_us.and(self.ack_us);
        self.end_to_end_us
            .or(self.transaction_us)
            .or(self.rebalance_us)
            .or(acknowledged)
    }

    /// What each had to be durable by the time at which it was seen: records at a consumer, or else commits, or else what is
    /// acknowledged.
    pub(super) fn shown(&self) -> Option<Quantiles> {
        self.end_to_end_us.or(self.commit_us).or(self.ack_us)
    }
}

/// A running load program.
pub(super) struct Driver {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    errors: Option<thread::JoinHandle<String>>,
}

/// A line of the load program.
#[derive(Deserialize)]
struct Line {
    event: String,
    #[serde(flatten)]
    done: Done,
}

impl Driver {
    /// Starts the program. It says nothing before its first step.
    pub(super) fn start(program: &Path, arguments: &[String]) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        process::end_with_us(&mut command);
        let mut child = command.spawn().context("cannot run the load program")?;
        let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut messages = child.stderr.take().expect("standard error is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut text = String::new();
            // What cannot be read is missing in a message about something that failed already.
            let _ = messages.read_to_string(&mut text);
            text
        });
        Ok(Driver {
            input: child.stdin.take(),
            child,
            lines,
            errors: Some(errors),
        })
    }

    /// What it has used so far.
    pub(super) fn cpu(&self) -> Result<Duration> {
        probe::cpu(self.child.id())
    }

    /// Waits until the program has come to this step.
    pub(super) fn reach(&mut self, step: &str) -> Result<()> {
        let line = self.line()?;
        ensure!(
            line.event == step,
            "the load program is at {}, not {step}",
            line.event
        );
        Ok(())
    }

    /// Lets the program go on to its next step.
    pub(super) fn go(&mut self) -> Result<()> {
        let input = self.input.as_mut().context("the load program was let go")?;
        input.write_all(b"go\n")?;
        Ok(input.flush()?)
    }

    /// Waits for the result. It is the last thing a program says.
    pub(super) fn done(&mut self) -> Result<Done> {
        let line = self.line()?;
        ensure!(
            line.event == "done",
            "the load program is at {}, not done",
            line.event
        );
        ensure!(
            line.done.errors == 0,
            "the broker answered {} requests with errors",
            line.done.errors
        );
        Ok(line.done)
    }

    /// Waits for the end of the program, which must be a good one.
    pub(super) fn end(mut self) -> Result<()> {
        drop(self.input.take());
        let status = self.child.wait()?;
        ensure!(
            status.success(),
            "the load program ended with {status}\n{}",
            self.messages()
        );
        Ok(())
    }

    /// Through all steps, for what needs nothing in between.
    pub(super) fn complete(mut self) -> Result<Done> {
        self.reach("ready")?;
        self.go()?;
        let done = self.done()?;
        self.end()?;
        Ok(done)
    }

    fn line(&mut self) -> Result<Line> {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => serde_json::from_str(&line).with_context(|| format!("the load program says {line}")),
            Err(RecvTimeoutError::Timeout) => bail!("the load program says nothing for {LIMIT:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait()?;
                bail!("the load program ended with {status}\n{}", self.messages())
            }
        }
    }

    /// What it wrote to standard error; it has ended.
    fn messages(&mut self) -> String {
        let text = self.errors.take().and_then(|thread| thread.join().ok());
        process::last_lines(&text.unwrap_or_default(), 20)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It has ended already, or its result is not wanted any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Driver {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Driver::spawn(command).unwrap()
    }

    const DONE: &str = r#"{"event":"done","requests":3,"records":30,"seconds":1.5,"errors":0,"busiest_thread":0.5,
        "driver_cpu_seconds":0.1,"ack_us":{"count":3,"p50":1,"p90":2,"p99":3,"p999":4,"max":5}}"#;

    fn says(done: &str) -> String {
        let done = done.replace('\n', " ");
        format!("echo '{{\"event\":\"ready\"}}'; read line; echo '{done}'; read line; exit 0")
    }

    #[test]
    fn a_run_goes_step_by_step() {
        let done = shell(&says(DONE)).complete().unwrap();
        assert_eq!(
            (done.requests, done.records, done.seconds),
            (Some(3), Some(30), 1.5)
        );
        assert_eq!(done.ack_us.unwrap().p99, 3.0);
        assert!(done.end_to_end_us.is_none() && done.bytes.is_none());
    }

    #[test]
    fn what_is_no_result_is_an_error() {
        for (script, why) in [
            (says(&DONE.replace("\"errors\":0", "\"errors\":2")), "2 requests"),
            ("echo the reason >&2; exit 1".to_owned(), "the reason"),
            ("echo gibberish".to_owned(), "gibberish"),
            ("echo '{\"event\":\"begin\"}'".to_owned(), "at begin"),
            (says(DONE).replace("exit 0", "exit 3"), "status: 3"),
        ] {
            let error = format!("{:#}", shell(&script).complete().unwrap_err());
            assert!(error.contains(why), "{script}: {error}");
        }
    }

    #[test]
    fn lateness_of_its_own_is_compared_with_what_it_measured() {
        let p99 = |p99| {
            Some(Quantiles {
                p99,
                ..Quantiles::default()
            })
        };
        for (slip, seen, expected) in [
            (p99(10.0), p99(100.0), None),
            (p99(25.0), p99(100.0), Some(0.25)),
            (p99(25.0), None, None),
            (None, p99(100.0), None),
        ] {
            let done = Done {
                slip_us: slip,
                end_to_end_us: seen,
                ..Done::default()
            };
            assert_eq!(done.late_share(), expected, "{slip:?} {seen:?}");
        }
    }

    #[test]
    fn acknowledgements_are_due_where_there_is_a_schedule() {
        let times = |p99| {
            Some(Quantiles {
                p99,
                ..Quantiles::default()
            })
        };
        for (end_to_end_us, slip_us, expected) in [
            (None, None, None),
            (None, times(1.0), Some(7.0)),
            (times(9.0), times(1.0), Some(9.0)),
        ] {
            let done = Done {
                ack_us: times(7.0),
                end_to_end_us,
                slip_us,
                ..Done::default()
            };
            assert_eq!(done.since_due().map(|times| times.p99), expected);
        }
    }

    #[test]
    fn a_thread_without_rest_is_the_bottleneck() {
        for (busiest_thread, expected) in [(0.5, false), (0.9, false), (0.91, true)] {
            let done = Done {
                busiest_thread,
                ..Done::default()
            };
            assert_eq!(done.is_bottleneck(), expected);
        }
    }
}
