//! A turn on a network thread: a request with much to do lets the other connections of the thread go first from time to
//! time.
//!
//! Always holds: work is counted in bytes, by what is known of it anyway; no clock is looked at.

use klamm_env::task;

/// Work of a few hundred microseconds.
const TURN_BYTES: usize = 256 * 1024;
/// What the smallest piece of work counts.
const STEP_BYTES: usize = 1024;

/// What is done of a turn.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    spent: usize,
}

impl Turn {
    /// A piece of work that counts as so many bytes is done, and no less.
    pub(crate) async fn spend_on(&mut self, bytes: usize) {
        self.spent += bytes;
        if self.spent >= TURN_BYTES {
            self.spent = 0;
            task::yield_now().await;
        }
    }

    /// A piece of work on `bytes` is done; lets others go first when the turn is over.
    pub(crate) async fn spend(&mut self, bytes: usize) {
        self.spend_on(STEP_BYTES + bytes).await;
    }
}
