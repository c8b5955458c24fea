//! A client of any cluster that speaks Kafka's protocol: producer, consumer, admin.
//!
//! Always holds: it speaks the protocol and nothing else, so Klamm and Apache Kafka serve it alike; all I/O, time and
//! chance come from the [`klamm_env::Env`] that it was given; what the cluster answers may fail a call, never panic it.
//!
//! Start with [`Client`], then [`Producer`], [`Consumer`] and [`Admin`], which are made from it; [`Connection`] is what
//! all of them rest on. A [`Consumer`] is told its partitions; a [`GroupConsumer`] shares them with the others of its group.
//! What a [`TransactionalProducer`] sends is read all or not at all.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod address;
pub mod admin;
mod backoff;
pub mod client;
pub mod connection;
pub mod consumer;
mod coordinator;
pub mod error;
pub mod group;
pub mod metadata;
pub mod offsets;
pub mod partitioner;
pub mod producer;
pub mod versions;

pub use address::{HostPort, InvalidAddress};
pub use admin::Admin;
pub use client::{Client, ClientConfig, Target};
pub use connection::Connection;
pub use consumer::{Consumer, ConsumerConfig};
pub use error::{ClientError, ConnectionError, Refusal};
pub use group::{GroupConfig, GroupConsumer, GroupError};
pub use metadata::{Broker, Cluster, Partition, Topic};
pub use producer::{Producer, ProducerConfig, ProducerRecord, TransactionConfig, TransactionalProducer};
pub use versions::{ApiVersions, VersionError};

#[cfg(test)]
mod testing;
