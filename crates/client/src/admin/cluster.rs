//! What the cluster and its brokers are.

use std::collections::BTreeMap;

use klamm_model::{BrokerId, Offset, TopicPartition};
use klamm_protocol::ApiKey;
use klamm_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use klamm_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use klamm_protocol::messages::describe_quorum_request::{DescribeQuorumRequest, PartitionData, TopicData};
use klamm_protocol::messages::describe_quorum_response::ReplicaState;

use super::Admin;
use crate::address::HostPort;
use crate::client::Target;
use crate::error::{ClientError, Refusal};

/// The topic that carries the metadata log.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Its identifier.
    pub id: String,
    /// The broker that speaks for the controller.
    pub controller: Option<BrokerId>,
    /// Its brokers.
    pub brokers: Vec<BrokerDescription>,
    /// The finalized features of the broker that answered, and their levels.
    pub features: BTreeMap<String, i16>,
}

/// A broker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerDescription {
    /// Its `node.id`.
    pub id: BrokerId,
    /// Where it says that it can be reached.
    pub address: HostPort,
    /// Its `broker.rack`.
    pub rack: Option<String>,
    /// Whether it is known, but not taken to be alive.
    pub is_fenced: bool,
}

/// The quorum that carries the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Who leads it.
    pub leader: Option<i32>,
    /// Since which change of leaders.
    pub leader_epoch: i32,
    /// Up to where the metadata log is committed.
    pub high_watermark: Offset,
    /// Who votes.
    pub voters: Vec<QuorumReplica>,
    /// Who follows without a vote.
    pub observers: Vec<QuorumReplica>,
}

/// A member of the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumReplica {
    /// Its `node.id`.
    pub id: i32,
    /// Up to where it has the metadata log; `None` where that is not known.
    pub log_end_offset: Option<Offset>,
}

/// A log dir of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDir {
    /// Its path on the broker.
    pub path: String,
    /// What is wrong with it, if anything is.
    pub error: Option<Refusal>,
    /// Bytes of its file system, where the broker says so.
    pub total_bytes: Option<u64>,
    /// Bytes free of them.
    pub usable_bytes: Option<u64>,
    /// The replicas in it.
    pub replicas: Vec<LogDirReplica>,
}

/// A replica in a log dir.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirReplica {
    /// Of which partition.
    pub partition: TopicPartition,
    /// Its size.
    pub size_bytes: u64,
    /// How far it is behind.
    pub offset_lag: i64,
    /// Whether it will replace the one in another log dir.
    pub is_future: bool,
}

impl Admin {
    /// The cluster and its brokers.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        self.client
            .retrying(|| async {
                let connection = self.client.connection(Target::Any).await?;
                let version = connection.version_of::<DescribeClusterRequest>(i16::MAX)?;
                let request = DescribeClusterRequest {
                    // Fenced brokers are listed from version 2 on (KIP-1073).
                    include_fenced_brokers: version >= 2,
                    ..DescribeClusterRequest::default()
                };
                let response = connection.submit(version, &request).await?.answer().await?;
                Refusal::check(response.error_code, response.error_message.as_ref())
                    .map_err(|refusal| ClientError::refused(ApiKey::DescribeCluster, refusal))?;
                let mut brokers: Vec<BrokerDescription> = response
                    .brokers
                    .into_iter()
                    .map(|broker| BrokerDescription {
                        id: BrokerId(broker.broker_id),
                        address: HostPort {
                            host: broker.host.to_string(),
                            port: u16::try_from(broker.port).unwrap_or_default(),
                        },
                        rack: broker.rack.map(|rack| rack.to_string()),
                        is_fenced: broker.is_fenced,
                    })
                    .collect();
                brokers.sort_by_key(|broker| broker.id);
                Ok(ClusterDescription {
                    id: response.cluster_id.to_string(),
                    controller: (response.controller_id >= 0).then_some(BrokerId(response.controller_id)),
                    brokers,
                    features: connection.versions().features().clone(),
                })
            })
            .await
    }

    /// The quorum that carries the metadata.
    pub async fn describe_quorum(&self) -> Result<Quorum, ClientError> {
        let request = DescribeQuorumRequest {
            topics: vec![TopicData {
                topic_name: METADATA_TOPIC.into(),
                partitions: vec![PartitionData::default()],
                ..TopicData::default()
            }],
            ..DescribeQuorumRequest::default()
        };
        self.client
            .retrying(|| async {
                let response = self.client.call_once(Target::Any, &request).await?;
                let refused = |refusal| ClientError::refused(ApiKey::DescribeQuorum, refusal);
                Refusal::check(response.error_code, response.error_message.as_ref()).map_err(refused)?;
                let unanswered = || Refusal::new(klamm_model::ErrorCode::UnknownServerError);
                let mut partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
                let partition = partitions.next().ok_or_else(unanswered).map_err(refused)?;
                Refusal::check(partition.error_code, partition.error_message.as_ref()).map_err(refused)?;
                Ok(Quorum {
                    leader: (partition.leader_id >= 0).then_some(partition.leader_id),
                    leader_epoch: partition.leader_epoch,
                    high_watermark: Offset(partition.high_watermark),
                    voters: partition.current_voters.iter().map(replica).collect(),
                    observers: partition.observers.iter().map(replica).collect(),
                })
            })
            .await
    }

    /// The log dirs of a broker, with all replicas in them.
    pub async fn log_dirs(&self, broker: BrokerId) -> Result<Vec<LogDir>, ClientError> {
        let request = DescribeLogDirsRequest {
            topics: None,
            ..DescribeLogDirsRequest::default()
        };
        self.client
            .retrying(|| async {
                let target = Target::Broker(broker);
                let response = self.client.call_once(target, &request).await?;
                Refusal::check(response.error_code, None)
                    .map_err(|refusal| ClientError::refused(ApiKey::DescribeLogDirs, refusal))?;
                let dirs = response.results.into_iter().map(|dir| LogDir {
                    path: dir.log_dir.to_string(),
                    error: Refusal::check(dir.error_code, None).err(),
                    total_bytes: u64::try_from(dir.total_bytes).ok(),
                    usable_bytes: u64::try_from(dir.usable_bytes).ok(),
                    replicas: dir
                        .topics
                        .iter()
                        .flat_map(|topic| {
                            topic.partitions.iter().map(|replica| LogDirReplica {
                                partition: TopicPartition::new(&*topic.name, replica.partition_index),
                                size_bytes: u64::try_from(replica.partition_size).unwrap_or(0),
                                offset_lag: replica.offset_lag,
                                is_future: replica.is_future_key,
                            })
                        })
                        .collect(),
                });
                Ok(dirs.collect())
            })
            .await
    }
}

fn replica(state: &ReplicaState) -> QuorumReplica {
    QuorumReplica {
        id: state.replica_id,
        log_end_offset: (state.log_end_offset >= 0).then_some(Offset(state.log_end_offset)),
    }
}
