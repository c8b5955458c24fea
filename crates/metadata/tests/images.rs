//! Images out of random records: batching does not matter, snapshots lose nothing, deltas list exactly what changed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use klamm_metadata::delta::TopicChange;
use klamm_metadata::{
    Delta, Image, MetadataRecord, Position, ResourceKind, decode_decision, encode_decision,
};
use klamm_model::{BrokerId, Uuid};
use klamm_protocol::metadata_records as records;
use proptest::collection::vec;
use proptest::prelude::*;

/// What happens to a cluster, in few enough names that things meet.
#[derive(Debug, Clone)]
enum Step {
    Create {
        name: u8,
        partitions: u8,
    },
    Delete {
        name: u8,
    },
    Grow {
        name: u8,
    },
    Change {
        name: u8,
        partition: u8,
        isr: Option<Vec<i32>>,
        leader: Option<i32>,
        elr: Option<Vec<i32>>,
    },
    ClearElr {
        name: Option<u8>,
    },
    Config {
        kind: usize,
        resource: u8,
        key: u8,
        value: Option<u8>,
    },
    Feature {
        name: u8,
        level: i16,
    },
    Register {
        broker: i32,
        fenced: bool,
    },
    Fence {
        broker: i32,
        fenced: i8,
    },
    Unregister {
        broker: i32,
    },
    ProducerIds {
        next: i64,
    },
    Quota {
        user: Option<u8>,
        value: f64,
        remove: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let isr = || proptest::option::of(vec(0..4i32, 0..3));
    prop_oneof![
        4 => (0..5u8, 1..4u8).prop_map(|(name, partitions)| Step::Create { name, partitions }),
        1 => (0..5u8).prop_map(|name| Step::Delete { name }),
        1 => (0..5u8).prop_map(|name| Step::Grow { name }),
        6 => (0..5u8, 0..4u8, isr(), proptest::option::of(-1..4i32), isr()).prop_map(
            |(name, partition, isr, leader, elr)| Step::Change { name, partition, isr, leader, elr }
        ),
        1 => proptest::option::of(0..5u8).prop_map(|name| Step::ClearElr { name }),
        4 => (0..5usize, 0..3u8, 0..3u8, proptest::option::of(0..3u8))
            .prop_map(|(kind, resource, key, value)| Step::Config { kind, resource, key, value }),
        1 => (0..3u8, 0..3i16).prop_map(|(name, level)| Step::Feature { name, level }),
        2 => (0..4i32, any::<bool>()).prop_map(|(broker, fenced)| Step::Register { broker, fenced }),
        2 => (0..4i32, -1..=1i8).prop_map(|(broker, fenced)| Step::Fence { broker, fenced }),
        1 => (0..4i32).prop_map(|broker| Step::Unregister { broker }),
        1 => (0..9i64).prop_map(|next| Step::ProducerIds { next }),
        1 => (proptest::option::of(0..2u8), 0.0..9.0f64, any::<bool>())
            .prop_map(|(user, value, remove)| Step::Quota { user, value, remove }),
    ]
}

/// Makes records that fit, as the decisions would.
#[derive(Default)]
struct Writer {
    records: Vec<MetadataRecord>,
    topics: BTreeMap<u8, (Uuid, i32)>,
    brokers: BTreeMap<i32, i64>,
    drawn: i64,
}

impl Writer {
    fn write(&mut self, step: Step) {
        self.drawn += 1;
        let topic_name = |name: u8| format!("topic-{name}");
        let record: MetadataRecord = match step {
            Step::Create { name, partitions } => {
                if !self.topics.contains_key(&name) {
                    let id = Uuid::from_random((self.drawn as u128).to_be_bytes());
                    self.topics.insert(name, (id, 0));
                    let record = records::TopicRecord {
                        name: topic_name(name).into(),
                        topic_id: id,
                        ..Default::default()
                    };
                    self.records.push(record.into());
                    (0..partitions).for_each(|_| self.grow(name));
                }
                return;
            }
            Step::Grow { name } => return self.grow(name),
            Step::Delete { name } => match self.topics.remove(&name) {
                Some((topic_id, _)) => records::RemoveTopicRecord {
                    topic_id,
                    ..Default::default()
                }
                .into(),
                None => return,
            },
            Step::Change {
                name,
                partition,
                isr,
                leader,
                elr,
            } => match self.topics.get(&name) {
                Some((topic_id, partitions)) if i32::from(partition) < *partitions => {
                    records::PartitionChangeRecord {
                        partition_id: partition.into(),
                        topic_id: *topic_id,
                        isr,
                        leader: leader.unwrap_or(-2),
                        eligible_leader_replicas: elr,
                        ..Default::default()
                    }
                    .into()
                }
                _ => return,
            },
            Step::ClearElr { name } => match name {
                Some(name) if !self.topics.contains_key(&name) => return,
                name => {
                    let topic_name = name.map(topic_name).unwrap_or_default().into();
                    records::ClearElrRecord {
                        topic_name,
                        ..Default::default()
                    }
                    .into()
                }
            },
            Step::Config {
                kind,
                resource,
                key,
                value,
            } => records::ConfigRecord {
                resource_type: ResourceKind::ALL[kind].code(),
                resource_name: topic_name(resource).into(),
                name: format!("key-{key}").into(),
                value: value.map(|value| value.to_string().into()),
                ..Default::default()
            }
            .into(),
            Step::Feature { name, level } => {
                let name = ["metadata.version", "a.version", "z.version"][usize::from(name)].into();
                records::FeatureLevelRecord {
                    name,
                    feature_level: level,
                    ..Default::default()
                }
                .into()
            }
            Step::Register { broker, fenced } => {
                self.brokers.insert(broker, self.drawn);
                let log_dirs = vec![Uuid::from_random([2; 16]), Uuid::from_random([1; 16])];
                let broker_epoch = self.drawn;
                records::RegisterBrokerRecord {
                    broker_id: broker,
                    fenced,
                    broker_epoch,
                    log_dirs,
                    ..Default::default()
                }
                .into()
            }
            Step::Fence { broker, fenced } => match self.brokers.get(&broker) {
                Some(epoch) => records::BrokerRegistrationChangeRecord {
                    broker_id: broker,
                    broker_epoch: *epoch,
                    fenced,
                    ..Default::default()
                }
                .into(),
                None => return,
            },
            Step::Unregister { broker } => match self.brokers.remove(&broker) {
                Some(broker_epoch) => records::UnregisterBrokerRecord {
                    broker_id: broker,
                    broker_epoch,
                    ..Default::default()
                }
                .into(),
                None => return,
            },
            Step::ProducerIds { next } => records::ProducerIdsRecord {
                next_producer_id: next,
                ..Default::default()
            }
            .into(),
            Step::Quota { user, value, remove } => {
                let part = records::client_quota_record::EntityData {
                    entity_type: "user".into(),
                    entity_name: user.map(|user| user.to_string().into()),
                    ..Default::default()
                };
                records::ClientQuotaRecord {
                    entity: vec![part],
                    key: "rate".into(),
                    value,
                    remove,
                    ..Default::default()
                }
                .into()
            }
        };
        self.records.push(record);
    }

    fn grow(&mut self, name: u8) {
        let Some((topic_id, partitions)) = self.topics.get_mut(&name) else {
            return;
        };
        let record = records::PartitionRecord {
            partition_id: *partitions,
            topic_id: *topic_id,
            replicas: vec![1, 2],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            ..Default::default()
        };
        *partitions += 1;
        self.records.push(record.into());
    }
}

fn history() -> impl Strategy<Value = Vec<MetadataRecord>> {
    vec(step(), 0..60).prop_map(|steps| {
        let mut writer = Writer::default();
        steps.into_iter().for_each(|step| writer.write(step));
        writer.records
    })
}

fn at(index: u64) -> Position {
    Position { index, term: 1 }
}

fn replay(records: &[MetadataRecord]) -> Image {
    Image::default().apply(at(7), records).unwrap().0
}

proptest! {
    #[test]
    fn batching_does_not_matter(history in history(), cuts in vec(1..6usize, 60)) {
        let whole = replay(&history);
        let mut image = Image::default();
        let mut rest = &history[..];
        for cut in cuts.iter().cycle() {
            let (batch, later) = rest.split_at(rest.len().min(*cut));
            image = image.apply(at(7), batch).unwrap().0;
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(image, whole);
    }

    #[test]
    fn a_snapshot_loses_nothing(history in history()) {
        let image = replay(&history);
        let stored = encode_decision(&image.write_snapshot());
        prop_assert_eq!(replay(&decode_decision(stored).unwrap()), image);
    }

    #[test]
    fn deltas_list_exactly_what_changed(before in history(), cut in any::<prop::sample::Index>()) {
        let (first, second) = before.split_at(cut.index(before.len() + 1));
        let image = replay(first);
        let (after, delta) = image.apply(at(8), second).unwrap();
        let changed: Vec<Uuid> = delta.topics().iter().map(topic_of).collect();
        for topic in image.topics().iter().chain(after.topics().iter()) {
            let same = image.topics().by_id(&topic.id) == after.topics().by_id(&topic.id);
            prop_assert_eq!(same, !changed.contains(&topic.id));
        }
        for kind in ResourceKind::ALL {
            for resource in (0..3).map(|number| format!("topic-{number}")) {
                let same = image.configs().get(kind, &resource) == after.configs().get(kind, &resource);
                prop_assert_eq!(same, !delta.configs().contains(&(kind, resource.as_str().into())));
            }
        }
        for id in (0..4).map(BrokerId) {
            let same = image.cluster().broker(id) == after.cluster().broker(id);
            prop_assert_eq!(same, !delta.brokers().iter().any(|change| change.id == id));
        }
        prop_assert_eq!(delta.is_empty(), Delta::between(&after, &image).is_empty());
    }

    #[test]
    fn a_broker_learns_of_each_of_its_partitions(history in history()) {
        let image = replay(&history);
        let local = Delta::between(&Image::default(), &image).for_broker(BrokerId(1));
        let held: usize = image.topics().iter().map(|topic| topic.partitions.len()).sum();
        prop_assert_eq!(local.leading.len() + local.following.len(), held);
        prop_assert!(local.leading.iter().all(|partition| partition.image.leader == Some(BrokerId(1))));
        let gone = Delta::between(&image, &Image::default()).for_broker(BrokerId(2));
        prop_assert_eq!(gone.deleted.len(), held);
    }
}

fn topic_of(change: &TopicChange) -> Uuid {
    match change {
        TopicChange::Created(topic) | TopicChange::Deleted(topic) => topic.id,
        TopicChange::Changed { after, .. } => after.id,
    }
}

fn topic(name: &str, id: u8) -> MetadataRecord {
    records::TopicRecord {
        name: name.into(),
        topic_id: Uuid([id; 16]),
        ..Default::default()
    }
    .into()
}

fn partition(id: u8, number: i32) -> records::PartitionRecord {
    records::PartitionRecord {
        partition_id: number,
        topic_id: Uuid([id; 16]),
        replicas: vec![1],
        isr: vec![1],
        leader: 1,
        ..Default::default()
    }
}

#[test]
fn impossible_records_are_named() {
    let base = replay(&[topic("a", 1), partition(1, 0).into()]);
    let change = |number, leader| records::PartitionChangeRecord {
        partition_id: number,
        topic_id: Uuid([1; 16]),
        leader,
        ..Default::default()
    };
    let fence = records::FenceBrokerRecord {
        id: 3,
        epoch: 1,
        ..Default::default()
    };
    let config = records::ConfigRecord {
        resource_type: 3,
        ..Default::default()
    };
    let remove = records::RemoveTopicRecord {
        topic_id: Uuid([9; 16]),
        ..Default::default()
    };
    let not_a_number = records::ClientQuotaRecord {
        value: f64::NAN,
        ..Default::default()
    };
    let negative_producer_id = records::ProducerIdsRecord {
        next_producer_id: -1,
        ..Default::default()
    };
    let cases: Vec<(MetadataRecord, &str)> = vec![
        (
            topic("a", 2),
            "TopicRecord: topic 'a' exists with id AQEBAQEBAQEBAQEBAQEBAQ",
        ),
        (
            topic("b", 1),
            "TopicRecord: topic 'a' exists with id AQEBAQEBAQEBAQEBAQEBAQ",
        ),
        (
            partition(1, 2).into(),
            "PartitionRecord: topic AQEBAQEBAQEBAQEBAQEBAQ has 1 partitions, and no partition 2",
        ),
        (
            partition(1, -1).into(),
            "PartitionRecord: topic AQEBAQEBAQEBAQEBAQEBAQ has 1 partitions, and no partition -1",
        ),
        (
            partition(2, 0).into(),
            "PartitionRecord: there is no topic with id AgICAgICAgICAgICAgICAg",
        ),
        (
            change(1, -2).into(),
            "PartitionChangeRecord: topic AQEBAQEBAQEBAQEBAQEBAQ has 1 partitions, and no partition 1",
        ),
        (
            change(0, -3).into(),
            "PartitionChangeRecord: field Leader has value -3",
        ),
        (
            remove.into(),
            "RemoveTopicRecord: there is no topic with id CQkJCQkJCQkJCQkJCQkJCQ",
        ),
        (fence.into(), "FenceBrokerRecord: broker 3 is not registered"),
        (config.into(), "ConfigRecord: field ResourceType has value 3"),
        (
            not_a_number.into(),
            "ClientQuotaRecord: field Value is not a number",
        ),
        (
            negative_producer_id.into(),
            "ProducerIdsRecord: field NextProducerId has value -1",
        ),
    ];
    for (record, message) in cases {
        let no_op = records::NoOpRecord::default().into();
        let error = base.apply(at(42), &[no_op, record]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot replay record 1 of metadata offset 42: {message}")
        );
    }
}

#[test]
fn a_name_made_again_is_another_topic() {
    let (before, _) = Image::default()
        .apply(at(1), &[topic("a", 1), partition(1, 0).into()])
        .unwrap();
    let remove = records::RemoveTopicRecord {
        topic_id: Uuid([1; 16]),
        ..Default::default()
    };
    let again = [remove.into(), topic("a", 2), partition(2, 0).into()];
    let (after, delta) = before.apply(at(2), &again).unwrap();
    let changes: Vec<_> = delta
        .topics()
        .iter()
        .map(|change| (matches!(change, TopicChange::Deleted(_)), topic_of(change)))
        .collect();
    assert_eq!(changes, [(true, Uuid([1; 16])), (false, Uuid([2; 16]))]);
    let local = delta.for_broker(BrokerId(1));
    assert_eq!((local.deleted.len(), local.leading.len()), (1, 1));
    assert!(local.leading[0].is_new_leadership());
    assert_eq!(after.topics().len(), 1);
    assert!(after.partition_by_name("a", 0).is_some() && after.partition(&Uuid([1; 16]), 0).is_none());
}
