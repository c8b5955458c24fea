//! What goes in: the same bytes each time.

use anyhow::Result;
use bytes::Bytes;
use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs, Uuid};
use klamm_protocol::messages::ProduceRequest;
use klamm_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::{Records, Request, Writer, encode_request};
use klamm_records::{BatchBuilder, Compression};

/// The time of all records, and on the leader's clock.
pub(crate) const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

/// Bytes of a record's value.
const VALUE_BYTES: usize = 100;

/// A batch of `count` records of 100 bytes.
pub(crate) fn batch(count: usize) -> Result<Bytes> {
    filled(BatchBuilder::new(Compression::None), count)
}

/// A batch of one record, by an idempotent producer.
pub(crate) fn idempotent(sequence: i32) -> Result<Bytes> {
    let builder = BatchBuilder::new(Compression::None);
    filled(
        builder.producer(ProducerId(7), ProducerEpoch(0), Some(sequence)),
        1,
    )
}

fn filled(mut builder: BatchBuilder, count: usize) -> Result<Bytes> {
    for at in 0..count {
        let value: Vec<u8> = (at..at + VALUE_BYTES).map(|n| b'a' + (n % 26) as u8).collect();
        builder.append(NOW, None, Some(&value), &[]);
    }
    Ok(builder.build(Offset(0))?)
}

/// A Produce request with one batch, answered by the leader alone.
pub(crate) fn produce(topic_id: Uuid, batch: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData {
        index: 0,
        records: Records::Bytes(batch),
        ..Default::default()
    };
    let topic = TopicProduceData {
        topic_id,
        partition_data: vec![partition],
        ..Default::default()
    };
    ProduceRequest {
        acks: 1,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..Default::default()
    }
}

/// A request as it travels, its length in front.
pub(crate) fn frame<R: Request>(version: i16, request: &R) -> Result<Bytes> {
    let mut writer = Writer::contiguous();
    encode_request(&mut writer, 7, Some(&"klamm-micro".into()), version, request)?;
    Ok(writer.into_bytes())
}
