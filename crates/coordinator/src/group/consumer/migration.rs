//! How a group with members goes from one protocol to the other (`group.consumer.migration.policy`).
//!
//! ```text
//! classic, of consumers ──── a member of the consumer protocol joins ────► consumer, with members of both
//! consumer ──── the last member of the consumer protocol goes ────► classic, which rebalances
//! ```
//!
//! Always holds: the generation becomes the epoch, or the next one where partitions were given to nobody, and the epoch the
//! generation, so neither goes back. What a member had it still has, but for what a leader gave to two of them: what it was told, not
//! what it is to have, and on the way there also what it owned when it joined last. (Kafka takes the target for it on the way back, and
//! what a member owned for nobody's on the way there.) All records that take the one back and make the other stand in one decision.

use std::collections::BTreeSet;
use std::sync::Arc;

use klamm_metadata::Image;
use klamm_model::{ErrorCode, TimestampMs, TopicId};
use klamm_protocol::ByteString;
use klamm_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

use super::embedded::{self, Malformed};
use super::member::{ClassicMember, Current, MemberState, Subscription, copied_set};
use super::partitions::{Held, Holdings};
use super::records::Recorder;
use super::{ConsumerGroup, Partitions, Refusal, metadata_hash};
use crate::group::classic::member::{Member as ClassicMemberOf, Protocol};
use crate::group::classic::{CONSUMER, ClassicGroup, State};
use crate::group::config::GroupConfig;
use crate::group::record::GroupRecord;

/// The records of a consumer group in the place of a classic one, but for the tombstone of that.
pub(super) fn upgrade(
    id: &ByteString,
    classic: &ClassicGroup,
    image: &Image,
    config: &GroupConfig,
) -> Result<Vec<GroupRecord>, Refusal> {
    let refused = |because| not_upgraded(id, because);
    if !config.consumer_migration_policy.upgrades() {
        return Err(refused("online upgrade is disabled"));
    }
    if !classic.is_of_consumers() {
        return Err(refused("the group does not use the consumer embedded protocol"));
    }
    if classic.members.len() > config.consumer_max_size {
        return Err(refused("the group size exceeds the consumer group maximum size"));
    }
    let mut given = BTreeSet::new();
    let mut members = all_upgraded(id, classic, image, &mut given)?;
    // What nobody was given is to be assigned, though nobody may want anything else.
    let epoch = match is_whole(&members, &given, image) {
        true => classic.generation,
        false => classic.generation.saturating_add(1),
    };
    for (_, member) in &mut members {
        member.hold_on_to_owned(classic.generation, &mut given);
    }

    let recorder = Recorder { group_id: id };
    let subscriptions = members
        .iter()
        .map(|(id, member)| recorder.subscription(id, Some(&member.subscription)));
    let mut records: Vec<GroupRecord> = subscriptions.collect();
    let mut topics: Vec<&ByteString> = members
        .iter()
        .flat_map(|(_, member)| &member.subscription.topics)
        .collect();
    topics.sort_unstable();
    topics.dedup();
    let hash = metadata_hash::of_group(topics.into_iter().map(|topic| &**topic), image);
    records.push(recorder.epoch(epoch, hash));
    records.extend(members.iter().map(|(id, member)| {
        let topics = member.current.assigned.iter();
        let target: Partitions = topics
            .map(|(topic, held)| (*topic, held.iter().map(|held| held.partition).collect()))
            .collect();
        recorder.target(id, Some(&target))
    }));
    records.push(recorder.target_epoch(classic.generation, 0));
    records.extend(
        members
            .iter()
            .map(|(id, member)| recorder.current(id, Some(&member.current))),
    );
    Ok(records)
}

fn not_upgraded(id: &str, because: &str) -> Refusal {
    let message = format!("Cannot upgrade classic group {id} to consumer group because {because}.");
    Refusal::new(ErrorCode::GroupIdNotFound, message)
}

/// All members, by id, and what was given to them.
fn all_upgraded(
    id: &str,
    classic: &ClassicGroup,
    image: &Image,
    given: &mut BTreeSet<(TopicId, i32)>,
) -> Result<Vec<(ByteString, Upgraded)>, Refusal> {
    let mut members = Vec::with_capacity(classic.members.len());
    for member in classic.members.iter() {
        let upgraded = upgraded(classic, member, image, given).map_err(|error| match error {
            NotUpgraded::Malformed => not_upgraded(id, "the embedded consumer protocol is malformed"),
            NotUpgraded::UserData => Refusal::new(
                ErrorCode::GroupIdNotFound,
                format!(
                    "Cannot upgrade classic group {id} to consumer group because an unsupported custom assignor is in \
                     use. Please refer to the documentation or switch to a default assignor before re-attempting \
                     the upgrade."
                ),
            ),
        })?;
        members.push((ByteString::from(&*member.id), upgraded));
    }
    Ok(members)
}

enum NotUpgraded {
    Malformed,
    /// Somebody else's assignor keeps something there.
    UserData,
}

impl From<Malformed> for NotUpgraded {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// Whether all partitions of what the members subscribe to were given to somebody. The leader may leave some out until a cooperative
/// member has let go of them, and may not have seen that a topic has grown.
fn is_whole(members: &[(ByteString, Upgraded)], given: &BTreeSet<(TopicId, i32)>, image: &Image) -> bool {
    let topics = members.iter().flat_map(|(_, member)| &member.subscription.topics);
    let topics: BTreeSet<&ByteString> = topics.collect();
    let mut known = topics
        .into_iter()
        .filter_map(|topic| image.topics().by_name(topic));
    known.all(|topic| {
        let mut partitions = (0..).take(topic.partitions.len());
        partitions.all(|partition| given.contains(&(topic.id, partition)))
    })
}

/// A member of a classic group in a consumer group.
struct Upgraded {
    subscription: Subscription,
    current: Current,
    /// What it had when it joined last.
    owned: Vec<TopicPartitions>,
}

impl Upgraded {
    /// What it had when it joined and was not given, it may still read, as cooperative members do until they are told: it is to let go
    /// of that, unless somebody else has it.
    fn hold_on_to_owned(&mut self, generation: i32, given: &mut BTreeSet<(TopicId, i32)>) {
        for topic in &self.owned {
            let partitions = topic.partitions.iter().copied();
            let own = partitions.filter(|partition| given.insert((topic.topic_id, *partition)));
            let held: Vec<Held> = own
                .map(|partition| Held {
                    partition,
                    since: generation,
                })
                .collect();
            self.current.revoking.extend(topic.topic_id, &held);
        }
        if !self.current.revoking.is_empty() {
            self.current.state = MemberState::UnrevokedPartitions;
        }
    }
}

fn upgraded(
    classic: &ClassicGroup,
    member: &ClassicMemberOf,
    image: &Image,
    given: &mut BTreeSet<(TopicId, i32)>,
) -> Result<Upgraded, NotUpgraded> {
    let chosen = classic.protocol.as_deref();
    let chosen = member
        .protocols
        .iter()
        .find(|own| chosen.is_none_or(|chosen| *own.name == *chosen));
    let said = embedded::subscription(&chosen.ok_or(Malformed)?.metadata)?;
    let assignment = embedded::assignment(&member.assignment)?;
    if assignment.user_data.as_ref().is_some_and(|data| !data.is_empty()) {
        return Err(NotUpgraded::UserData);
    }
    let generation = classic.generation;
    let mut assigned = Holdings::default();
    for topic in &assignment.assigned_partitions {
        let Some(known) = image.topics().by_name(&topic.topic) else {
            continue;
        };
        // What a leader gave to two stays with the first; the other one is told when it joins.
        let partitions = topic.partitions.iter();
        let own = partitions.filter(|partition| given.insert((known.id, **partition)));
        let held: Vec<Held> = own
            .map(|partition| Held {
                partition: *partition,
                since: generation,
            })
            .collect();
        assigned.extend(known.id, &held);
    }
    let current = Current {
        epoch: generation,
        previous_epoch: generation,
        assigned,
        ..Current::default()
    };
    let protocols = member
        .protocols
        .iter()
        .map(|own| ((&*own.name).into(), own.metadata.clone()));
    let subscription = Subscription {
        instance_id: member.instance_id.as_deref().map(Into::into),
        rack_id: said
            .rack_id
            .as_ref()
            .filter(|rack| !rack.is_empty())
            .map(super::member::copied),
        client_id: (&*member.client_id).into(),
        client_host: (&*member.client_host).into(),
        topics: copied_set(&said.topics),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        classic: Some(ClassicMember {
            session_timeout_ms: member.session_timeout_ms,
            protocols: protocols.collect(),
        }),
        ..Subscription::default()
    };
    Ok(Upgraded {
        owned: embedded::owned(&said, image),
        subscription,
        current,
    })
}

/// A member that takes the place of a static one.
pub(super) struct Replacing<'a> {
    pub(super) member_id: &'a ByteString,
    pub(super) subscription: &'a Subscription,
    /// What is its own then.
    pub(super) has: Partitions,
}

impl ConsumerGroup {
    /// Whether the group becomes a classic one when these members go: only members of the classic protocol are left.
    pub(super) fn becomes_classic_without(&self, leaving: &[&ByteString], config: &GroupConfig) -> bool {
        let left = self.members.len() - leaving.len();
        left > 0 && left <= config.max_size && self.only_classic_without(leaving, config)
    }

    /// Whether it does when a member of the classic protocol takes the place of this one.
    pub(super) fn becomes_classic_by_replacing(&self, member: &ByteString, config: &GroupConfig) -> bool {
        let is_other = self
            .member(member)
            .is_some_and(|member| member.subscription.classic.is_none());
        is_other && self.members.len() <= config.max_size && self.only_classic_without(&[member], config)
    }

    fn only_classic_without(&self, leaving: &[&ByteString], config: &GroupConfig) -> bool {
        let leaving: BTreeSet<&ByteString> = leaving.iter().copied().collect();
        let mut left = self.members.iter().filter(|(id, _)| !leaving.contains(id));
        config.consumer_migration_policy.downgrades()
            && left.all(|(_, member)| member.subscription.classic.is_some())
    }

    /// The classic group that is left without these members; `None` when what they say cannot be read.
    pub(super) fn downgraded(
        &self,
        leaving: &[&ByteString],
        replacing: Option<&Replacing<'_>>,
        image: &Image,
        now: TimestampMs,
    ) -> Option<ClassicGroup> {
        let mut group = ClassicGroup {
            generation: self.epoch,
            ..ClassicGroup::new(now)
        };
        let leaving: BTreeSet<&ByteString> = leaving.iter().copied().collect();
        let left = self.members.iter().filter(|(id, _)| !leaving.contains(id));
        let left = left.map(|(id, member)| (id, &member.subscription, member.current.all()));
        let came = replacing.map(|came| (came.member_id, came.subscription, came.has.clone()));
        for (id, subscription, has) in left.chain(came) {
            let mut member = downgraded(id, subscription)?;
            let has = has
                .iter()
                .map(|(topic, partitions)| (*topic, partitions.to_vec()));
            let said = member.protocols.first().map(|own| own.metadata.clone())?;
            member.assignment = embedded::told(has, &said, image).ok()?;
            group.add(CONSUMER, member);
        }
        group.protocol = Some(group.choose_protocol()?);
        group.enter(State::Stable, now);
        group.note_topics();
        Some(group)
    }
}

fn downgraded(id: &ByteString, said: &Subscription) -> Option<ClassicMemberOf> {
    let classic = said.classic.as_ref()?;
    let protocols = classic.protocols.iter().map(|(name, metadata)| Protocol {
        name: (&**name).into(),
        metadata: metadata.clone(),
    });
    Some(ClassicMemberOf {
        id: (&**id).into(),
        instance_id: said.instance_id.as_deref().map(Arc::from),
        client_id: (&*said.client_id).into(),
        client_host: (&*said.client_host).into(),
        rebalance_timeout_ms: said.rebalance_timeout_ms,
        session_timeout_ms: classic.session_timeout_ms,
        protocols: protocols.collect(),
        assignment: bytes::Bytes::new(),
        is_new: false,
        owes_sync: false,
        join: None,
        sync: None,
    })
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
