//! What the program says to whoever drives it: lines of JSON on standard output, and lines on standard input to wait for.
//!
//! Always holds: `done` is printed once, right at the end of the measured work, and only when nothing failed. A failure
//! is a message on standard error and an exit code.

use std::io::{self, Write};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock;

/// Says that a step is reached, and waits for the line that allows the next.
pub(crate) fn gate(event: &str) -> Result<()> {
    say(&serde_json::json!({ "event": event }))?;
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        bail!("standard input ended before the measurement");
    }
    Ok(())
}

/// Prints a line of JSON at once.
pub(crate) fn say(line: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush().context("cannot write to standard output")
}

/// The result of a measurement. What makes no sense for a command is absent.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    event: &'static str,
    pub(crate) requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) records: Option<u64>,
    /// Bytes of batches as they are on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    /// Bytes of keys and values before compression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_bytes: Option<u64>,
    pub(crate) seconds: f64,
    /// Always 0: an error fails the run.
    pub(crate) errors: u64,
    pub(crate) driver_cpu_seconds: f64,
    /// CPU time by wall time of the busiest thread.
    pub(crate) busiest_thread: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ack_us: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end_to_end_us: Option<Quantiles>,
    /// How late requests were sent because of the driver: the broker is not part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slip_us: Option<Quantiles>,
    /// From EndTxn to its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commit_us: Option<Quantiles>,
    /// From when a transaction was due until its EndTxn was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transaction_us: Option<Quantiles>,
    /// What a group took to go on after a member came or went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rebalance_us: Option<Quantiles>,
    /// Requests that were sent again, as the broker asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retries: Option<u64>,
}

/// What a histogram of microseconds says.
#[derive(Debug, Serialize)]
pub(crate) struct Quantiles {
    count: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl From<&Histogram<u64>> for Quantiles {
    fn from(histogram: &Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}

impl Quantiles {
    /// Of some times in nanoseconds, each of which counts as it is: for so few that none may be rounded.
    pub(crate) fn exactly(times: &[u64]) -> Self {
        let mut sorted: Vec<u64> = times.iter().map(|time| time / 1000).collect();
        sorted.sort_unstable();
        let at = |share: f64| {
            let rank = (sorted.len() as f64 * share).ceil() as usize;
            sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
        };
        Self {
            count: sorted.len() as u64,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        }
    }
}

/// Wall and CPU time since the measurement began.
pub(crate) struct Stopwatch {
    wall: u64,
    process: u64,
    thread: u64,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self {
            wall: clock::now(),
            process: clock::process_cpu(),
            thread: clock::thread_cpu(),
        }
    }

    /// Stops, for a command whose only busy thread is the calling one.
    pub(crate) fn stop(self, requests: u64) -> Done {
        let thread = clock::thread_cpu() - self.thread;
        self.stop_with(requests, thread)
    }

    /// Stops; the busiest thread has used `busiest` nanoseconds.
    pub(crate) fn stop_with(self, requests: u64, busiest: u64) -> Done {
        let wall = (clock::now() - self.wall).max(1);
        Done {
            event: "done",
            requests,
            records: None,
            bytes: None,
            payload_bytes: None,
            seconds: clock::seconds(wall),
            errors: 0,
            driver_cpu_seconds: clock::seconds(clock::process_cpu() - self.process),
            busiest_thread: busiest as f64 / wall as f64,
            ack_us: None,
            end_to_end_us: None,
            slip_us: None,
            commit_us: None,
            transaction_us: None,
            rebalance_us: None,
            retries: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_times_are_not_rounded() {
        for (times, p50, max) in [
            (&[][..], 0, 0),
            (&[500_123_456][..], 500_123, 500_123),
            (&[3_000, 1_000, 2_000, 4_000][..], 2, 4),
            (&[5_000, 1_000, 9_000][..], 5, 9),
        ] {
            let quantiles = Quantiles::exactly(times);
            assert_eq!((quantiles.p50, quantiles.max), (p50, max), "{times:?}");
            assert_eq!(quantiles.count, times.len() as u64);
        }
    }
}

/// Something that happens in rounds, and takes its time in each; whoever measures is told before and after.
#[derive(Default)]
pub(crate) struct Rounds {
    watch: Option<Stopwatch>,
    times: Vec<u64>,
    /// How late what was due began.
    slips: Vec<u64>,
}

impl Rounds {
    /// The next round may begin, as soon as this returns.
    pub(crate) fn ready(&mut self) -> Result<()> {
        gate("ready")?;
        self.watch.get_or_insert_with(Stopwatch::start);
        Ok(())
    }

    /// A round is over that took so many nanoseconds.
    pub(crate) fn settled(&mut self, nanoseconds: u64) -> Result<()> {
        self.times.push(nanoseconds);
        gate("settled")
    }

    /// What was due in this round began so many nanoseconds later.
    pub(crate) fn began_late(&mut self, nanoseconds: u64) {
        self.slips.push(nanoseconds);
    }

    /// All are over: prints what they took.
    pub(crate) fn done(self, requests: u64) -> Result<()> {
        let watch = self.watch.unwrap_or_else(Stopwatch::start);
        let mut done = watch.stop(requests);
        done.rebalance_us = Some(Quantiles::exactly(&self.times));
        done.slip_us = (!self.slips.is_empty()).then(|| Quantiles::exactly(&self.slips));
        say(&done)
    }
}
