//! What the records of topics and partitions mean.
//!
//! Always holds: a change raises the partition epoch by one, and the leader epoch too when it names a leader, even the
//! same one; a topic goes with its configs.

use std::sync::Arc;

use klamm_model::{BrokerId, LeaderEpoch, TopicId, Uuid};
use klamm_protocol::metadata_records as records;

use super::{Replay, Unfit};
use crate::image::topics::brokers;
use crate::image::{Image, LeaderRecovery, PartitionImage, ResourceKind, TopicImage, directory};

/// "The leader stays" in a PartitionChangeRecord.
const SAME_LEADER: i32 = -2;
/// "The recovery state stays" in a PartitionChangeRecord.
const SAME_RECOVERY: i8 = -1;

/// A topic whose partitions change.
pub(super) struct OpenTopic {
    name: Arc<str>,
    partitions: Vec<Arc<PartitionImage>>,
}

impl OpenTopic {
    fn at(&mut self, topic: TopicId, partition: i32) -> Result<&mut PartitionImage, Unfit> {
        let partitions = self.partitions.len();
        let at = usize::try_from(partition).ok();
        at.and_then(|at| self.partitions.get_mut(at))
            .map(Arc::make_mut)
            .ok_or(Unfit::Partition {
                topic,
                partition,
                partitions,
            })
    }
}

impl Replay {
    /// The image, with all open topics put back.
    pub(super) fn close(mut self) -> Image {
        for (id, open) in std::mem::take(&mut self.open) {
            let partitions = open.partitions.into_boxed_slice();
            self.image.topics.insert(Arc::new(TopicImage {
                name: open.name,
                id,
                partitions,
            }));
        }
        self.image
    }

    fn open(&mut self, id: TopicId) -> Result<&mut OpenTopic, Unfit> {
        use std::collections::btree_map::Entry;
        match self.open.entry(id) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(place) => {
                let topic = self.image.topics.by_id(&id).ok_or(Unfit::TopicId(id))?;
                Ok(place.insert(OpenTopic {
                    name: topic.name.clone(),
                    partitions: topic.partitions.to_vec(),
                }))
            }
        }
    }

    pub(super) fn topic(&mut self, record: &records::TopicRecord) -> Result<(), Unfit> {
        let topics = &mut self.image.topics;
        if let Some(other) = topics
            .by_name(&record.name)
            .or_else(|| topics.by_id(&record.topic_id))
        {
            return Err(Unfit::TopicExists {
                name: other.name.to_string(),
                id: other.id,
            });
        }
        let (name, id): (Arc<str>, _) = ((&*record.name).into(), record.topic_id);
        // A topic without partitions is in the image at once, so that a second one of its name is noticed.
        topics.insert(Arc::new(TopicImage {
            name: name.clone(),
            id,
            partitions: Box::default(),
        }));
        self.open.insert(
            id,
            OpenTopic {
                name,
                partitions: Vec::new(),
            },
        );
        Ok(())
    }

    pub(super) fn partition(&mut self, record: &records::PartitionRecord) -> Result<(), Unfit> {
        let image = Arc::new(partition_image(record)?);
        let open = self.open(record.topic_id)?;
        if usize::try_from(record.partition_id) == Ok(open.partitions.len()) {
            open.partitions.push(image);
            return Ok(());
        }
        *open.at(record.topic_id, record.partition_id)? = Arc::unwrap_or_clone(image);
        Ok(())
    }

    pub(super) fn partition_change(&mut self, record: &records::PartitionChangeRecord) -> Result<(), Unfit> {
        let partition = self
            .open(record.topic_id)?
            .at(record.topic_id, record.partition_id)?;
        change_partition(partition, record)
    }

    pub(super) fn remove_topic(&mut self, record: &records::RemoveTopicRecord) -> Result<(), Unfit> {
        self.open.remove(&record.topic_id);
        let removed = self.image.topics.remove(&record.topic_id);
        let removed = removed.ok_or(Unfit::TopicId(record.topic_id))?;
        self.image.configs.clear(ResourceKind::Topic, &removed.name);
        Ok(())
    }

    /// Without a name, all topics are meant.
    pub(super) fn clear_elr(&mut self, record: &records::ClearElrRecord) -> Result<(), Unfit> {
        let ids: Vec<TopicId> = match &*record.topic_name {
            "" => self.image.topics.ids().keys().copied().collect(),
            name => {
                let topic = self.image.topics.by_name(name);
                vec![topic.ok_or_else(|| Unfit::TopicName(name.to_owned()))?.id]
            }
        };
        let has_elr = |partition: &Arc<PartitionImage>| {
            !partition.elr.is_empty() || !partition.last_known_elr.is_empty()
        };
        for id in ids {
            let closed = self
                .image
                .topics
                .by_id(&id)
                .filter(|_| !self.open.contains_key(&id));
            if closed.is_some_and(|topic| !topic.partitions.iter().any(has_elr)) {
                continue;
            }
            for partition in self
                .open(id)?
                .partitions
                .iter_mut()
                .filter(|partition| has_elr(partition))
            {
                let partition = Arc::make_mut(partition);
                partition.elr = Box::default();
                partition.last_known_elr = Box::default();
                partition.partition_epoch += 1;
            }
        }
        Ok(())
    }
}

/// Makes the change that the record describes.
pub(crate) fn change_partition(
    partition: &mut PartitionImage,
    record: &records::PartitionChangeRecord,
) -> Result<(), Unfit> {
    let new_recovery = match record.leader_recovery_state {
        SAME_RECOVERY => partition.recovery,
        code => recovery(code)?,
    };
    if record.leader != SAME_LEADER {
        partition.leader = leader(record.leader)?;
        partition.leader_epoch.0 += 1;
    }
    set_brokers(&mut partition.replicas, &record.replicas);
    set_brokers(&mut partition.isr, &record.isr);
    set_brokers(&mut partition.removing, &record.removing_replicas);
    set_brokers(&mut partition.adding, &record.adding_replicas);
    set_brokers(&mut partition.elr, &record.eligible_leader_replicas);
    set_brokers(&mut partition.last_known_elr, &record.last_known_elr);
    if let Some(directories) = &record.directories {
        partition.directories = directories.as_slice().into();
    }
    partition.recovery = new_recovery;
    partition.partition_epoch += 1;
    Ok(())
}

fn partition_image(record: &records::PartitionRecord) -> Result<PartitionImage, Unfit> {
    let directories: Box<[Uuid]> = if record.directories.is_empty() {
        vec![directory::MIGRATING; record.replicas.len()].into()
    } else {
        record.directories.as_slice().into()
    };
    Ok(PartitionImage {
        replicas: brokers(&record.replicas),
        directories,
        isr: brokers(&record.isr),
        removing: brokers(&record.removing_replicas),
        adding: brokers(&record.adding_replicas),
        elr: brokers(record.eligible_leader_replicas.as_deref().unwrap_or_default()),
        last_known_elr: brokers(record.last_known_elr.as_deref().unwrap_or_default()),
        leader: leader(record.leader)?,
        leader_epoch: LeaderEpoch(record.leader_epoch),
        partition_epoch: record.partition_epoch,
        recovery: recovery(record.leader_recovery_state)?,
    })
}

fn set_brokers(of: &mut Box<[BrokerId]>, to: &Option<Vec<i32>>) {
    if let Some(to) = to {
        *of = brokers(to);
    }
}

fn leader(code: i32) -> Result<Option<BrokerId>, Unfit> {
    match code {
        -1 => Ok(None),
        0.. => Ok(Some(BrokerId(code))),
        _ => Err(Unfit::Value {
            field: "Leader",
            value: code.into(),
        }),
    }
}

fn recovery(code: i8) -> Result<LeaderRecovery, Unfit> {
    LeaderRecovery::from_code(code).ok_or(Unfit::Value {
        field: "LeaderRecoveryState",
        value: code.into(),
    })
}
