//! What a connection keeps from one produce request to the next.
//!
//! Always holds: nothing that is kept holds on to a frame, and the lists that are kept are short.

use klamm_protocol::Records;
use klamm_protocol::messages::ProduceRequest;

use crate::body::bytes_of;

/// The most that a connection keeps of the lists of a request, and of those of its answers, for the next.
pub(super) const KEPT_BYTES: usize = 64 * 1024;

/// Lets go of the frame, which the request would hold on to until the next one, and of lists that are too long to keep.
pub(super) fn release(request: &mut ProduceRequest) {
    request.transactional_id = None;
    request.unknown_tagged_fields = Vec::new();
    let mut kept = bytes_of(&request.topic_data);
    for topic in &mut request.topic_data {
        topic.name = Default::default();
        topic.unknown_tagged_fields = Vec::new();
        for data in &mut topic.partition_data {
            data.records = Records::Null;
            data.unknown_tagged_fields = Vec::new();
        }
        kept += bytes_of(&topic.partition_data);
    }
    if kept > KEPT_BYTES {
        *request = ProduceRequest::default();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;
    use klamm_model::ErrorCode;
    use klamm_net::RequestMemory;
    use klamm_protocol::messages::produce_request::PartitionProduceData;
    use klamm_protocol::messages::produce_request::TopicProduceData;
    use klamm_protocol::{Message, RawTaggedField, Request, RequestHeader, Writer, encode_request};

    use super::*;
    use crate::body::Body;
    use crate::handlers::produce::answer::Pool;
    use crate::metrics::Phases;
    use crate::pool::DecodePool;

    fn request(partitions: usize) -> ProduceRequest {
        let tags = vec![RawTaggedField {
            tag: 9_000,
            data: vec![7; 10].into(),
        }];
        let data = PartitionProduceData {
            records: Records::Bytes(vec![7; 100].into()),
            unknown_tagged_fields: tags.clone(),
            ..Default::default()
        };
        ProduceRequest {
            transactional_id: Some("tx".into()),
            topic_data: vec![TopicProduceData {
                name: "topic".into(),
                partition_data: vec![data; partitions],
                unknown_tagged_fields: tags.clone(),
                ..Default::default()
            }],
            unknown_tagged_fields: tags,
            ..Default::default()
        }
    }

    fn header() -> RequestHeader {
        RequestHeader {
            api_key: ProduceRequest::KEY,
            api_version: 11,
            correlation_id: 1,
            client_id: None,
            unknown_tagged_fields: Vec::new(),
        }
    }

    /// A request as it arrives: its bytes, what it is decoded to, and what it is charged with.
    fn arrived(partitions: usize, memory: &RequestMemory) -> (bytes::Bytes, ProduceRequest, Body) {
        let mut writer = Writer::contiguous();
        encode_request(&mut writer, 1, None, 11, &request(partitions)).unwrap();
        let frame = writer.into_bytes().slice(4..);
        let mut charge = memory.charge();
        assert!(charge.try_grow(frame.len()));
        let pool = Arc::new(DecodePool::new(memory.clone()));
        let mut body = Body::new(frame.clone(), charge, pool);
        let decoded = async {
            body.decode(RequestHeader::decode).await?;
            body.decode(|reader| ProduceRequest::decode(reader, 11)).await
        };
        let decoded = decoded.now_or_never().unwrap().unwrap();
        (frame, decoded, body)
    }

    #[test]
    fn a_request_that_is_kept_holds_neither_its_frame_nor_long_lists() {
        for (partitions, is_kept) in [(10, true), (10_000, false)] {
            let memory = RequestMemory::new(usize::MAX);
            let (frame, mut request, body) = arrived(partitions, &memory);
            release(&mut request);
            drop(body);
            assert!(frame.is_unique(), "a slice of the frame is left");
            assert_eq!(bytes_of(&request.topic_data) > 0, is_kept, "{partitions}");
            assert_eq!(memory.used(), 0);
        }
    }

    #[test]
    fn an_answer_that_names_a_part_of_the_frame_keeps_its_charge_until_it_is_sent() {
        for (is_known, keeps_frame) in [(true, false), (false, true)] {
            let memory = RequestMemory::new(usize::MAX);
            let (frame, mut request, mut body) = arrived(1_000, &memory);
            let charged = memory.used();
            assert!(charged > frame.len(), "lists of a thousand are not its own");
            let pool = Pool::default();
            let mut answer = pool.take(&header(), &Phases::default());
            match is_known {
                true => answer.begin_topic("topic".into()),
                false => answer.begin_unknown_topic(request.topic_data[0].name.clone()),
            }
            release(&mut request);
            answer.hold(&mut body);
            assert_eq!(frame.is_unique(), !keeps_frame);
            let kept = if keeps_frame {
                charged
            } else {
                charged - frame.len()
            };
            assert_eq!(memory.used(), kept, "what was decoded, until it is answered");
            pool.put(answer);
            assert!(frame.is_unique());
            assert_eq!(memory.used(), 0);
        }
    }

    #[test]
    fn answers_with_long_lists_are_not_kept() {
        let pool = Pool::default();
        for (partitions, is_kept) in [(10, true), (10_000, false)] {
            let mut answer = pool.take(&header(), &Phases::default());
            answer.begin_topic("topic".into());
            for index in 0..partitions {
                answer.refuse(index, ErrorCode::UnknownTopicOrPartition);
            }
            pool.put(answer);
            assert_eq!(pool.kept() > 0, is_kept, "{partitions}");
        }
    }
}
