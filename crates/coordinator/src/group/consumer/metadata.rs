//! How consumer groups learn that topics were made, have grown, or are gone.
//!
//! Always holds: nothing is recorded here. A group takes note, and its next heartbeat looks at its topics again; after a load
//! every group does.

use std::collections::BTreeSet;
use std::sync::Arc;

use klamm_metadata::{Delta, Image, PartitionImage, TopicChange, TopicImage};

use super::{ConsumerGroup, Note};

/// What a change of the cluster means for consumer groups.
#[derive(Debug, Default)]
pub struct TopicChanges {
    /// The names of topics that are new, gone or different.
    names: BTreeSet<Arc<str>>,
    /// Whether a broker has changed its rack, so that any topic may be different.
    racks: bool,
    /// The position of the metadata, when a topic was made.
    made_at: Option<i64>,
}

impl TopicChanges {
    /// What the change means.
    pub fn of(delta: &Delta) -> Self {
        let mut changes = Self::default();
        for change in delta.topics() {
            let topic = match change {
                TopicChange::Changed { before, after, .. } if same_for_groups(before, after) => continue,
                TopicChange::Changed { after, .. } => after,
                TopicChange::Deleted(topic) => topic,
                TopicChange::Created(topic) => {
                    changes.made_at = Some(position(delta.after()));
                    topic
                }
            };
            changes.names.insert(topic.name.clone());
        }
        changes.racks = delta.brokers().iter().any(|broker| {
            let rack = |broker: &Option<Arc<_>>| rack(broker.as_deref());
            rack(&broker.before) != rack(&broker.after)
        });
        changes
    }

    /// Whether no group has anything to note.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.racks
    }
}

/// Whether as many partitions are on the same brokers.
fn same_for_groups(before: &TopicImage, after: &TopicImage) -> bool {
    let same = |(before, after): (&Arc<PartitionImage>, &Arc<PartitionImage>)| {
        Arc::ptr_eq(before, after) || before.replicas == after.replicas
    };
    before.partitions.len() == after.partitions.len()
        && before.partitions.iter().zip(&after.partitions).all(same)
}

fn rack(broker: Option<&klamm_metadata::image::BrokerRegistration>) -> Option<Arc<str>> {
    broker?.rack.clone()
}

/// The version of the metadata as records of groups carry it.
pub(super) fn position(image: &Image) -> i64 {
    i64::try_from(image.position().index).unwrap_or(i64::MAX)
}

impl ConsumerGroup {
    /// Whether it subscribes to one of these topics: of a great many, or of a few, it takes the shorter list to go through.
    fn is_concerned(&self, names: &BTreeSet<Arc<str>>) -> bool {
        let own = &self.subscribers.topics;
        if names.len() <= own.len() {
            names.iter().any(|topic| own.contains_key(&**topic))
        } else {
            own.keys().any(|topic| names.contains(&**topic))
        }
    }

    /// What the group notes of the changes.
    pub fn on_topics(&self, changes: &TopicChanges) -> Vec<Note> {
        let mut notes = Vec::new();
        if changes.racks || self.is_concerned(&changes.names) {
            notes.push(Note::TopicsChanged);
        }
        if let Some(made_at) = changes.made_at
            && !self.subscribers.expressions.is_empty()
        {
            notes.push(Note::TopicMade(made_at));
        }
        notes
    }
}
