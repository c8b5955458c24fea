//! A client that speaks the project's own protocol crate to the loop.

use std::io::Write;
use std::net::SocketAddr;

use bytes::Bytes;
use klamm_model::{Offset, TimestampMs};
use klamm_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::messages::{ApiVersionsRequest, FetchRequest, ProduceRequest};
use klamm_protocol::{Message, Reader, Records, Request, ResponseHeader, Writer, encode_request};
use klamm_records::{BatchBuilder, BatchHeader, verify_crc};

use super::*;

fn frame<R: Request>(correlation_id: i32, version: i16, request: &R) -> Vec<u8> {
    let mut writer = Writer::contiguous();
    encode_request(&mut writer, correlation_id, None, version, request).unwrap();
    writer.into_bytes().to_vec()
}

fn answer<R: Request>(stream: &mut TcpStream, correlation_id: i32, version: i16) -> R::Response {
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    let mut bytes = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut bytes).unwrap();
    let mut reader = Reader::new(bytes.into());
    let header = ResponseHeader::decode(&mut reader, R::KEY, version).unwrap();
    assert_eq!(header.correlation_id, correlation_id);
    R::Response::decode(&mut reader, version).unwrap()
}

fn batch(value_bytes: usize) -> Bytes {
    let mut batch = BatchBuilder::default();
    batch.append(TimestampMs(1), None, Some(&vec![b'v'; value_bytes]), &[]);
    batch.build(Offset(0)).unwrap()
}

fn produce(acks: i16, batch: &Bytes) -> ProduceRequest {
    let partition = PartitionProduceData {
        index: 3,
        records: Records::Bytes(batch.clone()),
        ..Default::default()
    };
    let topic = TopicProduceData {
        partition_data: vec![partition],
        ..Default::default()
    };
    ProduceRequest {
        acks,
        topic_data: vec![topic],
        ..Default::default()
    }
}

fn fetch(partition: i32) -> FetchRequest {
    let partition = FetchPartition {
        partition,
        ..Default::default()
    };
    let topic = FetchTopic {
        partitions: vec![partition],
        ..Default::default()
    };
    FetchRequest {
        topics: vec![topic],
        ..Default::default()
    }
}

/// A running loop; it ends with the first frame that it does not know.
fn running(folder: &std::path::Path) -> (SocketAddr, std::thread::JoinHandle<Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let store = Store::make(folder, 40_000, 100_000).unwrap();
    (address, std::thread::spawn(move || serve(&listener, store)))
}

#[test]
fn batches_are_kept_whole_and_in_order_and_answered_by_their_ids() {
    let folder = tempfile::tempdir().unwrap();
    let (address, thread) = running(folder.path());
    let mut stream = TcpStream::connect(address).unwrap();
    let batches: Vec<Bytes> = [0, 10, 100_000, 700_000, 1_000, 100_000].map(batch).into();
    let mut sent = Vec::new();
    for (id, batch) in (100..).zip(&batches) {
        sent.extend(frame(id, 13, &produce(1, batch)));
    }
    sent.extend(frame(1, 13, &produce(0, &batches[0])));
    sent.extend(frame(2, 3, &ApiVersionsRequest::default()));
    // All of them at once, while the answers are read.
    let mut writing = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || writing.write_all(&sent).unwrap());
    for id in (100..).take(batches.len()) {
        let response = answer::<ProduceRequest>(&mut stream, id, 13);
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
    let response = answer::<ApiVersionsRequest>(&mut stream, 2, 3);
    assert_eq!(response.api_keys.len(), 3);
    writer.join().unwrap();
    let mut expected = batches.concat();
    expected.extend_from_slice(&batches[0]);
    assert!(std::fs::read(folder.path().join("appended")).unwrap() == expected);

    let mut broken = batches[1].to_vec();
    *broken.last_mut().unwrap() ^= 1;
    stream
        .write_all(&frame(3, 13, &produce(1, &broken.into())))
        .unwrap();
    let error = thread.join().unwrap().unwrap_err().to_string();
    assert_eq!(error, "wrong checksum");
}

#[test]
fn fetches_are_answered_with_whole_batches_over_and_over() {
    let folder = tempfile::tempdir().unwrap();
    let (address, thread) = running(folder.path());
    let mut stream = TcpStream::connect(address).unwrap();
    let requests: Vec<u8> = (0..300).flat_map(|id| frame(id, 18, &fetch(id % 7))).collect();
    stream.write_all(&requests).unwrap();
    for id in 0..300 {
        let response = answer::<FetchRequest>(&mut stream, id, 18);
        let partition = &response.responses[0].partitions[0];
        assert_eq!(
            (partition.partition_index, partition.high_watermark),
            (id % 7, 32)
        );
        let Records::Bytes(records) = &partition.records else {
            panic!("no records");
        };
        let (first, second) = records.split_at(records.len() / 2);
        for (batch, base_offset) in [(first, 0), (second, 16)] {
            let header = BatchHeader::parse(batch).unwrap();
            assert_eq!((header.base_offset.0, header.record_count), (base_offset, 16));
            assert!(batch.len() > 16_000 && verify_crc(batch));
        }
    }
    stream.write_all(&frame(3, 12, &produce(1, &batch(1)))).unwrap();
    thread.join().unwrap().unwrap_err();
}
