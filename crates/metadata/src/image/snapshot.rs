//! An image as the records that make it.
//!
//! Always holds: replaying the records over `Image::default()` gives the image, its position aside; the records of a
//! topic's partitions follow it in order.

use klamm_protocol::metadata_records as records;

use super::cluster::{BrokerRegistration, ControllerRegistration, Endpoint};
use super::topics::{PartitionImage, raw};
use super::{Image, METADATA_VERSION, ResourceKind};
use crate::record::MetadataRecord;

impl Image {
    /// The records that make this image out of an empty one.
    pub fn write_snapshot(&self) -> Vec<MetadataRecord> {
        let mut out = Vec::new();
        // The metadata version says how the rest is to be read.
        let (first, rest): (Vec<_>, Vec<_>) = self
            .features
            .iter()
            .partition(|(name, _)| &***name == METADATA_VERSION);
        out.extend(first.into_iter().chain(rest).map(|(name, level)| {
            let name = (&**name).into();
            records::FeatureLevelRecord {
                name,
                feature_level: *level,
                ..Default::default()
            }
            .into()
        }));
        out.extend(
            self.cluster
                .brokers()
                .map(|broker| register_broker(broker).into()),
        );
        out.extend(
            self.cluster
                .controllers()
                .map(|controller| register_controller(controller).into()),
        );
        self.write_topics(&mut out);
        self.write_configs(&mut out);
        self.write_producer_ids(&mut out);
        self.write_quotas(&mut out);
        out
    }

    fn write_topics(&self, out: &mut Vec<MetadataRecord>) {
        for topic in self.topics.iter() {
            let name = (&*topic.name).into();
            out.push(
                records::TopicRecord {
                    name,
                    topic_id: topic.id,
                    ..Default::default()
                }
                .into(),
            );
            for (number, partition) in topic.partitions.iter().enumerate() {
                let mut record = partition_record(partition);
                record.topic_id = topic.id;
                record.partition_id = number as i32;
                out.push(record.into());
            }
        }
    }

    fn write_configs(&self, out: &mut Vec<MetadataRecord>) {
        for kind in ResourceKind::ALL {
            for (resource, values) in self.configs.iter(kind) {
                out.extend(
                    values
                        .iter()
                        .map(|(name, value)| config_record(kind, resource, name, Some(value)).into()),
                );
            }
        }
    }

    fn write_producer_ids(&self, out: &mut Vec<MetadataRecord>) {
        if self.next_producer_id.0 > 0 {
            let record = records::ProducerIdsRecord {
                broker_id: -1,
                broker_epoch: -1,
                next_producer_id: self.next_producer_id.0,
                ..Default::default()
            };
            out.push(record.into());
        }
    }

    fn write_quotas(&self, out: &mut Vec<MetadataRecord>) {
        for (entity, quotas) in self.quotas.iter() {
            let entity: Vec<_> = entity
                .iter()
                .map(|(entity_type, name)| records::client_quota_record::EntityData {
                    entity_type: (&**entity_type).into(),
                    entity_name: name.as_deref().map(Into::into),
                    ..Default::default()
                })
                .collect();
            out.extend(quotas.iter().map(|(key, value)| {
                let (entity, key) = (entity.clone(), (&**key).into());
                records::ClientQuotaRecord {
                    entity,
                    key,
                    value: *value,
                    ..Default::default()
                }
                .into()
            }));
        }
    }
}

/// The record that sets a config, or unsets it.
pub(crate) fn config_record(
    kind: ResourceKind,
    resource: &str,
    name: &str,
    value: Option<&str>,
) -> records::ConfigRecord {
    records::ConfigRecord {
        resource_type: kind.code(),
        resource_name: resource.into(),
        name: name.into(),
        value: value.map(Into::into),
        ..Default::default()
    }
}

/// The record that makes a partition; its topic and number are left open.
pub(crate) fn partition_record(partition: &PartitionImage) -> records::PartitionRecord {
    let unless_empty = |brokers: &[_]| (!brokers.is_empty()).then(|| raw(brokers));
    records::PartitionRecord {
        replicas: raw(&partition.replicas),
        isr: raw(&partition.isr),
        removing_replicas: raw(&partition.removing),
        adding_replicas: raw(&partition.adding),
        leader: partition.leader.map_or(-1, |leader| leader.0),
        leader_recovery_state: partition.recovery.code(),
        leader_epoch: partition.leader_epoch.0,
        partition_epoch: partition.partition_epoch,
        directories: partition.directories.to_vec(),
        eligible_leader_replicas: unless_empty(&partition.elr),
        last_known_elr: unless_empty(&partition.last_known_elr),
        ..Default::default()
    }
}

fn register_broker(broker: &BrokerRegistration) -> records::RegisterBrokerRecord {
    use records::register_broker_record::{BrokerEndpoint, BrokerFeature};
    let end_point = |endpoint: &Endpoint| BrokerEndpoint {
        name: (&*endpoint.listener).into(),
        host: (&*endpoint.host).into(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
        ..Default::default()
    };
    let features = broker.features.iter().map(|(name, range)| BrokerFeature {
        name: (&**name).into(),
        min_supported_version: range.min,
        max_supported_version: range.max,
        ..Default::default()
    });
    records::RegisterBrokerRecord {
        broker_id: broker.id.0,
        incarnation_id: broker.incarnation,
        broker_epoch: broker.epoch,
        end_points: broker.endpoints.iter().map(end_point).collect(),
        features: features.collect(),
        rack: broker.rack.as_deref().map(Into::into),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: broker.directories.clone(),
        cordoned_log_dirs: broker.cordoned.clone(),
        ..Default::default()
    }
}

/// The record that registers a controller.
pub(crate) fn register_controller(controller: &ControllerRegistration) -> records::RegisterControllerRecord {
    use records::register_controller_record::{ControllerEndpoint, ControllerFeature};
    let end_point = |endpoint: &Endpoint| ControllerEndpoint {
        name: (&*endpoint.listener).into(),
        host: (&*endpoint.host).into(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
        ..Default::default()
    };
    let features = controller.features.iter().map(|(name, range)| ControllerFeature {
        name: (&**name).into(),
        min_supported_version: range.min,
        max_supported_version: range.max,
        ..Default::default()
    });
    records::RegisterControllerRecord {
        controller_id: controller.id.0,
        incarnation_id: controller.incarnation,
        end_points: controller.endpoints.iter().map(end_point).collect(),
        features: features.collect(),
        ..Default::default()
    }
}
