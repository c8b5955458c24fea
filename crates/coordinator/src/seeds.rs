//! Runs models by their seeds: a seed is a list of steps, and one that fails is made as short as it can be.
//!
//! Always holds: what a seed does is the same in every run; a step says all that is chosen in it, so that a list from which others
//! were taken out means the same in the steps that are left. What fails is told with its seed and how to run that alone:
//! `KLAMM_SEEDS=7..8 cargo test -p klamm-coordinator NAME`. The same variable runs more of them, and what cannot be read in it is an error.

use std::cell::Cell;
use std::env::{self, VarError};
use std::fmt::Debug;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// The seeds to run in the place of those that a test has.
const SEEDS: &str = "KLAMM_SEEDS";
/// How often a list may be tried again in order to shorten it.
const TRIES: usize = 4_000;

/// What a seed chooses.
#[derive(Clone, Debug)]
pub(crate) struct Choices(u64);

impl Choices {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number (SplitMix64).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// What is run.
pub(crate) trait Model {
    /// What happens.
    type Step: Clone + Debug;

    /// The world before the first step.
    fn new(seed: u64) -> Self;

    /// Something that may happen.
    fn draw(choices: &mut Choices) -> Self::Step;

    /// It happens, and what always holds is looked at.
    fn act(&mut self, step: Self::Step);

    /// Nothing happens any more, and what holds then is looked at.
    fn finish(&mut self);
}

/// Runs the first `seeds`, of `steps` steps at most. `test` is the name by which one of them is run again.
pub(crate) fn run<M: Model>(test: &str, seeds: u64, steps: usize) {
    run_range::<M>(test, asked().unwrap_or(0..seeds), steps);
}

fn run_range<M: Model>(test: &str, seeds: Range<u64>, steps: usize) {
    if let Err(failure) = first_failure::<M>(seeds, steps) {
        let Failure { seed, why, steps, of } = failure;
        let count = steps.len();
        panic!(
            "seed {seed}: {why}\nafter {count} of its {of} steps:\n{steps:#?}\nagain: {SEEDS}={seed}..{} cargo test \
             -p klamm-coordinator {test}",
            seed + 1
        );
    }
}

/// The seeds that were asked for.
fn asked() -> Option<Range<u64>> {
    match env::var(SEEDS) {
        Ok(text) => Some(range(&text).unwrap_or_else(|| panic!("{SEEDS}={text}: give FROM..TO, like 7..8"))),
        Err(VarError::NotPresent) => None,
        Err(unreadable) => panic!("{SEEDS}: {unreadable}"),
    }
}

/// One with nothing in it would pass whatever is wrong.
fn range(text: &str) -> Option<Range<u64>> {
    let (from, to) = text.split_once("..")?;
    let range = from.parse().ok()?..to.parse().ok()?;
    (!range.is_empty()).then_some(range)
}

struct Failure<S> {
    seed: u64,
    why: String,
    /// Those that are enough.
    steps: Vec<S>,
    /// How many there were.
    of: usize,
}

fn first_failure<M: Model>(seeds: Range<u64>, most: usize) -> Result<(), Failure<M::Step>> {
    for seed in seeds {
        let mut choices = Choices::new(seed);
        let count = 1 + choices.below(most);
        let steps: Vec<M::Step> = (0..count).map(|_| M::draw(&mut choices)).collect();
        if let Err(why) = attempt::<M>(seed, &steps) {
            let (steps, why) = shorten::<M>(seed, steps, why);
            return Err(Failure {
                seed,
                why,
                steps,
                of: count,
            });
        }
    }
    Ok(())
}

/// Runs the steps; what went wrong.
fn attempt<M: Model>(seed: u64, steps: &[M::Step]) -> Result<(), String> {
    let run = || {
        let mut model = M::new(seed);
        steps.iter().for_each(|step| model.act(step.clone()));
        model.finish();
    };
    quietly(run)
}

/// Takes out all that the failure does not need: half of the list, a quarter, down to single steps, until none can go.
fn shorten<M: Model>(seed: u64, mut steps: Vec<M::Step>, mut why: String) -> (Vec<M::Step>, String) {
    let mut tries = 0;
    let mut size = steps.len().div_ceil(2);
    loop {
        let before = steps.len();
        let mut at = 0;
        while at < steps.len() && tries < TRIES {
            tries += 1;
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            match attempt::<M>(seed, &fewer) {
                Ok(()) => at += size,
                Err(another) => (steps, why) = (fewer, another),
            }
        }
        if tries >= TRIES || (size == 1 && steps.len() == before) {
            return (steps, why);
        }
        size = size.div_ceil(2);
    }
}

thread_local! {
    /// Whether a panic of this thread is expected, and told of elsewhere.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs without a word; what a panic said.
fn quietly(run: impl FnOnce()) -> Result<(), String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                before(info);
            }
        }));
    });
    IS_QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    IS_QUIET.set(false);
    result.map_err(|why| match why.downcast::<String>() {
        Ok(text) => *text,
        Err(why) => why
            .downcast::<&str>()
            .map_or_else(|_| "a panic".to_owned(), |text| (*text).to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails once a 3 was followed by a 7.
    struct Picky(bool);

    impl Model for Picky {
        type Step = usize;

        fn new(_seed: u64) -> Self {
            Self(false)
        }

        fn draw(choices: &mut Choices) -> usize {
            choices.below(10)
        }

        fn act(&mut self, step: usize) {
            self.0 |= step == 3;
            assert!(step != 7 || !self.0, "a 7 after a 3");
        }

        fn finish(&mut self) {}
    }

    #[test]
    fn a_seed_that_fails_is_found_and_told_with_the_steps_that_it_needs() {
        let Err(failure) = first_failure::<Picky>(0..100, 200) else {
            panic!("all seeds pass");
        };
        assert_eq!(failure.steps, [3, 7]);
        assert_eq!(failure.why, "a 7 after a 3");
        assert!(failure.of > 2);
        let again = first_failure::<Picky>(failure.seed..failure.seed + 1, 200);
        assert!(again.is_err_and(|again| again.seed == failure.seed));
        let told = quietly(|| run_range::<Picky>("picky", 0..100, 200)).unwrap_err();
        let how = format!("KLAMM_SEEDS={}..{}", failure.seed, failure.seed + 1);
        assert!(told.contains(&how), "{told}");
    }

    #[test]
    fn a_range_of_seeds_that_cannot_be_read_or_is_empty_is_none() {
        assert_eq!(range("3..9"), Some(3..9));
        for unreadable in ["", "3", "3..", "..9", "3..x", "9..3", "3..3", "3..=9"] {
            assert_eq!(range(unreadable), None, "{unreadable}");
        }
    }

    #[test]
    fn what_never_fails_passes() {
        struct Easy;
        impl Model for Easy {
            type Step = ();
            fn new(_seed: u64) -> Self {
                Self
            }
            fn draw(_choices: &mut Choices) {}
            fn act(&mut self, (): ()) {}
            fn finish(&mut self) {}
        }
        run_range::<Easy>("easy", 0..10, 10);
    }
}
