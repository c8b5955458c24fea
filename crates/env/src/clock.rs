//! Time and chance.

use std::time::Duration;

use klamm_model::TimestampMs;

/// Reads time.
pub trait Clock: Send + Sync {
    /// The wall clock; it may jump.
    fn now(&self) -> TimestampMs;

    /// Time since a fixed moment before the start; it never goes back.
    fn monotonic(&self) -> Duration;
}

/// Draws random bytes.
pub trait Rng: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}
