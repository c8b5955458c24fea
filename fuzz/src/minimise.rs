//! Makes an input that fails smaller: less to read, and nearer to the reason.

use std::time::{Duration, Instant};

use crate::targets::Target;
use crate::watch::{self, Failure};

/// How long to try.
const PATIENCE: Duration = Duration::from_secs(10);

/// An input no larger than `input` that fails in the same way.
pub(crate) fn minimise(target: &Target, mut input: Vec<u8>, failure: &Failure) -> Vec<u8> {
    let begin = Instant::now();
    let fails = |input: &[u8]| {
        let patient = begin.elapsed() < PATIENCE;
        patient && watch::run(target, input).is_err_and(|other| other.is_like(failure))
    };
    let mut piece = input.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < input.len() {
            let mut shorter = input.clone();
            shorter.drain(at..input.len().min(at + piece));
            if fails(&shorter) {
                input = shorter;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    for at in 0..input.len() {
        let old = std::mem::replace(&mut input[at], 0);
        if old != 0 && !fails(&input) {
            input[at] = old;
        }
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_matters_is_left() {
        let target = Target {
            name: "test",
            about: "",
            sample: |_| Vec::new(),
            run: |input| assert!(!input.windows(2).any(|pair| pair == b"XY")),
            allowance: |_| usize::MAX,
        };
        let input = b"some bytes before XY and some behind".to_vec();
        let failure = watch::run(&target, &input).unwrap_err();
        assert_eq!(minimise(&target, input, &failure), b"XY");
    }
}
