//! The shard of the group coordinator: what it keeps, and which requests there are.
//!
//! Always holds: a group is of one kind at a time, and every group that is kept was recorded. A group that has offsets and nothing
//! else is no [`Group`], and takes no memory but that of its offsets; once they are gone, its id is kept until the next sweep, as in
//! Kafka: whoever deletes the last offset and then the group finds it.
//!
//! Next: `request.rs` and `answer.rs` for what is asked and told, `kinds.rs` for where it is decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use klamm_metadata::{Delta, Image};
use klamm_model::{ErrorCode, Offset, TopicId};
use klamm_protocol::ByteString;

use super::answer::Answer;
use super::classic::ClassicGroup;
use super::classic::join::Join;
use super::classic::member::JoinTicket;
use super::config::GroupConfig;
use super::consumer::{ConsumerGroup, Heartbeat, MemberTimer, Note};
use super::offsets::Offsets;
use super::record::GroupRecord;
use super::request::Request;
use crate::contract::{CoordinatorResult, Shard, Surroundings, Ticket, TransactionalProducer};

/// What a decision about groups comes to.
pub type GroupResult = CoordinatorResult<GroupShard>;

/// Groups whose ids lead to one partition of `__consumer_offsets`, and the offsets that they have committed.
#[derive(Debug, Default)]
pub struct GroupShard {
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) offsets: Offsets,
    /// Groups that had offsets and nothing else, and have nothing any more.
    pub(super) emptied: BTreeSet<Arc<str>>,
}

/// A group that has, or has had, members.
#[derive(Debug)]
pub enum Group {
    /// Of the classic protocol.
    Classic(Box<ClassicGroup>),
    /// Of the consumer protocol.
    Consumer(Box<ConsumerGroup>),
}

impl Group {
    pub(super) fn classic(&self) -> Option<&ClassicGroup> {
        match self {
            Self::Classic(group) => Some(group),
            Self::Consumer(_) => None,
        }
    }

    pub(super) fn consumer(&self) -> Option<&ConsumerGroup> {
        match self {
            Self::Classic(_) => None,
            Self::Consumer(group) => Some(group),
        }
    }
}

/// The name of a timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Timer {
    /// Offsets that have had their time are looked for.
    ExpireOffsets,
    /// The same goes on behind this group.
    ExpireOffsetsBehind(Arc<str>),
    /// There may be more offsets of a topic that is gone, in the groups behind this one.
    TopicDeleted {
        name: Arc<str>,
        id: TopicId,
        after: Option<Arc<str>>,
    },
    /// A member of a classic group was silent for too long.
    ClassicSession { group: Arc<str>, member: Arc<str> },
    /// The members of a classic group have had their time to join.
    ClassicJoin(Arc<str>),
    /// The members of a classic group have had their time to ask for their assignments.
    ClassicSync(Arc<str>),
    /// The time of a member of a consumer group is up.
    Consumer {
        group: Arc<str>,
        member: ByteString,
        timer: MemberTimer,
    },
    /// Regular expressions of a consumer group are to be looked at again.
    Expressions(Arc<str>),
}

/// A change of what is not recorded.
#[derive(Debug)]
pub enum Volatile {
    /// A classic group, of which there is more to know than is recorded: who joins, and who waits.
    Classic(Arc<str>, Box<ClassicGroup>),
    /// What a consumer group has seen of the cluster.
    Consumer(Arc<str>, Note),
}

/// What is to be done outside: nothing.
#[derive(Debug)]
pub enum Effect {}

impl Shard for GroupShard {
    type Config = GroupConfig;
    type Request = Request;
    type Answer = Answer;
    type Record = GroupRecord;
    type Volatile = Volatile;
    type Timer = Timer;
    type Effect = Effect;

    fn new() -> Self {
        Self::default()
    }

    fn decide(
        &self,
        around: &mut Surroundings<'_>,
        config: &GroupConfig,
        ticket: Ticket,
        request: Request,
    ) -> GroupResult {
        if let Some(refused) = request.refused_anywhere(config) {
            return GroupResult::answer(ticket, refused);
        }
        let now = around.now;
        match request {
            Request::JoinGroup {
                client,
                version,
                request,
            } => {
                let join = Join {
                    client: &client,
                    ticket: JoinTicket { ticket, version },
                    request: &request,
                };
                self.join(around, config, join)
            }
            Request::SyncGroup { request, .. } => self.sync(around, config, ticket, &request),
            Request::Heartbeat(request) => self.heartbeat(around, config, ticket, &request),
            Request::LeaveGroup { version, request } => {
                self.leave(around, config, ticket, (version, &request))
            }
            Request::OffsetCommit { version, request } => {
                self.commit(now, config, ticket, (version, &request))
            }
            Request::TxnOffsetCommit { version, request } => {
                self.commit_in_transaction(now, config, ticket, (version, &request))
            }
            Request::OffsetFetch {
                require_stable,
                group,
            } => self.fetch(around.image, ticket, require_stable, &group),
            Request::OffsetDelete(request) => self.delete_offsets(ticket, &request),
            Request::DescribeGroups { version, groups } => self.describe(ticket, version, &groups),
            Request::ListGroups(request) => self.list(ticket, &request),
            Request::DeleteGroups(groups) => self.delete_groups(ticket, &groups),
            Request::ConsumerGroupHeartbeat { client, request, .. } => {
                let heartbeat = Heartbeat {
                    client: &client,
                    request: &request,
                };
                self.consumer_heartbeat(around, config, ticket, &heartbeat)
            }
            Request::ConsumerGroupDescribe(groups) => {
                self.describe_consumers(around.image, config, ticket, &groups)
            }
        }
    }

    fn on_timer(&self, around: &mut Surroundings<'_>, config: &GroupConfig, timer: Timer) -> GroupResult {
        let now = around.now;
        match timer {
            Timer::ExpireOffsets => self.sweep(now, config, None),
            Timer::ExpireOffsetsBehind(group) => self.sweep(now, config, Some(&group)),
            Timer::TopicDeleted { name, id, after } => self.topic_deleted(now, (&name, id), after.as_deref()),
            Timer::ClassicSession { group, member } => {
                match self.groups.get(&group).and_then(Group::classic) {
                    Some(classic) => classic.session_ended(&group, now, config, &member),
                    None => GroupResult::default(),
                }
            }
            Timer::ClassicJoin(group) => self.turn(now, config, &group, |turn| turn.join_time_is_up()),
            Timer::ClassicSync(group) => self.turn(now, config, &group, |turn| turn.sync_time_is_up()),
            Timer::Consumer { group, member, timer } => {
                self.consumer_timer(around, config, &group, &(member, timer))
            }
            Timer::Expressions(group) => self.refresh_expressions(around, config, &group),
        }
    }

    fn on_unwritten(
        &self,
        around: &mut Surroundings<'_>,
        config: &GroupConfig,
        about: Timer,
        code: ErrorCode,
    ) -> GroupResult {
        match about {
            Timer::ClassicSync(group) => self.assignment_unwritten(around.now, config, &group, code),
            _ => GroupResult::default(),
        }
    }

    fn on_loaded(&self, around: &mut Surroundings<'_>, config: &GroupConfig) -> GroupResult {
        self.start_all(around.now, config)
    }

    fn on_metadata(
        &self,
        around: &mut Surroundings<'_>,
        _config: &GroupConfig,
        before: &Image,
    ) -> GroupResult {
        let delta = Delta::between(before, around.image);
        let mut result = self.topics_changed(around.now, &delta);
        result.volatile.extend(self.consumers_notice(&delta));
        result
    }

    fn replay(&mut self, offset: Offset, producer: Option<TransactionalProducer>, record: GroupRecord) {
        match record {
            GroupRecord::OffsetCommit(key, value) => {
                self.replay_offset(offset, producer, &key, value.as_ref());
            }
            GroupRecord::LegacyOffsetCommit(key, value) => {
                let (key, value) = super::offsets::modern(key, value);
                self.replay_offset(offset, producer, &key, value.as_ref());
            }
            GroupRecord::ClassicGroup(key, Some(value)) => {
                self.emptied.remove(&*key.group);
                let group = Group::Classic(Box::new(ClassicGroup::from_record(&value)));
                match self.groups.get_mut(&*key.group) {
                    Some(known) => *known = group,
                    None => {
                        self.groups.insert((&*key.group).into(), group);
                    }
                }
            }
            GroupRecord::ClassicGroup(key, None) => {
                self.emptied.remove(&*key.group);
                if let Some(Group::Classic(_)) = self.groups.get(&*key.group) {
                    self.groups.remove(&*key.group);
                }
            }
            GroupRecord::ConsumerGroup(..)
            | GroupRecord::ConsumerGroupPartitionMetadata(..)
            | GroupRecord::ConsumerGroupMember(..)
            | GroupRecord::ConsumerGroupTarget(..)
            | GroupRecord::ConsumerGroupTargetMember(..)
            | GroupRecord::ConsumerGroupCurrent(..)
            | GroupRecord::ConsumerGroupRegularExpression(..) => self.replay_consumer(&record),
        }
    }

    fn replay_end_transaction_marker(&mut self, producer: TransactionalProducer, committed: bool) {
        for group in self.offsets.end_transaction(producer, committed) {
            self.note_emptied(&group);
        }
    }

    fn note(&mut self, change: Volatile) {
        match change {
            Volatile::Classic(id, group) => {
                self.emptied.remove(&id);
                self.groups.insert(id, Group::Classic(group));
            }
            Volatile::Consumer(id, note) => {
                if let Some(Group::Consumer(group)) = self.groups.get_mut(&id) {
                    group.note(note);
                }
            }
        }
    }
}
