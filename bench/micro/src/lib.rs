//! The steps of the hot path, each as work that can be repeated: for criterion, which takes its time
//! (`benches/steps.rs`), and for callgrind, which counts its instructions (`main.rs`, `cargo xtask instructions`).
//!
//! Always holds: the inputs are the same each time; what a step needs is made by [`Work::prepare`], which neither
//! measures; the kernel's part costs time and no instructions.
//!
//! Start with [`STEPS`]; [`node`] has whole requests, on the network of [`wire`].

// A program at the edge: it drives the broker from outside, with the machine's own files and runtime.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod appending;
mod codec;
mod coordinating;
mod inputs;
mod node;
mod reading;
mod wire;

use anyhow::Result;

/// A step of the hot path.
pub trait Work {
    /// Makes ready for [`Work::run`] with the same number.
    fn prepare(&mut self, times: usize) -> Result<()> {
        let _ = times;
        Ok(())
    }

    /// Does the step once and looks at what comes of it: an error is no hot path. Not counted.
    fn check(&mut self) -> Result<()> {
        Ok(())
    }

    /// Does the step so many times.
    fn run(&mut self, times: usize);
}

/// How a step is made.
type Make = fn() -> Result<Box<dyn Work>>;

/// A step by its name.
pub struct Step {
    /// What it is called in the results.
    pub name: &'static str,
    /// Makes it.
    pub make: Make,
}

const fn step(name: &'static str, make: Make) -> Step {
    Step { name, make }
}

/// All steps.
pub const STEPS: &[Step] = &[
    // A header and a Produce request with one batch.
    step("decode-produce", codec::decode_produce),
    // The answer for six partitions.
    step("encode-produce", codec::encode_produce),
    step("encode-fetch", codec::encode_fetch),
    // Validated and appended to a partition's log.
    step("append-1000-records", appending::thousand_records),
    step("append-1-record", appending::one_record),
    step("append-idempotent", appending::idempotent),
    // A range of 64 KiB is found, and probed for being in memory.
    step("plan-fetch", reading::plan),
    // From the bytes of a request to the bytes of its answer, through a whole node.
    step("request-produce-1000-records", node::produce_thousand_records),
    step("request-produce-1-record", node::produce_one_record),
    step("request-fetch", node::fetch),
    // The same in a session of a hundred partitions of which one has news.
    step("request-fetch-100-partitions", node::fetch_one_of_hundred),
    // A member of a hundred has left: a heartbeat shares ten thousand partitions out anew.
    step("assign-100-members-10000-partitions", coordinating::assign),
];
