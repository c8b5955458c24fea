//! The steps of the hot path under criterion: `cargo bench --package klamm-micro [-- STEP]`.
#![allow(missing_docs, clippy::disallowed_methods, clippy::disallowed_types)] // a program at the edge

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use klamm_micro::STEPS;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Repetitions between two preparations.
const RUNS: u64 = 64;

fn steps(criterion: &mut Criterion) {
    for step in STEPS {
        criterion.bench_function(step.name, |bencher| {
            let mut work = (step.make)().expect("the step can be made");
            bencher.iter_custom(|wanted| {
                let mut took = Duration::ZERO;
                let mut left = wanted;
                while left > 0 {
                    let runs = left.min(RUNS);
                    work.prepare(runs as usize).expect("prepared before");
                    let start = Instant::now();
                    work.run(runs as usize);
                    took += start.elapsed();
                    left -= runs;
                }
                took
            });
        });
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
