//! How often a broker tells the device to make data durable, counted by `strace` in a run of its own.
//!
//! Always holds: the run that is counted is not the one that is timed, since a traced process is slow. A profile
//! that says *page cache* and syncs its data, or says *fsync* and does not, is a comparison of two different promises.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::process;

/// The calls that wait for a device.
const CALLS: &str = "trace=fsync,fdatasync,sync,syncfs,sync_file_range,msync";
/// Attaching to the hundred threads of a virtual machine takes a moment.
const ATTACH_LIMIT: Duration = Duration::from_secs(20);

/// When a record counts as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Durability {
    PageCache,
    Fsync,
}

/// What there was to sync in a counted run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) calls: u64,
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) records: u64,
    /// Where the run says it.
    pub(super) shown: Option<Shown>,
    /// Each record is to be synced for itself.
    pub(super) one_by_one: bool,
}

/// What can be seen only when it is synced: records at their consumer, or commits that are answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) count: u64,
    /// The time from when one was due, or asked for, to when it was seen, of the middle one.
    pub(super) within: Duration,
}

impl Durability {
    /// An error when the calls contradict the profile.
    ///
    /// Under *page cache* what remains are checkpoints and the metadata log, which go by the clock and not by the
    /// requests. Under *fsync* a broker that was told to sync each record for itself makes a call for each. One that
    /// lets records, or commits, share a call cannot make one call last for longer than the time in which one was seen, as it
    /// was synced within that time: half of them were seen within the median, and of those a call serves no
    /// more than come in that time, and one. A tenth is given away for what is counted at the borders.
    pub(super) fn check(self, counted: &Counted) -> Result<()> {
        let Counted {
            calls,
            requests,
            seconds,
            records,
            shown,
            one_by_one,
        } = *counted;
        match self {
            Durability::PageCache => {
                let allowed = 20 + (seconds * 20.0) as u64 + requests / 200;
                ensure!(
                    calls <= allowed,
                    "{calls} sync calls for {requests} requests in {seconds:.1} s: that is not the page-cache profile"
                );
            }
            Durability::Fsync => {
                let Shown { count, within } =
                    shown.context("a run under fsync must tell how late records were seen")?;
                let all = if one_by_one {
                    records as f64
                } else {
                    let count = count as f64;
                    count / 2.0 / (count / seconds * within.as_secs_f64() + 1.0)
                };
                let needed = (all * 0.9).ceil() as u64;
                ensure!(
                    calls >= needed.max(1),
                    "{calls} sync calls for {records} records in {seconds:.1} s; {count} records or commits were seen, half of \
                     them within {within:.1?}, so that at least {needed} were needed: that is not the fsync profile"
                );
            }
        }
        Ok(())
    }
}

/// A `strace` that counts.
pub(super) struct Counting {
    child: Child,
    report: NamedTempFile,
}

impl Counting {
    /// What is missing on this machine to count.
    pub(super) fn missing() -> Option<&'static str> {
        process::find("strace")
            .is_none()
            .then_some("there is no strace on this machine: it counts the sync calls of both brokers")
    }

    /// Begins to count; returns when every thread of the process is followed.
    pub(super) fn begin(pid: u32) -> Result<Self> {
        let report = NamedTempFile::new()?;
        let mut command = Command::new("strace");
        command
            .args(["-f", "-c", "-e", CALLS, "-o"])
            .arg(report.path())
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        process::end_with_us(&mut command);
        let mut child = command.spawn().context("cannot run strace")?;
        let messages = BufReader::new(child.stderr.take().expect("standard error is piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in messages.lines().map_while(Result::ok) {
                // Nobody reads on after the first line; the pipe must be emptied all the same.
                let _ = sender.send(line);
            }
        });
        let counting = Counting { child, report };
        match lines.recv_timeout(ATTACH_LIMIT) {
            Ok(line) if line.contains("attached") => Ok(counting),
            Ok(line) => bail!("strace says: {line}"),
            Err(_) => bail!("strace does not attach to process {pid}"),
        }
    }

    /// Lets the process go, and says how many calls there were.
    pub(super) fn end(mut self) -> Result<u64> {
        // One that gave up early has counted a part, or nothing, which would pass for a broker that syncs nothing.
        let early = self.child.try_wait()?;
        ensure!(early.is_none(), "strace ended before the run did: {early:?}");
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, Signal::INT)?;
        let status = self.child.wait()?;
        ensure!(is_interrupted(status), "strace ended with {status}");
        let text = std::fs::read_to_string(self.report.path())?;
        calls(&text)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // It has ended already, or nobody needs it any more. The traced process goes on either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this is how `strace` ends when it is told to, after it has written its report.
fn is_interrupted(status: ExitStatus) -> bool {
    let interrupt = Signal::INT.as_raw();
    status.success() || status.signal() == Some(interrupt) || status.code() == Some(128 + interrupt)
}

/// The sum of the column `calls` in the table of `strace -c`, which ends with the total; a table without rows is none at
/// all.
fn calls(report: &str) -> Result<u64> {
    let is_total = |line: &str| line.trim_end().ends_with(" total");
    ensure!(
        report.trim().is_empty() || report.lines().any(is_total),
        "the report of strace is cut: {report}"
    );
    let mut sum = 0;
    for line in report.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(first), Some(name)) = (words.first(), words.last()) else {
            continue;
        };
        if first.parse::<f64>().is_err() || *name == "total" {
            continue;
        }
        let calls = words.get(3).and_then(|calls| calls.parse::<u64>().ok());
        sum += calls.with_context(|| format!("a line of strace that is not understood: {line}"))?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 99.12    0.400000         100      4000           fdatasync
  0.88    0.003550          50        71         1 fsync
------ ----------- ----------- --------- --------- ----------------
100.00    0.403550          99      4071         1 total
";

    #[test]
    fn calls_are_summed_without_the_total() {
        assert_eq!(calls(REPORT).unwrap(), 4071);
        assert_eq!(calls("").unwrap(), 0);
        assert!(calls(&REPORT.replace("71 ", "many ")).is_err());
        let cut = REPORT.lines().take(3).collect::<Vec<_>>().join("\n");
        assert!(calls(&cut).is_err());
    }

    #[test]
    fn a_count_ends_when_it_is_told_to_and_not_before() {
        for (script, fine) in [("exit 130", true), ("kill -INT $$", true), ("exit 1", false)] {
            let status = Command::new("sh").args(["-c", script]).status().unwrap();
            assert_eq!(is_interrupted(status), fine, "{script}");
        }
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let report = NamedTempFile::new().unwrap();
        let error = Counting { child, report }.end().unwrap_err();
        assert!(error.to_string().contains("before the run"), "{error}");
    }

    fn counted(calls: u64, seen_ms: Option<u64>) -> Counted {
        Counted {
            calls,
            requests: 2_000,
            seconds: 2.0,
            records: 2_000,
            shown: seen_ms.map(|ms| Shown {
                count: 2_000,
                within: Duration::from_millis(ms),
            }),
            one_by_one: false,
        }
    }

    #[test]
    fn under_page_cache_only_the_clock_may_sync() {
        assert!(Durability::PageCache.check(&counted(0, None)).is_ok());
        assert!(Durability::PageCache.check(&counted(70, None)).is_ok());
        assert!(Durability::PageCache.check(&counted(71, None)).is_err());
    }

    #[test]
    fn under_fsync_a_call_serves_what_comes_until_a_record_is_seen() {
        // A record a millisecond: a thousand were seen within 9 ms, of which a call serves ten at most.
        assert!(Durability::Fsync.check(&counted(90, Some(9))).is_ok());
        assert!(Durability::Fsync.check(&counted(89, Some(9))).is_err());
        // Seen before the next one comes, each of the thousand needs its own.
        assert!(Durability::Fsync.check(&counted(899, Some(0))).is_err());
        assert!(Durability::Fsync.check(&counted(900, Some(0))).is_ok());
        assert!(Durability::Fsync.check(&counted(0, Some(10_000))).is_err());
        assert!(Durability::Fsync.check(&counted(2_000, None)).is_err());
    }

    #[test]
    fn commits_that_are_fewer_than_records_need_fewer_calls() {
        let of = |calls| Counted {
            shown: Some(Shown {
                count: 100,
                within: Duration::ZERO,
            }),
            ..counted(calls, None)
        };
        assert!(Durability::Fsync.check(&of(45)).is_ok());
        assert!(Durability::Fsync.check(&of(44)).is_err());
    }

    #[test]
    fn who_syncs_records_one_by_one_makes_a_call_for_each() {
        let of = |calls| Counted {
            one_by_one: true,
            ..counted(calls, Some(9))
        };
        assert!(Durability::Fsync.check(&of(1_800)).is_ok());
        assert!(Durability::Fsync.check(&of(1_799)).is_err());
    }
}
