//! A short run of every target, the same each time.
#![allow(clippy::disallowed_methods)] // targets run beside each other, in threads

use klamm_fuzz::corpus::to_hex;
use klamm_fuzz::fuzzer::Fuzzer;
use klamm_fuzz::targets::{self, Target};

const SEED: u64 = 2024;
/// Beside the samples; an unoptimised build has time for so many.
const STEPS: usize = 300;

fn run(target: &'static Target) {
    let mut fuzzer = Fuzzer::new(target, SEED, |_| ());
    let outcome = fuzzer
        .begin(Vec::new())
        .and_then(|()| (0..STEPS).try_for_each(|_| fuzzer.step()));
    if let Err(finding) = outcome {
        let (what, input) = (finding.failure, to_hex(&finding.input));
        panic!(
            "{}: {what}\ninput of {} bytes: {input}",
            target.name,
            finding.input.len()
        );
    }
}

#[test]
fn every_target_takes_hostile_input() {
    std::thread::scope(|scope| {
        let runs: Vec<_> = targets::ALL
            .iter()
            .map(|target| (target.name, scope.spawn(move || run(target))))
            .collect();
        let failed: Vec<&str> = runs
            .into_iter()
            .filter_map(|(name, run)| run.join().is_err().then_some(name))
            .collect();
        assert!(failed.is_empty(), "{}", failed.join(", "));
    });
}
