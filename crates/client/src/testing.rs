//! A broker in memory for the tests of this crate: it keeps batches and sequences as a real one does, and fails as told.
//!
//! Always holds: nothing is shared with the client's own code but the messages, so a belief that both would have wrong
//! shows against a real broker only.

mod frames;
pub(crate) mod groups;
mod log;
mod reads;
pub(crate) mod transactions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use klamm_env::Env;
use klamm_env::sim::{self, Simulation};
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse, FinalizedFeatureKey};
use klamm_protocol::messages::{
    fetch_request::FetchRequest, init_producer_id_request::InitProducerIdRequest,
    init_producer_id_response::InitProducerIdResponse, list_offsets_request::ListOffsetsRequest,
    metadata_request::MetadataRequest, metadata_response as metadata, produce_request::ProduceRequest,
    produce_response as produce,
};
use klamm_protocol::{ApiKey, Message, Reader, Request, RequestHeader, Writer, encode_response};
use klamm_records::{Batch, Batches};
use parking_lot::Mutex;

use crate::address::HostPort;
use crate::client::{Client, ClientConfig};

pub(crate) use frames::Frames;
pub(crate) use log::Log;

/// What the broker does wrong, once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The request is not carried out, the connection ends.
    CloseBefore,
    /// The request is carried out, the connection ends without an answer.
    CloseAfter,
    /// The request is not carried out, and answered with this.
    Refuse(ErrorCode),
    /// The request is carried out, and answered with this.
    RefuseAfter(ErrorCode),
    /// Nothing is wrong.
    Nothing,
}

/// The broker.
#[derive(Default)]
pub(crate) struct Broker {
    pub(crate) topics: BTreeMap<String, Vec<Log>>,
    /// What goes wrong with the next Produce requests.
    pub(crate) faults: VecDeque<Fault>,
    /// Batches above this are refused.
    pub(crate) max_batch_bytes: Option<usize>,
    /// Versions that differ from those of the schemas.
    pub(crate) versions: BTreeMap<ApiKey, (i16, i16)>,
    /// How long the next answers to an API take.
    pub(crate) delays: BTreeMap<ApiKey, VecDeque<Duration>>,
    /// Partitions without a leader.
    pub(crate) unled: BTreeSet<(String, i32)>,
    /// Partitions of which no offset is told, but this.
    pub(crate) untold: BTreeMap<(String, i32), ErrorCode>,
    pub(crate) connections: usize,
    pub(crate) produce_requests: usize,
    pub(crate) groups: groups::Groups,
    pub(crate) transactions: transactions::Transactions,
    next_producer: i64,
}

pub(crate) type Shared = Arc<Mutex<Broker>>;

/// The port of every broker.
pub(crate) const PORT: u16 = 9092;

/// After which time a broker listens.
pub(crate) const UP: Duration = Duration::from_millis(10);

/// A broker with these topics and numbers of partitions.
pub(crate) fn broker(topics: &[(&str, usize)]) -> Shared {
    let topics = topics.iter().map(|(name, partitions)| {
        let logs = (0..*partitions).map(|_| Log::default()).collect();
        ((*name).to_owned(), logs)
    });
    Arc::new(Mutex::new(Broker {
        topics: topics.collect(),
        ..Broker::default()
    }))
}

/// Runs `test` as a client of `broker`.
pub(crate) fn with_broker<F>(broker: &Shared, test: impl FnOnce(Env) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let run = sim::run(7, |simulation: &mut Simulation| {
        let shared = broker.clone();
        simulation.host("broker", move |env| {
            let shared = shared.clone();
            async move {
                serve(env, shared).await?;
                Ok(())
            }
        });
        simulation.run_for(UP).unwrap();
        simulation.client("client", |env| {
            let test = test(env);
            async move {
                test.await;
                Ok(())
            }
        });
        simulation.run()
    });
    run.value.unwrap();
}

pub(crate) fn address() -> HostPort {
    format!("broker:{PORT}").parse().unwrap()
}

pub(crate) async fn client(env: &Env) -> Client {
    let mut config = ClientConfig::new(vec![address()]);
    config.request_timeout = Duration::from_secs(5);
    config.deadline = Duration::from_secs(20);
    Client::connect(env.clone(), config).await.unwrap()
}

/// Listens and answers.
pub(crate) async fn serve(env: Env, broker: Shared) -> std::io::Result<()> {
    let listener = env.network().listen("0.0.0.0", PORT).await?;
    loop {
        let stream = listener.accept().await?;
        broker.lock().connections += 1;
        let (env, broker) = (env.clone(), broker.clone());
        drop(env.clone().spawn(async move {
            let mut connection = Frames::new(stream);
            while let Some(frame) = connection.read().await {
                let api = frame
                    .first_chunk()
                    .and_then(|key| ApiKey::from_i16(i16::from_be_bytes(*key)));
                let (answer, close) = broker.lock().handle(frame);
                let delay = api.and_then(|api| broker.lock().delays.get_mut(&api)?.pop_front());
                if let Some(delay) = delay {
                    env.sleep(delay).await;
                }
                if let Some(answer) = answer.filter(|_| !close) {
                    connection.write(answer).await;
                } else if close {
                    return;
                }
            }
        }));
    }
}

/// A whole answer, with its length.
pub(crate) fn answer<M: Message>(api: ApiKey, correlation_id: i32, version: i16, message: &M) -> Bytes {
    let mut writer = Writer::contiguous();
    encode_response(&mut writer, api, correlation_id, version, message).unwrap();
    writer.into_bytes()
}

impl Broker {
    fn range(&self, api: ApiKey) -> (i16, i16) {
        let range = api.stable_versions();
        self.versions
            .get(&api)
            .copied()
            .unwrap_or((*range.start(), *range.end()))
    }

    /// The answer, and whether the connection is to be closed instead.
    fn handle(&mut self, frame: Bytes) -> (Option<Bytes>, bool) {
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader).unwrap();
        let version = header.api_version;
        let known = (self.range(header.api_key).0..=self.range(header.api_key).1).contains(&version);
        let mut close = false;
        let (key, id) = (header.api_key, header.correlation_id);
        let bytes = match key {
            ApiKey::ApiVersions => answer(
                key,
                id,
                if known { version } else { 0 },
                &self.api_versions(known),
            ),
            _ if !known => return (None, true),
            ApiKey::Metadata => answer(
                key,
                id,
                version,
                &self.metadata(read::<MetadataRequest>(reader, version)),
            ),
            ApiKey::InitProducerId => {
                let request = read::<InitProducerIdRequest>(reader, version);
                let response = match &request.transactional_id {
                    Some(_) => self.transactions.name(&request, &self.topics),
                    None => self.name(),
                };
                answer(key, id, version, &response)
            }
            ApiKey::Produce => {
                self.produce_requests += 1;
                let fault = self.faults.pop_front().unwrap_or(Fault::Nothing);
                close = matches!(fault, Fault::CloseBefore | Fault::CloseAfter);
                let request = read::<ProduceRequest>(reader, version);
                answer(key, id, version, &self.produce(request, version, fault))
            }
            ApiKey::Fetch => answer(
                key,
                id,
                version,
                &self.fetch(read::<FetchRequest>(reader, version), version),
            ),
            ApiKey::ListOffsets => answer(
                key,
                id,
                version,
                &self.list_offsets(read::<ListOffsetsRequest>(reader, version)),
            ),
            other if transactions::APIS.contains(&other) => {
                let (bytes, is_lost) = self.transactions.handle(other, id, version, reader, &self.topics);
                close = is_lost;
                bytes
            }
            other => match self.groups.handle(other, id, version, reader) {
                Some(bytes) => bytes,
                None => panic!("{other} is not played"),
            },
        };
        (Some(bytes), close)
    }

    fn name(&mut self) -> InitProducerIdResponse {
        self.next_producer += 1;
        InitProducerIdResponse {
            producer_id: self.next_producer,
            producer_epoch: 0,
            ..InitProducerIdResponse::default()
        }
    }

    fn api_versions(&self, known: bool) -> ApiVersionsResponse {
        let served = [
            ApiKey::Produce,
            ApiKey::Fetch,
            ApiKey::ListOffsets,
            ApiKey::Metadata,
            ApiKey::ApiVersions,
            ApiKey::InitProducerId,
        ];
        let coordinators = groups::APIS.into_iter().chain(transactions::APIS);
        let api_keys = served.into_iter().chain(coordinators).map(|api| {
            let (min_version, max_version) = self.range(api);
            ApiVersion {
                api_key: api.to_i16(),
                min_version,
                max_version,
                ..ApiVersion::default()
            }
        });
        ApiVersionsResponse {
            error_code: if known {
                0
            } else {
                ErrorCode::UnsupportedVersion.code()
            },
            api_keys: api_keys.collect(),
            finalized_features: vec![
                feature("group.version", i16::from(self.groups.is_modern)),
                feature("transaction.version", self.transactions.level),
            ],
            ..ApiVersionsResponse::default()
        }
    }

    fn metadata(&self, request: MetadataRequest) -> metadata::MetadataResponse {
        let names: Vec<String> = match request.topics {
            Some(topics) => topics
                .into_iter()
                .map(|topic| topic.name.unwrap().to_string())
                .collect(),
            None => self.topics.keys().cloned().collect(),
        };
        let topics = names.into_iter().map(|name| {
            let logs = self.topics.get(&name);
            let partitions = (0..logs.map_or(0, Vec::len)).map(|index| metadata::MetadataResponsePartition {
                partition_index: index as i32,
                leader_id: if self.unled.contains(&(name.clone(), index as i32)) {
                    -1
                } else {
                    1
                },
                leader_epoch: 0,
                replica_nodes: vec![1],
                isr_nodes: vec![1],
                ..Default::default()
            });
            metadata::MetadataResponseTopic {
                error_code: logs
                    .map_or(ErrorCode::UnknownTopicOrPartition, |_| ErrorCode::None)
                    .code(),
                topic_id: topic_id(&name),
                partitions: partitions.collect(),
                name: Some(name.into()),
                ..Default::default()
            }
        });
        metadata::MetadataResponse {
            brokers: vec![metadata::MetadataResponseBroker {
                node_id: 1,
                host: "broker".into(),
                port: i32::from(PORT),
                ..Default::default()
            }],
            controller_id: 1,
            topics: topics.collect(),
            ..Default::default()
        }
    }

    fn name_of(&self, name: &str, id: Uuid) -> String {
        if !name.is_empty() {
            return name.to_owned();
        }
        let found = self.topics.keys().find(|name| topic_id(name) == id);
        found.cloned().unwrap_or_default()
    }

    fn produce(&mut self, request: ProduceRequest, version: i16, fault: Fault) -> produce::ProduceResponse {
        let transactional_id = request.transactional_id.as_deref();
        let mut response = produce::ProduceResponse::default();
        for topic in request.topic_data {
            let name = self.name_of(&topic.name, topic.topic_id);
            let mut answered = produce::TopicProduceResponse {
                name: if version < 13 { topic.name } else { "".into() },
                topic_id: if version < 13 { Uuid::ZERO } else { topic.topic_id },
                ..Default::default()
            };
            for data in topic.partition_data {
                let batch = Batch::parse(data.records.bytes().unwrap()).unwrap();
                let checked = match transactional_id {
                    Some(id) => {
                        let log = &self.topics[&name][data.index as usize];
                        self.transactions
                            .check((id, version), (&*name, data.index), &batch, log)
                    }
                    None => {
                        assert!(!batch.header().is_transactional());
                        Ok(())
                    }
                };
                let result = checked.and_then(|()| self.append(&name, data.index as usize, batch, fault));
                answered
                    .partition_responses
                    .push(produce::PartitionProduceResponse {
                        index: data.index,
                        error_code: result.err().unwrap_or(ErrorCode::None).code(),
                        base_offset: result.unwrap_or(-1),
                        ..Default::default()
                    });
            }
            response.responses.push(answered);
        }
        response
    }

    fn append(&mut self, name: &str, partition: usize, batch: Batch, fault: Fault) -> Result<i64, ErrorCode> {
        match fault {
            Fault::CloseBefore => return Err(ErrorCode::UnknownServerError),
            Fault::Refuse(code) => return Err(code),
            _ => {}
        }
        if self
            .max_batch_bytes
            .is_some_and(|most| batch.bytes().len() > most)
        {
            return Err(ErrorCode::MessageTooLarge);
        }
        let log = self
            .topics
            .get_mut(name)
            .and_then(|logs| logs.get_mut(partition))
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let offset = log.append(batch)?;
        match fault {
            Fault::RefuseAfter(code) => Err(code),
            _ => Ok(offset),
        }
    }

    /// The values in a partition.
    pub(crate) fn values(&self, topic: &str, partition: usize) -> Vec<String> {
        let records = self.topics[topic][partition].records().into_iter();
        records
            .map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap())
            .collect()
    }
}

fn feature(name: &'static str, level: i16) -> FinalizedFeatureKey {
    FinalizedFeatureKey {
        name: name.into(),
        max_version_level: level,
        ..FinalizedFeatureKey::default()
    }
}

fn read<R: Request>(mut reader: Reader, version: i16) -> R {
    R::decode(&mut reader, version).unwrap()
}

fn topic_id(name: &str) -> Uuid {
    let mut bytes = [1; 16];
    for (byte, c) in bytes.iter_mut().zip(name.bytes()) {
        *byte = c;
    }
    Uuid(bytes)
}

/// The batches in a Produce request's bytes, for tests of what is sent.
pub(crate) fn only_batch(bytes: &Bytes) -> Batch {
    let mut batches = Batches::new(bytes.clone());
    let batch = batches.next().unwrap().unwrap();
    assert!(batches.next().is_none());
    batch
}
