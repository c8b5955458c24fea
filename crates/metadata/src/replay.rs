//! Replaying records over an image.
//!
//! Always holds: replay succeeds on every record that the decisions of this crate write; an impossible record ends in a
//! [`ReplayError`] that names it, and the image before stays as it was. What comes out depends on the records and their
//! order, not on how they are cut into batches.
//!
//! Next: `replay/topics.rs` and `replay/cluster.rs` for the meaning of the records, `delta.rs` for what changed.

mod cluster;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_model::{ProducerId, TopicId};
use klamm_protocol::metadata_records as records;

use crate::delta::Delta;
use crate::image::{Image, Position, QuotaEntity, ResourceKind};
use crate::record::MetadataRecord;
use topics::OpenTopic;
pub(crate) use topics::change_partition;

/// A record that does not fit the image that it is replayed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot replay record {index} of metadata offset {}: {record}: {unfit}", position.index)]
pub struct ReplayError {
    /// The entry that holds the record.
    pub position: Position,
    /// Which record of the entry, from 0.
    pub index: usize,
    /// Kafka's name of the record.
    pub record: &'static str,
    /// Why it does not fit.
    pub unfit: Unfit,
}

/// Why a record does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// No topic has this id.
    #[error("there is no topic with id {0}")]
    TopicId(TopicId),
    /// No topic has this name.
    #[error("there is no topic '{0}'")]
    TopicName(String),
    /// The topic is there already.
    #[error("topic '{name}' exists with id {id}")]
    TopicExists {
        /// Its name.
        name: String,
        /// The id that it has.
        id: TopicId,
    },
    /// The topic has no partition with this number, and it is not the next one either.
    #[error("topic {topic} has {partitions} partitions, and no partition {partition}")]
    Partition {
        /// The topic.
        topic: TopicId,
        /// The partition of the record.
        partition: i32,
        /// Partitions that there are.
        partitions: usize,
    },
    /// No broker has this id.
    #[error("broker {0} is not registered")]
    Broker(i32),
    /// The broker has another epoch.
    #[error("broker {broker} has epoch {actual}, not {recorded}")]
    BrokerEpoch {
        /// The broker.
        broker: i32,
        /// The epoch of its registration.
        actual: i64,
        /// The epoch of the record.
        recorded: i64,
    },
    /// A field has a value without a meaning.
    #[error("field {field} has value {value}")]
    Value {
        /// Kafka's name of the field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// A field that holds a number has none.
    #[error("field {field} is not a number")]
    NotANumber {
        /// Kafka's name of the field.
        field: &'static str,
    },
}

impl Image {
    /// The image after `records`, the last of which stands at `position`, and what they changed.
    pub fn apply(
        &self,
        position: Position,
        records: &[MetadataRecord],
    ) -> Result<(Image, Delta), ReplayError> {
        let mut replay = Replay {
            image: self.clone(),
            open: BTreeMap::new(),
        };
        for (index, record) in records.iter().enumerate() {
            let fail = |unfit| ReplayError {
                position,
                index,
                record: record.name(),
                unfit,
            };
            replay.record(record).map_err(fail)?;
        }
        let mut image = replay.close();
        image.position = position;
        let delta = Delta::between(self, &image);
        Ok((image, delta))
    }
}

/// An image in the making. Topics whose partitions change are taken out until the end, so that many changes of one
/// topic cost one copy.
struct Replay {
    image: Image,
    open: BTreeMap<TopicId, OpenTopic>,
}

impl Replay {
    fn record(&mut self, record: &MetadataRecord) -> Result<(), Unfit> {
        match record {
            MetadataRecord::RegisterBroker(record) => self.register_broker(record),
            MetadataRecord::UnregisterBroker(record) => return self.unregister_broker(record),
            MetadataRecord::BrokerRegistrationChange(record) => return self.change_broker(record),
            MetadataRecord::FenceBroker(record) => return self.set_fenced(record.id, record.epoch, true),
            MetadataRecord::UnfenceBroker(record) => return self.set_fenced(record.id, record.epoch, false),
            MetadataRecord::RegisterController(record) => self.register_controller(record),
            MetadataRecord::UnregisterController(record) => self.unregister_controller(record),
            MetadataRecord::Topic(record) => return self.topic(record),
            MetadataRecord::Partition(record) => return self.partition(record),
            MetadataRecord::PartitionChange(record) => return self.partition_change(record),
            MetadataRecord::RemoveTopic(record) => return self.remove_topic(record),
            MetadataRecord::ClearElr(record) => return self.clear_elr(record),
            MetadataRecord::Config(record) => return self.config(record),
            MetadataRecord::FeatureLevel(record) => self.feature_level(record),
            MetadataRecord::ProducerIds(record) => return self.producer_ids(record),
            MetadataRecord::ClientQuota(record) => return self.client_quota(record),
            MetadataRecord::NoOp(_) => {}
        }
        Ok(())
    }

    fn producer_ids(&mut self, record: &records::ProducerIdsRecord) -> Result<(), Unfit> {
        // Nobody is ever given a negative one, and a snapshot would not keep it.
        if record.next_producer_id < 0 {
            return Err(Unfit::Value {
                field: "NextProducerId",
                value: record.next_producer_id,
            });
        }
        self.image.next_producer_id = ProducerId(record.next_producer_id);
        Ok(())
    }

    fn feature_level(&mut self, record: &records::FeatureLevelRecord) {
        let features = Arc::make_mut(&mut self.image.features);
        if record.feature_level == 0 {
            features.remove(&*record.name);
        } else {
            features.insert((&*record.name).into(), record.feature_level);
        }
    }

    fn config(&mut self, record: &records::ConfigRecord) -> Result<(), Unfit> {
        let unknown = Unfit::Value {
            field: "ResourceType",
            value: record.resource_type.into(),
        };
        let kind = ResourceKind::from_code(record.resource_type).ok_or(unknown)?;
        self.image
            .configs
            .set(kind, &record.resource_name, &record.name, record.value.as_deref());
        Ok(())
    }

    fn client_quota(&mut self, record: &records::ClientQuotaRecord) -> Result<(), Unfit> {
        // It would differ from itself, and so in every delta.
        if record.value.is_nan() {
            return Err(Unfit::NotANumber { field: "Value" });
        }
        let part = |part: &records::client_quota_record::EntityData| {
            (
                (&*part.entity_type).into(),
                part.entity_name.as_deref().map(Into::into),
            )
        };
        let entity: QuotaEntity = record.entity.iter().map(part).collect();
        let by_entity = &mut self.image.quotas.by_entity;
        if !record.remove {
            by_entity
                .entry(entity)
                .or_default()
                .insert((&*record.key).into(), record.value);
        } else if let Some(quotas) = by_entity.get_mut(&entity) {
            quotas.remove(&*record.key);
            if quotas.is_empty() {
                by_entity.remove(&entity);
            }
        }
        Ok(())
    }
}
