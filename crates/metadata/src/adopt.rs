//! What becomes of the metadata of an Apache Kafka cluster of one node when Klamm takes it over.
//!
//! Always holds: it is replayed as Kafka would replay it, metadata transactions (KIP-868) included; topics keep their ids and
//! partitions their leader epochs. Whatever is not taken over is counted by its kind; what would leave data behind is an error.
//!
//! The node registers anew at its first start, and is elected then: no partition has a leader until then.

use std::collections::BTreeMap;

use bytes::Bytes;
use klamm_model::{BrokerId, TopicId};
use klamm_protocol::metadata_records as records;
use klamm_protocol::record_frame::RecordFrame;
use klamm_protocol::{DecodeError, Message, Reader};

use crate::image::{Image, METADATA_VERSION, Position, TopicImage};
use crate::record::MetadataRecord;
use crate::replay::ReplayError;

/// Why a cluster cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdoptError {
    /// A record that Kafka would not have written.
    #[error("metadata offset {offset}: {source}")]
    Record {
        /// Its offset.
        offset: u64,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// Records that do not fit each other.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The cluster has other nodes.
    #[error("the cluster has more than one node: broker {0} is registered too")]
    SeveralNodes(BrokerId),
    /// A partition has replicas elsewhere.
    #[error("{topic}-{partition} has replicas on other nodes than {node}")]
    Elsewhere {
        /// The topic.
        topic: String,
        /// The partition.
        partition: usize,
        /// The node that is taken over.
        node: BrokerId,
    },
    /// A topic whose older segments lie in a remote store.
    #[error("topic {0} has remote.storage.enable=true: its older segments lie elsewhere")]
    Tiered(String),
    /// A cluster of a later release.
    #[error(
        "the cluster has finalized {feature} at level {found}, {supported} is the highest that is served"
    )]
    Feature {
        /// The feature.
        feature: String,
        /// Its level there.
        found: i16,
        /// The highest here.
        supported: i16,
    },
    /// Nothing was there.
    #[error("there is no metadata: was this broker ever started?")]
    Empty,
}

/// Kinds of records that are not taken over, with how many there are.
pub type LeftOut = BTreeMap<&'static str, i64>;

/// What was taken over.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// The records that make the state.
    pub records: Vec<MetadataRecord>,
    /// The state.
    pub image: Image,
    /// What is not in it.
    pub left_out: LeftOut,
    /// Features that are finalized there and not served here.
    pub left_features: Vec<String>,
}

/// The metadata log of the cluster, as far as it was read.
#[derive(Debug, Default)]
pub struct KafkaMetadata {
    image: Image,
    left_out: LeftOut,
    /// What was there when the open transaction began.
    before: Option<(Image, LeftOut)>,
}

impl KafkaMetadata {
    /// Nothing was read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the value of the record at `offset`, in order: those of the newest snapshot first, then those of the log behind.
    pub fn take(&mut self, offset: u64, value: Bytes) -> Result<(), AdoptError> {
        let failed = |source| AdoptError::Record { offset, source };
        let mut reader = Reader::new(value);
        let frame = RecordFrame::decode(&mut reader).map_err(failed)?;
        let is = |key: Option<i16>| key == Some(frame.record_type);
        if is(records::BeginTransactionRecord::API_KEY) {
            self.before = Some((self.image.clone(), self.left_out.clone()));
        } else if is(records::EndTransactionRecord::API_KEY) {
            self.before = None;
        } else if is(records::AbortTransactionRecord::API_KEY) {
            self.undo();
        } else if let Some((kind, count)) = left_out(frame.record_type) {
            *self.left_out.entry(kind).or_default() += count;
        } else if let Some(record) = MetadataRecord::decode(frame, &mut reader).map_err(failed)? {
            let position = Position {
                index: offset,
                term: 0,
            };
            (self.image, _) = self.image.apply(position, &[record])?;
        } else {
            *self.left_out.entry("records of an unknown kind").or_default() += 1;
        }
        Ok(())
    }

    fn undo(&mut self) {
        if let Some((image, left_out)) = self.before.take() {
            (self.image, self.left_out) = (image, left_out);
        }
    }

    /// The state for a cluster of the one node `node`. `served` are the features that are served, with their highest levels.
    pub fn adopt(mut self, node: BrokerId, served: &[(&str, i16)]) -> Result<Adopted, AdoptError> {
        // The controller died in it: Kafka's next one would abort it.
        self.undo();
        if self.image.features().is_empty() {
            return Err(AdoptError::Empty);
        }
        check_alone(&self.image, node)?;
        let mut left_out = self.left_out;
        left_out.retain(|_, count| *count > 0);
        let (mut adopted, mut left_features) = (Vec::new(), Vec::new());
        for record in self.image.write_snapshot() {
            adopted.extend(translated(record, node, served, &mut left_features)?);
        }
        let (image, _) = Image::default().apply(Position::default(), &adopted)?;
        Ok(Adopted {
            records: adopted,
            image,
            left_out,
            left_features,
        })
    }
}

fn check_alone(image: &Image, node: BrokerId) -> Result<(), AdoptError> {
    if let Some(other) = image.cluster().brokers().find(|broker| broker.id != node) {
        return Err(AdoptError::SeveralNodes(other.id));
    }
    for topic in image.topics().iter() {
        let is_elsewhere = |replicas: &[BrokerId]| replicas != [node];
        let found = topic
            .partitions
            .iter()
            .position(|partition| is_elsewhere(&partition.replicas));
        if let Some(partition) = found {
            return Err(AdoptError::Elsewhere {
                topic: topic.name.to_string(),
                partition,
                node,
            });
        }
        let configs = image.configs().topic(&topic.name);
        if configs
            .get("remote.storage.enable")
            .is_some_and(|value| value == "true")
        {
            return Err(AdoptError::Tiered(topic.name.to_string()));
        }
    }
    Ok(())
}

/// What a record of the cluster's image becomes; `None` for what the node says anew.
fn translated(
    record: MetadataRecord,
    node: BrokerId,
    served: &[(&str, i16)],
    left_features: &mut Vec<String>,
) -> Result<Option<MetadataRecord>, AdoptError> {
    Ok(match record {
        MetadataRecord::RegisterBroker(_) | MetadataRecord::RegisterController(_) => None,
        MetadataRecord::FeatureLevel(feature) => {
            let highest = served.iter().find(|(name, _)| **name == *feature.name);
            let supported = highest.map_or(0, |(_, level)| *level);
            match feature.feature_level <= supported {
                true => Some(feature.into()),
                false if &*feature.name == METADATA_VERSION => {
                    return Err(AdoptError::Feature {
                        feature: feature.name.to_string(),
                        found: feature.feature_level,
                        supported,
                    });
                }
                false => {
                    left_features.push(feature.name.to_string());
                    None
                }
            }
        }
        MetadataRecord::Partition(mut partition) => {
            // As after an orderly end of the only replica there is.
            if partition.leader >= 0 {
                partition.leader = -1;
                partition.leader_epoch += 1;
                partition.partition_epoch += 1;
            }
            partition.isr = vec![node.0];
            partition.eligible_leader_replicas = None;
            partition.last_known_elr = None;
            Some(partition.into())
        }
        other => Some(other),
    })
}

/// What records of this type are called, and how many more of it there are after one.
const fn left_out(record_type: i16) -> Option<(&'static str, i64)> {
    Some(match record_type {
        10 => ("delegation tokens", 1),
        26 => ("delegation tokens", -1),
        11 => ("SCRAM credentials", 1),
        22 => ("SCRAM credentials", -1),
        18 => ("ACLs", 1),
        19 => ("ACLs", -1),
        // What is left of a migration from ZooKeeper says nothing of the cluster.
        21 => ("states of a migration from ZooKeeper", 0),
        _ => return None,
    })
}

/// The partitions of an adopted topic, for whoever moves their folders.
pub fn partitions(image: &Image) -> impl Iterator<Item = (&TopicImage, TopicId, i32)> {
    image.topics().iter().flat_map(|topic| {
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        (0..count).map(move |partition| (&**topic, topic.id, partition))
    })
}

#[cfg(test)]
mod tests {
    use klamm_model::Uuid;
    use klamm_protocol::Writer;
    use klamm_protocol::record_frame::encode_record;

    use super::*;

    const SERVED: &[(&str, i16)] = &[(METADATA_VERSION, 33), ("group.version", 1)];

    fn encoded<M: Message>(record: &M) -> Bytes {
        let mut w = Writer::contiguous();
        encode_record(&mut w, *M::VERSIONS.end(), record).unwrap();
        w.into_bytes()
    }

    fn feature(name: &str, level: i16) -> Bytes {
        encoded(&records::FeatureLevelRecord {
            name: name.into(),
            feature_level: level,
            ..Default::default()
        })
    }

    fn topic(name: &str, id: u8) -> Bytes {
        encoded(&records::TopicRecord {
            name: name.into(),
            topic_id: Uuid([id; 16]),
            ..Default::default()
        })
    }

    fn partition(id: u8, replicas: &[i32], leader: i32) -> Bytes {
        encoded(&records::PartitionRecord {
            topic_id: Uuid([id; 16]),
            partition_id: 0,
            replicas: replicas.to_vec(),
            isr: vec![replicas[0]],
            leader,
            leader_epoch: 4,
            directories: vec![Uuid([9; 16]); replicas.len()],
            ..Default::default()
        })
    }

    fn config(topic: &str, name: &str, value: &str) -> Bytes {
        encoded(&crate::image::snapshot::config_record(
            crate::ResourceKind::Topic,
            topic,
            name,
            Some(value),
        ))
    }

    fn adopted(values: &[Bytes]) -> Result<Adopted, AdoptError> {
        let mut metadata = KafkaMetadata::new();
        for (offset, value) in (0..).zip(values) {
            metadata.take(offset, value.clone())?;
        }
        metadata.adopt(BrokerId(1), SERVED)
    }

    #[test]
    fn topics_configs_and_ids_are_taken_over_and_nobody_leads() {
        let acl = encoded(&records::AccessControlEntryRecord::default());
        let no_acl = encoded(&records::RemoveAccessControlEntryRecord::default());
        let scram = encoded(&records::UserScramCredentialRecord::default());
        let found = adopted(&[
            feature(METADATA_VERSION, 30),
            feature("share.version", 1),
            acl.clone(),
            acl,
            no_acl,
            scram,
            topic("orders", 1),
            partition(1, &[1], 1),
            config("orders", "cleanup.policy", "compact"),
        ])
        .unwrap();
        let image = &found.image;
        assert_eq!(image.topics().by_name("orders").unwrap().id, Uuid([1; 16]));
        let partition = image.partition_by_name("orders", 0).unwrap();
        assert_eq!((partition.leader, partition.leader_epoch.0), (None, 5));
        assert_eq!(&*partition.isr, [BrokerId(1)]);
        let configs = image.configs().topic("orders");
        assert_eq!(configs["cleanup.policy"], "compact");
        assert_eq!(image.feature_level(METADATA_VERSION), 30);
        assert_eq!(found.left_out, [("ACLs", 1), ("SCRAM credentials", 1)].into());
        assert_eq!(found.left_features, ["share.version"]);
    }

    #[test]
    fn what_a_transaction_did_not_finish_is_not_there() {
        let begin = encoded(&records::BeginTransactionRecord::default());
        let end = encoded(&records::EndTransactionRecord::default());
        let abort = encoded(&records::AbortTransactionRecord::default());
        let found = adopted(&[
            begin.clone(),
            feature(METADATA_VERSION, 33),
            topic("kept", 1),
            end,
            begin.clone(),
            topic("aborted", 2),
            abort,
            begin,
            topic("open", 3),
        ])
        .unwrap();
        let names: Vec<_> = found
            .image
            .topics()
            .iter()
            .map(|topic| topic.name.to_string())
            .collect();
        assert_eq!(names, ["kept"]);
    }

    #[test]
    fn what_cannot_be_taken_over_is_named() {
        let other = encoded(&records::RegisterBrokerRecord {
            broker_id: 2,
            ..Default::default()
        });
        let cases: &[(&[Bytes], &str)] = &[
            (&[], "there is no metadata"),
            (
                &[feature(METADATA_VERSION, 34)],
                "finalized metadata.version at level 34, 33 is the highest",
            ),
            (
                &[feature(METADATA_VERSION, 33), other],
                "broker 2 is registered too",
            ),
            (
                &[
                    feature(METADATA_VERSION, 33),
                    topic("a", 1),
                    partition(1, &[1, 2], 1),
                ],
                "a-0 has replicas on other nodes than 1",
            ),
            (
                &[
                    feature(METADATA_VERSION, 33),
                    topic("a", 1),
                    config("a", "remote.storage.enable", "true"),
                ],
                "topic a has remote.storage.enable=true",
            ),
            (&[Bytes::from_static(&[1, 2])], "metadata offset 0:"),
        ];
        for (values, message) in cases {
            let error = adopted(values).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
