//! What the broker of the tests answers to those who read.

use bytes::BytesMut;
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::Records;
use klamm_protocol::messages::{
    fetch_request::FetchRequest, fetch_response as fetch, list_offsets_request::ListOffsetsRequest,
    list_offsets_response as offsets,
};

use super::Broker;

impl Broker {
    pub(super) fn fetch(&self, request: FetchRequest, version: i16) -> fetch::FetchResponse {
        let mut response = fetch::FetchResponse::default();
        for topic in request.topics {
            let name = self.name_of(&topic.topic, topic.topic_id);
            let partitions = topic.partitions.iter().map(|asked| {
                let mut data = fetch::PartitionData {
                    partition_index: asked.partition,
                    ..Default::default()
                };
                let log = self
                    .topics
                    .get(&name)
                    .and_then(|logs| logs.get(asked.partition as usize));
                let Some(log) = log else {
                    data.error_code = ErrorCode::UnknownTopicOrPartition.code();
                    return data;
                };
                data.log_start_offset = log.start;
                data.high_watermark = log.end;
                data.last_stable_offset = log.end;
                if !(log.start..=log.end).contains(&asked.fetch_offset) {
                    data.error_code = ErrorCode::OffsetOutOfRange.code();
                    return data;
                }
                let mut bytes = BytesMut::new();
                for batch in &log.batches {
                    if batch.header().next_offset().0 > asked.fetch_offset && bytes.len() < 4096 {
                        bytes.extend_from_slice(batch.bytes());
                    }
                }
                if let Some(last) = bytes.last_mut().filter(|_| log.is_damaged) {
                    *last ^= 1;
                }
                data.records = Records::Bytes(bytes.freeze());
                data
            });
            response.responses.push(fetch::FetchableTopicResponse {
                partitions: partitions.collect(),
                topic: if version < 13 {
                    topic.topic.clone()
                } else {
                    "".into()
                },
                topic_id: if version < 13 { Uuid::ZERO } else { topic.topic_id },
                ..Default::default()
            });
        }
        response
    }

    pub(super) fn list_offsets(&self, request: ListOffsetsRequest) -> offsets::ListOffsetsResponse {
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let log = &self.topics[&*topic.name][asked.partition_index as usize];
                let records = || log.records().into_iter();
                let (offset, timestamp) = match asked.timestamp {
                    -1 => (log.end, -1),
                    -2 => (log.start, -1),
                    time => records()
                        .find(|record| record.timestamp.0 >= time)
                        .map_or((-1, -1), |record| (record.offset.0, record.timestamp.0)),
                };
                let untold = self.untold.get(&(topic.name.to_string(), asked.partition_index));
                if let Some(code) = untold {
                    return offsets::ListOffsetsPartitionResponse {
                        partition_index: asked.partition_index,
                        error_code: code.code(),
                        offset: -1,
                        timestamp: -1,
                        ..Default::default()
                    };
                }
                offsets::ListOffsetsPartitionResponse {
                    partition_index: asked.partition_index,
                    offset,
                    timestamp,
                    ..Default::default()
                }
            });
            offsets::ListOffsetsTopicResponse {
                partitions: partitions.collect(),
                name: topic.name,
                ..Default::default()
            }
        });
        offsets::ListOffsetsResponse {
            topics: topics.collect(),
            ..Default::default()
        }
    }
}
