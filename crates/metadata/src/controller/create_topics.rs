//! CreateTopics: makes topics, their partitions and their configs.
//!
//! Names, numbers, assignments and configs are checked per topic, in Kafka's order and with its words; topics that are
//! fine are made although others are not. A request that would make too many partitions or records is refused as a whole.
//! A name that stands twice is refused once; topics of one request are not held against each other for `.` and `_`.
//!
//! Always holds: with `validate_only` the answer is that of the real request, ids included, and there are no records.

use std::collections::BTreeMap;

use klamm_config::{Values, alter, describe};
use klamm_model::topic_name::{self, InvalidTopicName};
use klamm_model::{ErrorCode, limits};
use klamm_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use klamm_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use klamm_protocol::metadata_records as records;

use super::{Context, Decision, MAX_RECORDS_PER_REQUEST, Refusal, assignment, repeated};
use crate::image::snapshot::{config_record, partition_record};
use crate::image::{PartitionImage, ResourceKind};
use crate::record::MetadataRecord;

/// The topic that Kafka keeps its metadata log in.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Decides on the request.
pub fn decide(context: &mut Context<'_>, request: &CreateTopicsRequest) -> Decision<CreateTopicsResponse> {
    let repeated = repeated(request.topics.iter().map(|topic| &*topic.name));
    let named = |topic: &&CreatableTopic| !repeated.contains(&&*topic.name);
    let topics: Vec<_> = request
        .topics
        .iter()
        .filter(named)
        .filter(|topic| &*topic.name != METADATA_TOPIC)
        .collect();
    if total_partitions(context, &topics) > limits::MAX_PARTITIONS_PER_REQUEST as i64 {
        return refuse_all(request, "Excessively large number of partitions per request.");
    }
    let (mut records, mut results) = (Vec::new(), Vec::new());
    for topic in topics {
        results.push(match one(context, topic) {
            Ok((result, made)) => {
                records.extend(made);
                result
            }
            Err(refusal) => refused(&topic.name, refusal),
        });
        if records.len() > MAX_RECORDS_PER_REQUEST {
            return refuse_all(request, "Unable to perform excessively large batch operation.");
        }
    }
    let invalid = |message: &str| Refusal::new(ErrorCode::InvalidRequest, message);
    results.extend(
        repeated
            .iter()
            .map(|name| refused(name, invalid("Duplicate topic name."))),
    );
    if request
        .topics
        .iter()
        .filter(named)
        .any(|topic| &*topic.name == METADATA_TOPIC)
    {
        let message = "Creation of internal topic __cluster_metadata is prohibited.";
        results.push(refused(METADATA_TOPIC, invalid(message)));
    }
    if request.validate_only {
        records.clear();
    }
    Decision {
        records,
        response: CreateTopicsResponse {
            topics: results,
            ..Default::default()
        },
    }
}

fn total_partitions(context: &Context<'_>, topics: &[&CreatableTopic]) -> i64 {
    let default = context.broker_number("num.partitions").unwrap_or(1);
    let of = |topic: &&CreatableTopic| match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => default,
        (0, number) => i64::from(number).max(0),
        (assigned, _) => assigned as i64,
    };
    topics.iter().map(of).sum()
}

type Made = (CreatableTopicResult, Vec<MetadataRecord>);

fn one(context: &mut Context<'_>, topic: &CreatableTopic) -> Result<Made, Refusal> {
    check_name(context, &topic.name)?;
    let entries: Vec<_> = topic
        .configs
        .iter()
        .map(|config| (&*config.name, config.value.as_deref()))
        .collect();
    let configs = configs(context, &entries)?;
    let partitions = partitions(context, topic)?;
    let topic_id = context.fresh_topic_id();
    let name = topic.name.clone();
    let mut records: Vec<MetadataRecord> = vec![
        records::TopicRecord {
            name: name.clone(),
            topic_id,
            ..Default::default()
        }
        .into(),
    ];
    records.extend(
        configs
            .iter()
            .map(|(config, value)| config_record(ResourceKind::Topic, &name, config, Some(value)).into()),
    );
    records.extend(partitions.iter().enumerate().map(|(number, partition)| {
        records::PartitionRecord {
            topic_id,
            partition_id: number as i32,
            ..partition_record(partition)
        }
        .into()
    }));
    let result = CreatableTopicResult {
        name,
        topic_id,
        num_partitions: partitions.len() as i32,
        replication_factor: partitions[0].replicas.len() as i16,
        configs: Some(described(context, &configs)),
        error_message: None,
        ..Default::default()
    };
    Ok((result, records))
}

fn check_name(context: &Context<'_>, name: &str) -> Result<(), Refusal> {
    let invalid = |message| Refusal::new(ErrorCode::InvalidTopicException, message);
    topic_name::validate(name).map_err(|error| invalid(invalid_name(name, &error)))?;
    if context.image.topics().by_name(name).is_some() {
        let message = format!("Topic '{name}' already exists.");
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, message));
    }
    if !name.contains(['.', '_']) {
        return Ok(());
    }
    match context
        .image
        .topics()
        .iter()
        .find(|other| collide(name, &other.name))
    {
        Some(other) => Err(invalid(format!(
            "Topic '{name}' collides with existing topic: {}",
            other.name
        ))),
        None => Ok(()),
    }
}

/// Whether two names differ in `.` and `_` only, so that their metrics could not be told apart.
fn collide(name: &str, other: &str) -> bool {
    let as_one = |byte: u8| if byte == b'.' { b'_' } else { byte };
    name.len() == other.len() && name.bytes().map(as_one).eq(other.bytes().map(as_one))
}

/// The words for an invalid name; the controller of Kafka says which of the two names of dots it was.
pub(super) fn invalid_name(name: &str, error: &InvalidTopicName) -> String {
    match error {
        InvalidTopicName::Dots => format!("Topic name is invalid: '{name}' is not allowed"),
        other => other.to_string(),
    }
}

/// The configs of a new topic. Of a key that stands twice, the last value counts, as in Kafka.
fn configs(context: &Context<'_>, entries: &[(&str, Option<&str>)]) -> Result<Values, Refusal> {
    let without: Vec<_> = entries
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| *name)
        .collect();
    if !without.is_empty() {
        let message = format!(
            "Null value not supported for topic configs: {}",
            without.join(",")
        );
        return Err(Refusal::new(ErrorCode::InvalidConfig, message));
    }
    let last: BTreeMap<_, _> = entries.iter().copied().collect();
    let last: Vec<_> = last.into_iter().collect();
    alter::new_topic(&last, &context.layers()).map_err(|error| Refusal {
        code: error.code(),
        message: error.message(),
    })
}

fn partitions(context: &mut Context<'_>, topic: &CreatableTopic) -> Result<Vec<PartitionImage>, Refusal> {
    if !topic.assignments.is_empty() {
        return assigned(context, topic);
    }
    if topic.replication_factor < -1 || topic.replication_factor == 0 {
        let message = "Replication factor must be larger than 0, or -1 to use the default value.";
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
    }
    if topic.num_partitions < -1 || topic.num_partitions == 0 {
        let message = "Number of partitions was set to an invalid non-positive value.";
        return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
    }
    let default = |name| context.broker_number(name).unwrap_or(1);
    let count = match topic.num_partitions {
        -1 => default("num.partitions"),
        number => number.into(),
    };
    let replication_factor = match topic.replication_factor {
        -1 => i16::try_from(default("default.replication.factor")).unwrap_or(i16::MAX),
        factor => factor,
    };
    assignment::automatic(context, usize::try_from(count).unwrap_or(1), replication_factor)
}

fn assigned(context: &Context<'_>, topic: &CreatableTopic) -> Result<Vec<PartitionImage>, Refusal> {
    let request = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    let invalid = |message: String| Refusal::new(ErrorCode::InvalidReplicaAssignment, message);
    if topic.replication_factor != -1 {
        return request(
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        );
    }
    if topic.num_partitions != -1 {
        return request("A manual partition assignment was specified, but numPartitions was not set to -1.");
    }
    let mut by_number = BTreeMap::new();
    let mut factor = None;
    for assigned in &topic.assignments {
        let number = assigned.partition_index;
        if by_number.contains_key(&number) {
            return Err(invalid(format!(
                "Found multiple manual partition assignments for partition {number}"
            )));
        }
        let one = std::iter::once((number, &assigned.broker_ids[..]));
        let made = assignment::manual(context, one, factor)?;
        factor = Some(assigned.broker_ids.len());
        by_number.insert(number, made);
    }
    if by_number
        .keys()
        .enumerate()
        .any(|(at, number)| at as i32 != *number)
    {
        return Err(invalid(
            "partitions should be a consecutive 0-based integer sequence".to_owned(),
        ));
    }
    Ok(by_number.into_values().flatten().collect())
}

fn described(context: &Context<'_>, configs: &Values) -> Vec<CreatableTopicConfigs> {
    let entries = describe::topic(configs, &context.layers());
    // What the request set is told as it was written; DescribeConfigs tells what it was understood as.
    let written = |entry: &describe::ConfigEntry| match configs.get(&entry.name) {
        Some(text) if !entry.sensitive => Some(text.clone()),
        _ => entry.value.clone(),
    };
    let config = |entry: describe::ConfigEntry| CreatableTopicConfigs {
        value: written(&entry).map(Into::into),
        name: entry.name.into(),
        read_only: entry.read_only,
        config_source: entry.source as i8,
        is_sensitive: entry.sensitive,
        ..Default::default()
    };
    entries.into_iter().map(config).collect()
}

fn refused(name: &str, refusal: Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.into(),
        error_code: refusal.code.code(),
        error_message: refusal.words(),
        ..Default::default()
    }
}

fn refuse_all(request: &CreateTopicsRequest, message: &str) -> Decision<CreateTopicsResponse> {
    let refusal = || Refusal::new(ErrorCode::PolicyViolation, message);
    let topics = request
        .topics
        .iter()
        .map(|topic| refused(&topic.name, refusal()))
        .collect();
    Decision::unchanged(CreateTopicsResponse {
        topics,
        ..Default::default()
    })
}
