//! Groups and transactions on whole nodes that are crashed, by seed: every event is applied once, no partition has two owners, what
//! was committed is there.
//!
//! The runner (`cargo run -p klamm-sim -- --world work`) goes through thousands of seeds; here are the first ones. One that fails
//! there gets a test of its own, under the name of what it found.
#![allow(clippy::unwrap_used)]

use klamm_sim::scenario::Outcome;
use klamm_sim::work;

fn good(seed: u64) -> Outcome {
    let outcome = work::run(seed, 64);
    let found: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
    assert!(
        found.is_empty(),
        "cargo run -p klamm-sim -- --world work --from {seed} --seeds 1\n{}",
        found.join("\n")
    );
    assert!(
        outcome.acknowledged > 0,
        "seed {seed} commits no transaction and proves nothing"
    );
    outcome
}

#[test]
fn one_seed_gives_one_trace() {
    let (first, second) = (good(3), good(3));
    assert_eq!(first.lines, second.lines);
    assert_eq!(first, second);
}

#[test]
fn every_event_is_applied_once_in_the_first_worlds() {
    let ends: u32 = (0..6).map(|seed| good(seed).ends.total()).sum();
    assert!(ends > 6, "{ends} ends of a node");
}

#[test]
fn a_thousand_transactions_follow_each_other_and_none_is_told_to_come_again() {
    let outcome = work::in_a_row(1, 1_000);
    let found: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(outcome.acknowledged, 1_000);
}
