//! Runs a step for callgrind, which counts within [`counted_runs`] and writes a result each time it ends.
//!
//! `klamm-micro` prints the names of the steps, `klamm-micro STEP RUNS` runs one: first without being counted, so that
//! what happens once has happened, then in windows of so many runs, of which the cheapest counts. (The shorter a window,
//! the fewer of them a timer of the node falls into.)

#![allow(clippy::print_stdout)] // a program

use std::hint::black_box;

use anyhow::{Context, Result};
use klamm_micro::{STEPS, Work};

/// What the broker uses, so that its share is counted.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const WARM_UP_WINDOWS: usize = 20;
const WINDOWS: usize = 40;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        STEPS.iter().for_each(|step| println!("{}", step.name));
        return Ok(());
    };
    let runs = arguments.next().context("how many runs are a window?")?.parse()?;
    let step = STEPS.iter().find(|step| step.name == name);
    let mut work = (step.context("there is no such step")?.make)()?;
    for _ in 0..WARM_UP_WINDOWS {
        work.prepare(runs)?;
        work.run(runs);
    }
    work.check()?;
    for _ in 0..WINDOWS {
        work.prepare(runs)?;
        counted_runs(&mut *work, runs);
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
