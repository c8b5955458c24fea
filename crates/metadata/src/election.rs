//! Who leads a partition, and who may (KIP-966).
//!
//! Always holds: a leader is in the ISR; a replica is never in both ISR and ELR; without an operator's wish (an unclean
//! election, or the last known leader of a partition that has lost all others) nobody leads who may lack what was
//! acknowledged. A change that changes nothing is none.
//!
//! The ELR keeps the replicas that left an ISR which then had fewer members than `min.insync.replicas`: nothing was
//! acknowledged without them since, so they can lead. When the ISR is large enough again, they are forgotten.

use klamm_model::{BrokerId, TopicId};
use klamm_protocol::metadata_records::PartitionChangeRecord;

use crate::image::topics::raw;
use crate::image::{LeaderRecovery, PartitionImage};

/// "The leader stays", in the record.
const SAME_LEADER: i32 = -2;
/// "Nobody leads", in the record.
const NO_LEADER: i32 = -1;

/// Whom an election prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The first replica, and otherwise as it is.
    Preferred,
    /// As it is, while that can lead.
    Online,
    /// As `Online`; when nobody can, a replica that may lack events.
    Unclean,
}

/// What elections go by.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// Whether eligible leader replicas are kept.
    pub keeps_elr: bool,
    /// The members that an ISR needs, no more than there are replicas.
    pub min_isr: usize,
    /// Whom to prefer.
    pub election: Election,
    /// Who is there to lead.
    pub acceptable: &'a dyn Fn(BrokerId) -> bool,
}

/// What a partition should become.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its ISR.
    pub isr: Vec<BrokerId>,
    /// Brokers that crashed, and may have lost what they had.
    pub crashed: Vec<BrokerId>,
    /// Another recovery state.
    pub recovery: Option<LeaderRecovery>,
}

impl Target {
    /// As it is, up to an election.
    pub fn same(partition: &PartitionImage) -> Self {
        Self {
            isr: partition.isr.to_vec(),
            crashed: Vec::new(),
            recovery: None,
        }
    }
}

struct Elected {
    leader: Option<BrokerId>,
    unclean: bool,
}

/// The record that makes `partition` what it should be, with a leader elected; `None` when nothing changes.
pub fn change(
    topic: TopicId,
    number: i32,
    partition: &PartitionImage,
    target: Target,
    rules: &Rules<'_>,
) -> Option<PartitionChangeRecord> {
    let mut isr = target.isr;
    let mut elr = elr(partition, &isr, &target.crashed, rules);
    let elected = elect(partition, &isr, &elr, rules);
    let mut record = PartitionChangeRecord {
        partition_id: number,
        topic_id: topic,
        ..Default::default()
    };
    let mut recovery = target.recovery.unwrap_or(partition.recovery);
    if elected.leader != partition.leader {
        record.leader = elected.leader.map_or(NO_LEADER, |leader| leader.0);
        match elected.leader {
            Some(leader) if elected.unclean => {
                isr = vec![leader];
                elr.retain(|member| *member != leader);
                recovery = LeaderRecovery::Recovering;
            }
            Some(leader) if elr.contains(&leader) => {
                isr = vec![leader];
                elr.retain(|member| *member != leader);
            }
            _ => {}
        }
    }
    // Without an ELR the last member stays, so that it is known who may lead again.
    if (rules.keeps_elr || !isr.is_empty()) && isr != *partition.isr {
        record.isr = Some(raw(&isr));
    }
    if elr != *partition.elr {
        record.eligible_leader_replicas = Some(raw(&elr));
    }
    record.last_known_elr = last_known(partition, record.leader, rules);
    if recovery != partition.recovery {
        record.leader_recovery_state = recovery.code();
    }
    let nothing = PartitionChangeRecord {
        partition_id: number,
        topic_id: topic,
        ..Default::default()
    };
    (record != nothing).then_some(record)
}

/// The ELR beside the new `isr`.
fn elr(
    partition: &PartitionImage,
    isr: &[BrokerId],
    crashed: &[BrokerId],
    rules: &Rules<'_>,
) -> Vec<BrokerId> {
    if !rules.keeps_elr {
        return partition.elr.to_vec();
    }
    if isr.len() >= rules.min_isr {
        return Vec::new();
    }
    let mut elr: Vec<BrokerId> = Vec::new();
    for member in partition.elr.iter().chain(&partition.isr) {
        if !isr.contains(member) && !crashed.contains(member) && !elr.contains(member) {
            elr.push(*member);
        }
    }
    elr
}

fn elect(partition: &PartitionImage, isr: &[BrokerId], elr: &[BrokerId], rules: &Rules<'_>) -> Elected {
    let can_lead =
        |id: &BrokerId| (isr.contains(id) || (isr.is_empty() && elr.contains(id))) && (rules.acceptable)(*id);
    let preferred = partition
        .preferred()
        .filter(|_| rules.election == Election::Preferred);
    let clean = preferred
        .filter(can_lead)
        .or(partition.leader.filter(can_lead))
        .or_else(|| partition.replicas.iter().copied().find(can_lead));
    if clean.is_some() {
        return Elected {
            leader: clean,
            unclean: false,
        };
    }
    let acceptable = |id: &BrokerId| (rules.acceptable)(*id);
    let last_known = match partition.last_known_elr[..] {
        [only] if rules.keeps_elr && isr.is_empty() && elr.is_empty() => Some(only).filter(acceptable),
        _ => None,
    };
    let any = || {
        let unclean = rules.election == Election::Unclean;
        partition
            .replicas
            .iter()
            .copied()
            .filter(|_| unclean)
            .find(acceptable)
    };
    let leader = last_known.or_else(any);
    Elected {
        leader,
        unclean: leader.is_some(),
    }
}

/// The last leader is noted when the partition loses it, and forgotten when there is one again.
fn last_known(partition: &PartitionImage, leader: i32, rules: &Rules<'_>) -> Option<Vec<i32>> {
    if !rules.keeps_elr {
        return None;
    }
    match (leader, partition.leader) {
        (NO_LEADER, Some(last)) => Some(vec![last.0]),
        (SAME_LEADER, None) | (NO_LEADER, None) => None,
        _ => (!partition.last_known_elr.is_empty()).then(Vec::new),
    }
}

#[cfg(test)]
mod tests;
