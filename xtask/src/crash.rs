//! `cargo xtask crash --minutes N`: power cuts and kills under load for as long as one likes.
//!
//! Always: rounds of power cuts and of kills by turns, each with a broker and books of its own; a round that has begun is finished.
//! The last line is `N passed, N failed, N skipped`, and the one before it says how many ends there were. A round that fails keeps
//! its data, and its first line says the seed that repeats its schedule (`KLAMM_SEED`).

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::test::{
    self, Skips, Tally,
    faults::{self, End},
    kill,
};

/// Ends of a round: it takes about a minute.
const ENDS: u32 = 100;

/// For how long, and with which ends.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// No round begins after so many minutes
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Ends of a round
    #[arg(long, default_value_t = ENDS)]
    ends: u32,
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    test::build_broker()?;
    let books = kill::build()?;
    let mut tally = Tally::default();
    let limit = Instant::now() + Duration::from_secs(args.minutes * 60);
    let mut ends = [0; 2];
    let kinds = [End::PowerCut, End::Kill];
    for end in kinds {
        if let Some(reason) = end.missing() {
            tally.skipped(format!("crash/{}", end.name()), reason);
        }
    }
    let mut rounds = 0;
    while rounds < kinds.len() || Instant::now() < limit {
        let end = kinds[rounds % kinds.len()];
        rounds += 1;
        if end.missing().is_none() {
            println!("== {} {}", args.ends, end.name());
            faults::round(end, args.ends, &books, &mut tally);
            ends[usize::from(end == End::Kill)] += args.ends;
        }
    }
    println!("{} power cuts and {} kills", ends[0], ends[1]);
    Ok(tally.report(Skips::Allow))
}
