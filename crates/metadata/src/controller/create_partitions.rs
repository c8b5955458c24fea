//! CreatePartitions: gives topics more partitions.
//!
//! The new partitions have as many replicas as the topic's first one. Topics are decided one by one; a request for too many
//! new partitions is refused as a whole.
//!
//! Always holds: partitions are added at the end, and none is taken away. The topics of coordinators stay as they are: their number of
//! partitions says where a group or a transactional id is found. (Kafka lets them grow, and committed offsets and open transactions
//! are lost.)

use klamm_model::{ErrorCode, limits, topic_name};
use klamm_protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use klamm_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use klamm_protocol::metadata_records::PartitionRecord;

use super::{Context, Decision, MAX_RECORDS_PER_REQUEST, Refusal, assignment, repeated};
use crate::image::snapshot::partition_record;
use crate::record::MetadataRecord;

/// Decides on the request.
pub fn decide(
    context: &mut Context<'_>,
    request: &CreatePartitionsRequest,
) -> Decision<CreatePartitionsResponse> {
    let repeated = repeated(request.topics.iter().map(|topic| &*topic.name));
    let topics: Vec<_> = request
        .topics
        .iter()
        .filter(|topic| !repeated.contains(&&*topic.name))
        .collect();
    if additional(context, &topics) > limits::MAX_PARTITIONS_PER_REQUEST as i64 {
        return refuse_all(
            request,
            "Excessively large number of additional partitions per request.",
        );
    }
    let duplicate = Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
    let mut results: Vec<_> = repeated
        .iter()
        .map(|name| result(name, Some(duplicate.clone())))
        .collect();
    let mut records = Vec::new();
    for topic in topics {
        let made = one(context, topic);
        results.push(match made {
            Ok(made) => {
                records.extend(made);
                result(&topic.name, None)
            }
            Err(refusal) => result(&topic.name, Some(refusal)),
        });
        if records.len() > MAX_RECORDS_PER_REQUEST {
            return refuse_all(request, "Unable to perform excessively large batch operation.");
        }
    }
    if request.validate_only {
        records.clear();
    }
    Decision {
        records,
        response: CreatePartitionsResponse {
            results,
            ..Default::default()
        },
    }
}

/// How many partitions the topics that exist would get.
fn additional(context: &Context<'_>, topics: &[&CreatePartitionsTopic]) -> i64 {
    let more = |topic: &&CreatePartitionsTopic| {
        let existing = context.image.topics().by_name(&topic.name)?.partitions.len() as i64;
        Some((i64::from(topic.count) - existing).max(0))
    };
    topics.iter().filter_map(more).sum()
}

fn one(context: &mut Context<'_>, topic: &CreatePartitionsTopic) -> Result<Vec<MetadataRecord>, Refusal> {
    let unknown = Refusal::code(ErrorCode::UnknownTopicOrPartition);
    let existing = context
        .image
        .topics()
        .by_name(&topic.name)
        .ok_or(unknown)?
        .clone();
    let partitions = existing.partitions.len() as i32;
    let invalid = |message| Err(Refusal::new(ErrorCode::InvalidPartitions, message));
    if topic.count == partitions {
        return invalid(format!("Topic already has {partitions} partition(s)."));
    }
    if topic.count < partitions {
        return invalid(format!(
            "The topic {} currently has {partitions} partition(s); {} would not be an increase.",
            topic.name, topic.count
        ));
    }
    if topic_name::is_internal(&topic.name) {
        return invalid(format!(
            "What lies in {} is found by its number of partitions, which cannot change.",
            topic.name
        ));
    }
    let more = (topic.count - partitions) as usize;
    let factor = existing
        .partitions
        .first()
        .map_or(1, |partition| partition.replicas.len());
    let made = match &topic.assignments {
        Some(assignments) if assignments.len() != more => {
            let message = format!(
                "Attempted to add {more} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        Some(assignments) => {
            let numbered = assignments.iter().zip(partitions..);
            let numbered = numbered.map(|(assignment, number)| (number, &assignment.broker_ids[..]));
            assignment::manual(context, numbered, Some(factor))?
        }
        None => assignment::automatic(context, more, i16::try_from(factor).unwrap_or(i16::MAX))?,
    };
    let record = |(partition, partition_id)| {
        PartitionRecord {
            topic_id: existing.id,
            partition_id,
            ..partition_record(&partition)
        }
        .into()
    };
    Ok(made.into_iter().zip(partitions..).map(record).collect())
}

fn result(name: &str, refusal: Option<Refusal>) -> CreatePartitionsTopicResult {
    let refusal = refusal.unwrap_or(Refusal::code(ErrorCode::None));
    CreatePartitionsTopicResult {
        name: name.into(),
        error_code: refusal.code.code(),
        error_message: refusal.words(),
        ..Default::default()
    }
}

fn refuse_all(request: &CreatePartitionsRequest, message: &str) -> Decision<CreatePartitionsResponse> {
    let refusal = Refusal::new(ErrorCode::PolicyViolation, message);
    let results = request
        .topics
        .iter()
        .map(|topic| result(&topic.name, Some(refusal.clone())))
        .collect();
    Decision::unchanged(CreatePartitionsResponse {
        results,
        ..Default::default()
    })
}
