//! One partition on disk, in Kafka's own files: append, read, roll, flush, recover, retain, compact.
//!
//! Always holds: no async, no network, no metadata; the clock is an argument; nothing here decides who leads or what is
//! committed. Calls that may run on a network thread never wait for the device: they answer [`NotReady`], and
//! [`prepare`](prepare::prepare) does the rest elsewhere.
//!
//! | may run on a network thread | blocks |
//! |---|---|
//! | `append_as_leader`, `append_in_order`, `append_end_transaction`, `append_as_follower`, `verify`, `read`, `Log::aborted_transactions`, `flush_target`, `flushed`, all accessors | `LogDir`, `Log::open`, `prepare`, `read_blocking`, `aborted_transactions`, `FlushTicket::sync`, `flush`, `close`, `retention`, `truncate`, `clean`, `relocate`, `verify` |
//!
//! Start with [`Log`], then [`dir`] for the folder around it.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod aborted;
pub mod adopt;
pub mod append;
pub mod checkpoint;
pub mod clean;
pub mod commit;
pub mod config;
pub mod dir;
pub mod epochs;
pub mod error;
pub mod flush;
pub mod follower;
mod gate;
pub mod handles;
mod home;
pub mod index;
pub mod inspect;
pub mod journal;
pub mod log;
mod make;
mod marks;
pub mod names;
pub mod offsets;
mod open;
pub mod prepare;
pub mod producers;
pub mod read;
mod recovery;
pub mod relocate;
pub mod repair;
pub mod retention;
pub mod scrub;
mod segment;
pub mod truncate;
mod trust;
pub mod verify;

pub use aborted::aborted_transactions;
pub use append::{Appended, Incoming, Outcome};
pub use clean::{CleanPolicy, CleanSettings, Cleaned, Dirtiness, Progress, Round};
pub use commit::{Commit, CommitTarget, SegmentSync, Submission};
pub use config::{Durability, LogConfig};
pub use dir::{LogDir, Positions};
pub use epochs::{EpochEnd, LeaderEpochs};
pub use error::{AppendError, FollowerError, LogError, NotReady, ReadError};
pub use flush::{FlushScope, FlushTicket};
pub use gate::retire;
pub use handles::HandleCache;
pub use index::transaction::AbortedTransaction;
pub use journal::Journal;
pub use log::{Log, LogSummary, RecoveryState};
pub use prepare::LogCell;
pub use producers::{EndTransaction, ProducerStanding, Verification, VerificationGuard};
pub use read::{FileRange, Read, ReadRequest};

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod life;
#[cfg(test)]
mod testing;
