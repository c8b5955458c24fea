//! Runs a step for callgrind, which counts within [`counted_runs`] and writes a result each time it ends.
//!
//! `klamm-micro` prints the names of the steps, `klamm-micro STEP` runs one: first without being counted, so that what
//! happens once has happened, then in several windows, of which the cheapest counts. (A timer of the node may fall into
//! one and not into another.)

#![allow(clippy::print_stdout)] // a program

use std::hint::black_box;

use anyhow::{Context, Result};
use klamm_micro::{STEPS, Work};

/// What the broker uses, so that its share is counted.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const WARM_UP_WINDOWS: usize = 4;
const WINDOWS: usize = 9;
/// The step's repetitions in a window; `cargo xtask instructions` divides by them.
const RUNS: usize = 20;

fn main() -> Result<()> {
    let Some(name) = std::env::args().nth(1) else {
        STEPS.iter().for_each(|step| println!("{}", step.name));
        return Ok(());
    };
    let step = STEPS.iter().find(|step| step.name == name);
    let mut work = (step.context("there is no such step")?.make)()?;
    for _ in 0..WARM_UP_WINDOWS {
        work.prepare(RUNS)?;
        work.run(RUNS);
    }
    for _ in 0..WINDOWS {
        work.prepare(RUNS)?;
        counted_runs(&mut *work, RUNS);
    }
    Ok(())
}

/// The part that is counted. Its name is what callgrind is told.
#[inline(never)]
fn counted_runs(work: &mut dyn Work, times: usize) {
    work.run(times);
    // Something is done after the call, so that it is a call.
    black_box(times);
}
