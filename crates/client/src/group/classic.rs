//! A member by JoinGroup, SyncGroup and Heartbeat: all members stop, one of them divides the partitions, all go on.
//!
//! Always holds: before it joins again, a member has given up what it had (the eager way); the identifier that the
//! coordinator gave is used until the coordinator does not know it any more.

use std::collections::BTreeMap;
use std::time::Duration;

use bytestring::ByteString;
use klamm_model::ErrorCode;
use klamm_protocol::ApiKey;
use klamm_protocol::messages::heartbeat_request::HeartbeatRequest;
use klamm_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use klamm_protocol::messages::join_group_response::JoinGroupResponse;
use klamm_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use klamm_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::embedded;
use super::membership::{Step, Subscription};
use super::range::{self, Subscriber};
use crate::coordinator::Coordinator;
use crate::error::{ClientError, Refusal};
use crate::offsets::Committer;

/// The one assignor that is offered.
const RANGE: &str = "range";
/// Heartbeats within a session timeout: one may be lost, and one late.
const HEARTBEATS_PER_SESSION: u32 = 15;
/// How much later than the rebalance timeout the answer to a JoinGroup may come.
const JOIN_GRACE: Duration = Duration::from_secs(5);
/// The first SyncGroup that says for which protocol it is.
const FIRST_SYNC_WITH_PROTOCOL: i16 = 5;
/// The first LeaveGroup with a list of members.
const FIRST_LEAVE_OF_MANY: i16 = 3;
/// How old the leader lets its view of the topics become.
const TOPICS_AGE: Duration = Duration::from_secs(60);

/// A member.
#[derive(Debug)]
pub(super) struct Classic {
    subscription: Subscription,
    /// Empty until the coordinator gave one.
    id: ByteString,
    /// `None` when it is to join.
    generation: Option<i32>,
    due: Duration,
    /// What the leader divided; `None` for the others.
    divided: Option<Divided>,
}

/// The partitions of topics, as they were when the leader divided them.
#[derive(Debug)]
struct Divided {
    counts: BTreeMap<ByteString, usize>,
    /// When it is to be looked whether they are still so many.
    look_at: Duration,
}

impl Classic {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self {
            subscription,
            id: ByteString::new(),
            generation: None,
            due: Duration::ZERO,
            divided: None,
        }
    }

    pub(super) fn due(&self) -> Duration {
        self.due
    }

    pub(super) fn hurry(&mut self) {
        self.due = Duration::ZERO;
    }

    pub(super) fn committer(&self) -> Option<Committer> {
        Some(Committer {
            member: self.id.clone(),
            epoch: self.generation?,
        })
    }

    pub(super) fn was_fenced(&mut self) {
        self.join_again();
    }

    fn join_again(&mut self) {
        self.generation = None;
        self.divided = None;
        self.due = Duration::ZERO;
    }

    pub(super) async fn step(
        &mut self,
        coordinator: &Coordinator,
        is_busy: bool,
    ) -> Result<Step, ClientError> {
        match self.generation {
            Some(generation) => self.heartbeat(coordinator, generation, is_busy).await,
            None => self.join(coordinator).await,
        }
    }

    async fn heartbeat(
        &mut self,
        coordinator: &Coordinator,
        generation: i32,
        is_busy: bool,
    ) -> Result<Step, ClientError> {
        let request = HeartbeatRequest {
            group_id: coordinator.key().clone(),
            generation_id: generation,
            member_id: self.id.clone(),
            ..HeartbeatRequest::default()
        };
        let answer = coordinator.call((0, i16::MAX), None, &request).await?;
        let checked = coordinator.check(ApiKey::Heartbeat, answer.error_code, None);
        match code_of(&checked) {
            None if checked.is_ok() => {
                self.plan_heartbeat(coordinator);
                if !is_busy && self.topics_changed(coordinator).await {
                    return Ok(Step::GiveUp);
                }
                Ok(Step::Nothing)
            }
            Some(ErrorCode::RebalanceInProgress) => {
                // Commits are still taken for this generation, until it joins again. Whoever is busy learns of it later.
                self.plan_heartbeat(coordinator);
                Ok(if is_busy { Step::Nothing } else { Step::GiveUp })
            }
            Some(ErrorCode::UnknownMemberId) => {
                self.id = ByteString::new();
                self.join_again();
                Ok(Step::Lost)
            }
            Some(ErrorCode::IllegalGeneration) => {
                self.join_again();
                Ok(Step::Lost)
            }
            _ => checked.map(|()| Step::Nothing),
        }
    }

    /// What was to be given up is committed: the next step joins.
    pub(super) fn gave_up(&mut self) {
        self.join_again();
    }

    fn plan_heartbeat(&mut self, coordinator: &Coordinator) {
        let now = coordinator.client().env().monotonic();
        self.due = now + self.subscription.session_timeout / HEARTBEATS_PER_SESSION;
    }

    /// Whether the topics that this member divided have other partitions by now.
    async fn topics_changed(&mut self, coordinator: &Coordinator) -> bool {
        let now = coordinator.client().env().monotonic();
        let Some(divided) = self.divided.as_mut().filter(|divided| divided.look_at <= now) else {
            return false;
        };
        divided.look_at = now + TOPICS_AGE;
        let topics: Vec<ByteString> = divided.counts.keys().cloned().collect();
        // What cannot be looked at now is looked at later.
        match counts(coordinator, &topics).await {
            Ok(counts) => counts != divided.counts,
            Err(_) => false,
        }
    }

    async fn join(&mut self, coordinator: &Coordinator) -> Result<Step, ClientError> {
        let ms = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let request = JoinGroupRequest {
            group_id: coordinator.key().clone(),
            session_timeout_ms: ms(self.subscription.session_timeout),
            rebalance_timeout_ms: ms(self.subscription.rebalance_timeout),
            member_id: self.id.clone(),
            protocol_type: embedded::CONSUMER.into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: RANGE.into(),
                metadata: embedded::subscription(&self.subscription.topics),
                ..JoinGroupRequestProtocol::default()
            }],
            ..JoinGroupRequest::default()
        };
        let limit = self.subscription.rebalance_timeout + JOIN_GRACE;
        let answer = coordinator.call((0, i16::MAX), Some(limit), &request).await?;
        let checked = coordinator.check(ApiKey::JoinGroup, answer.error_code, None);
        match code_of(&checked) {
            None if checked.is_ok() => {}
            Some(ErrorCode::MemberIdRequired) => {
                self.id = answer.member_id;
                return Ok(Step::Nothing);
            }
            Some(ErrorCode::UnknownMemberId) => {
                self.id = ByteString::new();
                return Ok(Step::Nothing);
            }
            Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => return Ok(Step::Nothing),
            _ => return checked.map(|()| Step::Nothing),
        }
        self.id = answer.member_id.clone();
        self.sync(coordinator, answer).await
    }

    async fn sync(
        &mut self,
        coordinator: &Coordinator,
        joined: JoinGroupResponse,
    ) -> Result<Step, ClientError> {
        let mut assignments = Vec::new();
        let mut divided = None;
        // Where a coordinator says so (it restarted meanwhile), it has the division already.
        if joined.leader == joined.member_id && !joined.skip_assignment {
            let (shares, counts) = divide(coordinator, &joined).await?;
            assignments = shares;
            let look_at = coordinator.client().env().monotonic() + TOPICS_AGE;
            divided = Some(Divided { counts, look_at });
        }
        let connection = coordinator.connection().await?;
        let version = connection.version_of::<SyncGroupRequest>(i16::MAX)?;
        let names_protocol = version >= FIRST_SYNC_WITH_PROTOCOL;
        let request = SyncGroupRequest {
            group_id: coordinator.key().clone(),
            generation_id: joined.generation_id,
            member_id: self.id.clone(),
            protocol_type: joined.protocol_type.filter(|_| names_protocol),
            protocol_name: joined.protocol_name.filter(|_| names_protocol),
            assignments,
            ..SyncGroupRequest::default()
        };
        let limit = self.subscription.rebalance_timeout + JOIN_GRACE;
        let answer = coordinator
            .call((version, version), Some(limit), &request)
            .await?;
        let checked = coordinator.check(ApiKey::SyncGroup, answer.error_code, None);
        match code_of(&checked) {
            None if checked.is_ok() => {}
            Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => return Ok(Step::Nothing),
            Some(ErrorCode::UnknownMemberId) => {
                self.id = ByteString::new();
                return Ok(Step::Nothing);
            }
            _ => return checked.map(|()| Step::Nothing),
        }
        let assigned = embedded::assigned(answer.assignment).map_err(|error| {
            tracing::debug!(%error, "an assignment that cannot be read");
            let words = format!("the leader of the group gave an assignment that cannot be read: {error}");
            refused(ApiKey::SyncGroup, words)
        })?;
        self.generation = Some(joined.generation_id);
        self.divided = divided;
        self.plan_heartbeat(coordinator);
        Ok(Step::Assigned(assigned))
    }

    pub(super) async fn leave(&mut self, coordinator: &Coordinator) -> Result<(), ClientError> {
        if self.id.is_empty() {
            return Ok(());
        }
        if self.generation.is_none() {
            // A join may be outstanding, behind which this would wait.
            coordinator.forget();
        }
        let connection = coordinator.connection().await?;
        let version = connection.version_of::<LeaveGroupRequest>(i16::MAX)?;
        let mut request = LeaveGroupRequest {
            group_id: coordinator.key().clone(),
            ..LeaveGroupRequest::default()
        };
        if version >= FIRST_LEAVE_OF_MANY {
            request.members.push(MemberIdentity {
                member_id: self.id.clone(),
                ..MemberIdentity::default()
            });
        } else {
            request.member_id = self.id.clone();
        }
        let answer = coordinator.call((version, version), None, &request).await?;
        self.join_again();
        self.id = ByteString::new();
        coordinator.check(ApiKey::LeaveGroup, answer.error_code, None)
    }
}

type Shares = (Vec<SyncGroupRequestAssignment>, BTreeMap<ByteString, usize>);

/// Divides the partitions of all topics that members subscribe to.
async fn divide(coordinator: &Coordinator, joined: &JoinGroupResponse) -> Result<Shares, ClientError> {
    let mut subscribers = Vec::with_capacity(joined.members.len());
    let mut topics: Vec<ByteString> = Vec::new();
    for member in &joined.members {
        // A member that cannot be understood gets nothing, and does not keep the others.
        let subscribed = embedded::subscribed(member.metadata.clone()).unwrap_or_default();
        topics.extend(subscribed.iter().cloned());
        subscribers.push(Subscriber {
            member: member.member_id.clone(),
            instance: member.group_instance_id.clone(),
            topics: subscribed,
        });
    }
    topics.sort();
    topics.dedup();
    let counts = counts(coordinator, &topics).await?;
    let shares = range::assign(subscribers, &counts);
    let shares = shares
        .into_iter()
        .map(|(member_id, partitions)| SyncGroupRequestAssignment {
            member_id,
            assignment: embedded::assignment(&partitions),
            ..SyncGroupRequestAssignment::default()
        });
    Ok((shares.collect(), counts))
}

/// How many partitions these topics have now; 0 for those that do not exist.
async fn counts(
    coordinator: &Coordinator,
    topics: &[ByteString],
) -> Result<BTreeMap<ByteString, usize>, ClientError> {
    let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
    coordinator.client().refresh_once(&names).await?;
    let cluster = coordinator.client().cluster();
    let count = |topic: &ByteString| {
        cluster
            .topics
            .get(&**topic)
            .map_or(0, |topic| topic.partitions.len())
    };
    Ok(topics.iter().map(|topic| (topic.clone(), count(topic))).collect())
}

fn code_of(checked: &Result<(), ClientError>) -> Option<ErrorCode> {
    checked.as_ref().err().and_then(ClientError::code)
}

fn refused(api: ApiKey, message: String) -> ClientError {
    let refusal = Refusal {
        code: ErrorCode::UnknownServerError,
        message: Some(message),
    };
    ClientError::refused(api, refusal)
}
