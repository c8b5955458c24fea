//! Everything that clients are told about what a folder holds, as text that reads well in a diff.
//!
//! Always holds: what depends on the life of the node and not on the folder (leader epochs of this life, the cluster's
//! brokers) is left out; topics and partitions come in order.

use std::collections::BTreeSet;
use std::fmt::Write;

use bytes::Bytes;
use klamm_env::Env;
use klamm_model::Uuid;
use klamm_protocol::messages::{
    describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource},
    describe_producers_request::{DescribeProducersRequest, TopicRequest},
    fetch_request::{FetchPartition, FetchRequest, FetchTopic},
    fetch_response::PartitionData,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic},
    metadata_request::MetadataRequest,
    offset_for_leader_epoch_request::{
        OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
    },
};
use klamm_protocol::{ByteString, Records};
use klamm_records::{Batch, BatchError, Batches};

use super::script::connect;
use super::{GoldenError, Told};
use crate::wire::Wire;

/// Bytes of an answer, and of what a batch unpacks to.
const MOST_BYTES: i32 = 1 << 20;
/// The source of a config that was set on the topic itself.
const SET_ON_TOPIC: i8 = 1;
const TOPIC: i8 = 2;
/// The time that asks for the first offset.
const EARLIEST: i64 = -2;
/// A reader of committed records is told which ones are of aborted transactions.
const COMMITTED: i8 = 1;

struct Topic {
    name: ByteString,
    id: Uuid,
    partitions: i32,
}

/// All topics with their configs, records, epochs and producers.
pub async fn all(env: Env) -> Told<String> {
    let mut wire = connect(&env).await;
    let request = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    let answer = wire.ask(13, &request).await?;
    let mut topics: Vec<Topic> = Vec::new();
    for topic in answer.topics {
        topics.push(Topic {
            name: topic.name.unwrap_or_default(),
            id: topic.topic_id,
            partitions: topic.partitions.len() as i32,
        });
    }
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    let mut text = format!("cluster {}\n", answer.cluster_id.as_deref().unwrap_or("-"));
    for topic in topics {
        line(&mut text, format_args!("\ntopic {} {}", topic.name, topic.id));
        configs(&mut wire, &topic, &mut text).await?;
        for index in 0..topic.partitions {
            line(&mut text, format_args!("partition {index}"));
            let found = records(&mut wire, &topic, index, &mut text).await?;
            epochs(&mut wire, &topic, index, found, &mut text).await?;
            producers(&mut wire, &topic, index, &mut text).await?;
        }
    }
    Ok(text)
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(text, "{what}").expect("memory takes text");
}

async fn configs(wire: &mut Wire, topic: &Topic, text: &mut String) -> Told<()> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: topic.name.clone(),
            configuration_keys: None,
            ..DescribeConfigsResource::default()
        }],
        ..DescribeConfigsRequest::default()
    };
    let answer = wire.ask(4, &request).await?;
    let all = answer.results.iter().flat_map(|result| &result.configs);
    let mut set: Vec<_> = all
        .filter(|config| config.config_source == SET_ON_TOPIC)
        .collect();
    set.sort_by(|one, other| one.name.cmp(&other.name));
    for config in set {
        let value = config.value.as_deref().unwrap_or("-");
        line(text, format_args!("  {} = {value}", config.name));
    }
    Ok(())
}

/// Fetches a partition whole.
async fn fetch(wire: &mut Wire, topic: &Topic, index: i32, offset: i64) -> Told<PartitionData> {
    let request = FetchRequest {
        max_bytes: MOST_BYTES,
        session_epoch: -1,
        isolation_level: COMMITTED,
        topics: vec![FetchTopic {
            topic_id: topic.id,
            partitions: vec![FetchPartition {
                partition: index,
                current_leader_epoch: -1,
                fetch_offset: offset,
                last_fetched_epoch: -1,
                log_start_offset: -1,
                partition_max_bytes: MOST_BYTES,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let answer = wire.ask(17, &request).await?;
    let mut partitions = answer.responses.into_iter().flat_map(|topic| topic.partitions);
    partitions
        .next()
        .ok_or_else(|| GoldenError::Answer(format!("no answer for {}-{index}", topic.name)))
}

/// The first offset of a partition, or the error that stands in its place.
async fn start(wire: &mut Wire, topic: &Topic, index: i32) -> Told<Result<i64, i16>> {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.name.clone(),
            partitions: vec![ListOffsetsPartition {
                partition_index: index,
                current_leader_epoch: -1,
                timestamp: EARLIEST,
                ..ListOffsetsPartition::default()
            }],
            ..ListOffsetsTopic::default()
        }],
        ..ListOffsetsRequest::default()
    };
    let answer = wire.ask(9, &request).await?;
    let one = answer.topics.first().and_then(|topic| topic.partitions.first());
    let one = one
        .ok_or_else(|| GoldenError::Answer(format!("{}-{index}: no answer about its offsets", topic.name)))?;
    Ok(match one.error_code {
        0 => Ok(one.offset),
        code => Err(code),
    })
}

/// The records of a partition; returns the epochs of its batches.
async fn records(wire: &mut Wire, topic: &Topic, index: i32, text: &mut String) -> Told<BTreeSet<i32>> {
    let mut epochs = BTreeSet::new();
    let from = match start(wire, topic, index).await? {
        Ok(from) => from,
        Err(code) => {
            line(text, format_args!("  no offsets, error {code}"));
            0
        }
    };
    let mut data = fetch(wire, topic, index, from).await?;
    if data.error_code != 0 {
        data = fetch(wire, topic, index, from).await?;
    }
    let (start, end) = (data.log_start_offset, data.high_watermark);
    line(
        text,
        format_args!("  from {start} to {end}, error {}", data.error_code),
    );
    let (mut next, mut asked_again) = (start, false);
    // An answer ends at the end of a segment.
    while next < end {
        let none = Bytes::new();
        let bytes = match &data.records {
            Records::Bytes(bytes) => bytes,
            _ => &none,
        };
        let before = next;
        for aborted in data.aborted_transactions.iter().flatten() {
            let (producer, first) = (aborted.producer_id, aborted.first_offset);
            line(text, format_args!("  aborted: producer {producer} from {first}"));
        }
        for batch in Batches::new(bytes.clone()) {
            let told = batch.and_then(|batch| {
                next = batch.header().next_offset().0;
                epochs.extend(batch.header().leader_epoch().map(|epoch| epoch.0));
                tell(&batch, text)
            });
            told.map_err(|error| GoldenError::Answer(format!("{}-{index}: {error}", topic.name)))?;
        }
        // What was refused once must be refused again.
        if next == before && asked_again {
            let code = data.error_code;
            line(text, format_args!("  nothing from {next} on, error {code}"));
            break;
        }
        asked_again = next == before;
        data = fetch(wire, topic, index, next).await?;
    }
    Ok(epochs)
}

fn tell(batch: &Batch, text: &mut String) -> Result<(), BatchError> {
    batch.check_crc()?;
    let header = batch.header();
    let producer = header.producer();
    line(
        text,
        format_args!(
            "  batch {} epoch {:?} {:?} {:?} producer {:?}",
            header.base_offset.0,
            header.leader_epoch().map(|epoch| epoch.0),
            header.compression(),
            header.timestamp_type(),
            producer.map(|producer| (producer.id.0, producer.epoch.0, producer.base_sequence)),
        ),
    );
    for record in batch.records(MOST_BYTES as u64)? {
        let record = record?;
        let headers = record.headers.iter();
        let headers: Vec<_> = headers.map(|header| (&header.key, &header.value)).collect();
        line(
            text,
            format_args!(
                "    {} at {} {:?} = {:?} {headers:?}",
                record.offset.0, record.timestamp.0, record.key, record.value
            ),
        );
    }
    Ok(())
}

/// Where each epoch ends in which something was written.
async fn epochs(
    wire: &mut Wire,
    topic: &Topic,
    index: i32,
    found: BTreeSet<i32>,
    text: &mut String,
) -> Told<()> {
    for epoch in found {
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: topic.name.clone(),
                partitions: vec![OffsetForLeaderPartition {
                    partition: index,
                    current_leader_epoch: -1,
                    leader_epoch: epoch,
                    ..OffsetForLeaderPartition::default()
                }],
                ..OffsetForLeaderTopic::default()
            }],
            ..OffsetForLeaderEpochRequest::default()
        };
        let answer = wire.ask(4, &request).await?;
        let one = answer.topics.first().and_then(|topic| topic.partitions.first());
        let end = one.map(|one| (one.leader_epoch, one.end_offset));
        line(text, format_args!("  epoch {epoch} ends at {end:?}"));
    }
    Ok(())
}

async fn producers(wire: &mut Wire, topic: &Topic, index: i32, text: &mut String) -> Told<()> {
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: topic.name.clone(),
            partition_indexes: vec![index],
            ..TopicRequest::default()
        }],
        ..DescribeProducersRequest::default()
    };
    let answer = wire.ask(0, &request).await?;
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    for producer in partitions.flat_map(|partition| &partition.active_producers) {
        line(
            text,
            format_args!(
                "  producer {} epoch {} sequence {} at {}",
                producer.producer_id,
                producer.producer_epoch,
                producer.last_sequence,
                producer.last_timestamp
            ),
        );
    }
    Ok(())
}
