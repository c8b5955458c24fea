//! The gate of a log: whoever works with its files by their names goes through it.
//!
//! Always holds: one at a time is inside, for as long as it likes, without the owner's lock; once the log is retired nobody
//! gets in any more, since from then on the names may be those of another log. Files that are open need no gate.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::error::LogError;
use crate::home::Home;
use crate::journal::retired;
use crate::prepare::LogCell;

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<Passage>);

/// Whether anybody may still get in.
#[derive(Debug, Default)]
enum Passage {
    #[default]
    Open,
    Closed,
}

/// Being inside; nobody else is.
pub(crate) struct Inside<'a> {
    passage: MutexGuard<'a, Passage>,
}

impl Gate {
    /// Waits until nobody is inside, and goes in. Blocks.
    pub(crate) fn enter(&self) -> Result<Inside<'_>, LogError> {
        let passage = self.0.lock();
        match *passage {
            Passage::Open => Ok(Inside { passage }),
            Passage::Closed => Err(LogError::Retired),
        }
    }
}

impl Inside<'_> {
    /// Nobody gets in after this one: the log lives elsewhere from now on.
    pub(crate) fn close(mut self) {
        *self.passage = Passage::Closed;
    }
}

/// The log's home, with its gate.
pub(crate) fn home_of(cell: &impl LogCell) -> Arc<Home> {
    cell.with(|log| Arc::clone(&log.home))
}

/// The partition is deleted: waits for whoever works with the log's files, and keeps everybody out from then on. Afterwards
/// its folder may be [moved](crate::LogDir::retire) and its name given to another. Blocks.
pub fn retire(cell: &impl LogCell) {
    loop {
        let home = home_of(cell);
        *home.gate.0.lock() = Passage::Closed;
        // It may have moved to another log dir while this waited.
        if Arc::ptr_eq(&home, &home_of(cell)) {
            return retired(cell, &home);
        }
    }
}

#[cfg(test)]
mod tests;
