//! A client that says exactly what it is told to.

use bytes::{Buf, Bytes, BytesMut};
use klamm_model::{Offset, ProducerEpoch, ProducerId, TimestampMs, Uuid};
use klamm_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use klamm_protocol::messages::describe_configs_request::DescribeConfigsResource;
use klamm_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm_protocol::messages::fetch_response::PartitionData;
use klamm_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use klamm_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm_protocol::messages::metadata_request::MetadataRequestTopic;
use klamm_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::messages::produce_response::PartitionProduceResponse;
use klamm_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, FetchRequest, FetchResponse,
    IncrementalAlterConfigsRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
};
use klamm_protocol::{Message, Reader, Records, Request, ResponseHeader, Writer, encode_request};
use klamm_records::{BatchBuilder, Compression};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: DuplexStream,
}

/// The frame of a request.
pub(crate) fn frame<R: Request>(version: i16, request: &R) -> Bytes {
    let mut writer = Writer::contiguous();
    encode_request(&mut writer, 1, None, version, request).unwrap();
    writer.into_bytes()
}

impl Client {
    pub(crate) fn new(stream: DuplexStream) -> Self {
        Self { stream }
    }

    /// Asks and returns the answer; `None` when the connection was closed instead.
    pub(crate) async fn ask<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        self.stream.write_all(&frame(version, request)).await.ok()?;
        let mut reader = Reader::new(self.receive().await?);
        ResponseHeader::decode(&mut reader, R::KEY, version).unwrap();
        Some(R::Response::decode(&mut reader, version).unwrap())
    }

    /// The next frame; `None` when the connection was closed.
    pub(crate) async fn receive(&mut self) -> Option<Bytes> {
        let len = self.stream.read_u32().await.ok()?;
        let mut bytes = BytesMut::zeroed(usize::try_from(len).unwrap());
        self.stream.read_exact(&mut bytes).await.ok()?;
        Some(bytes.freeze())
    }

    /// Whether the broker still serves the connection.
    pub(crate) async fn is_served(&mut self) -> bool {
        self.ask(0, &klamm_protocol::messages::ApiVersionsRequest::default())
            .await
            .is_some()
    }

    /// Makes a topic and returns the error code.
    pub(crate) async fn try_create(
        &mut self,
        name: &str,
        partitions: i32,
        replicas: i16,
        configs: &[(&str, &str)],
    ) -> (i16, i32) {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..Default::default()
        });
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: replicas,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        let response = self.ask(7, &request).await.unwrap();
        (response.topics[0].error_code, response.topics[0].num_partitions)
    }

    /// Makes a topic.
    pub(crate) async fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let (code, _) = self.try_create(name, partitions, 1, configs).await;
        assert_eq!(code, 0, "{configs:?}");
    }

    /// Deletes a topic.
    pub(crate) async fn delete(&mut self, name: &'static str) {
        let request = DeleteTopicsRequest {
            topic_names: vec![name.into()],
            timeout_ms: 1000,
            ..Default::default()
        };
        let response = self.ask(5, &request).await.unwrap();
        assert_eq!(response.responses[0].error_code, 0);
    }

    /// Sets a key of a resource while the node runs.
    pub(crate) async fn set(&mut self, kind: i8, resource: &str, key: &str, value: &str) {
        let (code, message) = self.try_set(kind, resource, key, value).await;
        assert_eq!(code, 0, "{key}={value}: {message:?}");
        // The answer says that it is decided; what follows must see it carried out.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    /// The same, whatever becomes of it: the error code, and what is said about it.
    pub(crate) async fn try_set(
        &mut self,
        kind: i8,
        resource: &str,
        key: &str,
        value: &str,
    ) -> (i16, Option<String>) {
        let config = AlterableConfig {
            name: key.into(),
            config_operation: 0,
            value: Some(value.into()),
            ..Default::default()
        };
        let resource = AlterConfigsResource {
            resource_type: kind,
            resource_name: resource.into(),
            configs: vec![config],
            ..Default::default()
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![resource],
            ..Default::default()
        };
        let response = self.ask(1, &request).await.unwrap();
        let answer = &response.responses[0];
        let message = answer.error_message.as_ref().map(ToString::to_string);
        (answer.error_code, message)
    }

    /// The value of a key of a resource; `None` if it has none.
    pub(crate) async fn config(&mut self, kind: i8, resource: &str, key: &str) -> Option<String> {
        let resource = DescribeConfigsResource {
            resource_type: kind,
            resource_name: resource.into(),
            configuration_keys: Some(vec![key.into()]),
            ..Default::default()
        };
        let request = DescribeConfigsRequest {
            resources: vec![resource],
            ..Default::default()
        };
        let mut response = self.ask(4, &request).await.unwrap();
        let told = response.results.remove(0).configs.pop()?;
        told.value.map(|value| value.to_string())
    }

    /// The id of a topic.
    pub(crate) async fn topic_id(&mut self, name: &str) -> Uuid {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(name.into()),
                ..Default::default()
            }]),
            ..Default::default()
        };
        self.ask(12, &request).await.unwrap().topics[0].topic_id
    }

    /// Asks for a batch to be stored on all replicas.
    pub(crate) fn produce_request(topic: &str, index: i32, batch: Bytes) -> ProduceRequest {
        let partition = PartitionProduceData {
            index,
            records: Records::Bytes(batch),
            ..Default::default()
        };
        ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: topic.into(),
                partition_data: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    /// Produces a batch to a partition.
    pub(crate) async fn produce_to(
        &mut self,
        topic: &str,
        index: i32,
        batch: Bytes,
    ) -> PartitionProduceResponse {
        let request = Self::produce_request(topic, index, batch);
        let mut response = self.ask(11, &request).await.unwrap();
        response.responses.remove(0).partition_responses.remove(0)
    }

    /// Produces a batch to the first partition of `t` and returns the error code.
    pub(crate) async fn try_produce(&mut self, batch: Bytes) -> i16 {
        self.produce_to("t", 0, batch).await.error_code
    }

    /// Produces a batch to the first partition of `t`.
    pub(crate) async fn produce(&mut self, batch: Bytes) {
        assert_eq!(self.try_produce(batch).await, 0);
    }

    /// A fetch of the first partition of `t` from an offset on.
    pub(crate) fn fetch_request(offset: i64) -> FetchRequest {
        let partition = FetchPartition {
            partition: 0,
            fetch_offset: offset,
            partition_max_bytes: i32::MAX,
            ..Default::default()
        };
        FetchRequest {
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: i32::MAX,
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic: "t".into(),
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    /// Fetches the first partition of `t` from an offset on.
    pub(crate) async fn fetch(&mut self, offset: i64) -> PartitionData {
        let mut response: FetchResponse = self.ask(12, &Self::fetch_request(offset)).await.unwrap();
        assert_eq!(response.error_code, 0);
        response.responses.remove(0).partitions.remove(0)
    }

    /// The first offset of the first partition of `t`.
    pub(crate) async fn start_offset(&mut self) -> i64 {
        let partition = ListOffsetsPartition {
            timestamp: -2,
            ..Default::default()
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: "t".into(),
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        };
        let response = self.ask(7, &request).await.unwrap();
        response.topics[0].partitions[0].offset
    }
}

/// A batch of one record of so many bytes.
pub(crate) fn batch(timestamp: i64, bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::default();
    builder.append(
        TimestampMs(timestamp),
        Some(b"key"),
        Some(&vec![b'v'; bytes]),
        &[],
    );
    builder.build(Offset(0)).unwrap()
}

/// A batch of an idempotent producer.
pub(crate) fn batch_of_producer(timestamp: i64, id: i64, sequence: i32) -> Bytes {
    let mut builder =
        BatchBuilder::new(Compression::None).producer(ProducerId(id), ProducerEpoch(0), Some(sequence));
    builder.append(TimestampMs(timestamp), None, Some(b"value"), &[]);
    builder.build(Offset(0)).unwrap()
}

/// The bytes of the records in an answer.
pub(crate) fn bytes_of(data: &PartitionData) -> Bytes {
    match &data.records {
        Records::Bytes(bytes) => bytes.clone(),
        Records::Null | Records::External { .. } => Bytes::new(),
    }
}

/// How many batches they are.
pub(crate) fn batch_count(mut bytes: Bytes) -> usize {
    let mut count = 0;
    while !bytes.is_empty() {
        let size = klamm_records::BatchHeader::peek_size(&bytes).unwrap();
        bytes.advance(size);
        count += 1;
    }
    count
}
