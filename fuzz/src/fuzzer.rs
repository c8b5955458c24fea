//! The loop: take an input, change it, run it, keep it if it reached new code.
//!
//! Always holds: without inputs kept from an earlier run, everything follows from the seed.

use klamm_protocol::schema::sample::Seed;

use crate::coverage::Coverage;
use crate::minimise::minimise;
use crate::mutate::mutate;
use crate::targets::Target;
use crate::watch::{self, Failure};

/// Samples that are always at hand.
const SAMPLES: usize = 64;

/// An input that fails.
#[derive(Debug)]
pub struct Finding {
    /// What is wrong.
    pub failure: Failure,
    /// The input, made as small as it could be.
    pub input: Vec<u8>,
    /// How long the input was when it was found.
    pub found_bytes: usize,
}

/// What a fuzzer has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Inputs run.
    pub runs: u64,
    /// Inputs at hand.
    pub inputs: usize,
    /// Places of the code that were reached; 0 in a build that does not count.
    pub places: usize,
}

type AboutToRun<'a> = Box<dyn FnMut(&[u8]) + 'a>;

/// Fuzzes one target.
pub struct Fuzzer<'a> {
    target: &'static Target,
    seed: Seed,
    /// Told every input before it runs.
    about_to_run: AboutToRun<'a>,
    inputs: Vec<Vec<u8>>,
    coverage: Coverage,
    runs: u64,
}

impl std::fmt::Debug for Fuzzer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fuzzer({}, {:?})", self.target.name, self.done())
    }
}

impl<'a> Fuzzer<'a> {
    /// A fuzzer that tells every input to `about_to_run` before it runs.
    pub fn new(target: &'static Target, seed: u64, about_to_run: impl FnMut(&[u8]) + 'a) -> Self {
        Self {
            target,
            seed: Seed(seed),
            about_to_run: Box::new(about_to_run),
            inputs: Vec::new(),
            coverage: Coverage::new(),
            runs: 0,
        }
    }

    /// Runs `kept`, inputs of an earlier run, and samples of the target's own. Call it first.
    pub fn begin(&mut self, kept: Vec<Vec<u8>>) -> Result<(), Finding> {
        for input in kept {
            self.run(input, false)?;
        }
        for _ in 0..SAMPLES {
            let sample = (self.target.sample)(&mut self.seed);
            self.run(sample, true)?;
        }
        Ok(())
    }

    /// Makes one input and runs it.
    pub fn step(&mut self) -> Result<(), Finding> {
        if self.seed.below(32) == 0 {
            let sample = (self.target.sample)(&mut self.seed);
            if !self.coverage.is_guided() {
                // Blind, the next best is to begin at many places.
                let place = self.seed.below(self.inputs.len());
                self.inputs[place].clone_from(&sample);
            }
            return self.run(sample, false);
        }
        let input = self.seed.below(self.inputs.len());
        let other = self.seed.below(self.inputs.len());
        let mut input = self.inputs[input].clone();
        mutate(&mut input, &self.inputs[other], &mut self.seed);
        self.run(input, false)
    }

    fn run(&mut self, input: Vec<u8>, keep: bool) -> Result<(), Finding> {
        (self.about_to_run)(&input);
        self.coverage.begin();
        let outcome = watch::run(self.target, &input);
        self.runs += 1;
        if let Err(failure) = outcome {
            let found_bytes = input.len();
            return Err(Finding {
                input: minimise(self.target, input, &failure),
                failure,
                found_bytes,
            });
        }
        if self.coverage.is_news() || keep {
            self.inputs.push(input);
        }
        Ok(())
    }

    /// What was done so far.
    pub fn done(&self) -> Done {
        Done {
            runs: self.runs,
            inputs: self.inputs.len(),
            places: self.coverage.reached(),
        }
    }

    /// The inputs worth keeping for the next run: those that reached new code.
    pub fn inputs(&self) -> &[Vec<u8>] {
        if self.coverage.is_guided() {
            &self.inputs
        } else {
            &[]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PLANTED: Target = Target {
        name: "planted",
        about: "",
        sample: |seed| vec![seed.next_u64() as u8; 20],
        run: |input| assert!(!input.windows(4).any(|piece| piece == i32::MAX.to_be_bytes())),
        allowance: |_| usize::MAX,
    };

    #[test]
    fn a_fault_is_found_and_found_again_with_its_seed() {
        let find = || {
            let mut told = 0;
            let mut fuzzer = Fuzzer::new(&PLANTED, 5, |_| told += 1);
            fuzzer.begin(Vec::new()).unwrap();
            let finding = (0..20_000).find_map(|_| fuzzer.step().err()).unwrap();
            let runs = fuzzer.done().runs;
            drop(fuzzer);
            assert_eq!(told, runs, "every input is told before it runs");
            (finding.input, runs)
        };
        let (input, runs) = find();
        assert_eq!(input, i32::MAX.to_be_bytes(), "nothing is left but the fault");
        assert_eq!(find(), (input, runs));
    }
}
