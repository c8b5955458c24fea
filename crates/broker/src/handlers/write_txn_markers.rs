//! WriteTxnMarkers, versions 1 and 2: the ends of transactions, in the partitions that are led here (KIP-98).
//!
//! Asked by the coordinator of a transaction, and by an operator who ends a transaction that no coordinator knows any more
//! (`kafka-transactions abort`, KIP-664). Since version 2 a marker says under which `transaction.version` its transaction ends
//! (KIP-1228): it decides which epochs are late. Markers are answered when all are committed, which they wait for together; those of
//! one producer are written one after the other, in their order. A producer that is named without a partition is not told of, and one
//! that is named again is told of once, as in Kafka.
//!
//! A marker in a topic that only its coordinators write to, other than that of the groups, is refused: nothing there is written in
//! a transaction. Kafka writes it, and its coordinators of transactions cannot read that partition of `__transaction_state` any
//! more.
//!
//! *Memory*: the answer, proportional to the partitions, reserved before the first marker is written. *Authorization*: ALTER or
//! CLUSTER_ACTION on the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use klamm_coordinator::TransactionalProducer;
use klamm_model::{ErrorCode, ProducerEpoch, ProducerId, TopicPartition};
use klamm_protocol::ByteString;
use klamm_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use klamm_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use klamm_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};

use crate::context::RequestContext;
use crate::coordinators::markers::{AT_ONCE, Marker, write_markers};

/// Since this version a marker says under which `transaction.version` it is written.
const WITH_VERSION: i16 = 2;

/// What a producer, a topic and a partition take while they are worked on, told and encoded, beside the names.
const MARKER_BYTES: usize = 2 * size_of::<WritableTxnMarkerResult>() + 64;
const TOPIC_BYTES: usize = 2 * size_of::<WritableTxnMarkerTopicResult>() + 160;
const PARTITION_BYTES: usize =
    2 * size_of::<WritableTxnMarkerPartitionResult>() + 2 * size_of::<(TopicPartition, ErrorCode)>() + 64;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    if !context
        .memory
        .reserve(request.markers.iter().map(bytes_of).sum())
        .await
    {
        // One that is too large ends the connection.
        return WriteTxnMarkersResponse::default();
    }
    let producers = by_producer(&request);
    let mut told = Vec::with_capacity(producers.len());
    let mut rest = &*producers;
    while !rest.is_empty() {
        let (some, later) = rest.split_at(at_once(rest));
        told.extend(join_all(some.iter().map(|producer| end_all(context, producer))).await);
        rest = later;
    }
    WriteTxnMarkersResponse {
        markers: told.into_iter().map(Told::into_result).collect(),
        ..Default::default()
    }
}

/// The markers of one producer.
struct OfProducer<'a> {
    producer_id: i64,
    markers: Vec<&'a WritableTxnMarker>,
}

impl OfProducer<'_> {
    fn partition_count(&self) -> usize {
        let topics = self.markers.iter().flat_map(|marker| &marker.topics);
        topics.map(|topic| topic.partition_indexes.len()).sum()
    }
}

/// The markers that are for a partition, by producer; the producers in the order in which they are named.
fn by_producer(request: &WriteTxnMarkersRequest) -> Vec<OfProducer<'_>> {
    let mut producers: Vec<OfProducer<'_>> = Vec::new();
    let mut places: BTreeMap<i64, usize> = BTreeMap::new();
    for asked in &request.markers {
        let mut topics = asked.topics.iter();
        if topics.all(|topic| topic.partition_indexes.is_empty()) {
            continue;
        }
        let place = *places.entry(asked.producer_id).or_insert(producers.len());
        if place == producers.len() {
            producers.push(OfProducer {
                producer_id: asked.producer_id,
                markers: Vec::new(),
            });
        }
        producers[place].markers.push(asked);
    }
    producers
}

/// How many of the first producers' markers are on their way at once: about as many markers as of one producer alone may be.
fn at_once(producers: &[OfProducer<'_>]) -> usize {
    let mut partitions = 0;
    let fits = |producer: &&OfProducer<'_>| {
        partitions += producer.partition_count();
        partitions <= AT_ONCE
    };
    producers.iter().take_while(fits).count().max(1)
}

fn bytes_of(asked: &WritableTxnMarker) -> usize {
    let topics = asked.topics.iter();
    let topics = topics
        .map(|topic| TOPIC_BYTES + 2 * topic.name.len() + PARTITION_BYTES * topic.partition_indexes.len());
    MARKER_BYTES + topics.sum::<usize>()
}

/// Ends the transactions of one producer.
async fn end_all(context: &RequestContext<'_>, producer: &OfProducer<'_>) -> Told {
    let mut told = Told::of(producer.producer_id);
    for asked in &producer.markers {
        end(context, asked, &mut told).await;
    }
    told
}

/// Ends one transaction, wherever that is asked for.
async fn end(context: &RequestContext<'_>, asked: &WritableTxnMarker, told: &mut Told) {
    let marker = marker(context.version, asked);
    let mut partitions = Vec::new();
    for topic in &asked.topics {
        let name: Arc<str> = (&*topic.name).into();
        for index in &topic.partition_indexes {
            match marker {
                Err(code) => told.tell(&topic.name, *index, code),
                Ok(_) => partitions.push(TopicPartition::new(name.clone(), *index)),
            }
        }
    }
    if let Ok(marker) = marker {
        for (partition, code) in write_markers(context.broker, marker, &partitions).await {
            told.tell(&partition.topic, partition.partition, code);
        }
    }
}

/// What is to be written; an error for what could not stand in a log.
fn marker(version: i16, asked: &WritableTxnMarker) -> Result<Marker, ErrorCode> {
    let transaction_version = match version {
        WITH_VERSION.. => i16::from(asked.transaction_version),
        _ => 0,
    };
    if asked.producer_id < 0 || asked.producer_epoch < 0 || transaction_version < 0 {
        return Err(ErrorCode::UnknownServerError);
    }
    Ok(Marker {
        producer: TransactionalProducer {
            id: ProducerId(asked.producer_id),
            epoch: ProducerEpoch(asked.producer_epoch),
        },
        coordinator_epoch: asked.coordinator_epoch,
        transaction_version,
        committed: asked.transaction_result,
    })
}

/// What is told of one producer.
struct Told {
    producer_id: i64,
    topics: BTreeMap<ByteString, BTreeMap<i32, ErrorCode>>,
}

impl Told {
    fn of(producer_id: i64) -> Self {
        Self {
            producer_id,
            topics: BTreeMap::new(),
        }
    }

    fn tell(&mut self, topic: &str, index: i32, code: ErrorCode) {
        match self.topics.get_mut(topic) {
            Some(partitions) => drop(partitions.insert(index, code)),
            None => drop(self.topics.insert(topic.into(), [(index, code)].into())),
        }
    }

    fn into_result(self) -> WritableTxnMarkerResult {
        let topics = self.topics.into_iter().map(|(name, partitions)| {
            let partitions =
                partitions
                    .into_iter()
                    .map(|(partition_index, code)| WritableTxnMarkerPartitionResult {
                        partition_index,
                        error_code: code.code(),
                        ..Default::default()
                    });
            WritableTxnMarkerTopicResult {
                name,
                partitions: partitions.collect(),
                ..Default::default()
            }
        });
        WritableTxnMarkerResult {
            producer_id: self.producer_id,
            topics: topics.collect(),
            ..Default::default()
        }
    }
}
