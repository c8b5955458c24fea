//! Who coordinates what: the kinds of coordinators, which partition of which internal topic a key belongs to, and how that
//! topic is made when it is missing.
//!
//! Always holds: who the coordinator of a key is follows from the metadata alone, the same on every broker: the leader of the
//! key's partition. Only this file makes internal topics unasked; naming one in Metadata does not.
//!
//! Next: `handlers/find_coordinator.rs`.

pub(crate) mod described;
pub(crate) mod groups;
mod key;
pub(crate) mod markers;
pub(crate) mod participation;
pub(crate) mod runtime;
pub(crate) mod split;
pub(crate) mod transactions;

use std::collections::BTreeMap;

use klamm_config::broker::{InternalTopic, InternalTopics};
use klamm_metadata::{Image, PartitionImage};
use klamm_model::ErrorCode;
use klamm_model::java_hash::partition_of;
use klamm_protocol::ByteString;
use klamm_protocol::messages::CreateTopicsRequest;
use klamm_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) use self::key::Key;
use crate::broker::Broker;

/// How long the controller may take.
const TIMEOUT_MS: i32 = 30_000;

/// A kind of coordinators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Group,
    Transaction,
    Share,
}

impl Kind {
    /// The kind with this number in the protocol.
    pub(crate) fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Group),
            1 => Some(Self::Transaction),
            2 => Some(Self::Share),
            _ => None,
        }
    }

    /// The topic that holds what coordinators of this kind know.
    pub(crate) fn topic(self) -> &'static str {
        match self {
            Self::Group => "__consumer_offsets",
            Self::Transaction => "__transaction_state",
            Self::Share => "__share_group_state",
        }
    }

    /// The topic as it is made: with the configs that Kafka gives it.
    fn topic_to_make(self, config: &InternalTopics) -> CreatableTopic {
        let (made_with, own): (&InternalTopic, &[(&'static str, &'static str)]) = match self {
            Self::Group => (
                &config.offsets,
                &[("cleanup.policy", "compact"), ("compression.type", "producer")],
            ),
            Self::Transaction => (
                &config.transactions,
                &[
                    ("cleanup.policy", "compact"),
                    ("compression.type", "uncompressed"),
                    ("unclean.leader.election.enable", "false"),
                ],
            ),
            Self::Share => (
                &config.shares,
                &[
                    ("cleanup.policy", "delete"),
                    ("compression.type", "producer"),
                    ("retention.ms", "-1"),
                ],
            ),
        };
        let own = own
            .iter()
            .map(|(name, value)| (*name, ByteString::from_static(value)));
        let segment = ("segment.bytes", made_with.segment_bytes.to_string().into());
        let min_isr = made_with
            .min_isr
            .map(|count| ("min.insync.replicas", count.to_string().into()));
        let configs = own
            .chain([segment])
            .chain(min_isr)
            .map(|(name, value)| CreatableTopicConfig {
                name: ByteString::from_static(name),
                value: Some(value),
                ..Default::default()
            });
        CreatableTopic {
            name: ByteString::from_static(self.topic()),
            num_partitions: i32::try_from(made_with.partitions).unwrap_or(i32::MAX),
            replication_factor: i16::try_from(made_with.replication_factor).unwrap_or(i16::MAX),
            configs: configs.collect(),
            ..Default::default()
        }
    }
}

/// The partition that `key` belongs to; `None` while its topic is not there.
pub(crate) fn partition<'a>(image: &'a Image, key: &Key<'_>) -> Option<&'a PartitionImage> {
    let topic = image.topics().by_name(key.kind().topic())?;
    let partition = partition_of(&key.placed_by(), topic.partitions.len())?;
    topic.partitions.get(partition).map(AsRef::as_ref)
}

/// The number of that partition, also while its topic, which is going to have `configured` partitions, is not there.
pub(crate) fn partition_number(image: &Image, key: &Key<'_>, configured: u32) -> i32 {
    let topic = image.topics().by_name(key.kind().topic());
    let count = topic.map_or(configured as usize, |topic| topic.partitions.len());
    let partition = partition_of(&key.placed_by(), count);
    partition
        .and_then(|partition| i32::try_from(partition).ok())
        .unwrap_or(0)
}

/// What was said about internal topics that could not be made.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    last: Mutex<BTreeMap<Kind, String>>,
}

impl Refusals {
    /// Says why, once for as long as it stays the same: clients ask many times a second.
    fn note(&self, kind: Kind, why: String) {
        let mut last = self.last.lock();
        if last.get(&kind) != Some(&why) {
            tracing::warn!(topic = kind.topic(), %why, "the topic of the coordinators cannot be made");
            last.insert(kind, why);
        }
    }

    /// The topic is there: should it be missing again, that is told again.
    fn forget(&self, kind: Kind) {
        self.last.lock().remove(&kind);
    }
}

/// The topics that are being made. Clients of a new cluster ask for the same one at the same moment, and one request is enough.
#[derive(Debug, Default)]
pub(crate) struct Making {
    by_kind: Mutex<BTreeMap<Kind, watch::Receiver<()>>>,
}

/// Who makes the topic; the others wait until this is dropped.
struct Maker<'a> {
    making: &'a Making,
    kind: Kind,
    _others: watch::Sender<()>,
}

impl Drop for Maker<'_> {
    fn drop(&mut self) {
        self.making.by_kind.lock().remove(&self.kind);
    }
}

impl Making {
    /// The right to make the topic of this kind; who has it already is waited for instead.
    fn begin(&self, kind: Kind) -> Result<Maker<'_>, watch::Receiver<()>> {
        let mut by_kind = self.by_kind.lock();
        if let Some(others) = by_kind.get(&kind) {
            return Err(others.clone());
        }
        let (sender, receiver) = watch::channel(());
        by_kind.insert(kind, receiver);
        Ok(Maker {
            making: self,
            kind,
            _others: sender,
        })
    }
}

/// Makes the topic of a kind of coordinators, or waits for whoever is making it. When this returns it can be used, or the reason
/// why not is in the log; whoever has waited for somebody who went away asks again.
pub(crate) async fn make_topic(broker: &Broker, kind: Kind) {
    match broker.making.begin(kind) {
        Ok(_maker) => make(broker, kind).await,
        // Nothing is ever sent: it ends with the sender.
        Err(mut made) => while made.changed().await.is_ok() {},
    }
}

async fn make(broker: &Broker, kind: Kind) {
    let request = CreateTopicsRequest {
        topics: vec![kind.topic_to_make(&broker.config.internal_topics)],
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    match broker.router.to_controller_as_node(request).await {
        Ok(response) => {
            for topic in response.topics {
                match ErrorCode::from_code(topic.error_code) {
                    // Somebody else was quicker.
                    Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => broker.refusals.forget(kind),
                    code => {
                        let name = code.map_or("an unknown error", ErrorCode::name);
                        let message = topic.error_message.unwrap_or_default();
                        broker.refusals.note(kind, format!("{name}: {message}"));
                    }
                }
            }
            broker.metadata.caught_up().await;
        }
        Err(code) => broker
            .refusals
            .note(kind, format!("the controller: {}", code.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_made_by_one_and_waited_for_by_the_others() {
        let making = Making::default();
        let maker = making.begin(Kind::Group).ok().unwrap();
        let waiting = making.begin(Kind::Group).err().unwrap();
        let other = making.begin(Kind::Transaction);
        assert!(other.is_ok() && waiting.has_changed().is_ok());
        drop(maker);
        assert!(waiting.has_changed().is_err(), "whoever waits goes on");
        assert!(making.begin(Kind::Group).is_ok());
    }
}
