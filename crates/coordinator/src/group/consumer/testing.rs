//! What the tests of this module are made with: a cluster of topics, and a group driven by requests.

use bytes::Bytes;
use klamm_metadata::{Delta, Image, MetadataRecord, Position};
use klamm_model::{TimestampMs, TopicId, Uuid};
use klamm_protocol::ByteString;
use klamm_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use klamm_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use klamm_protocol::metadata_records::{
    PartitionRecord, RegisterBrokerRecord, RemoveTopicRecord, TopicRecord,
};

use super::{ConsumerGroup, Heartbeat, Outcome, Refusal, Replayed, Timer, heartbeat};
use crate::contract::{CoordinatorRecord, Surroundings, TimerChange};
use crate::group::config::GroupConfig;
use crate::group::record::GroupRecord;
use crate::group::request::Client;

/// Topics, made one after the other.
#[derive(Default)]
pub(super) struct Cluster {
    image: Image,
}

impl Cluster {
    pub(super) fn image(&self) -> Image {
        self.image.clone()
    }

    fn apply(&mut self, records: &[MetadataRecord]) {
        let index = self.image.position().index + 1;
        (self.image, _) = self.image.apply(Position { index, term: 1 }, records).unwrap();
    }

    pub(super) fn topic(&mut self, name: &str, partitions: i32) -> TopicId {
        let mut id = [7; 16];
        let length = name.len().min(15);
        id[..length].copy_from_slice(&name.as_bytes()[..length]);
        id[15] = u8::try_from(self.image.position().index % 200).unwrap();
        self.topic_with_id(name, Uuid(id), partitions, &["r"]);
        Uuid(id)
    }

    /// Topics of one partition each, made at once.
    pub(super) fn topics(&mut self, names: impl Iterator<Item = String>) {
        let first = self.image.topics().iter().count();
        let records = (first..).zip(names).flat_map(|(number, name)| {
            let topic_id = Uuid((number as u128 + (1 << 100)).to_be_bytes());
            let topic = TopicRecord {
                name: name.as_str().into(),
                topic_id,
                ..Default::default()
            };
            let partition = PartitionRecord {
                partition_id: 0,
                topic_id,
                replicas: vec![0],
                isr: vec![0],
                directories: vec![Uuid::ONE],
                leader: -1,
                ..Default::default()
            };
            [topic.into(), partition.into()]
        });
        let records: Vec<MetadataRecord> = records.collect();
        self.apply(&records);
    }

    /// Each partition has a replica in each rack.
    pub(super) fn topic_with_id(&mut self, name: &str, id: TopicId, partitions: i32, racks: &[&str]) {
        let brokers = racks.iter().enumerate().map(|(broker, rack)| {
            RegisterBrokerRecord {
                broker_id: broker as i32,
                rack: Some((*rack).into()),
                ..Default::default()
            }
            .into()
        });
        let mut records: Vec<MetadataRecord> = brokers.collect();
        let topic = TopicRecord {
            name: name.into(),
            topic_id: id,
            ..Default::default()
        };
        records.push(topic.into());
        self.apply(&records);
        self.partitions(id, 0..partitions, racks.len());
    }

    pub(super) fn grow(&mut self, name: &str, partitions: i32) {
        let topic = self.image.topics().by_name(name).unwrap().clone();
        self.partitions(topic.id, topic.partitions.len() as i32..partitions, 1);
    }

    pub(super) fn delete(&mut self, name: &str) {
        let topic_id = self.image.topics().by_name(name).unwrap().id;
        self.apply(&[RemoveTopicRecord {
            topic_id,
            ..Default::default()
        }
        .into()]);
    }

    fn partitions(&mut self, topic_id: TopicId, numbers: std::ops::Range<i32>, replicas: usize) {
        let replicas: Vec<i32> = (0..replicas as i32).collect();
        let records: Vec<MetadataRecord> = numbers
            .map(|partition_id| {
                PartitionRecord {
                    partition_id,
                    topic_id,
                    replicas: replicas.clone(),
                    isr: replicas.clone(),
                    directories: vec![Uuid::ONE; replicas.len()],
                    leader: -1,
                    ..Default::default()
                }
                .into()
            })
            .collect();
        self.apply(&records);
    }
}

/// A request to join for these topics.
pub(super) fn joining(member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(topics.iter().map(|topic| (*topic).into()).collect()),
        topic_partitions: Some(Vec::new()),
        ..quiet(member, 0)
    }
}

/// A request that says nothing new.
pub(super) fn quiet(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: -1,
        subscribed_topic_names: None,
        topic_partitions: None,
        ..Default::default()
    }
}

/// A request that says what the member owns.
pub(super) fn owning(
    member: &str,
    epoch: i32,
    topic: TopicId,
    partitions: &[i32],
) -> ConsumerGroupHeartbeatRequest {
    let owned = TopicPartitions {
        topic_id: topic,
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(if partitions.is_empty() {
            Vec::new()
        } else {
            vec![owned]
        }),
        ..quiet(member, epoch)
    }
}

/// A group "g" with the log that its records were appended to.
pub(super) struct Driven {
    pub(super) cluster: Cluster,
    pub(super) config: GroupConfig,
    pub(super) now: i64,
    pub(super) group: Option<ConsumerGroup>,
    /// With the key of each.
    pub(super) log: Vec<(GroupRecord, Bytes)>,
    pub(super) timers: std::collections::BTreeMap<Timer, TimestampMs>,
    pub(super) client: Client,
    /// How often expressions were looked at again.
    pub(super) refreshed: usize,
    /// The most that a decision has recorded, in bytes.
    pub(super) most_recorded: usize,
}

impl Driven {
    pub(super) fn new(topics: &[(&str, i32)]) -> Self {
        let mut cluster = Cluster::default();
        for (name, partitions) in topics {
            cluster.topic(name, *partitions);
        }
        Self {
            cluster,
            config: GroupConfig {
                consumer_assignment_interval: std::time::Duration::ZERO,
                ..GroupConfig::default()
            },
            now: 1_000_000,
            group: None,
            log: Vec::new(),
            timers: std::collections::BTreeMap::new(),
            client: Client {
                client_id: "client".into(),
                client_host: "/127.0.0.1".into(),
            },
            refreshed: 0,
            most_recorded: 0,
        }
    }

    pub(super) fn topic_id(&self, name: &str) -> TopicId {
        self.cluster.image.topics().by_name(name).unwrap().id
    }

    /// Decides, and carries out.
    pub(super) fn ask(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        self.ask_as(request, 1)
    }

    pub(super) fn ask_as(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        version: i16,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let image = self.cluster.image();
        let mut drawn = || Uuid([9; 16]);
        let mut around = Surroundings {
            now: TimestampMs(self.now),
            image: &image,
            draw_uuid: &mut drawn,
        };
        let asked = Heartbeat {
            client: &self.client,
            request,
        };
        ConsumerGroup::validate(request, version, &self.config)?;
        let outcome = heartbeat(self.group.as_ref(), &mut around, &self.config, &asked)?;
        Ok(self.carry_out(outcome))
    }

    /// All timers that are due by `now` ring.
    pub(super) fn ring(&mut self) {
        let due: Vec<Timer> = self
            .timers
            .iter()
            .filter(|(_, at)| at.0 <= self.now)
            .map(|(timer, _)| timer.clone())
            .collect();
        for timer in due {
            if self.timers.remove(&timer).is_none() {
                continue;
            }
            let image = self.cluster.image();
            let outcome = self.group.as_ref().and_then(|group| {
                let mut outcome = Outcome::new(());
                group.fence(&[group.goes_by(&timer)?], &image, &mut outcome);
                Some(outcome)
            });
            if let Some(outcome) = outcome {
                self.carry_out(outcome);
            }
        }
    }

    fn carry_out<R>(&mut self, outcome: Outcome<R>) -> R {
        let mut recorded = 0;
        for record in outcome.records {
            let bytes = record.encode().unwrap();
            recorded += bytes.key.len() + bytes.value.as_ref().map_or(0, Bytes::len);
            let read = GroupRecord::decode(&bytes.key, bytes.value.as_ref()).unwrap();
            replay(&mut self.group, &read);
            self.log.push((read, bytes.key));
        }
        for note in outcome.notes {
            if let Some(group) = &mut self.group {
                group.note(note);
            }
        }
        for change in outcome.timers {
            match change {
                TimerChange::At(timer, at) => self.timers.insert(timer, at),
                // Answers leave at once here.
                TimerChange::AfterAnswers(timer, wait) => {
                    let wait_ms = i64::try_from(wait.as_millis()).unwrap();
                    self.timers.insert(timer, TimestampMs(self.now).plus_ms(wait_ms))
                }
                TimerChange::Cancel(timer) => self.timers.remove(&timer),
            };
        }
        self.most_recorded = self.most_recorded.max(recorded);
        if outcome.refresh.is_some() {
            self.refresh();
        }
        outcome.response
    }

    /// As a timer does that rings at once.
    fn refresh(&mut self) {
        let image = self.cluster.image();
        if let Some(group) = &self.group {
            let outcome = group.refresh(&image, TimestampMs(self.now), &self.config);
            self.refreshed += 1;
            self.carry_out(outcome);
        }
    }

    /// The cluster changes, and the group notes it.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Cluster)) {
        let before = self.cluster.image();
        change(&mut self.cluster);
        let changes = super::TopicChanges::of(&Delta::between(&before, &self.cluster.image()));
        if let Some(group) = &mut self.group {
            for note in group.on_topics(&changes) {
                group.note(note);
            }
        }
    }

    /// The group as it is made of its log alone, with compaction or without.
    pub(super) fn reloaded(&self, compacted: bool) -> Option<ConsumerGroup> {
        let mut last = std::collections::BTreeMap::new();
        for (at, (_, key)) in self.log.iter().enumerate() {
            last.insert(key, at);
        }
        let mut group = None;
        for (at, (record, key)) in self.log.iter().enumerate() {
            if !compacted || last[key] == at {
                replay(&mut group, record);
            }
        }
        group
    }

    pub(super) fn member(&self, id: &str) -> &super::Member {
        self.group.as_ref().unwrap().member(id).unwrap()
    }

    pub(super) fn epochs(&self) -> (i32, i32) {
        let group = self.group.as_ref().unwrap();
        (group.epoch(), group.assignment_epoch())
    }
}

/// As a shard does it.
fn replay(group: &mut Option<ConsumerGroup>, record: &GroupRecord) {
    let (id, is_tombstone) = ConsumerGroup::concerned(record).unwrap();
    if group.is_none() && is_tombstone {
        return;
    }
    let replayed = group.get_or_insert_with(|| ConsumerGroup::new(id)).replay(record);
    if replayed == Replayed::Deleted {
        *group = None;
    }
}

/// The partitions of an answer, when it tells them.
pub(super) fn told(response: &ConsumerGroupHeartbeatResponse) -> Option<Vec<(TopicId, Vec<i32>)>> {
    let assignment = response.assignment.as_ref()?;
    let topics = assignment.topic_partitions.iter();
    Some(
        topics
            .map(|topic| (topic.topic_id, topic.partitions.clone()))
            .collect(),
    )
}

pub(super) fn names(texts: &[&str]) -> Vec<ByteString> {
    texts.iter().map(|text| (*text).into()).collect()
}
