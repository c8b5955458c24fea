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

/// What somebody who asks for several offsets needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    /// All or nothing.
    All,
    /// Each that can be had.
    Each,
}

impl Client {
    /// The offsets that were asked for.
    pub async fn list_offsets(
        &self,
        asked: &[(TopicPartition, OffsetSpec)],
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, OffsetAt>, ClientError> {
        let offsets = self.search(asked, isolation, Needed::All).await;
        offsets.error().map_or(Ok(offsets.found), Err)
    }

    /// As [`Client::list_offsets`]: what was found, and why not all was. One that is refused for good ends the search for no other.
    pub(crate) async fn find_offsets(
        &self,
        asked: &[(TopicPartition, OffsetSpec)],
        isolation: Isolation,
    ) -> Offsets {
        self.search(asked, isolation, Needed::Each).await
    }

    async fn search(
        &self,
        asked: &[(TopicPartition, OffsetSpec)],
        isolation: Isolation,
        needed: Needed,
    ) -> Offsets {
        let mut brought = Offsets::default();
        let (client, asked) = (self, asked);
        let shared = parking_lot::Mutex::new(&mut brought);
        let all = self.retrying(|| async {
            let todo: Vec<(TopicPartition, OffsetSpec)> = {
                let found = &shared.lock().found;
                let open = asked
                    .iter()
                    .filter(|(partition, _)| !found.contains_key(partition));
                open.cloned().collect()
            };
            let mut result = Offsets::default();
            let unled = todo.iter().map(|(partition, _)| partition);
            let unled = unled.filter(|partition| client.known_leader(partition).is_none());
            let topics: BTreeSet<&str> = unled.map(|partition| &*partition.topic).collect();
            for topic in topics {
                // A new one is looked for a while.
                if let Err(error) = client.lookup(topic).await {
                    result.failed(error);
                }
            }
            client.list_offsets_into(&mut result, &todo, isolation).await;
            let mut brought = shared.lock();
            brought.found.append(&mut result.found);
            brought.refused.clone_from(&result.refused);
            let error = match needed {
                // Nothing that comes later makes up for what is refused.
                Needed::All => result.refused.or(result.passing),
                Needed::Each => result.passing.or(result.refused),
            };
            error.map_or(Ok(()), Err)
        });
        if let Err(error) = all.await {
            brought.failed(error);
        }
        brought
    }

    /// One attempt: what was found, and why not all was. A partition without a leader keeps nobody waiting.
    pub(crate) async fn list_offsets_once(
        &self,
        asked: &[(TopicPartition, OffsetSpec)],
        isolation: Isolation,
    ) -> Offsets {
        let mut result = Offsets::default();
        self.list_offsets_into(&mut result, asked, isolation).await;
        result
    }

    async fn list_offsets_into(
        &self,
        result: &mut Offsets,
        asked: &[(TopicPartition, OffsetSpec)],
        isolation: Isolation,
    ) {
        let mut by_leader: BTreeMap<BrokerId, Vec<(&TopicPartition, OffsetSpec, i32)>> = BTreeMap::new();
        for (partition, spec) in asked {
            match self.leader_now(partition) {
                Ok(leader) => by_leader.entry(leader.broker).or_default().push((
                    partition,
                    *spec,
                    leader.epoch.map_or(-1, |epoch| epoch.0),
                )),
                Err(error) => result.failed(error),
            }
        }
        for (broker, partitions) in by_leader {
            if let Err(error) = self.offsets_of(broker, &partitions, isolation, result).await {
                result.failed(error);
            }
        }
        if result.error().is_some() {
            let topics: Vec<&str> = asked.iter().map(|(partition, _)| &*partition.topic).collect();
            // Should it fail, the next attempt will say so.
            let _ = self.refresh_once(&topics).await;
        }
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
                    result.failed(ClientError::refused(ApiKey::ListOffsets, refusal));
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
    /// Why something was not, for good: the first reason of the last attempt.
    refused: Option<ClientError>,
    /// Why something else was not, for now.
    passing: Option<ClientError>,
}

impl Offsets {
    /// One of the reasons why not all was brought; one that does not pass, if there is one.
    pub(crate) fn error(&self) -> Option<ClientError> {
        self.refused.as_ref().or(self.passing.as_ref()).cloned()
    }

    fn failed(&mut self, error: ClientError) {
        let reason = match error.is_transient() {
            true => &mut self.passing,
            false => &mut self.refused,
        };
        reason.get_or_insert(error);
    }
}
