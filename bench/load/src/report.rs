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
        }
    }
}
