//! Whole nodes that are crashed, by seed: nothing acknowledged is lost, and one seed is one history.
//!
//! The runner (`cargo run -p klamm-sim`) goes through thousands of seeds; here are the first ones, and those that once
//! failed, each under the name of what it found.
#![allow(clippy::unwrap_used)]

use klamm_sim::scenario::{self, Outcome};

fn good(seed: u64) -> Outcome {
    let outcome = scenario::run(seed, 64);
    let found: Vec<String> = outcome.violations.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "seed {seed}: {}", found.join("\n"));
    assert!(outcome.acknowledged > 0, "seed {seed} proves nothing");
    outcome
}

#[test]
fn one_seed_gives_one_trace() {
    for seed in [1, 6, 13] {
        let (first, second) = (good(seed), good(seed));
        assert_eq!(first.lines, second.lines, "seed {seed}");
        assert_eq!(first, second, "seed {seed}");
    }
    assert_ne!(good(6).digest, good(13).digest);
}

#[test]
fn nothing_acknowledged_is_lost_in_the_first_worlds() {
    let seeds = [0, 1, 3, 5, 6, 7, 8];
    let ends: u32 = seeds.into_iter().map(|seed| good(seed).ends.total()).sum();
    assert!(ends > seeds.len() as u32, "{ends} ends of a node");
}

#[test]
fn nothing_acknowledged_is_lost_in_more_worlds() {
    [11, 13, 14, 15, 16, 17, 18]
        .into_iter()
        .for_each(|seed| drop(good(seed)));
}

#[test]
fn answers_that_are_there_at_once_stay_behind_those_that_wait() {
    [10, 19, 22].into_iter().for_each(|seed| drop(good(seed)));
}

#[test]
fn requests_in_flight_at_an_orderly_stop_are_no_gap_in_the_sequence() {
    [12, 20].into_iter().for_each(|seed| drop(good(seed)));
}

#[test]
fn requests_in_flight_at_a_new_segment_are_no_gap_in_the_sequence() {
    [2, 4, 29].into_iter().for_each(|seed| drop(good(seed)));
}

#[test]
fn a_kill_while_the_data_folder_is_made_leaves_nothing_that_a_power_cut_takes_later() {
    [544, 792].into_iter().for_each(|seed| drop(good(seed)));
}
