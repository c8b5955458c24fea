//! How often a broker tells the device to make data durable, counted by `strace` in a run of its own.
//!
//! Always holds: the run that is counted is not the one that is timed, since a traced process is slow. A profile
//! that says *page cache* and syncs its data, or says *fsync* and does not, is a comparison of two different promises.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
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
    /// The longest time from sending a record to seeing it, where the run says it.
    pub(super) longest: Option<Duration>,
}

impl Durability {
    /// An error when the calls contradict the profile.
    ///
    /// Under *page cache* what remains are checkpoints and the metadata log, which go by the clock and not by the
    /// requests. Under *fsync* a record that was seen within some time of being sent had been synced within that
    /// time, however many records shared the call: so there were at least as many calls as the run has such times,
    /// of which half are asked for.
    pub(super) fn check(self, counted: &Counted) -> Result<()> {
        let Counted {
            calls,
            requests,
            seconds,
            longest,
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
                let longest = longest.context("a run under fsync must tell how late records were seen")?;
                let needed = (seconds / longest.as_secs_f64().max(1e-6) / 2.0).ceil() as u64;
                ensure!(
                    calls >= needed.max(1),
                    "{calls} sync calls, but every record was seen within {longest:.1?} in {seconds:.1} s, so that at \
                     least {needed} were needed: that is not the fsync profile"
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
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        self.child.wait()?;
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

/// The sum of the column `calls` in the table of `strace -c`; a table without rows is none at all.
fn calls(report: &str) -> Result<u64> {
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
        assert!(calls(" 1.0 0.1 3 many fsync\n").is_err());
    }

    fn counted(calls: u64, longest_ms: Option<u64>) -> Counted {
        Counted {
            calls,
            requests: 2_000,
            seconds: 2.0,
            longest: longest_ms.map(Duration::from_millis),
        }
    }

    #[test]
    fn under_page_cache_only_the_clock_may_sync() {
        assert!(Durability::PageCache.check(&counted(0, None)).is_ok());
        assert!(Durability::PageCache.check(&counted(70, None)).is_ok());
        assert!(Durability::PageCache.check(&counted(71, None)).is_err());
    }

    #[test]
    fn under_fsync_there_is_a_call_for_every_time_in_which_a_record_was_seen() {
        // Seen within 10 ms for 2 s: at least 200 calls, of which half are asked for.
        assert!(Durability::Fsync.check(&counted(200, Some(10))).is_ok());
        assert!(Durability::Fsync.check(&counted(99, Some(10))).is_err());
        assert!(Durability::Fsync.check(&counted(0, Some(10_000))).is_err());
        assert!(Durability::Fsync.check(&counted(200, None)).is_err());
    }
}
