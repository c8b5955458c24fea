//! Every key that is served, set to another value than its default, and what it then does: on the wire, on the disk.
//!
//! Always holds: no test only reads a configuration back; each compares a node that has the key set with one that has not,
//! so that it fails when the key does nothing. `klamm-config`'s `proof.rs` says which test is whose.
//!
//! The node runs in a world of its own: the clock stands still until everybody waits, the disk is in memory and notes
//! what is done to it, connections are pipes. So hours pass at once and no test sleeps.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs
)] // a test at the edge

#[path = "configuration/client.rs"]
mod client;
#[path = "configuration/clocks.rs"]
mod clocks;
#[path = "configuration/compaction.rs"]
mod compaction;
#[path = "configuration/consumer_groups.rs"]
mod consumer_groups;
#[path = "configuration/consumer_life.rs"]
mod consumer_life;
#[path = "configuration/coordinators.rs"]
mod coordinators;
#[path = "configuration/disks.rs"]
mod disks;
#[path = "configuration/durability.rs"]
mod durability;
#[path = "configuration/failing.rs"]
mod failing;
#[path = "configuration/fixture.rs"]
mod fixture;
#[path = "configuration/group_life.rs"]
mod group_life;
#[path = "configuration/group_loading.rs"]
mod group_loading;
#[path = "configuration/groups.rs"]
mod groups;
#[path = "configuration/groups_in_bulk.rs"]
mod groups_in_bulk;
#[path = "configuration/housekeeping.rs"]
mod housekeeping;
#[path = "configuration/levels.rs"]
mod levels;
#[path = "configuration/log_dir_moves.rs"]
mod log_dir_moves;
#[path = "configuration/log_dirs.rs"]
mod log_dirs;
#[path = "configuration/network.rs"]
mod network;
#[path = "configuration/node.rs"]
mod node;
#[path = "configuration/pipes.rs"]
mod pipes;
#[path = "configuration/pressure.rs"]
mod pressure;
#[path = "configuration/records.rs"]
mod records;
#[path = "configuration/retention.rs"]
mod retention;
#[path = "configuration/segments.rs"]
mod segments;
#[path = "configuration/sessions.rs"]
mod sessions;
#[path = "configuration/topics.rs"]
mod topics;
#[path = "configuration/transaction_markers.rs"]
mod transaction_markers;
#[path = "configuration/transactional.rs"]
mod transactional;
#[path = "configuration/transactions.rs"]
mod transactions;
