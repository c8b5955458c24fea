//! A produce request that is encoded once and sent again and again.
//!
//! Always holds: what goes out is the encoded frame with another correlation id and, for an idempotent producer, another
//! producer, sequence and checksum in the header of each batch. Record bytes of any size are sent from where they are;
//! what is short is cheaper to copy than to name to the kernel.

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use klamm_model::{Offset, TimestampMs, Uuid};
use klamm_protocol::Records;
use klamm_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use klamm_records::{BatchBuilder, BatchHeader, Compression, HEADER_BYTES};

use crate::payload::Text;
use crate::socket::Outgoing;
use crate::{admin, clock};

/// Where the correlation id stands in every request: behind the length, the API and its version.
const CORRELATION_ID: Range<usize> = 8..12;
/// Records of fewer bytes are copied.
const WORTH_SHARING: usize = 4096;
/// Bytes of the time that a stamped value begins with.
pub(crate) const STAMP_BYTES: usize = 8;
/// Bytes of a key, where there are any.
const KEY_BYTES: usize = 8;
/// How long the broker may wait for the in-sync replicas.
const TIMEOUT_MS: i32 = 30_000;

/// What the batches of a request hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) record_bytes: usize,
    pub(crate) records: usize,
    pub(crate) codec: Compression,
    pub(crate) acks: i16,
    /// The number that is the key of the first record; those behind it count on. Without, records have no keys.
    pub(crate) first_key: Option<u64>,
}

/// An idempotent producer, and the next sequence number of each partition.
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) sequences: Vec<i32>,
}

/// An encoded request: one batch for each of some partitions of a topic.
pub(crate) struct ProduceFrame {
    bytes: Bytes,
    batches: Vec<Place>,
    /// The record bytes that are not copied.
    shared: Vec<Range<usize>>,
    records: u64,
    batch_bytes: u64,
    payload_bytes: u64,
}

/// A batch in the frame.
struct Place {
    partition: usize,
    range: Range<usize>,
    records: i32,
}

impl ProduceFrame {
    /// Encodes a request to `partitions` of a topic.
    pub(crate) fn encode(topic: Uuid, partitions: &[i32], shape: Shape, now: TimestampMs) -> Result<Self> {
        let batches: Vec<Bytes> = partitions
            .iter()
            .map(|partition| batch(*partition, shape, now))
            .collect::<Result<_>>()?;
        let data = partitions.iter().zip(&batches);
        let request = ProduceRequest {
            acks: shape.acks,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                topic_id: topic,
                partition_data: data
                    .map(|(index, batch)| PartitionProduceData {
                        index: *index,
                        records: Records::Bytes(batch.clone()),
                        ..PartitionProduceData::default()
                    })
                    .collect(),
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        let bytes = admin::frame(0, admin::PRODUCE, &request)?;
        let mut from = 0;
        let mut places = Vec::new();
        for (partition, batch) in partitions.iter().zip(&batches) {
            let range = find(&bytes, from, batch).context("a batch is not in its request")?;
            from = range.end;
            places.push(Place {
                partition: usize::try_from(*partition)?,
                range,
                records: i32::try_from(shape.records)?,
            });
        }
        let count = (partitions.len() * shape.records) as u64;
        Ok(Self {
            shared: places.iter().filter_map(Place::worth_sharing).collect(),
            batches: places,
            records: count,
            batch_bytes: batches.iter().map(|batch| batch.len() as u64).sum(),
            payload_bytes: count * shape.payload_bytes() as u64,
            bytes,
        })
    }

    /// How many batches the request has.
    pub(crate) fn batches(&self) -> usize {
        self.batches.len()
    }

    /// How many records it has.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// How many bytes its batches take.
    pub(crate) fn batch_bytes(&self) -> u64 {
        self.batch_bytes
    }

    /// How many bytes its keys and values took before compression.
    pub(crate) fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// Queues the request under `correlation_id`, on behalf of `producer`.
    pub(crate) fn queue(&self, out: &mut Outgoing, correlation_id: i32, producer: Option<&mut Producer>) {
        let headers = producer
            .map(|producer| self.headers(producer))
            .unwrap_or_default();
        let mut at = 0;
        let shared = self.shared.iter().cloned().map(Some).chain([None]);
        for shared in shared {
            let end = shared.as_ref().map_or(self.bytes.len(), |range| range.start);
            let copy = out.copy(&self.bytes[at..end]);
            if at == 0 {
                copy[CORRELATION_ID].copy_from_slice(&correlation_id.to_be_bytes());
            }
            for (place, header) in self.batches.iter().zip(&headers) {
                if (at..end).contains(&place.range.start) {
                    let from = place.range.start - at;
                    copy[from..from + HEADER_BYTES].copy_from_slice(header);
                }
            }
            if let Some(shared) = shared {
                at = shared.end;
                out.share(self.bytes.slice(shared));
            }
        }
    }

    /// Queues a request of one record, whose value begins with the time at which it was `due`.
    pub(crate) fn queue_stamped(&self, out: &mut Outgoing, correlation_id: i32, due: u64) {
        let range = self.batches[0].range.clone();
        let copy = out.copy(&self.bytes);
        copy[CORRELATION_ID].copy_from_slice(&correlation_id.to_be_bytes());
        let batch = &mut copy[range];
        let value = value(batch.len(), self.payload_bytes as usize);
        batch[value][..STAMP_BYTES].copy_from_slice(&due.to_be_bytes());
        let mut header = BatchHeader::parse(batch).expect("built with a header");
        // A broker indexes by time, so time goes on.
        header.base_timestamp = TimestampMs(clock::wall_ms());
        header.max_timestamp = header.base_timestamp;
        header.seal(&batch[HEADER_BYTES..]);
        let head = batch.first_chunk_mut().expect("a batch has a header");
        header.write_to(head);
    }

    /// The header of each batch as the next one of `producer`.
    fn headers(&self, producer: &mut Producer) -> Vec<[u8; HEADER_BYTES]> {
        let next = |place: &Place| {
            let batch = &self.bytes[place.range.clone()];
            let sequence = &mut producer.sequences[place.partition];
            let mut header = BatchHeader::parse(batch).expect("built with a header");
            header.producer_id = producer.id;
            header.producer_epoch = producer.epoch;
            header.base_sequence = *sequence;
            header.seal(&batch[HEADER_BYTES..]);
            *sequence = klamm_records::header::sequence_plus(*sequence, place.records);
            header.to_bytes()
        };
        self.batches.iter().map(next).collect()
    }
}

impl Shape {
    /// Of one record.
    fn payload_bytes(&self) -> usize {
        self.record_bytes + self.first_key.map_or(0, |_| KEY_BYTES)
    }
}

impl Place {
    fn worth_sharing(&self) -> Option<Range<usize>> {
        let records = self.range.start + HEADER_BYTES..self.range.end;
        (records.len() >= WORTH_SHARING).then_some(records)
    }
}

/// The time that a value of `record_bytes` in a batch of one record begins with.
pub(crate) fn stamp(header: &BatchHeader, batch: &[u8], record_bytes: usize) -> Result<u64> {
    let alone = header.record_count == 1 && header.compression() == Ok(Compression::None);
    let value = value(batch.len(), record_bytes);
    let stamp = batch.get(value).and_then(|value| value.first_chunk());
    let stamp = stamp
        .filter(|_| alone)
        .context("a batch that was not sent here")?;
    Ok(u64::from_be_bytes(*stamp))
}

/// Where the value of the only record stands in its batch: before the count of its headers, which is zero.
fn value(batch_bytes: usize, record_bytes: usize) -> Range<usize> {
    let end = batch_bytes.saturating_sub(1);
    end.saturating_sub(record_bytes)..end
}

fn batch(partition: i32, shape: Shape, now: TimestampMs) -> Result<Bytes> {
    ensure!(shape.records > 0, "a batch has at least one record");
    let mut text = Text::new(u64::try_from(partition)?);
    let mut builder = BatchBuilder::new(shape.codec);
    for index in 0..shape.records as u64 {
        let key = shape.first_key.map(|first| (first + index).to_be_bytes());
        let key = key.as_ref().map(<[u8; KEY_BYTES]>::as_slice);
        builder.append(now, key, Some(&text.take(shape.record_bytes)), &[]);
    }
    Ok(builder.build(Offset(0))?)
}

/// Where `part` stands in `whole`, from `from` on.
fn find(whole: &[u8], from: usize, part: &[u8]) -> Option<Range<usize>> {
    let mut starts = from..(whole.len() + 1).saturating_sub(part.len());
    let start = starts.find(|start| whole[*start..].starts_with(part))?;
    Some(start..start + part.len())
}

#[cfg(test)]
mod tests {
    use klamm_protocol::{Message, Reader, RequestHeader};
    use klamm_records::Batch;

    use super::*;

    fn shape(record_bytes: usize, records: usize) -> Shape {
        Shape {
            record_bytes,
            records,
            codec: Compression::None,
            acks: -1,
            first_key: None,
        }
    }

    /// What a broker sees: the correlation id, and partition and batch of all partitions.
    fn received(out: &Outgoing) -> (i32, Vec<(i32, Bytes)>) {
        let bytes = Bytes::from(out.queued());
        let length = i32::from_be_bytes(bytes[..4].try_into().unwrap());
        assert_eq!(length as usize, bytes.len() - 4);
        let mut reader = Reader::new(bytes.slice(4..));
        let header = RequestHeader::decode(&mut reader).unwrap();
        let request = ProduceRequest::decode(&mut reader, header.api_version).unwrap();
        reader.finish().unwrap();
        assert_eq!(request.topic_data[0].topic_id, Uuid([7; 16]));
        let partitions = request.topic_data[0].partition_data.iter();
        let batches = partitions.map(|data| (data.index, data.records.bytes().unwrap().clone()));
        (header.correlation_id, batches.collect())
    }

    #[test]
    fn a_request_is_what_a_broker_expects_whether_copied_or_shared() {
        for (record_bytes, records, partitions) in [
            (100, 1, &[0][..]),
            (100, 1000, &[3]),
            (10, 3, &[2, 0, 1]),
            (1024, 16, &[4, 5]),
            (4096, 1, &[0, 1, 2]),
        ] {
            let shape = shape(record_bytes, records);
            let frame =
                ProduceFrame::encode(Uuid([7; 16]), partitions, shape, TimestampMs(1_700_000_000_000))
                    .unwrap();
            let mut out = Outgoing::default();
            frame.queue(&mut out, 0x0102_0304, None);
            let (correlation_id, batches) = received(&out);
            assert_eq!(correlation_id, 0x0102_0304);
            let indexes: Vec<i32> = batches.iter().map(|(index, _)| *index).collect();
            assert_eq!(indexes, partitions);
            let sizes: usize = batches.iter().map(|(_, batch)| batch.len()).sum();
            assert_eq!(frame.batch_bytes(), sizes as u64);
            assert_eq!(frame.records(), (records * partitions.len()) as u64);
            assert_eq!(frame.payload_bytes(), frame.records() * record_bytes as u64);
            for (_, batch) in batches {
                let batch = Batch::parse(&batch).unwrap();
                batch.check_crc().unwrap();
                assert_eq!(batch.header().record_count as usize, records);
            }
        }
    }

    #[test]
    fn keys_are_numbers_that_count_on() {
        let shape = Shape {
            first_key: Some(300),
            ..shape(100, 3)
        };
        let frame = ProduceFrame::encode(Uuid([7; 16]), &[0], shape, TimestampMs(1)).unwrap();
        assert_eq!(frame.payload_bytes(), 3 * 108);
        let mut out = Outgoing::default();
        frame.queue(&mut out, 1, None);
        let (_, batches) = received(&out);
        let batch = Batch::parse(&batches[0].1).unwrap();
        let records = batch.records(1 << 20).unwrap();
        let keys: Vec<_> = records
            .map(|record| {
                let key = record.unwrap().key.unwrap();
                u64::from_be_bytes(key.as_ref().try_into().unwrap())
            })
            .collect();
        assert_eq!(keys, [300, 301, 302]);
    }

    #[test]
    fn an_idempotent_producer_counts_on_in_each_partition() {
        let shape = shape(1024, 5);
        let frame = ProduceFrame::encode(Uuid([7; 16]), &[1, 0], shape, TimestampMs(1)).unwrap();
        let mut producer = Producer {
            id: 77,
            epoch: 3,
            sequences: vec![i32::MAX - 4, 10],
        };
        for (first, second) in [(10, i32::MAX - 4), (15, 0), (20, 5)] {
            let mut out = Outgoing::default();
            frame.queue(&mut out, 1, Some(&mut producer));
            let (_, batches) = received(&out);
            let headers = batches.iter().map(|(_, bytes)| {
                let batch = Batch::parse(bytes).unwrap();
                batch.check_crc().unwrap();
                assert_eq!(
                    (batch.header().producer_id, batch.header().producer_epoch),
                    (77, 3)
                );
                batch.header().base_sequence
            });
            assert_eq!(headers.collect::<Vec<_>>(), [first, second]);
        }
    }

    #[test]
    fn a_stamped_record_carries_its_time_and_a_sound_checksum() {
        for record_bytes in [8, 100, 10_000] {
            let frame =
                ProduceFrame::encode(Uuid([7; 16]), &[2], shape(record_bytes, 1), TimestampMs(1)).unwrap();
            let mut out = Outgoing::default();
            frame.queue_stamped(&mut out, 5, 0x1122_3344_5566_7788);
            let (correlation_id, batches) = received(&out);
            assert_eq!((correlation_id, batches[0].0), (5, 2));
            let batch = Batch::parse(&batches[0].1).unwrap();
            batch.check_crc().unwrap();
            let record = batch.records(1 << 20).unwrap().next().unwrap().unwrap();
            let value = record.value.unwrap();
            assert_eq!(
                (value.len(), &value[..4]),
                (record_bytes, &[0x11, 0x22, 0x33, 0x44][..])
            );
            assert_eq!(
                stamp(batch.header(), &batches[0].1, record_bytes).unwrap(),
                0x1122_3344_5566_7788
            );
            let mut two = *batch.header();
            two.record_count = 2;
            assert!(stamp(&two, &batches[0].1, record_bytes).is_err());
        }
    }
}
