//! A broker in this process: it keeps batches in memory and is wrong in one chosen way.
//!
//! A thread for each connection, one request after the other. It knows the topics `load` (3 partitions), `load-0` and
//! `load-1` (2 each) and `filled` (3, with 3 records each), and those that are created.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use klamm_model::{Offset, TimestampMs, Uuid};
use klamm_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use klamm_protocol::messages::create_topics_request::CreateTopicsRequest;
use klamm_protocol::messages::create_topics_response::{CreatableTopicResult, CreateTopicsResponse};
use klamm_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use klamm_protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use klamm_protocol::messages::end_txn_request::EndTxnRequest;
use klamm_protocol::messages::end_txn_response::EndTxnResponse;
use klamm_protocol::messages::fetch_request::FetchRequest;
use klamm_protocol::messages::fetch_response::{FetchResponse, FetchableTopicResponse, PartitionData};
use klamm_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use klamm_protocol::messages::list_offsets_request::ListOffsetsRequest;
use klamm_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use klamm_protocol::messages::metadata_request::MetadataRequest;
use klamm_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use klamm_protocol::messages::produce_request::ProduceRequest;
use klamm_protocol::messages::produce_response::{
    PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use klamm_protocol::{ApiKey, Message, Reader, Records, RequestHeader, Writer, encode_response};
use klamm_records::{BatchBuilder, BatchHeader, HEADER_BYTES};

use crate::coordinator::{self, Transactions};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The fifth produce request is refused.
    ProduceError,
    /// The first two answers to Produce come in the other order.
    AnswersSwapped,
    /// The fifth produce request closes its connection.
    Closes,
    /// The fifth produce request is acknowledged and not kept.
    LosesABatch,
    /// The fifth produce request is kept twice.
    DoublesABatch,
    /// No record can be fetched.
    FetchError,
    /// A fetch is answered from the batch before.
    RepeatsABatch,
    /// Produce is served up to version 12.
    OldVersions,
    /// The fifth transaction has a marker too few.
    LosesAMarker,
    /// The offsets of no transaction are kept.
    LosesOffsets,
}

/// Which produce request, or EndTxn, is treated badly.
const FIFTH: usize = 5;
const SESSION: i32 = 7;

pub(crate) struct Broker {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Topic>,
    produced: usize,
    /// The next sequence number by producer and its epoch, topic and partition.
    sequences: BTreeMap<(i64, i16, Uuid, i32), i32>,
    producers: i64,
    ended: usize,
    transactions: Transactions,
}

struct Topic {
    id: Uuid,
    partitions: Vec<Vec<Bytes>>,
}

struct Shared {
    address: SocketAddr,
    fault: Fault,
    state: Mutex<State>,
    appended: Condvar,
}

impl Broker {
    pub(crate) fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut state = State::default();
        for (name, partitions) in [("load", 3), ("load-0", 2), ("load-1", 2), ("filled", 3)] {
            state.add(name, partitions);
        }
        // Blind requests name no topic.
        state.topics.get_mut("load").unwrap().id = Uuid::ZERO;
        for partition in &mut state.topics.get_mut("filled").unwrap().partitions {
            let mut builder = BatchBuilder::default();
            for _ in 0..3 {
                builder.append(TimestampMs(1), None, Some(&[1; 200]), &[]);
            }
            append(partition, &builder.build(Offset(0)).unwrap());
        }
        let shared = Arc::new(Shared {
            address,
            fault,
            state: Mutex::new(state),
            appended: Condvar::new(),
        });
        let broker = Self {
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || Connection::new(stream).serve(&shared));
            }
        });
        broker
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The offset after the last record of each partition.
    pub(crate) fn ends(&self, topic: &str) -> Vec<i64> {
        let state = self.shared.state.lock().unwrap();
        let partitions = state.topics[topic].partitions.iter();
        partitions.map(|batches| end(batches)).collect()
    }
}

impl State {
    fn add(&mut self, name: &str, partitions: usize) {
        let id = Uuid([u8::try_from(self.topics.len() + 1).unwrap(); 16]);
        let partitions = vec![Vec::new(); partitions];
        self.topics.insert(name.to_owned(), Topic { id, partitions });
    }

    fn partition(&mut self, id: Uuid, index: i32) -> &mut Vec<Bytes> {
        let topic = self.topics.values_mut().find(|topic| topic.id == id).unwrap();
        &mut topic.partitions[index as usize]
    }
}

fn end(partition: &[Bytes]) -> i64 {
    partition
        .last()
        .map_or(0, |batch| BatchHeader::parse(batch).unwrap().next_offset().0)
}

fn append(partition: &mut Vec<Bytes>, batch: &Bytes) {
    let mut header = BatchHeader::parse(batch).unwrap();
    header.base_offset = Offset(end(partition));
    let bytes = [&header.to_bytes(), &batch[HEADER_BYTES..]].concat();
    partition.push(bytes.into());
}

/// One client.
struct Connection {
    stream: TcpStream,
    /// An answer that is held back.
    held: Option<Bytes>,
    /// The next offset of each partition of the session.
    session: BTreeMap<(Uuid, i32), i64>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            held: None,
            session: BTreeMap::new(),
        }
    }

    /// Answers until the client, or the fault, ends the connection.
    fn serve(&mut self, shared: &Shared) {
        let mut length = [0; 4];
        while self.stream.read_exact(&mut length).is_ok() {
            let mut frame = vec![0; i32::from_be_bytes(length) as usize];
            if self.stream.read_exact(&mut frame).is_err() {
                return;
            }
            let mut reader = Reader::new(frame.into());
            let header = RequestHeader::decode(&mut reader).unwrap();
            let Some(answer) = self.answer(shared, &header, &mut reader) else {
                return;
            };
            if self.stream.write_all(&answer).is_err() {
                return;
            }
        }
    }

    /// `None` ends the connection.
    fn answer(&mut self, shared: &Shared, header: &RequestHeader, reader: &mut Reader) -> Option<Bytes> {
        let version = header.api_version;
        let state = shared.state.lock().unwrap();
        match header.api_key {
            ApiKey::ApiVersions => Some(encode(header, &api_versions(shared.fault))),
            ApiKey::Metadata => Some(encode(header, &metadata(shared, &state, &read(reader, version)))),
            ApiKey::CreateTopics => Some(encode(header, &create(state, read(reader, version)))),
            ApiKey::DeleteTopics => Some(encode(header, &delete(read(reader, version)))),
            ApiKey::ListOffsets => Some(encode(header, &list_offsets(&state, read(reader, version)))),
            ApiKey::InitProducerId => {
                let mut state = state;
                state.producers += 1;
                let response = InitProducerIdResponse {
                    producer_id: state.producers,
                    ..InitProducerIdResponse::default()
                };
                Some(encode(header, &response))
            }
            ApiKey::Produce => {
                let request: ProduceRequest = read(reader, version);
                let response = produce(shared, state, &request)?;
                if request.acks == 0 {
                    return Some(Bytes::new());
                }
                Some(self.in_order(shared.fault, encode(header, &response)))
            }
            ApiKey::Fetch => Some(encode(header, &self.fetch(shared, state, read(reader, version)))),
            ApiKey::FindCoordinator => Some(encode(header, &coordinator::found(&read(reader, version)))),
            ApiKey::OffsetFetch => Some(encode(header, &state.transactions.fetch(&read(reader, version)))),
            ApiKey::TxnOffsetCommit => {
                let mut state = state;
                Some(encode(header, &state.transactions.commit(&read(reader, version))))
            }
            ApiKey::EndTxn => Some(encode(
                header,
                &end_txn(shared.fault, state, &read(reader, version)),
            )),
            other => panic!("{other:?} is not answered"),
        }
    }

    /// Holds the first answer back until the second has gone, when that is the fault.
    fn in_order(&mut self, fault: Fault, answer: Bytes) -> Bytes {
        match (fault, self.held.take()) {
            (Fault::AnswersSwapped, None) => {
                self.held = Some(answer);
                Bytes::new()
            }
            (_, Some(first)) => [answer, first].concat().into(),
            (_, None) => answer,
        }
    }

    fn fetch(
        &mut self,
        shared: &Shared,
        state: MutexGuard<'_, State>,
        request: FetchRequest,
    ) -> FetchResponse {
        let with_session = request.session_epoch >= 0;
        if request.session_epoch <= 0 {
            self.session.clear();
        }
        for topic in &request.topics {
            for partition in &topic.partitions {
                let key = (topic.topic_id, partition.partition);
                self.session.insert(key, partition.fetch_offset);
            }
        }
        let session = &self.session;
        let empty = |state: &mut State| {
            let mut wanted = session.iter();
            wanted.all(|((id, index), offset)| end(state.partition(*id, *index)) <= *offset)
        };
        let patience = Duration::from_millis(20);
        let waited = shared.appended.wait_timeout_while(state, patience, empty);
        let mut state = waited.unwrap().0;
        let mut responses: Vec<FetchableTopicResponse> = Vec::new();
        for ((id, index), offset) in session {
            let batches = state.partition(*id, *index);
            if with_session && end(batches) <= *offset {
                continue;
            }
            if responses.last().is_none_or(|last| last.topic_id != *id) {
                responses.push(FetchableTopicResponse {
                    topic_id: *id,
                    ..FetchableTopicResponse::default()
                });
            }
            let data = partition_data(shared.fault, *index, batches, *offset);
            responses.last_mut().unwrap().partitions.push(data);
        }
        FetchResponse {
            session_id: if with_session { SESSION } else { 0 },
            responses,
            ..FetchResponse::default()
        }
    }
}

fn partition_data(fault: Fault, partition_index: i32, batches: &[Bytes], offset: i64) -> PartitionData {
    let from = offset - i64::from(fault == Fault::RepeatsABatch);
    let wanted = batches
        .iter()
        .filter(|batch| BatchHeader::parse(batch).unwrap().last_offset().0 >= from);
    let wanted: Vec<Bytes> = wanted.cloned().collect();
    PartitionData {
        partition_index,
        error_code: i16::from(fault == Fault::FetchError),
        high_watermark: end(batches),
        records: Records::Bytes(wanted.concat().into()),
        ..PartitionData::default()
    }
}

fn read<M: Message>(reader: &mut Reader, version: i16) -> M {
    let request = M::decode(reader, version).unwrap();
    reader.finish().unwrap();
    request
}

fn encode(header: &RequestHeader, response: &impl Message) -> Bytes {
    let mut writer = Writer::contiguous();
    let (id, version) = (header.correlation_id, header.api_version);
    encode_response(&mut writer, header.api_key, id, version, response).unwrap();
    writer.into_bytes()
}

fn api_versions(fault: Fault) -> ApiVersionsResponse {
    let api = |key: i16| ApiVersion {
        api_key: key,
        min_version: 0,
        max_version: if fault == Fault::OldVersions { 12 } else { 18 },
        ..ApiVersion::default()
    };
    ApiVersionsResponse {
        api_keys: (0..40).map(api).collect(),
        ..ApiVersionsResponse::default()
    }
}

fn metadata(shared: &Shared, state: &State, request: &MetadataRequest) -> MetadataResponse {
    let topic = |name: &str| match state.topics.get(name) {
        Some(topic) => MetadataResponseTopic {
            name: Some(name.into()),
            topic_id: topic.id,
            partitions: (0..topic.partitions.len())
                .map(|index| MetadataResponsePartition {
                    partition_index: index as i32,
                    leader_id: 1,
                    ..MetadataResponsePartition::default()
                })
                .collect(),
            ..MetadataResponseTopic::default()
        },
        None => MetadataResponseTopic {
            error_code: 3,
            name: Some(name.into()),
            ..MetadataResponseTopic::default()
        },
    };
    let names = request.topics.iter().flatten();
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: 1,
            host: shared.address.ip().to_string().into(),
            port: i32::from(shared.address.port()),
            ..MetadataResponseBroker::default()
        }],
        topics: names
            .map(|one| topic(one.name.as_deref().unwrap_or_default()))
            .collect(),
        ..MetadataResponse::default()
    }
}

fn create(mut state: MutexGuard<'_, State>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut topics = Vec::new();
    for topic in request.topics {
        let exists = state.topics.contains_key(&*topic.name);
        if !exists {
            state.add(&topic.name, topic.num_partitions as usize);
        }
        topics.push(CreatableTopicResult {
            error_code: if exists { 36 } else { 0 },
            name: topic.name,
            ..CreatableTopicResult::default()
        });
    }
    CreateTopicsResponse {
        topics,
        ..CreateTopicsResponse::default()
    }
}

fn delete(request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let deleted =
        |topic: klamm_protocol::messages::delete_topics_request::DeleteTopicState| DeletableTopicResult {
            name: topic.name,
            ..DeletableTopicResult::default()
        };
    DeleteTopicsResponse {
        responses: request.topics.into_iter().map(deleted).collect(),
        ..DeleteTopicsResponse::default()
    }
}

fn list_offsets(state: &State, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let mut topics = Vec::new();
    for topic in request.topics {
        let kept = &state.topics[&*topic.name].partitions;
        let partitions = topic.partitions.iter().map(|asked| ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            offset: end(&kept[asked.partition_index as usize]),
            ..ListOffsetsPartitionResponse::default()
        });
        topics.push(ListOffsetsTopicResponse {
            partitions: partitions.collect(),
            name: topic.name,
            ..ListOffsetsTopicResponse::default()
        });
    }
    ListOffsetsResponse {
        topics,
        ..ListOffsetsResponse::default()
    }
}

/// `None` ends the connection.
fn produce(
    shared: &Shared,
    mut state: MutexGuard<'_, State>,
    request: &ProduceRequest,
) -> Option<ProduceResponse> {
    state.produced += 1;
    let fault = shared.fault;
    let fault = if state.produced == FIFTH {
        fault
    } else {
        Fault::None
    };
    if fault == Fault::Closes {
        return None;
    }
    let mut responses = Vec::new();
    for topic in &request.topic_data {
        let mut partition_responses = Vec::new();
        for data in &topic.partition_data {
            let batch = data.records.bytes().unwrap();
            let in_order =
                fault == Fault::ProduceError || in_sequence(&mut state, topic.topic_id, data.index, batch);
            let times = match fault {
                Fault::ProduceError | Fault::LosesABatch => 0,
                Fault::DoublesABatch => 2,
                _ => 1,
            };
            for _ in 0..times {
                append(state.partition(topic.topic_id, data.index), batch);
                let header = BatchHeader::parse(batch).unwrap();
                if header.is_transactional() {
                    let producer = header.producer_id;
                    state.transactions.appended(producer, topic.topic_id, data.index);
                }
            }
            partition_responses.push(PartitionProduceResponse {
                index: data.index,
                error_code: match (fault, in_order) {
                    (Fault::ProduceError, _) => 19,
                    (_, true) => 0,
                    (_, false) => 45,
                },
                ..PartitionProduceResponse::default()
            });
        }
        responses.push(TopicProduceResponse {
            topic_id: topic.topic_id,
            partition_responses,
            ..TopicProduceResponse::default()
        });
    }
    shared.appended.notify_all();
    Some(ProduceResponse {
        responses,
        ..ProduceResponse::default()
    })
}

fn end_txn(fault: Fault, mut state: MutexGuard<'_, State>, request: &EndTxnRequest) -> EndTxnResponse {
    state.ended += 1;
    let (response, mut markers) = state.transactions.end(request, fault == Fault::LosesOffsets);
    if fault == Fault::LosesAMarker && state.ended == FIFTH {
        markers.pop();
    }
    for (topic, partition, marker) in markers {
        append(state.partition(topic, partition), &marker);
    }
    response
}

/// Whether the batch of an idempotent producer follows its last one.
fn in_sequence(state: &mut State, topic: Uuid, partition: i32, batch: &Bytes) -> bool {
    let header = BatchHeader::parse(batch).unwrap();
    let Some(producer) = header.producer() else {
        return true;
    };
    let next = state
        .sequences
        .entry((producer.id.0, producer.epoch.0, topic, partition))
        .or_default();
    let follows = producer.base_sequence == Some(*next);
    *next += header.record_count;
    follows
}
