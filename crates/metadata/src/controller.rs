//! The decisions of the controller, one file each.
//!
//! Always holds: `decide` changes nothing. It gives the records of one entry of the log and the answer that is true once
//! they are committed; without records, the answer is true at once. Two decisions follow each other on the image with
//! the first one's records applied, committed or not.
//!
//! Next: `create_topics.rs` for a decision as most of them are, `isr_changes.rs` for what a broker's coming and going does to
//! partitions, `sessions.rs` for the only state that is not in the image.

pub mod allocate_producer_ids;
pub mod alter_configs;
pub mod alter_partition;
pub mod assign_replicas_to_dirs;
mod assignment;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_topics;
pub mod elect_leaders;
pub mod fence_stale;
pub mod heartbeat;
mod isr_changes;
pub mod register_broker;
pub mod register_controller;
pub mod sessions;
pub mod unregister_broker;
pub mod update_features;

use std::collections::BTreeSet;

use klamm_config::{Key, Layers, Value, Values};
use klamm_model::{BrokerId, ErrorCode, Uuid};
use klamm_protocol::ByteString;

use crate::image::{Image, TopicImage};
use crate::record::MetadataRecord;

pub use sessions::Sessions;

/// Records that one request of a user may make, as in Kafka.
const MAX_RECORDS_PER_REQUEST: usize = 10_000;

/// What a decision is made on.
pub struct Context<'a> {
    /// The cluster, with all earlier decisions applied.
    pub image: &'a Image,
    /// The node that decides.
    pub node: BrokerId,
    /// What was set at this node's start.
    pub fixed: &'a Values,
    /// Draws a random number.
    pub draw: &'a mut dyn FnMut() -> u64,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<R> {
    /// The records of one entry of the log; none when nothing changes.
    pub records: Vec<MetadataRecord>,
    /// The answer, once the records are committed.
    pub response: R,
}

impl<R> Decision<Option<R>> {
    /// A decision whose records may be too many for one entry: without an answer, they are a part, and it is to be decided
    /// again with them applied.
    fn in_parts(records: Result<Vec<MetadataRecord>, isr_changes::Part>, response: R) -> Self {
        match records {
            Ok(records) => Self {
                records,
                response: Some(response),
            },
            Err(isr_changes::Part(records)) => Self {
                records,
                response: None,
            },
        }
    }
}

impl<R> Decision<R> {
    /// An answer without a change.
    pub fn unchanged(response: R) -> Self {
        Self {
            records: Vec::new(),
            response,
        }
    }
}

/// Why a request, or a part of it, is refused: what the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: ErrorCode,
    /// The words, where Kafka has some.
    pub message: Option<String>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }

    pub(crate) fn code(code: ErrorCode) -> Self {
        Self { code, message: None }
    }

    pub(crate) fn words(self) -> Option<ByteString> {
        self.message.map(Into::into)
    }
}

impl Context<'_> {
    /// The configuration of this node with what was set while running.
    pub fn layers(&self) -> Layers<'_> {
        let configs = self.image.configs();
        Layers {
            dynamic_broker: configs.broker(self.node),
            dynamic_default: configs.broker_default(),
            fixed: self.fixed,
        }
    }

    /// The value in force of a topic's config.
    fn topic_value(&self, topic: &str, name: &str) -> Option<Value> {
        self.layers()
            .resource_value(Key::topic(name)?, self.image.configs().topic(topic))
    }

    fn topic_flag(&self, topic: &str, name: &str) -> bool {
        self.topic_value(topic, name) == Some(Value::Boolean(true))
    }

    fn broker_number(&self, name: &str) -> Option<i64> {
        self.layers().broker_value(Key::broker(name)?)?.as_whole()
    }

    /// The in-sync replicas that a topic needs for an acknowledgement, as far as it has as many replicas.
    fn min_isr(&self, topic: &TopicImage) -> usize {
        let configured = self
            .topic_value(&topic.name, "min.insync.replicas")
            .and_then(|value| value.as_whole());
        let replicas = topic
            .partitions
            .first()
            .map_or(1, |partition| partition.replicas.len());
        usize::try_from(configured.unwrap_or(1))
            .unwrap_or(1)
            .min(replicas)
    }

    /// An id that no topic has.
    fn fresh_topic_id(&mut self) -> Uuid {
        loop {
            let bits = (u128::from((self.draw)()) << 64) | u128::from((self.draw)());
            let id = Uuid::from_random(bits.to_be_bytes());
            if self.image.topics().by_id(&id).is_none() {
                return id;
            }
        }
    }

    /// Refuses a request that an earlier incarnation of the broker sent.
    fn check_broker_epoch(&self, broker: i32, epoch: i64) -> Result<(), ErrorCode> {
        match self.image.cluster().broker(BrokerId(broker)) {
            Some(registration) if registration.epoch == epoch => Ok(()),
            _ => Err(ErrorCode::StaleBrokerEpoch),
        }
    }
}

/// What stands more than once.
fn repeated<T: Ord + Clone>(all: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    all.filter(|each| !seen.insert(each.clone())).collect()
}

#[cfg(test)]
pub(crate) mod tests;
