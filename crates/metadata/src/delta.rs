//! What changed from one image to another.
//!
//! Always holds: a delta lists exactly the differences of its two images; it is found by comparing them, where all that
//! they share is skipped, so one record on a large cluster costs little. It does not tell how often something changed.
//!
//! Next: `delta/local.rs` for what one broker has to do about it.

mod local;

use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use klamm_model::BrokerId;

use crate::image::{BrokerRegistration, Image, ResourceKind, TopicImage};

pub use local::{LocalChanges, LocalPartition};

/// What changed from one image to another.
#[derive(Clone, Debug)]
pub struct Delta {
    before: Image,
    after: Image,
    topics: Vec<TopicChange>,
    configs: Vec<(ResourceKind, Arc<str>)>,
    brokers: Vec<BrokerChange>,
}

/// What happened to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicChange {
    /// It is new. A name that was deleted and made again is two topics.
    Created(Arc<TopicImage>),
    /// It is gone.
    Deleted(Arc<TopicImage>),
    /// Partitions were added to it or changed.
    Changed {
        /// The topic before.
        before: Arc<TopicImage>,
        /// The topic now.
        after: Arc<TopicImage>,
        /// The numbers of its partitions that are new or changed.
        partitions: Vec<i32>,
    },
}

/// What happened to a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerChange {
    /// Which one.
    pub id: BrokerId,
    /// Its registration before, if it had one.
    pub before: Option<Arc<BrokerRegistration>>,
    /// Its registration now, if it has one.
    pub after: Option<Arc<BrokerRegistration>>,
}

impl Delta {
    /// The differences of two images.
    pub fn between(before: &Image, after: &Image) -> Self {
        let configs = ResourceKind::ALL.into_iter().flat_map(|kind| {
            let (before, after) = (before.configs.of(kind), after.configs.of(kind));
            differences(before, after).map(move |(name, _, _)| (kind, name))
        });
        let brokers = differences(&before.cluster.brokers, &after.cluster.brokers);
        Self {
            topics: topic_changes(before, after),
            configs: configs.collect(),
            brokers: brokers
                .map(|(id, before, after)| BrokerChange { id, before, after })
                .collect(),
            before: before.clone(),
            after: after.clone(),
        }
    }

    /// The image before the change.
    pub fn before(&self) -> &Image {
        &self.before
    }

    /// The image after the change.
    pub fn after(&self) -> &Image {
        &self.after
    }

    /// Whether nothing changed but perhaps the position.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
            && self.configs.is_empty()
            && self.brokers.is_empty()
            && !self.features_changed()
            && !self.controllers_changed()
            && !self.client_quotas_changed()
            && self.before.next_producer_id == self.after.next_producer_id
    }

    /// Topics created, deleted and changed; the deleted ones first.
    pub fn topics(&self) -> &[TopicChange] {
        &self.topics
    }

    /// Resources whose dynamic configs changed.
    pub fn configs(&self) -> &[(ResourceKind, Arc<str>)] {
        &self.configs
    }

    /// Brokers that registered, left or changed.
    pub fn brokers(&self) -> &[BrokerChange] {
        &self.brokers
    }

    /// Whether controllers registered, left or changed.
    pub fn controllers_changed(&self) -> bool {
        self.before.cluster.controllers != self.after.cluster.controllers
    }

    /// Whether a feature was finalized at another level.
    pub fn features_changed(&self) -> bool {
        self.before.features != self.after.features
    }

    /// Whether a client quota changed.
    pub fn client_quotas_changed(&self) -> bool {
        self.before.quotas != self.after.quotas
    }

    /// What `broker` has to do about the changes.
    pub fn for_broker(&self, broker: BrokerId) -> LocalChanges {
        local::changes(self, broker)
    }
}

fn topic_changes(before: &Image, after: &Image) -> Vec<TopicChange> {
    let mut changes: Vec<_> = differences(before.topics.ids(), after.topics.ids())
        .filter_map(|(_, before, after)| match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(TopicChange::Created(after)),
            (Some(before), None) => Some(TopicChange::Deleted(before)),
            (Some(before), Some(after)) => {
                let partitions = changed_partitions(&before, &after);
                Some(TopicChange::Changed {
                    before,
                    after,
                    partitions,
                })
            }
        })
        .collect();
    // A name may be deleted and made again at once: whoever goes by names has to forget the old topic first.
    changes.sort_by_key(|change| !matches!(change, TopicChange::Deleted(_)));
    changes
}

fn changed_partitions(before: &TopicImage, after: &TopicImage) -> Vec<i32> {
    let numbered = after.partitions.iter().enumerate();
    let changed = numbered.filter(|(number, partition)| before.partitions.get(*number) != Some(*partition));
    changed.map(|(number, _)| number as i32).collect()
}

/// The keys with different values: the key, the value before, the value after.
fn differences<'a, K: Ord + Clone, V: PartialEq + Clone>(
    before: &'a OrdMap<K, V>,
    after: &'a OrdMap<K, V>,
) -> impl Iterator<Item = (K, Option<V>, Option<V>)> + 'a {
    before.diff(after).map(|item| match item {
        DiffItem::Add(key, value) => (key.clone(), None, Some(value.clone())),
        DiffItem::Remove(key, value) => (key.clone(), Some(value.clone()), None),
        DiffItem::Update {
            old: (key, old),
            new: (_, new),
        } => (key.clone(), Some(old.clone()), Some(new.clone())),
    })
}
