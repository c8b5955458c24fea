//! The commands, one file each: noun, then verb.
//!
//! Always holds: a command reads its arguments, asks the cluster through `klamm_client`, and shows a value; what it shows
//! is the same in every format.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // programs at the edge, which no simulation runs

pub(crate) mod ask;
pub(crate) mod cluster;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod consume;
pub(crate) mod duration;
pub(crate) mod group;
pub(crate) mod key_value;
pub(crate) mod log;
pub(crate) mod outcome;
pub(crate) mod produce;
pub(crate) mod several;
pub(crate) mod size;
pub(crate) mod time;
pub(crate) mod topic;
pub(crate) mod topic_choice;
pub(crate) mod transaction;
pub(crate) mod without_effect;
