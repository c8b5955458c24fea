//! What one broker has to do about a change of the metadata.
//!
//! Always holds: a partition stands in one list at most. Deletions come first, because a topic of the same name may be
//! made in the same change.

use std::sync::Arc;

use klamm_model::BrokerId;

use super::{Delta, TopicChange};
use crate::image::{PartitionImage, TopicImage};

/// What one broker has to do about a change of the metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalChanges {
    /// Partitions of topics that are gone: stop, and delete the data. They are described as they were last.
    pub deleted: Vec<LocalPartition>,
    /// Partitions whose replica moved elsewhere: stop, and delete the data. They are described as they are now.
    pub unassigned: Vec<LocalPartition>,
    /// Partitions that the broker leads: start to lead, or learn the new ISR and epochs.
    pub leading: Vec<LocalPartition>,
    /// Partitions that the broker follows, perhaps nobody as yet.
    pub following: Vec<LocalPartition>,
}

/// A partition of which a broker holds a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPartition {
    /// Its topic.
    pub topic: Arc<TopicImage>,
    /// Its number.
    pub partition: i32,
    /// Its state.
    pub image: Arc<PartitionImage>,
    /// Its state before the change, if the broker held a replica then.
    pub before: Option<Arc<PartitionImage>>,
}

impl LocalPartition {
    /// Whether the leader, or its epoch, is another one than before.
    pub fn is_new_leadership(&self) -> bool {
        self.before
            .as_ref()
            .is_none_or(|before| before.leader_epoch != self.image.leader_epoch)
    }
}

impl LocalChanges {
    /// Whether the broker has nothing to do.
    pub fn is_empty(&self) -> bool {
        self.deleted.is_empty()
            && self.unassigned.is_empty()
            && self.leading.is_empty()
            && self.following.is_empty()
    }

    fn changed(
        &mut self,
        broker: BrokerId,
        before: Option<&TopicImage>,
        after: &Arc<TopicImage>,
        partition: i32,
    ) {
        let Some(image) = after.shared_partition(partition).cloned() else {
            return;
        };
        let held = |image: &&Arc<PartitionImage>| image.is_replica(broker);
        let before = before
            .and_then(|topic| topic.shared_partition(partition))
            .filter(held)
            .cloned();
        let list = if image.leader == Some(broker) {
            &mut self.leading
        } else if image.is_replica(broker) {
            &mut self.following
        } else if before.is_some() {
            &mut self.unassigned
        } else {
            return;
        };
        list.push(LocalPartition {
            topic: after.clone(),
            partition,
            image,
            before,
        });
    }

    fn deleted(&mut self, broker: BrokerId, topic: &Arc<TopicImage>) {
        for (number, image) in topic.partitions.iter().enumerate() {
            if image.is_replica(broker) {
                self.deleted.push(LocalPartition {
                    topic: topic.clone(),
                    partition: number as i32,
                    image: image.clone(),
                    before: Some(image.clone()),
                });
            }
        }
    }
}

pub(super) fn changes(delta: &Delta, broker: BrokerId) -> LocalChanges {
    let mut local = LocalChanges::default();
    for change in delta.topics() {
        match change {
            TopicChange::Deleted(topic) => local.deleted(broker, topic),
            TopicChange::Created(topic) => {
                (0..topic.partitions.len() as i32)
                    .for_each(|number| local.changed(broker, None, topic, number));
            }
            TopicChange::Changed {
                before,
                after,
                partitions,
            } => {
                partitions
                    .iter()
                    .for_each(|number| local.changed(broker, Some(before), after, *number));
            }
        }
    }
    local
}
