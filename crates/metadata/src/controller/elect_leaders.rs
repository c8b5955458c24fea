//! ElectLeaders: an operator asks for the preferred leaders, or for any leader at all (KIP-460).
//!
//! Asked for all partitions, those that have the wanted leader already are left out of the answer.
//!
//! Always holds: a preferred election changes a leader only to a replica that is in sync.

use klamm_model::{BrokerId, ErrorCode};
use klamm_protocol::messages::elect_leaders_request::ElectLeadersRequest;
use klamm_protocol::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use super::{Context, Decision, Refusal};
use crate::election::{self, Election, Target};
use crate::image::PartitionImage;
use crate::record::MetadataRecord;

/// Decides on the request.
pub fn decide(context: &Context<'_>, request: &ElectLeadersRequest) -> Decision<ElectLeadersResponse> {
    let election = match request.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        _ => {
            let error_code = ErrorCode::InvalidRequest.code();
            return Decision::unchanged(ElectLeadersResponse {
                error_code,
                ..Default::default()
            });
        }
    };
    let mut records = Vec::new();
    let replica_election_results = match &request.topic_partitions {
        Some(topics) => topics
            .iter()
            .map(|topic| topic_result(context, &topic.topic, &topic.partitions, election, &mut records))
            .collect(),
        None => everywhere(context, election, &mut records),
    };
    Decision {
        records,
        response: ElectLeadersResponse {
            replica_election_results,
            ..Default::default()
        },
    }
}

/// Elections that nobody asked for: preferred leaders that could lead again, and any leader for partitions without one
/// whose topics allow that (`auto.leader.rebalance.enable` and `unclean.leader.election.enable`). At most `limit` records;
/// ask again, with these applied, when there are as many.
pub fn balance(context: &Context<'_>, preferred: bool, limit: usize) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for topic in context.image.topics().iter() {
        let unclean = context.usual_election(topic) == Election::Unclean;
        for (number, partition) in (0..).zip(&topic.partitions) {
            let election = match partition.leader {
                None if unclean => Election::Unclean,
                Some(_) if preferred => Election::Preferred,
                _ => continue,
            };
            if records.len() >= limit {
                return records;
            }
            records.extend(one(context, &topic.name, number, election));
        }
    }
    records
}

fn everywhere(
    context: &Context<'_>,
    election: Election,
    records: &mut Vec<MetadataRecord>,
) -> Vec<ReplicaElectionResult> {
    let topics = context.image.topics().iter().map(|topic| {
        let all: Vec<i32> = (0..topic.partitions.len() as i32).collect();
        let mut result = topic_result(context, &topic.name, &all, election, records);
        let not_needed = ErrorCode::ElectionNotNeeded.code();
        result
            .partition_result
            .retain(|partition| partition.error_code != not_needed);
        result
    });
    topics
        .filter(|topic| !topic.partition_result.is_empty())
        .collect()
}

fn topic_result(
    context: &Context<'_>,
    topic: &str,
    partitions: &[i32],
    election: Election,
    records: &mut Vec<MetadataRecord>,
) -> ReplicaElectionResult {
    let result = |number: &i32| {
        let refusal = match one(context, topic, *number, election) {
            Ok(record) => {
                records.push(record);
                Refusal::code(ErrorCode::None)
            }
            Err(refusal) => refusal,
        };
        PartitionResult {
            partition_id: *number,
            error_code: refusal.code.code(),
            error_message: refusal.words(),
            ..Default::default()
        }
    };
    let partition_result = partitions.iter().map(result).collect();
    ReplicaElectionResult {
        topic: topic.into(),
        partition_result,
        ..Default::default()
    }
}

fn one(
    context: &Context<'_>,
    name: &str,
    number: i32,
    election: Election,
) -> Result<MetadataRecord, Refusal> {
    let unknown = |message| Refusal::new(ErrorCode::UnknownTopicOrPartition, message);
    let topic = context.image.topics().by_name(name);
    let topic = topic.ok_or_else(|| unknown(format!("No such topic as {name}")))?;
    let partition = topic
        .partition(number)
        .ok_or_else(|| unknown(format!("No such partition as {name}-{number}")))?;
    if has_wanted_leader(partition, election) {
        let message = "Leader election not needed for topic partition.";
        return Err(Refusal::new(ErrorCode::ElectionNotNeeded, message));
    }
    let acceptable =
        |id: BrokerId| context.image.cluster().is_active(id) && context.is_directory_online(partition, id);
    let rules = context.rules(topic, election, &acceptable);
    let change = election::change(topic.id, number, partition, Target::same(partition), &rules);
    change.map(Into::into).ok_or_else(|| match election {
        Election::Preferred => Refusal::new(
            ErrorCode::PreferredLeaderNotAvailable,
            "The preferred leader was not available.",
        ),
        Election::Online | Election::Unclean => {
            let message = "Eligible topic partition leaders are not available.";
            Refusal::new(ErrorCode::EligibleLeadersNotAvailable, message)
        }
    })
}

fn has_wanted_leader(partition: &PartitionImage, election: Election) -> bool {
    match election {
        Election::Preferred => partition.leader.is_some() && partition.leader == partition.preferred(),
        Election::Online | Election::Unclean => partition.leader.is_some(),
    }
}
