//! A fuzz target for everything that reads bytes of a peer or of a disk.
//!
//! Always holds: whatever the bytes are, a target ends in time, does not panic (nor does a task that it started), and
//! holds no more memory at once than its allowance; many targets check a property besides, for instance that what was
//! decoded encodes to the same again. A seed gives the same inputs again.
//!
//! `cargo xtask fuzz` builds this package with the counters of LLVM's SanitizerCoverage, which the pinned stable compiler
//! has, and so keeps the inputs that reach new code. Without them (`cargo test`) the same loop mutates without guidance.
//!
//! Start with [`targets`] for what is fuzzed, [`fuzzer`] for the loop, [`watch`] for what counts as a failure.

// A program of the developer's machine, never part of a node.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod corpus;
mod coverage;
pub mod fuzzer;
mod minimise;
mod mutate;
pub mod targets;
pub mod watch;

/// The memory of all that runs here is counted.
#[global_allocator]
static ALLOCATOR: watch::Counting = watch::Counting;
