//! AlterPartition: a leader proposes another in-sync set (KIP-497, KIP-841, KIP-903).
//!
//! Each partition is decided on its own: the proposal must be made by its leader, on the newest leader and partition epoch,
//! and hold only brokers that are there in the incarnation that the leader saw. Replicas that leave the ISR may become
//! eligible leaders (KIP-966).
//!
//! Always holds: the ISR stays within the replicas and keeps the leader in it.

use klamm_model::{BrokerId, ErrorCode};
use klamm_protocol::messages::alter_partition_request as request;
use klamm_protocol::messages::alter_partition_response as response;
use klamm_protocol::metadata_records::PartitionChangeRecord;

use super::{Context, Decision, repeated};
use crate::election::{self, Target};
use crate::image::topics::raw;
use crate::image::{LeaderRecovery, PartitionImage, TopicImage};
use crate::record::MetadataRecord;
use crate::replay;

/// Decides on the request, which came at `version`.
pub fn decide(
    context: &Context<'_>,
    version: i16,
    request: &request::AlterPartitionRequest,
) -> Decision<response::AlterPartitionResponse> {
    if let Err(code) = context.check_broker_epoch(request.broker_id, request.broker_epoch) {
        let response = response::AlterPartitionResponse {
            error_code: code.code(),
            ..Default::default()
        };
        return Decision::unchanged(response);
    }
    let mut records = Vec::new();
    let topics = request
        .topics
        .iter()
        .map(|topic| topic_answer(context, version, request.broker_id, topic, &mut records));
    let topics = topics.collect();
    Decision {
        records,
        response: response::AlterPartitionResponse {
            topics,
            ..Default::default()
        },
    }
}

fn topic_answer(
    context: &Context<'_>,
    version: i16,
    from: i32,
    asked: &request::TopicData,
    records: &mut Vec<MetadataRecord>,
) -> response::TopicData {
    let topic = context.image.topics().by_id(&asked.topic_id);
    let answer = |proposal: &request::PartitionData| {
        let made = match topic {
            Some(topic) => one(context, version, BrokerId(from), topic, proposal),
            None => Err(ErrorCode::UnknownTopicId),
        };
        match made {
            Ok((after, record)) => {
                records.extend(record.map(MetadataRecord::from));
                accepted(proposal.partition_index, &after)
            }
            Err(code) => response::PartitionData {
                partition_index: proposal.partition_index,
                error_code: code.code(),
                ..Default::default()
            },
        }
    };
    let partitions = asked.partitions.iter().map(answer).collect();
    response::TopicData {
        topic_id: asked.topic_id,
        partitions,
        ..Default::default()
    }
}

fn accepted(partition_index: i32, after: &PartitionImage) -> response::PartitionData {
    response::PartitionData {
        partition_index,
        error_code: ErrorCode::None.code(),
        leader_id: after.leader.map_or(-1, |leader| leader.0),
        leader_epoch: after.leader_epoch.0,
        isr: raw(&after.isr),
        leader_recovery_state: after.recovery.code(),
        partition_epoch: after.partition_epoch,
        ..Default::default()
    }
}

/// The partition after the change, and its record if there is a change.
fn one(
    context: &Context<'_>,
    version: i16,
    from: BrokerId,
    topic: &TopicImage,
    proposal: &request::PartitionData,
) -> Result<(PartitionImage, Option<PartitionChangeRecord>), ErrorCode> {
    let partition = topic
        .partition(proposal.partition_index)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let isr = members(version, proposal);
    let recovery = check(context, from, partition, proposal, &isr)?;
    let acceptable =
        |id: BrokerId| context.image.cluster().is_active(id) && context.is_directory_online(partition, id);
    let target = Target {
        isr: isr.iter().map(|(id, _)| *id).collect(),
        crashed: Vec::new(),
        recovery: Some(recovery),
    };
    let rules = context.rules(topic, context.usual_election(topic), &acceptable);
    let Some(record) = election::change(topic.id, proposal.partition_index, partition, target, &rules) else {
        return Ok((partition.clone(), None));
    };
    let mut after = partition.clone();
    replay::change_partition(&mut after, &record).expect("a record that was decided fits its partition");
    Ok((after, Some(record)))
}

/// The members of the proposed ISR, with their epochs from version 3 on; -1 matches any.
fn members(version: i16, proposal: &request::PartitionData) -> Vec<(BrokerId, i64)> {
    if version < 3 {
        proposal.new_isr.iter().map(|id| (BrokerId(*id), -1)).collect()
    } else {
        let states = proposal.new_isr_with_epochs.iter();
        states
            .map(|state| (BrokerId(state.broker_id), state.broker_epoch))
            .collect()
    }
}

fn check(
    context: &Context<'_>,
    from: BrokerId,
    partition: &PartitionImage,
    proposal: &request::PartitionData,
    isr: &[(BrokerId, i64)],
) -> Result<LeaderRecovery, ErrorCode> {
    // A leader that knows more than this controller talks to one that is none any more.
    if proposal.leader_epoch > partition.leader_epoch.0
        || proposal.partition_epoch > partition.partition_epoch
    {
        return Err(ErrorCode::NotController);
    }
    if proposal.leader_epoch < partition.leader_epoch.0 {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if partition.leader != Some(from) {
        return Err(ErrorCode::InvalidRequest);
    }
    if proposal.partition_epoch < partition.partition_epoch {
        return Err(ErrorCode::InvalidUpdateVersion);
    }
    let distinct = repeated(isr.iter().map(|(id, _)| *id)).is_empty();
    let within = isr.iter().all(|(id, _)| partition.is_replica(*id));
    let with_leader = isr.iter().any(|(id, _)| *id == from);
    let recovery =
        LeaderRecovery::from_code(proposal.leader_recovery_state).ok_or(ErrorCode::InvalidRequest)?;
    let recovering = recovery == LeaderRecovery::Recovering;
    if !distinct
        || !within
        || !with_leader
        || (recovering && isr.len() > 1)
        || (recovering && partition.recovery == LeaderRecovery::Recovered)
    {
        return Err(ErrorCode::InvalidRequest);
    }
    let eligible = |(id, epoch): &(BrokerId, i64)| {
        let broker = context.image.cluster().broker(*id);
        broker.is_some_and(|broker| broker.is_active() && (*epoch == -1 || *epoch == broker.epoch))
    };
    match isr.iter().all(eligible) {
        true => Ok(recovery),
        false => Err(ErrorCode::IneligibleReplica),
    }
}
