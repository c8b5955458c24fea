//! What a member of a consumer group knows, and what all of them hold: no connection, no clock.
//!
//! Always holds: no partition is held by two, whatever the broker says, or it is an error. A member gives up what it is to
//! give up in the moment in which it is told to, and says so with its next request.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use klamm_model::Uuid;
use klamm_protocol::ByteString;
use klamm_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use klamm_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;

use crate::admin;

/// What Kafka's own consumer tells by default: the time between two polls.
const REBALANCE_TIMEOUT_MS: i32 = 300_000;
/// The epoch that says goodbye.
const LEAVES: i32 = -1;

/// A group whose members share one topic.
pub(crate) struct Group {
    name: ByteString,
    topic: ByteString,
    topic_id: Uuid,
    /// Who holds a partition.
    owners: Vec<Option<usize>>,
    /// In which members are to ask, in nanoseconds; 0 before the broker has told.
    interval: u64,
}

/// A member.
#[derive(Debug)]
pub(crate) struct Membership {
    id: ByteString,
    /// 0 before it was let in.
    epoch: i32,
    held: BTreeSet<i32>,
    /// The broker has not answered a request that says what it holds.
    is_unsaid: bool,
}

impl Membership {
    /// One that is to join.
    pub(crate) fn new(id: String) -> Self {
        Self {
            id: id.into(),
            epoch: 0,
            held: BTreeSet::new(),
            is_unsaid: true,
        }
    }

    /// The next request: the first says all, later ones what has changed.
    pub(crate) fn request(&self, group: &Group) -> ConsumerGroupHeartbeatRequest {
        let mut request = self.plain(group, self.epoch);
        if self.epoch == 0 {
            request.rebalance_timeout_ms = REBALANCE_TIMEOUT_MS;
            request.subscribed_topic_names = Some(vec![group.topic.clone()]);
        }
        if self.is_unsaid {
            let held = TopicPartitions {
                topic_id: group.topic_id,
                partitions: self.held.iter().copied().collect(),
                ..TopicPartitions::default()
            };
            let topics = [held].into_iter().filter(|_| !self.held.is_empty());
            request.topic_partitions = Some(topics.collect());
        }
        request
    }

    /// The last request.
    pub(crate) fn leave(&self, group: &Group) -> ConsumerGroupHeartbeatRequest {
        self.plain(group, LEAVES)
    }

    fn plain(&self, group: &Group, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: group.name.clone(),
            member_id: self.id.clone(),
            member_epoch,
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }
}

impl Group {
    pub(crate) fn new(name: &str, topic: &str, topic_id: Uuid, partitions: i32) -> Self {
        Self {
            name: name.into(),
            topic: topic.into(),
            topic_id,
            owners: vec![None; usize::try_from(partitions).unwrap_or_default()],
            interval: 0,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn interval(&self) -> u64 {
        self.interval
    }

    /// The member in place `number` has gone.
    pub(crate) fn forget(&mut self, number: usize) {
        for owner in &mut self.owners {
            if *owner == Some(number) {
                *owner = None;
            }
        }
    }

    /// Takes the answer to the last request of the member in place `number`; says whether what it holds has changed.
    pub(crate) fn answered(
        &mut self,
        number: usize,
        member: &mut Membership,
        answer: &ConsumerGroupHeartbeatResponse,
    ) -> Result<bool> {
        admin::check(answer.error_code, || {
            let message = answer.error_message.as_deref().unwrap_or_default();
            format!("a heartbeat of {} ({message})", member.id)
        })?;
        let interval = u64::try_from(answer.heartbeat_interval_ms).ok();
        let interval = interval.filter(|interval| *interval > 0);
        self.interval = interval.context("no interval is told")? * 1_000_000;
        ensure!(
            answer.member_epoch >= member.epoch.max(1),
            "the epoch of {} goes back to {}",
            member.id,
            answer.member_epoch
        );
        member.epoch = answer.member_epoch;
        member.is_unsaid = false;
        let Some(assignment) = &answer.assignment else {
            return Ok(false);
        };
        let mut assigned = BTreeSet::new();
        for topic in &assignment.topic_partitions {
            ensure!(
                topic.topic_id == self.topic_id,
                "a partition of another topic is assigned"
            );
            assigned.extend(&topic.partitions);
        }
        if assigned == member.held {
            return Ok(false);
        }
        for gone in member.held.difference(&assigned) {
            *self.owner(*gone)? = None;
        }
        for new in assigned.difference(&member.held) {
            let owner = self.owner(*new)?;
            ensure!(owner.is_none(), "partition {new} is given to two members");
            *owner = Some(number);
        }
        member.held = assigned;
        member.is_unsaid = true;
        Ok(true)
    }

    fn owner(&mut self, partition: i32) -> Result<&mut Option<usize>> {
        let index = usize::try_from(partition).ok();
        let owner = index.and_then(|index| self.owners.get_mut(index));
        owner.with_context(|| format!("there is no partition {partition}"))
    }

    /// Whether all members are at one epoch, all partitions are held, by each as many but for one, and all is said.
    pub(crate) fn is_settled<'a>(&self, members: impl Iterator<Item = &'a Membership>) -> bool {
        let members: Vec<_> = members.collect();
        let Some(first) = members.first() else {
            return false;
        };
        let (mut least, mut most) = (usize::MAX, 0);
        for member in &members {
            least = least.min(member.held.len());
            most = most.max(member.held.len());
        }
        let at_one =
            |member: &&Membership| member.epoch == first.epoch && member.epoch > 0 && !member.is_unsaid;
        most - least <= 1 && members.iter().all(at_one) && self.owners.iter().all(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use klamm_protocol::messages::consumer_group_heartbeat_response::{
        Assignment, TopicPartitions as Assigned,
    };

    use super::*;

    const TOPIC: Uuid = Uuid([7; 16]);

    fn group() -> Group {
        Group::new("g", "t", TOPIC, 3)
    }

    fn answer(member_epoch: i32, assigned: Option<&[i32]>) -> ConsumerGroupHeartbeatResponse {
        let assignment = assigned.map(|partitions| Assignment {
            topic_partitions: vec![Assigned {
                topic_id: TOPIC,
                partitions: partitions.to_vec(),
                ..Assigned::default()
            }],
            ..Assignment::default()
        });
        ConsumerGroupHeartbeatResponse {
            member_epoch,
            heartbeat_interval_ms: 500,
            assignment,
            ..ConsumerGroupHeartbeatResponse::default()
        }
    }

    fn said(request: &ConsumerGroupHeartbeatRequest) -> Option<Vec<i32>> {
        let topics = request.topic_partitions.as_ref()?;
        Some(topics.iter().flat_map(|topic| topic.partitions.clone()).collect())
    }

    #[test]
    fn a_member_says_all_at_first_and_then_what_changed() {
        let (mut group, mut member) = (group(), Membership::new("m".to_owned()));
        let first = member.request(&group);
        assert_eq!((first.member_epoch, said(&first)), (0, Some(Vec::new())));
        assert!(first.subscribed_topic_names.is_some() && first.rebalance_timeout_ms > 0);
        for (told, has_changed, says) in [
            (answer(1, Some(&[0, 1])), true, Some(vec![0, 1])),
            (answer(1, None), false, None),
            (answer(2, Some(&[0, 1])), false, None),
            (answer(2, Some(&[1])), true, Some(vec![1])),
            // Before what was given up is acknowledged, there is more.
            (answer(3, Some(&[1, 2])), true, Some(vec![1, 2])),
        ] {
            assert_eq!(group.answered(0, &mut member, &told).unwrap(), has_changed);
            let request = member.request(&group);
            assert_eq!((request.member_epoch, said(&request)), (told.member_epoch, says));
            assert!(request.subscribed_topic_names.is_none() && request.rebalance_timeout_ms == -1);
        }
        assert_eq!(group.interval(), 500_000_000);
        assert_eq!(member.leave(&group).member_epoch, -1);
    }

    #[test]
    fn a_group_has_settled_when_all_is_held_evenly_at_one_epoch_and_said() {
        let mut group = group();
        let mut members = [Membership::new("a".to_owned()), Membership::new("b".to_owned())];
        let mut is_settled = |number: usize, told: ConsumerGroupHeartbeatResponse| {
            group.answered(number, &mut members[number], &told).unwrap();
            group.is_settled(members.iter())
        };
        for (number, told, expected) in [
            (0, answer(1, Some(&[0, 1, 2])), false),
            (0, answer(1, None), false),
            // Another one has joined, and nothing is free yet.
            (1, answer(2, Some(&[])), false),
            (0, answer(1, Some(&[0, 1])), false),
            (1, answer(2, Some(&[2])), false),
            (1, answer(2, None), false),
            (0, answer(2, None), true),
            (0, answer(3, None), false),
            (1, answer(3, None), true),
        ] {
            assert_eq!(is_settled(number, told), expected);
        }
        group.forget(1);
        assert!(!group.is_settled(members[..1].iter()));
    }

    #[test]
    fn what_a_broker_may_not_say_is_an_error() {
        let refused = ConsumerGroupHeartbeatResponse {
            error_code: 110,
            ..answer(2, None)
        };
        let silent = ConsumerGroupHeartbeatResponse {
            heartbeat_interval_ms: 0,
            ..answer(2, None)
        };
        for (told, words) in [
            (answer(2, Some(&[0])), "given to two"),
            (answer(2, Some(&[3])), "no partition 3"),
            (answer(2, Some(&[-1])), "no partition -1"),
            (answer(0, None), "goes back"),
            (refused, "FENCED_MEMBER_EPOCH"),
            (silent, "no interval"),
        ] {
            let mut group = group();
            let (mut first, mut second) = (Membership::new("a".to_owned()), Membership::new("b".to_owned()));
            group.answered(0, &mut first, &answer(1, Some(&[0]))).unwrap();
            let error = group.answered(1, &mut second, &told).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
