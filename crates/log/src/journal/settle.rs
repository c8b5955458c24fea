//! Making the journal forget a log.
//!
//! Always holds: when [`settle`] returns, no round on the device says anything of the log that would be replayed, everything that was
//! durable is in its segments and synced, and until the guard is dropped no round takes in anything new of it.

use klamm_model::TopicPartition;

use super::format::{ENTRY_HEADER_BYTES, Entry, ROUND_HEADER_BYTES, Whose};
use super::whose;
use super::write::{Piece, round_bytes};
use crate::dir::LogDir;
use crate::error::LogError;
use crate::flush::{FlushScope, flush_held};
use crate::home::Home;
use crate::prepare::LogCell;

/// Forgotten in one round.
const AT_ONCE: usize = 4096;

/// Keeps a log out of the journal until it is dropped.
pub(crate) struct Settled<'a, C: LogCell>(&'a C);

impl<C: LogCell> Drop for Settled<'_, C> {
    fn drop(&mut self) {
        self.0.with(|log| log.is_settled = false);
    }
}

/// Before a log is cut, or its segments are written anew from where they are not known to be flushed: see the head of the file. The
/// caller is inside the gate. Blocks.
pub(crate) fn settle<'a, C: LogCell>(cell: &'a C, home: &Home) -> Result<Settled<'a, C>, LogError> {
    cell.with(|log| log.is_settled = true);
    let settled = Settled(cell);
    // A round that has taken a ticket before is through when the ring can be had.
    let counts = home.dir.book().ring.lock().counts();
    if counts {
        flush_held(cell, FlushScope::All)?;
        forget(&home.dir, &[whose(home)])?;
    }
    Ok(settled)
}

/// The partition is deleted: its bytes here are needed by nobody. Blocks for as long as a round takes.
pub(crate) fn retired(cell: &impl LogCell, home: &Home) {
    cell.with(|log| log.is_settled = true);
    left(home);
}

/// The partition is in another log dir, and its log at `home` is not written to any more: the same. Rounds here take in nothing of the
/// other one.
pub(crate) fn left(home: &Home) {
    // A round that has taken a ticket before is through when the ring can be had.
    let book = home.dir.book();
    let counts = book.ring.lock().counts();
    if counts {
        book.needs.lock().retired(whose(home));
    }
}

/// The same for partitions that may not have been open, once their folders are gone and before their names are used again. Rounds that speak of them are made void, if that
/// can be; else whoever makes one of them anew does it.
pub(crate) fn retired_names<'a>(dir: &LogDir, gone: impl Iterator<Item = &'a TopicPartition>) {
    let gone = {
        let mut needs = dir.book().needs.lock();
        gone.for_each(|name| needs.retired_name(name));
        needs.gone()
    };
    if let Err(error) = forget(dir, &gone) {
        tracing::warn!(%error, "the journal could not be told of deleted partitions");
    }
}

/// Before a folder is made for a partition: what the journal may say of an earlier one is void. Blocks.
pub(crate) fn recreate(home: &Home) -> Result<(), LogError> {
    let gone = whose(home);
    let is_known = home.dir.book().needs.lock().is_gone(gone);
    if is_known {
        forget(&home.dir, &[gone])?;
    }
    Ok(())
}

fn forget(dir: &LogDir, gone: &[Whose]) -> Result<(), LogError> {
    const { assert!(AT_ONCE * ENTRY_HEADER_BYTES + ROUND_HEADER_BYTES < 256 * 1024) };
    let book = dir.book();
    for gone in gone.chunks(AT_ONCE) {
        let mut ring = book.ring.lock();
        if ring.counts() {
            let entry = |whose: &Whose| Piece {
                entry: Entry::Forget(*whose),
                source: None,
            };
            let pieces: Vec<Piece<'_>> = gone.iter().map(entry).collect();
            ring.must_have_room(dir, round_bytes(&pieces))?;
            ring.write(dir, &pieces)?;
        }
        drop(ring);
        let mut needs = book.needs.lock();
        gone.iter().for_each(|whose| needs.forgotten(*whose));
    }
    Ok(())
}
