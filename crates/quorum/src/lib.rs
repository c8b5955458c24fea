//! The metadata log: Raft, carried by `openraft`, with files and messages of our own.
//!
//! One entry is one decision of the controller: opaque bytes that are applied whole. A [`Quorum`] takes proposals,
//! commits them on a majority of the voters, durably, and hands them to the node's [`StateMachine`] in order.
//!
//! Always holds:
//! - what [`Quorum::propose`] returned `Ok` for is on the disks of a majority and is never lost or changed;
//! - a vote is on disk before anyone hears of it;
//! - a quorum whose disk has failed stops and says so ([`Quorum::fatal`]);
//! - no type of openraft is ever written to a file or a message as it is (`codec`, `wire`);
//! - with one seed and one schedule of the world it does the same: time, tasks, chance and files are those of the
//!   [`klamm_env::Env`] it was started with.
//!
//! Start with `quorum` for the handle, then `storage` for what survives a crash, `applier` for the way to the
//! state machine, `network` for the way to other voters, `runtime` for what openraft runs on.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::disallowed_methods))]

pub(crate) mod applier;
pub(crate) mod codec;
mod config;
mod error;
mod machine;
pub(crate) mod network;
pub(crate) mod quorum;
pub(crate) mod runtime;
mod seed;
pub(crate) mod storage;
mod transport;
pub(crate) mod types;
pub(crate) mod wire;

pub use codec::{DecodeError, MAX_DECISION_BYTES};
pub use config::{Endpoint, QuorumConfig};
pub use error::{FatalError, FileError, ProposeError, StartError};
pub use machine::{Position, ReplayError, StateMachine};
pub use quorum::{Leadership, Quorum, QuorumDescription, ReplicaDescription};
pub use seed::seed;
pub use transport::{NoPeers, Transport, TransportError};
