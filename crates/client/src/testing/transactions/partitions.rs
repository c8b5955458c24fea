//! What the partitions of the broker of the tests check of transactions, and say of them.

use std::collections::BTreeMap;

use klamm_model::ErrorCode;
use klamm_protocol::messages::{
    describe_producers_request::DescribeProducersRequest, describe_producers_response as producers,
    write_txn_markers_request::WriteTxnMarkersRequest, write_txn_markers_response as markers,
};
use klamm_records::Batch;

use super::{Place, Topics, Transactions};
use crate::testing::Log;

impl Transactions {
    /// Whether a leader takes a batch of a transaction.
    pub(in crate::testing) fn check(
        &mut self,
        (id, version): (&str, i16),
        (topic, partition): (&str, i32),
        batch: &Batch,
        log: &Log,
    ) -> Result<(), ErrorCode> {
        let known = self.known.get_mut(id).ok_or(ErrorCode::InvalidTxnState)?;
        let header = batch.header();
        assert!(header.is_transactional());
        if (header.producer_id, header.producer_epoch) != (known.producer, known.epoch) {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        assert_eq!(version >= 12, self.level >= 2, "Produce v{version}");
        let place = (topic.to_owned(), partition);
        if self.level >= 2 {
            known.is_open = true;
            known.partitions.insert(place);
        } else if !known.partitions.contains(&place) {
            return Err(ErrorCode::InvalidTxnState);
        }
        // A leader that knows an earlier epoch wants to hear the next one from its beginning.
        if !log.knows((known.producer, known.epoch)) && header.base_sequence != 0 {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        Ok(())
    }

    /// The values in a partition that those see who read what is committed.
    pub(crate) fn values(&self, topics: &Topics, topic: &str, partition: usize) -> Vec<String> {
        let log = &topics[topic][partition];
        let batches = log.batches.iter().filter(|batch| {
            let place = (topic.to_owned(), partition as i32, batch.header().base_offset.0);
            self.decided.get(&place) == Some(&true)
        });
        let records = batches.flat_map(|batch| batch.records(u64::MAX).unwrap().map(Result::unwrap));
        records
            .map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap())
            .collect()
    }

    pub(super) fn producers(
        &self,
        request: DescribeProducersRequest,
        code: i16,
        topics: &Topics,
    ) -> producers::DescribeProducersResponse {
        let described = request.topics.into_iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                let log = &topics[&*topic.name][*index as usize];
                let states = log
                    .batches
                    .iter()
                    .filter(|batch| batch.header().is_transactional());
                let mut active: BTreeMap<i64, producers::ProducerState> = BTreeMap::new();
                for batch in states {
                    let header = batch.header();
                    let place = (topic.name.to_string(), *index, header.base_offset.0);
                    let state = active.entry(header.producer_id).or_default();
                    state.producer_id = header.producer_id;
                    state.producer_epoch = i32::from(header.producer_epoch);
                    state.last_timestamp = header.max_timestamp.0;
                    state.coordinator_epoch = -1;
                    if !self.decided.contains_key(&place) && state.current_txn_start_offset < 0 {
                        state.current_txn_start_offset = header.base_offset.0;
                    }
                }
                producers::PartitionResponse {
                    partition_index: *index,
                    error_code: code,
                    active_producers: active.into_values().collect(),
                    ..Default::default()
                }
            });
            producers::TopicResponse {
                partitions: partitions.collect(),
                name: topic.name.clone(),
                ..Default::default()
            }
        });
        producers::DescribeProducersResponse {
            topics: described.collect(),
            ..Default::default()
        }
    }

    pub(super) fn write_markers(
        &mut self,
        request: WriteTxnMarkersRequest,
        code: i16,
        topics: &Topics,
    ) -> markers::WriteTxnMarkersResponse {
        let markers = request.markers.into_iter().map(|marker| {
            let results = marker.topics.into_iter().map(|topic| {
                let partitions = topic.partition_indexes.iter().map(|index| {
                    let open = undecided(topics, &self.decided, marker.producer_id);
                    for place in open.into_iter().filter(|place| code == 0 && place.1 == *index) {
                        self.decided.insert(place, marker.transaction_result);
                    }
                    markers::WritableTxnMarkerPartitionResult {
                        partition_index: *index,
                        error_code: code,
                        ..Default::default()
                    }
                });
                markers::WritableTxnMarkerTopicResult {
                    partitions: partitions.collect(),
                    name: topic.name.clone(),
                    ..Default::default()
                }
            });
            markers::WritableTxnMarkerResult {
                producer_id: marker.producer_id,
                topics: results.collect(),
                ..Default::default()
            }
        });
        markers::WriteTxnMarkersResponse {
            markers: markers.collect(),
            ..Default::default()
        }
    }
}

/// Where batches of a producer are that are neither committed nor aborted.
pub(super) fn undecided(topics: &Topics, decided: &BTreeMap<Place, bool>, producer: i64) -> Vec<Place> {
    let logs = topics.iter().flat_map(|(topic, logs)| {
        let logs = (0..).zip(logs);
        logs.map(move |(partition, log)| (topic, partition, log))
    });
    let places = logs.flat_map(|(topic, partition, log)| {
        let batches = log.batches.iter().map(|batch| *batch.header());
        let own = batches.filter(|header| header.is_transactional() && header.producer_id == producer);
        own.map(move |header| (topic.clone(), partition, header.base_offset.0))
    });
    places.filter(|place| !decided.contains_key(place)).collect()
}
