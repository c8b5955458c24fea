//! Makes, grows and deletes topics.

use std::collections::BTreeMap;

use bytestring::ByteString;
use klamm_model::{BrokerId, ErrorCode, Offset, TopicId, TopicPartition};
use klamm_protocol::ApiKey;
use klamm_protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use klamm_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use klamm_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use klamm_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};

use super::Admin;
use crate::client::Target;
use crate::error::{ClientError, Refusal};

/// The last DeleteTopics that has only names.
const LAST_DELETE_WITH_NAMES_ONLY: i16 = 5;

/// A topic to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None` for the cluster's default.
    pub partitions: Option<i32>,
    /// How many replicas of each; `None` for the cluster's default.
    pub replication_factor: Option<i16>,
    /// Who gets the replicas of each partition, instead of the two numbers.
    pub assignment: Vec<Vec<BrokerId>>,
    /// Its configurations, where they differ from the defaults.
    pub configs: BTreeMap<String, String>,
}

/// A topic that was made, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its identifier, where the broker knows them.
    pub id: Option<TopicId>,
    /// Its partitions, where the broker says so.
    pub partitions: Option<i32>,
    /// The replicas of each, where the broker says so.
    pub replication_factor: Option<i16>,
}

impl Admin {
    /// Makes topics, or with `validate_only` says whether they could be made.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Vec<(String, Result<CreatedTopic, Refusal>)>, ClientError> {
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
            ..CreateTopicsRequest::default()
        };
        let response = self.to_controller(ApiKey::CreateTopics, &request).await?;
        let made = response.topics.into_iter().map(|topic| {
            let created =
                Refusal::check(topic.error_code, topic.error_message.as_ref()).map(|()| CreatedTopic {
                    id: (!topic.topic_id.is_zero()).then_some(topic.topic_id),
                    partitions: (topic.num_partitions > 0).then_some(topic.num_partitions),
                    replication_factor: (topic.replication_factor > 0).then_some(topic.replication_factor),
                });
            (topic.name.to_string(), created)
        });
        Ok(as_asked(topics.iter().map(|topic| topic.name.as_str()), made))
    }

    /// Deletes topics.
    pub async fn delete_topics(
        &self,
        names: &[&str],
    ) -> Result<Vec<(String, Result<(), Refusal>)>, ClientError> {
        let response = self
            .client
            .retrying(|| async {
                let connection = self.client.connection(Target::Controller).await?;
                let version = connection.version_of::<DeleteTopicsRequest>(i16::MAX)?;
                let mut request = DeleteTopicsRequest {
                    timeout_ms: self.timeout_ms(),
                    ..DeleteTopicsRequest::default()
                };
                for name in names.iter().map(|name| ByteString::from(*name)) {
                    if version <= LAST_DELETE_WITH_NAMES_ONLY {
                        request.topic_names.push(name);
                    } else {
                        request.topics.push(DeleteTopicState {
                            name: Some(name),
                            ..DeleteTopicState::default()
                        });
                    }
                }
                let pending = connection.submit(version, &request).await?;
                let response = pending.answer().await?;
                let codes = response.responses.iter().map(|topic| topic.error_code);
                not_controller(ApiKey::DeleteTopics, codes)?;
                Ok(response)
            })
            .await?;
        let deleted = response.responses.into_iter().map(|topic| {
            let name = topic.name.unwrap_or_default().to_string();
            (
                name,
                Refusal::check(topic.error_code, topic.error_message.as_ref()),
            )
        });
        Ok(as_asked(names.iter().copied(), deleted))
    }

    /// Gives topics more partitions, `count` in all.
    pub async fn create_partitions(
        &self,
        topics: &[(&str, i32)],
        validate_only: bool,
    ) -> Result<Vec<(String, Result<(), Refusal>)>, ClientError> {
        let request = CreatePartitionsRequest {
            topics: topics
                .iter()
                .map(|(name, count)| CreatePartitionsTopic {
                    name: ByteString::from(*name),
                    count: *count,
                    assignments: None,
                    ..CreatePartitionsTopic::default()
                })
                .collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
            ..CreatePartitionsRequest::default()
        };
        let response = self.to_controller(ApiKey::CreatePartitions, &request).await?;
        let grown = response.results.into_iter().map(|topic| {
            let result = Refusal::check(topic.error_code, topic.error_message.as_ref());
            (topic.name.to_string(), result)
        });
        Ok(as_asked(topics.iter().map(|(name, _)| *name), grown))
    }

    /// Deletes the records of `partition` before `offset` (`None`: all), and returns where the log begins now.
    pub async fn delete_records(
        &self,
        partition: &TopicPartition,
        offset: Option<Offset>,
    ) -> Result<Offset, ClientError> {
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: ByteString::from(&*partition.topic),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: partition.partition,
                    offset: offset.map_or(-1, |offset| offset.0),
                    ..DeleteRecordsPartition::default()
                }],
                ..DeleteRecordsTopic::default()
            }],
            timeout_ms: self.timeout_ms(),
            ..DeleteRecordsRequest::default()
        };
        self.client
            .retrying(|| async {
                let leader = self.client.leader(partition).await?;
                let target = Target::Broker(leader.broker);
                let response = self.client.call_once(target, &request).await?;
                let answered = response.topics.iter().flat_map(|topic| &topic.partitions).next();
                let unanswered = || Refusal::new(ErrorCode::UnknownServerError);
                let refused = |refusal| ClientError::refused(ApiKey::DeleteRecords, refusal);
                let answer = answered.ok_or_else(unanswered).map_err(refused)?;
                Refusal::check(answer.error_code, None).map_err(refused)?;
                Ok(Offset(answer.low_watermark))
            })
            .await
    }

    /// Sends to the controller, again while the broker that was asked says that it is not the controller.
    async fn to_controller<R: ForController>(
        &self,
        api: ApiKey,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        self.client
            .retrying(|| async {
                let response = self.client.call_once(Target::Controller, request).await?;
                not_controller(api, R::codes(&response).into_iter())?;
                Ok(response)
            })
            .await
    }
}

/// A request that only the controller carries out.
trait ForController: klamm_protocol::Request {
    /// The error codes in the answer.
    fn codes(response: &Self::Response) -> Vec<i16>;
}

impl ForController for CreateTopicsRequest {
    fn codes(response: &Self::Response) -> Vec<i16> {
        response.topics.iter().map(|topic| topic.error_code).collect()
    }
}

impl ForController for CreatePartitionsRequest {
    fn codes(response: &Self::Response) -> Vec<i16> {
        response.results.iter().map(|topic| topic.error_code).collect()
    }
}

fn not_controller(api: ApiKey, mut codes: impl Iterator<Item = i16>) -> Result<(), ClientError> {
    match codes.find(|code| *code == ErrorCode::NotController.code()) {
        Some(_) => Err(ClientError::refused(api, Refusal::new(ErrorCode::NotController))),
        None => Ok(()),
    }
}

/// The answers in the order of the names that were asked for: a broker may have another. Answers about names that nobody
/// asked for come last.
fn as_asked<'a, T>(
    names: impl Iterator<Item = &'a str>,
    answers: impl Iterator<Item = (String, T)>,
) -> Vec<(String, T)> {
    let places: BTreeMap<&str, usize> = names.zip(0..).collect();
    let mut answers: Vec<(String, T)> = answers.collect();
    answers.sort_by_key(|(name, _)| places.get(name.as_str()).copied().unwrap_or(usize::MAX));
    answers
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let is_assigned = !topic.assignment.is_empty();
    let assignments = (0..)
        .zip(&topic.assignment)
        .map(|(index, brokers)| CreatableReplicaAssignment {
            partition_index: index,
            broker_ids: brokers.iter().map(|broker| broker.0).collect(),
            ..CreatableReplicaAssignment::default()
        });
    let configs = topic.configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: ByteString::from(name.as_str()),
        value: Some(ByteString::from(value.as_str())),
        ..CreatableTopicConfig::default()
    });
    CreatableTopic {
        name: ByteString::from(topic.name.as_str()),
        num_partitions: topic.partitions.filter(|_| !is_assigned).unwrap_or(-1),
        replication_factor: topic.replication_factor.filter(|_| !is_assigned).unwrap_or(-1),
        assignments: assignments.collect(),
        configs: configs.collect(),
        ..CreatableTopic::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_what_was_asked() {
        let answers = ["x", "c", "a", "b"].map(|name| (name.to_owned(), name));
        let sorted = as_asked(["b", "a", "c"].into_iter(), answers.into_iter());
        let names: Vec<&str> = sorted.iter().map(|(_, name)| *name).collect();
        assert_eq!(names, ["b", "a", "c", "x"]);
    }

    #[test]
    fn what_is_not_said_is_left_to_the_cluster() {
        let plain = creatable(&NewTopic {
            name: "t".into(),
            ..NewTopic::default()
        });
        assert_eq!((plain.num_partitions, plain.replication_factor), (-1, -1));
        let assigned = creatable(&NewTopic {
            name: "t".into(),
            partitions: Some(3),
            replication_factor: Some(1),
            assignment: vec![vec![BrokerId(1)], vec![BrokerId(2)]],
            configs: BTreeMap::from([("retention.ms".into(), "1".into())]),
        });
        assert_eq!((assigned.num_partitions, assigned.replication_factor), (-1, -1));
        assert_eq!(assigned.assignments[1].partition_index, 1);
        assert_eq!(assigned.configs.len(), 1);
    }
}
