//! Which brokers hold new partitions: as the request says, or as the placement says.
//!
//! Always holds: a new partition has a leader; its ISR is the part of its replicas that is active.

use klamm_model::{BrokerId, ErrorCode, LeaderEpoch};

use super::{Context, Refusal};
use crate::image::topics::brokers;
use crate::image::{LeaderRecovery, PartitionImage};
use crate::placement;

/// Partitions on the brokers that the request names; every one must have as many replicas as `replication_factor`, or as
/// the first.
pub(super) fn manual<'a>(
    context: &Context<'_>,
    assignments: impl Iterator<Item = (i32, &'a [i32])>,
    mut replication_factor: Option<usize>,
) -> Result<Vec<PartitionImage>, Refusal> {
    let invalid = |message| Refusal::new(ErrorCode::InvalidReplicaAssignment, message);
    let mut partitions = Vec::new();
    for (number, ids) in assignments {
        let replicas = brokers(ids);
        check_replicas(context, &replicas, replication_factor).map_err(invalid)?;
        replication_factor = Some(replicas.len());
        let partition = new_partition(context, replicas);
        partitions.push(partition.ok_or_else(|| {
            invalid(format!(
                "All brokers specified in the manual partition assignment for partition {number} are fenced or in \
                 controlled shutdown."
            ))
        })?);
    }
    Ok(partitions)
}

fn check_replicas(
    context: &Context<'_>,
    replicas: &[BrokerId],
    replication_factor: Option<usize>,
) -> Result<(), String> {
    if replicas.is_empty() {
        return Err("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    for (at, id) in sorted.iter().enumerate() {
        let Some(broker) = context.image.cluster().broker(*id) else {
            return Err(format!(
                "The manual partition assignment includes broker {id}, but no such broker is registered."
            ));
        };
        if broker.all_cordoned() {
            return Err(format!(
                "The manual partition assignment includes broker {id}, but all its log directories are cordoned."
            ));
        }
        if at > 0 && sorted[at - 1] == *id {
            return Err(format!(
                "The manual partition assignment includes the broker {id} more than once."
            ));
        }
    }
    match replication_factor {
        Some(expected) if expected != replicas.len() => Err(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {expected} replica(s).",
            replicas.len()
        )),
        _ => Ok(()),
    }
}

/// `count` partitions on brokers that the placement chooses.
pub(super) fn automatic(
    context: &mut Context<'_>,
    count: usize,
    replication_factor: i16,
) -> Result<Vec<PartitionImage>, Refusal> {
    let unable = |reason: String| {
        let message = format!("Unable to replicate the partition {replication_factor} time(s): {reason}");
        Refusal::new(ErrorCode::InvalidReplicationFactor, message)
    };
    let placed = placement::place(context.image.cluster(), count, replication_factor, context.draw);
    let placed = placed.map_err(|error| unable(error.to_string()))?;
    let inactive = || unable("All brokers are currently fenced or in controlled shutdown.".to_owned());
    placed
        .into_iter()
        .map(|replicas| new_partition(context, replicas.into()).ok_or_else(inactive))
        .collect()
}

/// A partition with its first active replica as leader, if one is active.
fn new_partition(context: &Context<'_>, replicas: Box<[BrokerId]>) -> Option<PartitionImage> {
    let cluster = context.image.cluster();
    let isr: Box<[BrokerId]> = replicas
        .iter()
        .copied()
        .filter(|id| cluster.is_active(*id))
        .collect();
    let directory = |id: &BrokerId| {
        cluster
            .broker(*id)
            .map_or_else(Default::default, |broker| broker.default_directory())
    };
    Some(PartitionImage {
        leader: Some(*isr.first()?),
        directories: replicas.iter().map(directory).collect(),
        replicas,
        isr,
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        recovery: LeaderRecovery::Recovered,
        ..PartitionImage::default()
    })
}
