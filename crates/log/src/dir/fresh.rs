//! Names that were made and are not durable yet: one sync of the folder serves all who wait for theirs.
//!
//! Always holds: a sync that serves somebody began after that one had made its names.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::LogError;

/// See the head of the file.
#[derive(Default)]
pub(super) struct FreshNames {
    asked: AtomicU64,
    /// How many of those who asked have been served.
    served: Mutex<u64>,
}

impl FreshNames {
    /// Returns when a `sync` has run that began after the call. Blocks.
    pub(super) fn wait(&self, sync: impl FnOnce() -> Result<(), LogError>) -> Result<(), LogError> {
        let turn = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut served = self.served.lock();
        if *served >= turn {
            return Ok(());
        }
        // Whoever has asked by now made its names before.
        let all = self.asked.load(Ordering::Acquire);
        sync()?;
        *served = all;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_serves_those_who_had_asked_and_nobody_else() {
        let names = FreshNames::default();
        let mut syncs = 0;
        let mut wait = |names: &FreshNames| {
            names.wait(|| {
                syncs += 1;
                Ok(())
            })
        };
        wait(&names).unwrap();
        // Somebody else asks, and comes to wait when the next one has synced.
        let turn = names.asked.fetch_add(1, Ordering::AcqRel) + 1;
        wait(&names).unwrap();
        assert!(*names.served.lock() >= turn);
        wait(&names).unwrap();
        assert_eq!(syncs, 3);
        assert!(names.wait(|| Err(LogError::Retired)).is_err());
        names.wait(|| Ok(())).unwrap();
    }
}
