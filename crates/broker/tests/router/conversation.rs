//! What is said to every node, and the answers in a form that can be compared: what is drawn by chance, found by the
//! system or measured has a name in its place.

use std::collections::BTreeMap;

use bytes::Bytes;
use klamm_broker::Node;
use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs, Uuid};
use klamm_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use klamm_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use klamm_protocol::messages::delete_topics_request::DeleteTopicState;
use klamm_protocol::messages::describe_configs_request::DescribeConfigsResource;
use klamm_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm_protocol::messages::metadata_request::MetadataRequestTopic;
use klamm_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::messages::update_features_request::FeatureUpdateKey;
use klamm_protocol::messages::{
    AlterConfigsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, FetchRequest, FindCoordinatorRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, MetadataRequest, ProduceRequest,
    UpdateFeaturesRequest, alter_configs_request, incremental_alter_configs_request,
};
use klamm_protocol::{Records, Request};
use klamm_records::{BatchBuilder, Compression};

use crate::client::Client;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Names for what differs between two nodes.
#[derive(Default)]
pub(crate) struct Names {
    by_value: BTreeMap<String, String>,
}

impl Names {
    fn add(&mut self, value: String, name: String) {
        self.by_value.entry(value).or_insert(name);
    }

    fn replace(&self, mut text: String) -> String {
        for (value, name) in &self.by_value {
            text = text.replace(value, name);
        }
        text
    }
}

/// The conversation as it goes on.
struct Talk<'a> {
    client: &'a mut Client,
    names: &'a mut Names,
    answers: Vec<String>,
}

impl<'a> Talk<'a> {
    fn new(node: &Node, client: &'a mut Client, names: &'a mut Names) -> Self {
        names.add(node.cluster_id().to_owned(), "<cluster>".to_owned());
        let port = node.addresses()[0].1.port();
        names.add(format!("port: {port},"), "port: <port>,".to_owned());
        Self {
            client,
            names,
            answers: Vec::new(),
        }
    }

    async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let response = self.client.ask(version, request).await;
        let text = self.names.replace(format!("{response:?}"));
        self.answers
            .push(format!("{:?} {version}: {request:?}\n    {text}", R::KEY));
        // A request that has an id in it is not compared with another node's.
        if let Some(last) = self.answers.last_mut() {
            *last = self.names.replace(std::mem::take(last));
        }
        response
    }

    /// Names the ids of all topics, and returns that of `topic`.
    async fn learn_ids(&mut self, topic: &str) -> Uuid {
        let response = self.client.ask(12, &all_topics()).await;
        for topic in &response.topics {
            let name = topic.name.as_deref().unwrap_or_default();
            self.names
                .add(format!("{:?}", topic.topic_id), format!("<id of {name}>"));
        }
        let found = response
            .topics
            .iter()
            .find(|each| each.name.as_deref() == Some(topic));
        found.map_or(Uuid::ZERO, |topic| topic.topic_id)
    }

    async fn create(&mut self, version: i16, validate_only: bool, topics: Vec<CreatableTopic>) {
        let request = CreateTopicsRequest {
            topics,
            timeout_ms: 10_000,
            validate_only,
            ..Default::default()
        };
        let made = self.client.ask(version, &request).await;
        for topic in made.topics.iter().filter(|topic| topic.topic_id != Uuid::ZERO) {
            let id = if validate_only {
                "<id of nothing>".to_owned()
            } else {
                format!("<id of {}>", topic.name)
            };
            self.names.add(format!("{:?}", topic.topic_id), id);
        }
        let text = format!("CreateTopics {version}: {request:?}\n    {made:?}");
        self.answers.push(self.names.replace(text));
    }

    async fn describe(&mut self, kind: i8, name: &str) {
        let resource = DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys: Some(
                [
                    "retention.ms",
                    "cleanup.policy",
                    "log.retention.ms",
                    "message.max.bytes",
                ]
                .map(Into::into)
                .into(),
            ),
            ..Default::default()
        };
        let request = DescribeConfigsRequest {
            resources: vec![resource],
            include_synonyms: true,
            ..Default::default()
        };
        self.ask(4, &request).await;
    }

    async fn set(&mut self, kind: i8, resource: &str, operation: i8, key: &str, value: Option<&str>) {
        let config = incremental_alter_configs_request::AlterableConfig {
            name: key.into(),
            config_operation: operation,
            value: value.map(Into::into),
            ..Default::default()
        };
        let resource = incremental_alter_configs_request::AlterConfigsResource {
            resource_type: kind,
            resource_name: resource.into(),
            configs: vec![config],
            ..Default::default()
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![resource],
            ..Default::default()
        };
        self.ask(1, &request).await;
    }

    async fn replace_configs(&mut self, kind: i8, resource: &str, configs: &[(&str, &str)]) {
        let configs = configs
            .iter()
            .map(|(name, value)| alter_configs_request::AlterableConfig {
                name: (*name).into(),
                value: Some((*value).into()),
                ..Default::default()
            });
        let resource = alter_configs_request::AlterConfigsResource {
            resource_type: kind,
            resource_name: resource.into(),
            configs: configs.collect(),
            ..Default::default()
        };
        let request = AlterConfigsRequest {
            resources: vec![resource],
            ..Default::default()
        };
        self.ask(2, &request).await;
    }

    async fn metadata(&mut self, topics: Option<&[&str]>, create: bool) {
        let topics = topics.map(|names| {
            let named = |name: &&str| MetadataRequestTopic {
                name: Some((*name).into()),
                ..Default::default()
            };
            names.iter().map(named).collect()
        });
        let request = MetadataRequest {
            topics,
            allow_auto_topic_creation: create,
            ..Default::default()
        };
        // An id that is new gets its name before it is told.
        self.client.ask(12, &request).await;
        self.learn_ids("").await;
        self.ask(12, &request).await;
    }

    async fn produce(&mut self, topic: &str, batch: Bytes) {
        let partition = PartitionProduceData {
            index: 0,
            records: Records::Bytes(batch),
            ..Default::default()
        };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                name: topic.into(),
                partition_data: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        };
        self.ask(11, &request).await;
    }

    async fn fetch(&mut self, topic: &str) {
        let request = FetchRequest {
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: i32::MAX,
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic: topic.into(),
                partitions: vec![FetchPartition {
                    partition_max_bytes: i32::MAX,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        self.ask(12, &request).await;
    }

    async fn features(&mut self, version: i16, validate_only: bool, feature: &str, level: i16) {
        let request = UpdateFeaturesRequest {
            timeout_ms: 10_000,
            feature_updates: vec![FeatureUpdateKey {
                feature: feature.into(),
                max_version_level: level,
                upgrade_type: 1,
                ..Default::default()
            }],
            validate_only,
            ..Default::default()
        };
        self.ask(version, &request).await;
    }

    async fn producer_ids(&mut self, count: usize) -> i64 {
        let mut last = -1;
        for _ in 0..count {
            let request = InitProducerIdRequest {
                transaction_timeout_ms: 60_000,
                ..Default::default()
            };
            last = self.ask(5, &request).await.producer_id;
        }
        last
    }

    async fn delete(&mut self, names: &[&str], ids: &[Uuid]) {
        let named = names.iter().map(|name| DeleteTopicState {
            name: Some((*name).into()),
            ..Default::default()
        });
        let identified = ids.iter().map(|id| DeleteTopicState {
            topic_id: *id,
            ..Default::default()
        });
        let request = DeleteTopicsRequest {
            topics: named.chain(identified).collect(),
            timeout_ms: 10_000,
            ..Default::default()
        };
        self.ask(6, &request).await;
    }
}

/// Asks for every topic.
pub(crate) fn all_topics() -> MetadataRequest {
    MetadataRequest {
        topics: None,
        ..Default::default()
    }
}

fn topic(name: &str, partitions: i32, replicas: i16, configs: &[(&str, &str)]) -> CreatableTopic {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
        ..Default::default()
    });
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replicas,
        configs: configs.collect(),
        ..Default::default()
    }
}

fn assigned(name: &str, broker: i32) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![CreatableReplicaAssignment {
            partition_index: 0,
            broker_ids: vec![broker],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn batch(producer: i64, sequence: i32) -> Bytes {
    let mut builder =
        BatchBuilder::new(Compression::None).producer(ProducerId(producer), ProducerEpoch(0), Some(sequence));
    builder.append(TimestampMs(1_700_000_000_000), Some(b"key"), Some(b"value"), &[]);
    builder.build(Offset(0)).unwrap()
}

async fn partitions(talk: &mut Talk<'_>, name: &str, count: i32, validate_only: bool) {
    let request = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: name.into(),
            count,
            ..Default::default()
        }],
        timeout_ms: 10_000,
        validate_only,
        ..Default::default()
    };
    talk.ask(3, &request).await;
}

async fn topics(talk: &mut Talk<'_>) {
    let kept = ("retention.ms", "86400000");
    talk.create(7, true, vec![topic("tried", 2, 1, &[])]).await;
    talk.create(
        7,
        false,
        vec![topic("events", 3, 1, &[kept]), topic("other", -1, -1, &[])],
    )
    .await;
    talk.create(5, false, vec![topic("older", 1, 1, &[])]).await;
    talk.create(2, false, vec![topic("oldest", 1, 1, &[])]).await;
    talk.create(7, false, vec![topic("events", 3, 1, &[])]).await;
    talk.create(7, false, vec![topic("b/d", 1, 1, &[]), topic("", 1, 1, &[])])
        .await;
    talk.create(7, false, vec![topic("many", 1, 3, &[]), topic("none", 0, 1, &[])])
        .await;
    talk.create(7, false, vec![topic("odd", 1, 1, &[("retention.ms", "soon")])])
        .await;
    talk.create(7, false, vec![topic("odder", 1, 1, &[("no.such.key", "1")])])
        .await;
    talk.create(7, false, vec![assigned("here", 1), assigned("nowhere", 7)])
        .await;
    talk.metadata(Some(&["made.by.asking", "b/d"]), true).await;
    talk.metadata(None, false).await;
    partitions(talk, "events", 5, true).await;
    partitions(talk, "events", 5, false).await;
    partitions(talk, "events", 4, false).await;
    partitions(talk, "nosuch", 4, false).await;
    talk.metadata(Some(&["events"]), false).await;
}

async fn configs(talk: &mut Talk<'_>) {
    talk.set(TOPIC, "events", 0, "retention.ms", Some("1000000"))
        .await;
    talk.set(TOPIC, "events", 2, "cleanup.policy", Some("compact"))
        .await;
    talk.set(TOPIC, "events", 0, "retention.ms", Some("never")).await;
    talk.set(TOPIC, "nosuch", 0, "retention.ms", Some("1")).await;
    talk.describe(TOPIC, "events").await;
    talk.replace_configs(TOPIC, "events", &[("retention.ms", "2000000")])
        .await;
    talk.describe(TOPIC, "events").await;
    // A broker's own configs are changed through that broker: which one was asked travels with the request.
    talk.set(BROKER, "1", 0, "log.retention.ms", Some("3000000"))
        .await;
    talk.set(BROKER, "2", 0, "log.retention.ms", Some("3000000"))
        .await;
    talk.set(BROKER, "", 0, "message.max.bytes", Some("2000000"))
        .await;
    talk.replace_configs(BROKER, "2", &[("log.retention.ms", "1")])
        .await;
    talk.describe(BROKER, "1").await;
    talk.set(BROKER, "", 1, "message.max.bytes", None).await;
}

/// What is said to a node that is new.
pub(crate) async fn first(node: &Node, client: &mut Client, names: &mut Names) -> Vec<String> {
    let mut talk = Talk::new(node, client, names);
    topics(&mut talk).await;
    configs(&mut talk).await;
    let producer = talk.producer_ids(3).await;
    for sequence in [0, 1, 1, 5] {
        talk.produce("other", batch(producer, sequence)).await;
    }
    talk.fetch("other").await;
    for (version, validate_only, feature, level) in [
        (0, false, "group.version", 1),
        (1, true, "eligible.leader.replicas.version", 1),
        (2, false, "no.such.feature", 1),
        (2, false, "eligible.leader.replicas.version", 9),
    ] {
        talk.features(version, validate_only, feature, level).await;
    }
    let coordinators = FindCoordinatorRequest {
        coordinator_keys: vec!["a".into(), "b".into()],
        ..Default::default()
    };
    talk.ask(4, &coordinators).await;
    talk.learn_ids("__consumer_offsets").await;
    let id = talk.learn_ids("older").await;
    talk.delete(&["oldest", "nosuch"], &[id, Uuid::from_random([7; 16])])
        .await;
    talk.metadata(None, false).await;
    talk.ask(
        1,
        &DescribeClusterRequest {
            endpoint_type: 1,
            ..Default::default()
        },
    )
    .await;
    talk.answers
}

/// What is said to it after it was stopped and started again.
pub(crate) async fn second(node: &Node, client: &mut Client, names: &mut Names) -> Vec<String> {
    let mut talk = Talk::new(node, client, names);
    talk.metadata(None, false).await;
    talk.describe(TOPIC, "events").await;
    talk.describe(BROKER, "1").await;
    // Ids that were given stay given.
    let producer = talk.producer_ids(2).await;
    talk.produce("other", batch(producer, 0)).await;
    talk.fetch("other").await;
    talk.create(
        7,
        false,
        vec![topic("oldest", 1, 1, &[]), topic("events", 1, 1, &[])],
    )
    .await;
    talk.delete(&["events"], &[]).await;
    talk.metadata(None, false).await;
    talk.answers
}
