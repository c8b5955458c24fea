//! What the client knows of the cluster: brokers, topics, who leads which partition.
//!
//! Always holds: a [`Cluster`] never changes; a newer answer makes a newer one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytestring::ByteString;
use klamm_model::{BrokerId, ErrorCode, LeaderEpoch, TopicId};
use klamm_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponsePartition, MetadataResponseTopic,
};

use crate::address::HostPort;

/// The cluster, as far as it was asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The identifier of the cluster.
    pub id: Option<String>,
    /// The broker to which requests for the controller go.
    pub controller: Option<BrokerId>,
    /// The brokers that are alive.
    pub brokers: BTreeMap<BrokerId, Broker>,
    /// The topics that were asked about and exist.
    pub topics: BTreeMap<Arc<str>, Topic>,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its `node.id`.
    pub id: BrokerId,
    /// Where it says that it can be reached.
    pub address: HostPort,
    /// Its `broker.rack`.
    pub rack: Option<String>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its identifier, where the broker knows them.
    pub id: Option<TopicId>,
    /// Whether it belongs to the cluster itself.
    pub is_internal: bool,
    /// Its partitions; the place is the number.
    pub partitions: Vec<Partition>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 0.
    pub index: i32,
    /// Who leads it, if anybody does.
    pub leader: Option<BrokerId>,
    /// Since which change of leaders.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Who has a copy; the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Who has all that is committed.
    pub isr: Vec<BrokerId>,
    /// Who has a copy that cannot be reached.
    pub offline: Vec<BrokerId>,
}

impl Topic {
    /// The partition of this number.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// Whether a partition lacks a leader.
    pub fn lacks_leader(&self) -> bool {
        self.partitions.iter().any(|partition| partition.leader.is_none())
    }
}

/// An answer to Metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Brokers, and the topics without an error.
    pub(crate) cluster: Cluster,
    /// The topics with an error.
    pub(crate) errors: BTreeMap<Arc<str>, ErrorCode>,
}

impl From<MetadataResponse> for Answer {
    fn from(response: MetadataResponse) -> Self {
        let mut answer = Answer {
            cluster: Cluster {
                id: response.cluster_id.map(|id| id.to_string()),
                controller: broker_id(response.controller_id),
                brokers: BTreeMap::new(),
                topics: BTreeMap::new(),
            },
            errors: BTreeMap::new(),
        };
        for broker in response.brokers {
            let id = BrokerId(broker.node_id);
            let address = HostPort {
                host: broker.host.to_string(),
                port: u16::try_from(broker.port).unwrap_or_default(),
            };
            let rack = broker.rack.map(|rack| rack.to_string());
            answer.cluster.brokers.insert(id, Broker { id, address, rack });
        }
        for topic in response.topics {
            answer.add(topic);
        }
        answer
    }
}

impl Answer {
    fn add(&mut self, topic: MetadataResponseTopic) {
        let Some(name) = topic.name else { return };
        let name: Arc<str> = Arc::from(&*name);
        match ErrorCode::from_code(topic.error_code) {
            Some(ErrorCode::None) => {}
            other => {
                self.errors
                    .insert(name, other.unwrap_or(ErrorCode::UnknownServerError));
                return;
            }
        }
        let mut partitions: Vec<Partition> = topic.partitions.into_iter().map(partition).collect();
        partitions.sort_by_key(|partition| partition.index);
        // The place in the list is used as the number: a list with gaps is of no use yet.
        if (0..)
            .zip(&partitions)
            .any(|(place, partition)| partition.index != place)
        {
            self.errors.insert(name, ErrorCode::LeaderNotAvailable);
            return;
        }
        let topic = Topic {
            name: name.clone(),
            id: (!topic.topic_id.is_zero()).then_some(topic.topic_id),
            is_internal: topic.is_internal,
            partitions,
        };
        self.cluster.topics.insert(name, topic);
    }
}

fn partition(partition: MetadataResponsePartition) -> Partition {
    let brokers = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
    Partition {
        index: partition.partition_index,
        leader: broker_id(partition.leader_id),
        leader_epoch: (partition.leader_epoch >= 0).then_some(LeaderEpoch(partition.leader_epoch)),
        replicas: brokers(partition.replica_nodes),
        isr: brokers(partition.isr_nodes),
        offline: brokers(partition.offline_replicas),
    }
}

fn broker_id(id: i32) -> Option<BrokerId> {
    (id >= 0).then_some(BrokerId(id))
}

impl Cluster {
    /// This cluster with what a newer answer says: brokers are replaced, topics that it was asked about too.
    pub(crate) fn updated(&self, asked: Option<&[ByteString]>, answer: &Answer) -> Self {
        let mut topics = match asked {
            None => BTreeMap::new(),
            Some(_) => self.topics.clone(),
        };
        for name in asked.into_iter().flatten() {
            // A topic that has an error for the moment stays known: its partitions come back.
            if let Some(ErrorCode::UnknownTopicOrPartition) = answer.errors.get(&**name) {
                topics.remove(&**name);
            }
        }
        topics.extend(answer.cluster.topics.clone());
        Self {
            topics,
            ..answer.cluster.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(name: &'static str, error: ErrorCode, leaders: &[(i32, i32)]) -> Answer {
        let partitions = leaders.iter().map(|(index, leader)| MetadataResponsePartition {
            partition_index: *index,
            leader_id: *leader,
            ..MetadataResponsePartition::default()
        });
        Answer::from(MetadataResponse {
            topics: vec![MetadataResponseTopic {
                name: Some(name.into()),
                error_code: error.code(),
                partitions: partitions.collect(),
                ..MetadataResponseTopic::default()
            }],
            ..MetadataResponse::default()
        })
    }

    #[test]
    fn sentinels_become_options_and_partitions_are_sorted() {
        let answer = response("a", ErrorCode::None, &[(1, -1), (0, 5)]);
        let topic = &answer.cluster.topics["a"];
        let leaders: Vec<_> = topic.partitions.iter().map(|p| (p.index, p.leader)).collect();
        assert_eq!(leaders, [(0, Some(BrokerId(5))), (1, None)]);
        assert!(topic.lacks_leader() && topic.id.is_none());
        assert!(
            topic.partition(1).is_some() && topic.partition(2).is_none() && topic.partition(-1).is_none()
        );
    }

    #[test]
    fn a_list_of_partitions_with_a_gap_is_not_taken() {
        let answer = response("a", ErrorCode::None, &[(0, 1), (2, 1)]);
        assert!(answer.cluster.topics.is_empty());
        assert_eq!(answer.errors["a"], ErrorCode::LeaderNotAvailable);
    }

    #[test]
    fn a_newer_answer_replaces_what_it_was_asked_about() {
        let known =
            Cluster::default().updated(Some(&["a".into()]), &response("a", ErrorCode::None, &[(0, 1)]));
        let cases = [
            (ErrorCode::UnknownTopicOrPartition, false),
            (ErrorCode::LeaderNotAvailable, true),
        ];
        for (error, stays) in cases {
            let later = known.updated(Some(&["a".into()]), &response("a", error, &[]));
            assert_eq!(later.topics.contains_key("a"), stays, "{error}");
        }
        let other = known.updated(Some(&["b".into()]), &response("b", ErrorCode::None, &[(0, 1)]));
        assert_eq!(other.topics.len(), 2);
        let all = known.updated(None, &response("b", ErrorCode::None, &[(0, 1)]));
        assert_eq!(all.topics.keys().map(|name| &**name).collect::<Vec<_>>(), ["b"]);
    }
}
