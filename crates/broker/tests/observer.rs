//! A node seen from outside: its metrics and health after some requests, and the levels of its loggers.
#![allow(clippy::unwrap_used, clippy::disallowed_types, clippy::disallowed_methods)] // a program at the edge

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use klamm_broker::{Loggers, Node};
use klamm_config::{BrokerConfig, Sources};
use klamm_env::Env;
use klamm_model::{Offset, TimestampMs};
use klamm_protocol::messages::create_topics_request::CreatableTopic;
use klamm_protocol::messages::describe_configs_request::DescribeConfigsResource;
use klamm_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use klamm_protocol::messages::metadata_request::MetadataRequestTopic;
use klamm_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::messages::{
    CreateTopicsRequest, DescribeConfigsRequest, FetchRequest, IncrementalAlterConfigsRequest,
    MetadataRequest, ProduceRequest,
};
use klamm_protocol::{Message, Reader, Records, Request, ResponseHeader, Writer, encode_request};
use klamm_records::{BatchBuilder, Compression};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The resource type of loggers.
const BROKER_LOGGER: i8 = 8;

/// A log with one level.
#[derive(Default)]
struct OneLevel(Mutex<Option<&'static str>>);

impl Loggers for OneLevel {
    fn levels(&self) -> Vec<(String, &'static str)> {
        vec![("root".to_owned(), self.0.lock().unwrap().unwrap_or("INFO"))]
    }

    fn set(&self, _name: &str, level: Option<&'static str>) {
        *self.0.lock().unwrap() = level;
    }
}

struct Fixture {
    node: Node,
    loggers: Arc<OneLevel>,
    client: TcpStream,
    _folder: TempDir,
}

impl Fixture {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let set = [
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("log.dirs", path.as_str()),
        ];
        let sources = Sources {
            set: set.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            data_folder: path.clone(),
            ..Sources::default()
        };
        let (config, _) = BrokerConfig::load(&sources).unwrap();
        let loggers = Arc::new(OneLevel::default());
        let node = Node::start(Env::real(), config, loggers.clone()).await.unwrap();
        let client = TcpStream::connect(node.addresses()[0].1).await.unwrap();
        Self {
            node,
            loggers,
            client,
            _folder: folder,
        }
    }

    async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let mut writer = Writer::contiguous();
        encode_request(&mut writer, 1, None, version, request).unwrap();
        self.client.write_all(&writer.into_bytes()).await.unwrap();
        let len = self.client.read_u32().await.unwrap();
        let mut bytes = vec![0; len as usize];
        self.client.read_exact(&mut bytes).await.unwrap();
        let mut reader = Reader::new(Bytes::from(bytes));
        ResponseHeader::decode(&mut reader, R::KEY, version).unwrap();
        R::Response::decode(&mut reader, version).unwrap()
    }

    /// The value of the series `name` on the page; `None` if it is not there.
    async fn metric(&self, name: &str) -> Option<f64> {
        let page = self.node.observer().metrics().await;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_do_is_counted() {
    let mut node = Fixture::start().await;
    let health = node.node.observer().health();
    assert_eq!((health.failures, health.obstacles), (vec![], vec![]));

    let named = |name: &str| MetadataRequestTopic {
        name: Some(name.to_owned().into()),
        ..Default::default()
    };
    let unknown = MetadataRequest {
        topics: Some(vec![named("nosuch")]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    node.ask(9, &unknown).await;
    let topic = CreatableTopic {
        name: "events".into(),
        num_partitions: 2,
        replication_factor: 1,
        ..Default::default()
    };
    let create = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 10_000,
        ..Default::default()
    };
    assert_eq!(node.ask(7, &create).await.topics[0].error_code, 0);
    let mut batch = BatchBuilder::new(Compression::None);
    for _ in 0..3 {
        batch.append(TimestampMs(1), None, Some(b"value"), &[]);
    }
    produce_and_fetch(&mut node, batch.build(Offset(0)).unwrap()).await;

    for (series, expected) in [
        ("klamm_requests_total{api=\"Metadata\"}", 1.0),
        (
            "klamm_request_errors_total{api=\"Metadata\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"}",
            1.0,
        ),
        ("klamm_requests_total{api=\"Produce\"}", 1.0),
        ("klamm_produced_records_total", 3.0),
        ("klamm_requests_total{api=\"Fetch\"}", 2.0),
        // From the second record of the batch on.
        ("klamm_fetched_records_total", 2.0),
        ("klamm_response_send_seconds_count{api=\"Fetch\"}", 2.0),
        ("klamm_response_send_seconds_count{api=\"Produce\"}", 1.0),
        ("klamm_request_remote_seconds_count{api=\"Fetch\"}", 1.0),
        ("klamm_connections{listener=\"PLAINTEXT\"}", 1.0),
        ("klamm_topic_log_end_offsets{topic=\"events\"}", 3.0),
        ("klamm_topic_partitions{topic=\"events\"}", 2.0),
        ("klamm_partitions{role=\"leader\"}", 2.0),
        ("klamm_partitions_offline", 0.0),
        ("klamm_broker_fenced", 0.0),
        ("klamm_quorum_is_leader", 1.0),
        ("klamm_quorum_voters", 1.0),
    ] {
        assert_eq!(node.metric(series).await, Some(expected), "{series}");
    }
    let waited = node
        .metric("klamm_request_remote_seconds_sum{api=\"Fetch\"}")
        .await
        .unwrap();
    let local = node
        .metric("klamm_request_local_seconds_sum{api=\"Fetch\"}")
        .await
        .unwrap();
    assert!(
        waited >= 0.5 && local < waited,
        "it waited {waited}, and worked {local}"
    );
    assert!(node.metric("klamm_log_open_files").await > Some(0.0));

    // An API that nobody knows ends the connection.
    node.client
        .write_all(&[0, 0, 0, 8, 0x27, 0x0f, 0, 0, 0, 0, 0, 1])
        .await
        .unwrap();
    assert_eq!(node.client.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(
        node.metric("klamm_request_faults_total{api=\"\"}").await,
        Some(1.0)
    );
    node.node.stop().await;
}

/// Appends `batch` to a partition, reads it from its second record on, and waits at its end for half a second, which is more than
/// the work takes anywhere.
async fn produce_and_fetch(node: &mut Fixture, batch: Bytes) {
    let partition = PartitionProduceData {
        index: 0,
        records: Records::Bytes(batch),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: "events".into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    let produce = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    let produced = node.ask(9, &produce).await;
    assert_eq!(produced.responses[0].partition_responses[0].error_code, 0);
    for (fetch_offset, expected) in [(1, true), (3, false)] {
        let partition = FetchPartition {
            partition: 0,
            fetch_offset,
            partition_max_bytes: 1_000,
            ..Default::default()
        };
        let topic = FetchTopic {
            topic: "events".into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let fetch = FetchRequest {
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1_000,
            topics: vec![topic],
            ..Default::default()
        };
        let fetched = node.ask(11, &fetch).await;
        let partition = &fetched.responses[0].partitions[0];
        assert_eq!(partition.high_watermark, Offset(3).0);
        assert_eq!(!partition.records.is_empty(), expected, "at {fetch_offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_of_loggers_are_seen_and_changed() {
    let mut node = Fixture::start().await;
    let config = AlterableConfig {
        name: "root".into(),
        config_operation: 0,
        value: Some("DEBUG".into()),
        ..Default::default()
    };
    let own = node.node.observer().metrics().await;
    let id = own
        .split("klamm_node_info{node_id=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let resource = AlterConfigsResource {
        resource_type: BROKER_LOGGER,
        resource_name: id.clone().into(),
        configs: vec![config],
        ..Default::default()
    };
    let alter = IncrementalAlterConfigsRequest {
        resources: vec![resource],
        ..Default::default()
    };
    assert_eq!(node.ask(1, &alter).await.responses[0].error_code, 0);
    assert_eq!(*node.loggers.0.lock().unwrap(), Some("DEBUG"));
    let describe = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: BROKER_LOGGER,
            resource_name: id.into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let described = node.ask(4, &describe).await;
    let shown = &described.results[0].configs[0];
    assert_eq!(
        (&*shown.name, shown.value.as_deref(), shown.config_source),
        ("root", Some("DEBUG"), 6)
    );
    node.node.stop().await;
}
