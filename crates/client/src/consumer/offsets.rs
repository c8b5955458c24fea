//! The offsets at which partitions begin, end, or reach a time.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use klamm_model::{BrokerId, LeaderEpoch, Offset, TimestampMs, TopicPartition};
use klamm_protocol::ApiKey;
use klamm_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};

use super::Isolation;
use crate::client::{Client, Target};
use crate::error::{ClientError, Refusal};

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first.
    Earliest,
    /// The one after the last that can be read.
    Latest,
    /// That of the record with the largest timestamp.
    MaxTimestamp,
    /// The first whose time is at or after this one.
    At(TimestampMs),
}

impl OffsetSpec {
    fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::At(time) => time.0.max(0),
        }
    }

    /// The first version that can ask for it (KIP-734).
    fn needs_version(self) -> i16 {
        match self {
            Self::MaxTimestamp => 7,
            Self::Earliest | Self::Latest | Self::At(_) => 1,
        }
    }
}

/// An offset that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAt {
    /// The offset; `None` when no record is at or after the time.
    pub offset: Option<Offset>,
    /// The time of the record there, where one was asked for.
    pub timestamp: Option<TimestampMs>,
    /// The epoch in which it was written.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Client {
    /// The offsets that were asked for.
    pub async fn list_offsets(
        &self,
        asked: &[(TopicPartition, OffsetSpec)],
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, OffsetAt>, ClientError> {
        let offsets = self.find_offsets(asked, isolation).await;
        offsets.error.map_or(Ok(offsets.found), Err)
    }

    /// As [`Client::list_offsets`]: what was found, and one of the reasons why not all was.
    pub(crate) async fn find_offsets(
        &self,
        asked: &[(TopicPartition, OffsetSpec)],
        isolation: Isolation,
    ) -> Offsets {
        let mut found = BTreeMap::new();
        let (client, asked) = (self, asked);
        let remaining = parking_lot::Mutex::new(&mut found);
        let all = self.retrying(|| async {
            let todo: Vec<(TopicPartition, OffsetSpec)> = {
                let found = remaining.lock();
                let open = asked
                    .iter()
                    .filter(|(partition, _)| !found.contains_key(partition));
                open.cloned().collect()
            };
            let unled = todo.iter().map(|(partition, _)| partition);
            let unled = unled.filter(|partition| client.known_leader(partition).is_none());
            let topics: BTreeSet<&str> = unled.map(|partition| &*partition.topic).collect();
            for topic in topics {
                // A new one is looked for a while.
                client.lookup(topic).await?;
            }
            let result = client.list_offsets_once(&todo, isolation).await;
            remaining.lock().extend(result.found);
            result.error.map_or(Ok(()), Err)
        });
        let error = all.await.err();
        Offsets { found, error }
    }

    /// One attempt: what was found, and one of the reasons why not all was. A partition without a leader keeps nobody waiting.
    pub(crate) async fn list_offsets_once(
        &self,
        asked: &[(TopicPartition, OffsetSpec)],
        isolation: Isolation,
    ) -> Offsets {
        let mut result = Offsets::default();
        let mut by_leader: BTreeMap<BrokerId, Vec<(&TopicPartition, OffsetSpec, i32)>> = BTreeMap::new();
        for (partition, spec) in asked {
            match self.leader_now(partition) {
                Ok(leader) => by_leader.entry(leader.broker).or_default().push((
                    partition,
                    *spec,
                    leader.epoch.map_or(-1, |epoch| epoch.0),
                )),
                Err(error) => result.error = Some(error),
            }
        }
        for (broker, partitions) in by_leader {
            if let Err(error) = self.offsets_of(broker, &partitions, isolation, &mut result).await {
                result.error = Some(error);
            }
        }
        if result.error.is_some() {
            let topics: Vec<&str> = asked.iter().map(|(partition, _)| &*partition.topic).collect();
            // Should it fail, the next attempt will say so.
            let _ = self.refresh_once(&topics).await;
        }
        result
    }

    async fn offsets_of(
        &self,
        broker: BrokerId,
        asked: &[(&TopicPartition, OffsetSpec, i32)],
        isolation: Isolation,
        result: &mut Offsets,
    ) -> Result<(), ClientError> {
        let mut topics: BTreeMap<&str, ListOffsetsTopic> = BTreeMap::new();
        let mut at_least = 1;
        for (partition, spec, epoch) in asked {
            at_least = at_least.max(spec.needs_version());
            let topic = topics
                .entry(&*partition.topic)
                .or_insert_with(|| ListOffsetsTopic {
                    name: ByteString::from(&*partition.topic),
                    ..ListOffsetsTopic::default()
                });
            topic.partitions.push(ListOffsetsPartition {
                partition_index: partition.partition,
                current_leader_epoch: *epoch,
                timestamp: spec.timestamp(),
                ..ListOffsetsPartition::default()
            });
        }
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: i8::from(isolation == Isolation::ReadCommitted),
            topics: topics.into_values().collect(),
            ..ListOffsetsRequest::default()
        };
        let connection = self.connection(Target::Broker(broker)).await?;
        let version = connection.version_between::<ListOffsetsRequest>(at_least, i16::MAX)?;
        let response = connection.submit(version, &request).await?.answer().await?;
        for topic in response.topics {
            for partition in topic.partitions {
                if let Err(refusal) = Refusal::check(partition.error_code, None) {
                    result.error = Some(ClientError::refused(ApiKey::ListOffsets, refusal));
                    continue;
                }
                let at = OffsetAt {
                    offset: (partition.offset >= 0).then_some(Offset(partition.offset)),
                    timestamp: (partition.timestamp >= 0).then_some(TimestampMs(partition.timestamp)),
                    leader_epoch: (partition.leader_epoch >= 0)
                        .then_some(LeaderEpoch(partition.leader_epoch)),
                };
                let partition = TopicPartition::new(&*topic.name, partition.partition_index);
                result.found.insert(partition, at);
            }
        }
        Ok(())
    }
}

/// What was brought.
#[derive(Default)]
pub(crate) struct Offsets {
    pub(crate) found: BTreeMap<TopicPartition, OffsetAt>,
    pub(crate) error: Option<ClientError>,
}
