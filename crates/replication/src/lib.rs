//! The rules of one partition's replication: who is in sync, what is committed, where logs have parted.
//!
//! Always holds: nothing here does I/O, reads a clock or waits; time is an argument (a duration since any fixed moment), and
//! what is to be done comes back as a value. The high watermark is the smallest *durable* end over the in-sync set, the leader
//! included, on a single node too; it never goes back, and does not move while the set is smaller than
//! `min.insync.replicas`. Appending and committing on a single node take no memory.
//!
//! Next: [`role`] for the change between leader and follower, [`leader`] for ISR and high watermark, [`follower`] and
//! [`truncation`] for the other side, [`epoch`] for who may ask.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod assignment;
pub mod epoch;
pub mod follower;
pub mod leader;
pub mod role;
pub mod truncation;

pub use assignment::{Assignment, LeaderRecovery, LogEnds};
pub use epoch::EpochMismatch;
pub use follower::{FetchPosition, FetchResult, Follower, FollowerAction};
pub use leader::{
    Committed, Fetched, FollowerFetch, Leader, NotEnoughReplicas, Proposal, ProposalFailure, Settings,
};
pub use role::{Role, Transition};
pub use truncation::{EpochEnd, Truncation};
