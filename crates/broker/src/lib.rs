//! The broker: handlers, the partitions it holds, the metadata it follows, and the node that is all of it.
//!
//! Always holds: decisions are made in `klamm-metadata` and `klamm-replication`; here they are driven. What is done for a
//! request is decided by one row of [`api_table`] and one file of `handlers`.
//!
//! Start with [`node`] for how it comes up, `dispatch` for the way of a request, `replicas` for partitions,
//! `metadata_store` for the cluster's state, `router` and `controller` for who decides.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)
)]

pub mod adopt;
mod answer_memory;
pub mod api_table;
mod auto_create;
mod body;
mod broker;
mod context;
mod controller;
mod coordinators;
mod dispatch;
mod features;
mod fetch_sessions;
mod handlers;
mod loggers;
mod metadata_store;
mod metrics;
pub mod node;
mod offset_topics;
mod operations;
mod pool;
mod producer_ids;
mod replicas;
mod router;
mod turn;
mod vitals;
mod waiters;

pub use loggers::{FixedLoggers, Loggers};
pub use metrics::{Health, Observer, metrics_reference};
pub use node::{Node, NodeOptions, RouterMode, StartError};
