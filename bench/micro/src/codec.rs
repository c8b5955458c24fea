//! From bytes to a request, and from an answer to bytes.

use std::hint::black_box;

use anyhow::{Context, Result};
use bytes::Bytes;
use klamm_model::Uuid;
use klamm_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use klamm_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use klamm_protocol::messages::{FetchResponse, ProduceRequest, ProduceResponse};
use klamm_protocol::{ApiKey, Message, Reader, Records, RequestHeader, Writer, encode_response};

use crate::Work;
use crate::inputs::{batch, frame, produce};

/// Partitions in an answer.
const PARTITIONS: i32 = 6;

pub(crate) fn decode_produce() -> Result<Box<dyn Work>> {
    let frame = frame(13, &produce(Uuid([1; 16]), batch(10)?))?.slice(4..);
    let mut decoding = DecodeProduce {
        frame,
        request: ProduceRequest::default(),
    };
    decoding.once().context("the request is well-formed")?;
    Ok(Box::new(decoding))
}

struct DecodeProduce {
    frame: Bytes,
    /// Decoded over each time, as a connection does.
    request: ProduceRequest,
}

impl DecodeProduce {
    fn once(&mut self) -> Result<()> {
        let mut reader = Reader::new(self.frame.clone());
        let header = RequestHeader::decode(&mut reader)?;
        self.request.decode_into(&mut reader, header.api_version)?;
        black_box(&self.request);
        Ok(())
    }
}

impl Work for DecodeProduce {
    fn run(&mut self, times: usize) {
        for _ in 0..times {
            self.once().expect("decoded before");
        }
    }
}

pub(crate) fn encode_produce() -> Result<Box<dyn Work>> {
    let partition = |index| PartitionProduceResponse {
        index,
        base_offset: 1_000_000,
        log_start_offset: 0,
        ..Default::default()
    };
    let topic = TopicProduceResponse {
        topic_id: Uuid([1; 16]),
        partition_responses: (0..PARTITIONS).map(partition).collect(),
        ..Default::default()
    };
    let response = ProduceResponse {
        responses: vec![topic],
        ..Default::default()
    };
    encode(ApiKey::Produce, 13, response)
}

pub(crate) fn encode_fetch() -> Result<Box<dyn Work>> {
    let partition = |partition_index| PartitionData {
        partition_index,
        high_watermark: 1_000_000,
        last_stable_offset: 1_000_000,
        log_start_offset: 0,
        aborted_transactions: None,
        records: Records::External {
            token: partition_index.unsigned_abs(),
            len: 65_536,
        },
        ..Default::default()
    };
    let topic = FetchableTopicResponse {
        topic_id: Uuid([1; 16]),
        partitions: (0..PARTITIONS).map(partition).collect(),
        ..Default::default()
    };
    let response = FetchResponse {
        session_id: 1,
        responses: vec![topic],
        ..Default::default()
    };
    encode(ApiKey::Fetch, 18, response)
}

fn encode<M: Message + 'static>(api: ApiKey, version: i16, response: M) -> Result<Box<dyn Work>> {
    let mut encoding = Encode {
        api,
        version,
        response,
        writer: Writer::new(),
    };
    encoding.once()?;
    Ok(Box::new(encoding))
}

struct Encode<M> {
    api: ApiKey,
    version: i16,
    response: M,
    writer: Writer,
}

impl<M: Message> Encode<M> {
    fn once(&mut self) -> Result<()> {
        self.writer.clear();
        encode_response(&mut self.writer, self.api, 7, self.version, &self.response)?;
        black_box(self.writer.buffer());
        Ok(())
    }
}

impl<M: Message> Work for Encode<M> {
    fn run(&mut self, times: usize) {
        for _ in 0..times {
            self.once().expect("encoded before");
        }
    }
}
