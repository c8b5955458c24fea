//! Configuration: the one table of keys, and everything that is read off it.
//!
//! Always holds: every key that Apache Kafka 4.4 knows, and every `klamm.` key, stands in the table exactly once, with its
//! type, default, bounds, unit, scope and meaning; parsing, validation, DescribeConfigs, the start of the broker and the
//! reference page come from there and from nowhere else. A key is served, or the table says why not. There is no I/O
//! here: texts come in, values go out.
//!
//! Next: `key.rs` for what a key is, `keys.rs` for the table, `broker.rs` and `topic.rs` for the typed values,
//! `describe.rs` and `alter.rs` for the two APIs, `reference.rs` for the page.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod allowed;
pub mod alter;
pub mod broker;
pub mod describe;
pub mod env;
pub mod group;
mod key;
mod keys;
mod layers;
mod proof;
pub mod properties;
pub mod reference;
mod source;
pub mod topic;
mod value;

pub use allowed::{Allowed, Invalid, Problem};
pub use broker::BrokerConfig;
pub use key::{Importance, Key, Kind, Resource, Scope, Serving, Unit, Update};
pub use layers::{Layers, Values};
pub use proof::{Proof, without_proof};
pub use source::{ConfigError, Origin, Sources, Warning};
pub use topic::TopicConfig;
pub use value::Value;
