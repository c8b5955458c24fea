//! A group of a hundred members and ten thousand partitions is assigned anew.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use klamm_coordinator::group::{Answer, Client, GroupConfig, GroupResult, GroupShard, Request};
use klamm_coordinator::{Shard, Surroundings, Ticket};
use klamm_metadata::{Image, MetadataRecord, Position};
use klamm_model::{Offset, TimestampMs, Uuid};
use klamm_protocol::messages::ConsumerGroupHeartbeatRequest;
use klamm_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use klamm_protocol::metadata_records::{PartitionRecord, TopicRecord};

use crate::Work;

const MEMBERS: usize = 100;
const TOPICS: u8 = 10;
const PARTITIONS_EACH: i32 = 1_000;
const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
/// The epoch of a member that leaves.
const LEAVES: i32 = -1;
/// Heartbeats of everybody until all have what they should.
const ROUNDS: usize = 8;

/// One member has left: the heartbeat of another one shares its partitions out. Deciding changes nothing, so it can be done again.
pub(crate) fn assign() -> Result<Box<dyn Work>> {
    let mut group = Group::new()?;
    for _ in 0..ROUNDS {
        for member in 0..MEMBERS {
            group.heartbeat(member)?;
        }
    }
    ensure!(
        group.owned.iter().all(|owned| count(owned) == 100),
        "the partitions are not shared out"
    );
    group.epochs[0] = LEAVES;
    group.heartbeat(0)?;
    let records = group.decide(1)?.records.len();
    // Everybody's part has changed.
    ensure!(records >= MEMBERS - 1, "{records} records are no new assignment");
    Ok(Box::new(group))
}

fn topic(number: u8) -> Uuid {
    Uuid([number + 1; 16])
}

fn count(owned: &[TopicPartitions]) -> usize {
    owned.iter().map(|topic| topic.partitions.len()).sum()
}

struct Group {
    shard: GroupShard,
    config: GroupConfig,
    image: Image,
    client: Client,
    epochs: Vec<i32>,
    owned: Vec<Vec<TopicPartitions>>,
    recorded: i64,
}

impl Group {
    fn new() -> Result<Self> {
        let mut records: Vec<MetadataRecord> = Vec::new();
        for number in 0..TOPICS {
            let topic_id = topic(number);
            let topic = TopicRecord {
                name: format!("topic-{number}").into(),
                topic_id,
                ..Default::default()
            };
            records.push(topic.into());
            records.extend((0..PARTITIONS_EACH).map(|partition_id| {
                let partition = PartitionRecord {
                    partition_id,
                    topic_id,
                    replicas: vec![1],
                    isr: vec![1],
                    directories: vec![Uuid::ONE],
                    leader: 1,
                    ..Default::default()
                };
                partition.into()
            }));
        }
        let (image, _) = Image::default().apply(Position::default(), &records)?;
        Ok(Self {
            shard: GroupShard::new(),
            config: GroupConfig {
                consumer_assignment_interval: Duration::ZERO,
                ..GroupConfig::default()
            },
            image,
            client: Client {
                client_id: "client".into(),
                client_host: "/127.0.0.1".into(),
            },
            epochs: vec![0; MEMBERS],
            owned: vec![Vec::new(); MEMBERS],
            recorded: 0,
        })
    }

    fn decide(&self, member: usize) -> Result<GroupResult> {
        let epoch = self.epochs[member];
        let topics = (0..TOPICS).map(|number| format!("topic-{number}").into());
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: format!("member-{member:03}").into(),
            member_epoch: epoch,
            rebalance_timeout_ms: if epoch == 0 { 60_000 } else { -1 },
            subscribed_topic_names: (epoch == 0).then(|| topics.collect()),
            topic_partitions: (epoch >= 0).then(|| self.owned[member].clone()),
            ..Default::default()
        };
        let request = Request::ConsumerGroupHeartbeat {
            client: self.client.clone(),
            version: 1,
            request: Box::new(request),
        };
        let mut around = Surroundings {
            now: NOW,
            image: &self.image,
            draw_uuid: &mut || Uuid([9; 16]),
        };
        Ok(self.shard.decide(&mut around, &self.config, Ticket(0), request))
    }

    /// Decides, and takes over what was decided.
    fn heartbeat(&mut self, member: usize) -> Result<()> {
        let result = self.decide(member)?;
        for record in result.records {
            self.shard.replay(Offset(self.recorded), None, record);
            self.recorded += 1;
        }
        for change in result.volatile {
            self.shard.note(change);
        }
        let (_, answer) = result.answers.into_iter().next().context("no answer")?;
        let Answer::ConsumerGroupHeartbeat(answer) = answer else {
            anyhow::bail!("{answer:?}");
        };
        ensure!(answer.error_code == 0, "{answer:?}");
        self.epochs[member] = answer.member_epoch;
        if let Some(assignment) = answer.assignment {
            let topics = assignment.topic_partitions.into_iter();
            let topics = topics.map(|topic| TopicPartitions {
                topic_id: topic.topic_id,
                partitions: topic.partitions,
                ..Default::default()
            });
            self.owned[member] = topics.collect();
        }
        Ok(())
    }
}

impl Work for Group {
    fn run(&mut self, times: usize) {
        for _ in 0..times {
            black_box(self.decide(1).is_ok());
        }
    }
}
