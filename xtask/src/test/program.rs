//! Runs a client program and reads its results.
//!
//! The contract (also in `interop/README.md`): the program finds the broker in `KLAMM_BOOTSTRAP`, which one it is in
//! `KLAMM_BROKER`, what to do in `KLAMM_SCENARIO` and how many records to move in `KLAMM_RECORDS`. It prints `ok NAME`, `not ok NAME: REASON` and,
//! where it moves many records, `progress DONE TOTAL`; a program that decides itself when the broker is killed prints `kill`,
//! or `kill MILLISECONDS` for a broker that stays away so long, and reads `again` when its next life has begun. It ends with 0 when all results are ok and 1 when one is not.
//! Any other line is for the reader of the log.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::check::Checks;
use crate::broker::Broker;

/// A program that has not ended by then hangs. The slowest takes two minutes where nothing else runs.
const LIMIT: Duration = Duration::from_secs(1800);

/// How many records the scenario `million` moves.
pub(super) const MILLION: u64 = 1_000_000;

/// Runs a scenario of a client program against a broker that stays up.
pub(super) fn run(command: Command, scenario: &str, broker: &mut Broker, checks: &mut Checks) -> Result<()> {
    Run {
        scenario,
        records: 0,
        kills: Kills::none(),
    }
    .go(command, broker, checks)
}

/// Runs a scenario that moves many records, and kills the broker twice meanwhile.
pub(super) fn run_killing(
    command: Command,
    scenario: &str,
    records: u64,
    broker: &mut Broker,
    checks: &mut Checks,
) -> Result<()> {
    Run {
        scenario,
        records,
        kills: Kills::twice(),
    }
    .go(command, broker, checks)
}

/// Runs a scenario that asks for the broker to be killed.
pub(super) fn run_asking(
    command: Command,
    scenario: &str,
    broker: &mut Broker,
    checks: &mut Checks,
) -> Result<()> {
    Run {
        scenario,
        records: 0,
        kills: Kills::asked(),
    }
    .go(command, broker, checks)
}

struct Run<'a> {
    scenario: &'a str,
    records: u64,
    kills: Kills,
}

impl Run<'_> {
    fn go(mut self, mut command: Command, broker: &mut Broker, checks: &mut Checks) -> Result<()> {
        command
            .env("KLAMM_BOOTSTRAP", broker.address())
            .env("KLAMM_BROKER", broker.kind().name())
            .env("KLAMM_SCENARIO", self.scenario)
            .env("KLAMM_RECORDS", self.records.to_string())
            .stdin(match self.kills.are_asked {
                true => Stdio::piped(),
                false => Stdio::null(),
            })
            .stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot run the client program")?;
        let mut input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let watchdog = Watchdog::start(child);
        let failures = checks.failures();
        for line in output.lines() {
            let line = line?;
            match Line::parse(&line) {
                Line::Ok(name) => checks.ok(name),
                Line::NotOk(name, reason) => checks.not_ok(name, reason),
                Line::Progress(done, total) if self.kills.due(done, total) => {
                    println!("{line}: killing the broker");
                    broker.kill()?;
                    broker.restart()?;
                }
                Line::Progress(..) => {}
                Line::Kill(away) => self.kills.answer(broker, away, input.as_mut())?,
                Line::Other => println!("  {line}"),
            }
        }
        let code = watchdog.finish()?;
        let bad = checks.failures() > failures;
        match code {
            Some(0) if !bad => {}
            Some(1) if bad => {}
            Some(code) => bail!(
                "the program ended with {code} after {}",
                if bad { "failures" } else { "no failure" }
            ),
            None => bail!("the program was ended by a signal; its limit is {LIMIT:?}"),
        }
        self.kills.check()
    }
}

/// When the broker dies: at given shares of the progress, so that it is always in the middle of the work.
#[derive(Debug)]
pub(super) struct Kills {
    percent: &'static [u64],
    /// Or whenever the program asks.
    are_asked: bool,
    answered: u32,
}

impl Kills {
    fn none() -> Self {
        Kills {
            percent: &[],
            are_asked: false,
            answered: 0,
        }
    }

    pub(super) fn twice() -> Self {
        Kills {
            percent: &[25, 60],
            ..Kills::none()
        }
    }

    fn asked() -> Self {
        Kills {
            are_asked: true,
            ..Kills::none()
        }
    }

    /// Does as the program asks, and tells it so.
    fn answer(&mut self, broker: &mut Broker, away: Duration, input: Option<&mut ChildStdin>) -> Result<()> {
        let input = input.context("a program of this scenario may not ask for a kill")?;
        broker.kill_and_begin(away)?;
        self.answered += 1;
        writeln!(input, "again").context("the program that asked for a kill has ended")
    }

    /// Whether the next kill is due; each is due once.
    pub(super) fn due(&mut self, done: u64, total: u64) -> bool {
        match self.percent {
            [next, rest @ ..] if done * 100 >= next * total => {
                self.percent = rest;
                true
            }
            _ => false,
        }
    }

    /// A broker that was never killed proves nothing.
    pub(super) fn check(&self) -> Result<()> {
        if !self.percent.is_empty() {
            bail!("the broker was to be killed {} more times", self.percent.len());
        }
        if self.are_asked && self.answered == 0 {
            bail!("the program never asked for a kill");
        }
        Ok(())
    }
}

/// What one line of a client program says.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Ok(&'a str),
    NotOk(&'a str, &'a str),
    Progress(u64, u64),
    /// The broker is to be away for so long.
    Kill(Duration),
    Other,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        if let Some(name) = line.strip_prefix("ok ") {
            return Line::Ok(name);
        }
        if let Some(rest) = line.strip_prefix("not ok ") {
            let (name, reason) = rest.split_once(": ").unwrap_or((rest, "no reason given"));
            return Line::NotOk(name, reason);
        }
        if line == "kill" {
            return Line::Kill(Duration::ZERO);
        }
        if let Some(Ok(away)) = line.strip_prefix("kill ").map(str::parse) {
            return Line::Kill(Duration::from_millis(away));
        }
        let mut numbers = line
            .strip_prefix("progress ")
            .unwrap_or_default()
            .split(' ')
            .map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(done)), Some(Ok(total))) => Line::Progress(done, total),
            _ => Line::Other,
        }
    }
}

/// Ends a program that does not end by itself: its output then ends too, and with it the wait for the next line.
struct Watchdog {
    child: Arc<Mutex<Child>>,
    done: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Watchdog {
    fn start(child: Child) -> Self {
        let child = Arc::new(Mutex::new(child));
        let (done, ended) = mpsc::channel::<()>();
        let watched = Arc::clone(&child);
        let thread = thread::spawn(move || {
            if ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                // It may have ended in this very moment, which is as good.
                let _ = watched
                    .lock()
                    .expect("nothing panics while it holds the child")
                    .kill();
            }
        });
        Watchdog { child, done, thread }
    }

    /// Waits for the program, whose output has ended, and returns its exit code.
    fn finish(self) -> Result<Option<i32>> {
        // The lock is taken for moments only, so that the watchdog can always get it.
        let status = loop {
            let status = self
                .child
                .lock()
                .expect("nothing panics while it holds the child")
                .try_wait()?;
            match status {
                Some(status) => break status,
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        drop(self.done);
        self.thread.join().expect("the watchdog does not panic");
        Ok(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_client_program() {
        for (line, expected) in [
            ("ok codec lz4", Line::Ok("codec lz4")),
            (
                "not ok codec lz4: 3 records, not 4: short",
                Line::NotOk("codec lz4", "3 records, not 4: short"),
            ),
            ("not ok codec", Line::NotOk("codec", "no reason given")),
            ("progress 20 100", Line::Progress(20, 100)),
            ("progress of a kind", Line::Other),
            ("okay", Line::Other),
            ("kill", Line::Kill(Duration::ZERO)),
            ("kill 2500", Line::Kill(Duration::from_millis(2500))),
            ("kill all", Line::Other),
            ("killed", Line::Other),
        ] {
            assert_eq!(Line::parse(line), expected, "{line}");
        }
    }

    #[test]
    fn the_broker_dies_twice_and_each_time_once() {
        let mut kills = Kills::twice();
        let due: Vec<bool> = [0, 24, 25, 40, 59, 70, 100]
            .iter()
            .map(|done| kills.due(*done, 100))
            .collect();
        assert_eq!(due, [false, false, true, false, false, true, false]);
        kills.check().unwrap();
    }

    #[test]
    fn a_broker_that_lived_on_is_an_error() {
        let mut kills = Kills::twice();
        assert!(kills.due(30, 100));
        assert!(kills.check().is_err());
        assert!(Kills::asked().check().is_err());
    }
}
