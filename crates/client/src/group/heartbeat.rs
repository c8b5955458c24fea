//! A member by ConsumerGroupHeartbeat (KIP-848): the coordinator divides the partitions, and says in the answer to each
//! heartbeat what the member is to have.
//!
//! Always holds: the member says what it has only after it has let go of what it was to give up, because then the
//! coordinator gives it to another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytestring::ByteString;
use klamm_model::{ErrorCode, TopicId, TopicPartition};
use klamm_protocol::ApiKey;
use klamm_protocol::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use klamm_protocol::messages::consumer_group_heartbeat_response::Assignment;

use super::membership::{Step, Subscription};
use crate::coordinator::Coordinator;
use crate::error::ClientError;
use crate::offsets::Committer;

/// The epoch of a member that joins.
const JOINING: i32 = 0;
/// The epoch of a member that leaves.
const LEAVING: i32 = -1;
/// The first version in which the member makes its own identifier (KIP-1082).
const FIRST_WITH_OWN_ID: i16 = 1;

type ByTopic = BTreeMap<TopicId, BTreeSet<i32>>;

/// A member.
#[derive(Debug)]
pub(super) struct Heartbeat {
    subscription: Subscription,
    id: ByteString,
    epoch: i32,
    due: Duration,
    /// What the coordinator wants the member to have.
    target: ByTopic,
    /// What the member has, and what it last said that it has.
    owned: ByTopic,
    told: Option<ByTopic>,
    /// What it has when it has done what it was told.
    reconciling: Option<ByTopic>,
    /// Topics that were given and whose names are not known yet.
    has_unnamed: bool,
}

impl Heartbeat {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self {
            subscription,
            id: ByteString::new(),
            epoch: JOINING,
            due: Duration::ZERO,
            target: ByTopic::new(),
            owned: ByTopic::new(),
            told: None,
            reconciling: None,
            has_unnamed: false,
        }
    }

    pub(super) fn due(&self) -> Duration {
        self.due
    }

    pub(super) fn hurry(&mut self) {
        self.due = Duration::ZERO;
    }

    pub(super) fn committer(&self) -> Option<Committer> {
        (self.epoch > JOINING).then(|| Committer {
            member: self.id.clone(),
            epoch: self.epoch,
        })
    }

    pub(super) fn was_fenced(&mut self) {
        self.epoch = JOINING;
        self.target.clear();
        self.owned.clear();
        self.told = None;
        self.reconciling = None;
        self.due = Duration::ZERO;
    }

    /// What was given up is let go of, and the rest taken up: the coordinator is told at once.
    pub(super) fn reconciled(&mut self) {
        if let Some(owned) = self.reconciling.take() {
            self.owned = owned;
            self.due = Duration::ZERO;
        }
    }

    pub(super) async fn step(
        &mut self,
        coordinator: &Coordinator,
        is_busy: bool,
    ) -> Result<Step, ClientError> {
        let connection = coordinator.connection().await?;
        let version = connection.version_of::<ConsumerGroupHeartbeatRequest>(i16::MAX)?;
        if self.id.is_empty() && version >= FIRST_WITH_OWN_ID {
            self.id = coordinator.client().env().random_uuid().to_string().into();
        }
        let request = self.request(coordinator);
        // Until there is an answer, nobody knows what the coordinator has heard.
        self.told = None;
        let answer = coordinator.call((version, version), None, &request).await?;
        let api = ApiKey::ConsumerGroupHeartbeat;
        let checked = coordinator.check(api, answer.error_code, answer.error_message.as_ref());
        match checked.as_ref().err().and_then(ClientError::code) {
            // A group without members may be gone.
            Some(ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch | ErrorCode::GroupIdNotFound) => {
                self.was_fenced();
                return Ok(Step::Lost);
            }
            _ => checked?,
        }
        self.told = Some(self.owned.clone());
        self.epoch = answer.member_epoch;
        if let Some(id) = answer.member_id {
            self.id = id;
        }
        let interval = Duration::from_millis(u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0));
        self.due = coordinator.client().env().monotonic() + interval;
        if let Some(assignment) = answer.assignment {
            self.target = by_topic(assignment);
        }
        if is_busy || self.target == self.owned && !self.has_unnamed {
            return Ok(Step::Nothing);
        }
        self.reconcile(coordinator).await
    }

    /// The heartbeat: the first one, and one after a failure, says all; others only what is new.
    fn request(&self, coordinator: &Coordinator) -> ConsumerGroupHeartbeatRequest {
        let is_full = self.epoch == JOINING || self.told.is_none();
        let rebalance_ms = i32::try_from(self.subscription.rebalance_timeout.as_millis());
        let owned = || {
            self.owned.iter().map(|(topic, partitions)| TopicPartitions {
                topic_id: *topic,
                partitions: partitions.iter().copied().collect(),
                ..TopicPartitions::default()
            })
        };
        let is_told = self.told.as_ref() == Some(&self.owned);
        ConsumerGroupHeartbeatRequest {
            group_id: coordinator.key().clone(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            rebalance_timeout_ms: if is_full {
                rebalance_ms.unwrap_or(i32::MAX)
            } else {
                -1
            },
            subscribed_topic_names: is_full.then(|| self.subscription.topics.clone()),
            topic_partitions: (is_full || !is_told).then(|| owned().collect()),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    /// From what the member has to what it is to have.
    async fn reconcile(&mut self, coordinator: &Coordinator) -> Result<Step, ClientError> {
        let topics: Vec<&str> = self.subscription.topics.iter().map(|topic| &**topic).collect();
        let is_known = |id: &TopicId| {
            let cluster = coordinator.client().cluster();
            cluster.topics.values().any(|topic| topic.id == Some(*id))
        };
        if !self.target.keys().all(is_known) {
            coordinator.client().refresh_once(&topics).await?;
        }
        let cluster = coordinator.client().cluster();
        let mut named = BTreeSet::new();
        let mut owned = ByTopic::new();
        for (id, partitions) in &self.target {
            let topic = cluster.topics.values().find(|topic| topic.id == Some(*id));
            let Some(topic) = topic else { continue };
            owned.insert(*id, partitions.clone());
            named.extend(
                partitions
                    .iter()
                    .map(|index| TopicPartition::new(topic.name.clone(), *index)),
            );
        }
        // A topic that was made a moment ago may not be known to the broker that was asked.
        self.has_unnamed = owned.len() < self.target.len();
        if owned == self.owned {
            return Ok(Step::Nothing);
        }
        self.reconciling = Some(owned);
        Ok(Step::Assigned(named))
    }

    pub(super) async fn leave(&mut self, coordinator: &Coordinator) -> Result<(), ClientError> {
        if self.id.is_empty() {
            return Ok(());
        }
        let request = ConsumerGroupHeartbeatRequest {
            group_id: coordinator.key().clone(),
            member_id: self.id.clone(),
            member_epoch: LEAVING,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let answer = coordinator.call((0, i16::MAX), None, &request).await?;
        self.was_fenced();
        let api = ApiKey::ConsumerGroupHeartbeat;
        coordinator.check(api, answer.error_code, answer.error_message.as_ref())
    }
}

fn by_topic(assignment: Assignment) -> ByTopic {
    let mut topics = ByTopic::new();
    for topic in assignment.topic_partitions {
        topics.entry(topic.topic_id).or_default().extend(topic.partitions);
    }
    topics
}
