//! One partition on this broker: its log, its leadership, and those who wait for it.
//!
//! Always holds: the high watermark is the smallest durable end over the in-sync replicas and never goes back; the log
//! is locked for moments only, and whatever must wait for the device is done without the lock, on a thread that may
//! block.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::leader::Leader;
use arc_swap::{ArcSwap, Guard};
use klamm_env::Env;
use klamm_log::flush::flush;
use klamm_log::prepare::prepare;
use klamm_log::read::read_blocking;
use klamm_log::{
    AppendError, FileRange, FlushScope, FlushTicket, Incoming, Log, LogCell, LogError, NotReady, ReadError,
    ReadRequest, Submission,
};
use klamm_model::{ErrorCode, LeaderEpoch, Offset, TimestampMs, TopicId};
use klamm_records::{TimestampType, Validated};
use parking_lot::Mutex;

use super::commit::{Committer, Target};
use super::settings::Settings;
use crate::waiters::{Waiter, Waiters};

/// See the head of the file.
pub(crate) struct Partition {
    topic: Arc<str>,
    topic_id: TopicId,
    index: i32,
    env: Env,
    committer: Arc<Committer>,
    submission: Arc<Submission>,
    settings: ArcSwap<Settings>,
    /// What `state` has, to be read without the lock.
    high_watermark: AtomicI64,
    state: Mutex<State>,
}

struct State {
    log: Log,
    role: Role,
    waiters: Waiters,
    /// When the first record was appended that was not flushed since; for `flush.ms`.
    unflushed_since: Option<TimestampMs>,
}

/// What this broker is to the partition.
pub(crate) enum Role {
    /// Clients write and read here.
    Leader(Leader),
    /// Somebody else leads, or nobody.
    Follower {
        /// The leader and its epoch, as far as the metadata has one.
        leader: Option<(i32, i32)>,
    },
    /// The partition was deleted or taken away.
    Gone,
}

/// A batch that is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: Offset,
    /// The offset after its last record.
    pub(crate) end_offset: Offset,
    pub(crate) log_append_time: Option<TimestampMs>,
    pub(crate) log_start_offset: Offset,
    /// It was in the log already.
    pub(crate) duplicate: bool,
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this broker does not lead the partition")]
    NotLeader,
    #[error("{in_sync} replicas are in sync, min.insync.replicas asks for {needed}")]
    NotEnoughReplicas { in_sync: usize, needed: usize },
    #[error(transparent)]
    Log(#[from] AppendError),
}

impl Refusal {
    /// What the client is told.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Refusal::NotLeader => ErrorCode::NotLeaderOrFollower,
            Refusal::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
            Refusal::Log(error) => match error {
                AppendError::Duplicate { .. } => ErrorCode::DuplicateSequenceNumber,
                AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
                AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
                AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
                AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
                AppendError::OffsetsNotMonotonic { .. } => ErrorCode::UnknownServerError,
                AppendError::Batch(_) => ErrorCode::CorruptMessage,
                AppendError::Storage(_) => ErrorCode::KafkaStorageError,
            },
        }
    }

    /// What the client is told in words; Kafka says nothing for most.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Refusal::Log(AppendError::Storage(_) | AppendError::TooLarge { .. }) => Some(self.to_string()),
            _ => None,
        }
    }
}

/// What a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Up to the high watermark.
    Uncommitted,
    /// Up to the last stable offset.
    Committed,
}

/// One read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadSpec {
    pub(crate) offset: Offset,
    pub(crate) max_bytes: usize,
    pub(crate) min_one: bool,
    pub(crate) isolation: Isolation,
    pub(crate) replica: Option<i32>,
    pub(crate) current_leader_epoch: Option<LeaderEpoch>,
    pub(crate) last_fetched_epoch: Option<LeaderEpoch>,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct ReadOutcome {
    pub(crate) high_watermark: Offset,
    pub(crate) last_stable_offset: Offset,
    pub(crate) log_start_offset: Offset,
    pub(crate) range: Option<FileRange>,
    /// The reader's log has parted from this one: the largest epoch both know, and where it ends here.
    pub(crate) diverging: Option<(LeaderEpoch, Offset)>,
    /// There may be records, but finding them needs the device.
    pub(crate) not_ready: bool,
}

/// How far a produce request's wait is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    NotYet,
    Reached,
    Failed(ErrorCode),
}

impl Partition {
    /// A partition with an open log, led by nobody yet.
    pub(crate) fn new(env: Env, committer: Arc<Committer>, settings: Arc<Settings>, log: Log) -> Arc<Self> {
        let (name, topic_id) = (log.partition().clone(), log.topic_id());
        let high_watermark = log.high_watermark();
        Arc::new_cyclic(|own| Self {
            topic: name.topic,
            topic_id,
            index: name.partition,
            env,
            committer,
            submission: Submission::new(Target(own.clone())),
            settings: ArcSwap::new(settings),
            high_watermark: AtomicI64::new(high_watermark.0),
            state: Mutex::new(State {
                log,
                role: Role::Follower { leader: None },
                waiters: Waiters::default(),
                unflushed_since: None,
            }),
        })
    }

    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub(crate) fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    pub(crate) fn index(&self) -> i32 {
        self.index
    }

    pub(crate) fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// What everybody may see.
    pub(crate) fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Acquire))
    }

    /// The leader and its epoch as far as known here.
    pub(crate) fn known_leader(&self) -> Option<(i32, i32)> {
        match &self.state.lock().role {
            Role::Leader(leader) => Some((leader.broker_id().0, leader.epoch().0)),
            Role::Follower { leader } => *leader,
            Role::Gone => None,
        }
    }

    /// Changes the settings.
    pub(crate) fn configure(&self, settings: Arc<Settings>) {
        let mut state = self.state.lock();
        state.log.set_config(settings.log.clone());
        self.settings.store(settings);
        self.advance(&mut state);
    }

    /// Takes over a role. Everybody who waits looks again.
    pub(crate) fn assume(&self, role: Role) {
        let mut state = self.state.lock();
        if let Role::Leader(leader) = &role {
            state.log.assign_leader_epoch(leader.epoch());
        }
        state.role = role;
        self.advance(&mut state);
        state.waiters.fire_all();
    }

    /// Appends a batch as the leader. Waits only when a file must be opened or a segment begun.
    pub(crate) async fn append(
        self: &Arc<Self>,
        batch: &Validated,
        acks_all: bool,
        now: TimestampMs,
    ) -> Result<Appended, Refusal> {
        loop {
            match self.try_append(batch, acks_all, now)? {
                Ok(appended) => {
                    self.flush_by_count().await.map_err(AppendError::Storage)?;
                    return Ok(appended);
                }
                Err(need) => self.prepare(need).await.map_err(AppendError::Storage)?,
            }
        }
    }

    fn try_append(
        self: &Arc<Self>,
        batch: &Validated,
        acks_all: bool,
        now: TimestampMs,
    ) -> Result<Result<Appended, NotReady>, Refusal> {
        let mut state = self.state.lock();
        let Role::Leader(leader) = &state.role else {
            return Err(Refusal::NotLeader);
        };
        let (in_sync, needed) = (leader.in_sync_count(), self.settings.load().min_insync_replicas);
        if acks_all && in_sync < needed {
            return Err(Refusal::NotEnoughReplicas { in_sync, needed });
        }
        let epoch = leader.epoch();
        let mut header = batch.header;
        let incoming = Incoming {
            header: &mut header,
            body: &batch.body,
        };
        let outcome = match state.log.append_one(incoming, epoch, now) {
            Ok(outcome) => outcome,
            Err(need) => return Ok(Err(need)),
        };
        match outcome {
            Ok(appended) => {
                self.appended(&mut state);
                Ok(Ok(Appended {
                    base_offset: appended.base_offset,
                    end_offset: appended.last_offset.plus(1),
                    log_append_time: appended.log_append_time,
                    log_start_offset: appended.log_start_offset,
                    duplicate: false,
                }))
            }
            Err(AppendError::Duplicate {
                base_offset,
                last_offset,
                timestamp,
            }) => Ok(Ok(Appended {
                base_offset,
                end_offset: last_offset.plus(1),
                log_append_time: Some(timestamp)
                    .filter(|_| batch.header.timestamp_type() == TimestampType::LogAppendTime),
                log_start_offset: state.log.log_start_offset(),
                duplicate: true,
            })),
            Err(error) => Err(error.into()),
        }
    }

    /// Flushes when `flush.messages` records were appended since the last time.
    async fn flush_by_count(self: &Arc<Self>) -> Result<(), LogError> {
        let Some(limit) = self.settings.load().log.flush_messages else {
            return Ok(());
        };
        let unflushed = self.with(|log| log.log_end_offset().0 - log.recovery_point().0);
        if u64::try_from(unflushed).unwrap_or(0) < limit {
            return Ok(());
        }
        let partition = self.clone();
        self.env
            .blocking(move || flush(&*partition, FlushScope::All))
            .await
    }

    /// Whether `flush.ms` has passed since something was appended that is not flushed; asked before a flush.
    pub(super) fn flush_is_due(&self, now: TimestampMs) -> bool {
        let Some(limit) = self.settings.load().log.flush_ms else {
            return false;
        };
        let mut state = self.state.lock();
        if state.log.recovery_point() >= state.log.log_end_offset() {
            state.unflushed_since = None;
            return false;
        }
        let since = *state.unflushed_since.get_or_insert(now);
        u128::try_from(now.ms_since(since)).is_ok_and(|waited| waited >= limit.as_millis())
    }

    fn appended(&self, state: &mut State) {
        if state.log.durable_end_offset() < state.log.log_end_offset() {
            self.committer.submit(&self.submission);
        }
        self.advance(state);
    }

    /// The ticket's bytes are on the device: lets the high watermark follow.
    pub(super) fn made_durable(&self, ticket: &FlushTicket) {
        let mut state = self.state.lock();
        if state.log.flushed(ticket) {
            self.advance(&mut state);
        }
    }

    /// The log dir failed: nobody will see the watermark move any more.
    pub(crate) fn storage_failed(&self) {
        self.state.lock().waiters.fire_all();
    }

    fn advance(&self, state: &mut State) {
        let durable = state.log.durable_end_offset();
        let Role::Leader(leader) = &mut state.role else {
            return;
        };
        let Some(high_watermark) = leader.local_durable(durable) else {
            return;
        };
        if state.log.update_high_watermark(high_watermark) {
            let high_watermark = state.log.high_watermark();
            self.high_watermark.store(high_watermark.0, Ordering::Release);
            state.waiters.advanced(high_watermark);
        }
    }

    /// Reads; never waits for the device.
    pub(crate) fn read(&self, spec: &ReadSpec) -> Result<ReadOutcome, ErrorCode> {
        let mut state = self.state.lock();
        check_epoch(&state.role, spec.current_leader_epoch)?;
        if spec.replica.is_some() {
            // Followers are known by the metadata: nobody else may fetch as one.
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let log = &mut state.log;
        let mut outcome = ReadOutcome {
            high_watermark: log.high_watermark(),
            last_stable_offset: log.last_stable_offset(),
            log_start_offset: log.log_start_offset(),
            range: None,
            diverging: spec
                .last_fetched_epoch
                .and_then(|epoch| divergence(log, epoch, spec.offset)),
            not_ready: false,
        };
        if outcome.diverging.is_some() {
            return Ok(outcome);
        }
        match log.read(&request(log, spec)) {
            Ok(read) => outcome.range = read.range,
            Err(ReadError::NotReady(_)) => outcome.not_ready = true,
            Err(ReadError::OffsetOutOfRange { .. }) => return Err(ErrorCode::OffsetOutOfRange),
            Err(error @ (ReadError::Corrupt { .. } | ReadError::Storage(_))) => {
                tracing::error!(partition = %self, %error, "cannot read");
                return Err(ErrorCode::KafkaStorageError);
            }
        }
        Ok(outcome)
    }

    /// Opens and reads what [`Partition::read`] at `offset` found not ready.
    pub(crate) async fn prepare_read(self: &Arc<Self>, offset: Offset) {
        let (partition, now) = (self.clone(), self.env.now());
        self.env
            .blocking(move || {
                let upper_bound = partition.high_watermark();
                let request = ReadRequest {
                    offset,
                    max_bytes: 1,
                    upper_bound,
                    min_one: true,
                };
                if let Err(error) = read_blocking(&*partition, &request, now) {
                    tracing::debug!(%partition, %error, "cannot prepare a read");
                }
            })
            .await;
    }

    async fn prepare(self: &Arc<Self>, need: NotReady) -> Result<(), LogError> {
        let (partition, now) = (self.clone(), self.env.now());
        self.env.blocking(move || prepare(&*partition, need, now)).await
    }

    /// Wakes `waiter` once the high watermark is `offset` or more.
    pub(crate) fn wake_at(&self, offset: Offset, waiter: &Arc<Waiter>, generation: u64) {
        self.state.lock().waiters.add(offset, waiter, generation);
    }

    /// How far a wait for `offset` by a produce request is.
    pub(crate) fn watch(&self, offset: Offset) -> Watched {
        if self.high_watermark() >= offset {
            return Watched::Reached;
        }
        let state = self.state.lock();
        match &state.role {
            Role::Leader(_) if state.log.dir().failure().is_some() => {
                Watched::Failed(ErrorCode::KafkaStorageError)
            }
            Role::Leader(_) => Watched::NotYet,
            Role::Follower { .. } => Watched::Failed(ErrorCode::NotLeaderOrFollower),
            Role::Gone => Watched::Failed(ErrorCode::UnknownTopicOrPartition),
        }
    }

    /// Runs `look` on the log if this broker leads the partition in the epoch that the client believes in.
    pub(crate) fn as_leader<R>(
        &self,
        epoch: Option<LeaderEpoch>,
        look: impl FnOnce(&mut Log, &Leader) -> R,
    ) -> Result<R, ErrorCode> {
        let mut state = self.state.lock();
        check_epoch(&state.role, epoch)?;
        let State { log, role, .. } = &mut *state;
        match role {
            Role::Leader(leader) => Ok(look(log, leader)),
            Role::Follower { .. } | Role::Gone => Err(ErrorCode::NotLeaderOrFollower),
        }
    }
}

impl LogCell for Partition {
    fn with<R>(&self, f: impl FnOnce(&mut Log) -> R) -> R {
        f(&mut self.state.lock().log)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Compares the epoch a client believes in with the leader's (KIP-320).
fn check_epoch(role: &Role, believed: Option<LeaderEpoch>) -> Result<(), ErrorCode> {
    let Role::Leader(leader) = role else {
        return Err(ErrorCode::NotLeaderOrFollower);
    };
    match believed {
        Some(epoch) if epoch < leader.epoch() => Err(ErrorCode::FencedLeaderEpoch),
        Some(epoch) if epoch > leader.epoch() => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Ok(()),
    }
}

fn request(log: &Log, spec: &ReadSpec) -> ReadRequest {
    let upper_bound = match spec.isolation {
        Isolation::Uncommitted => log.high_watermark(),
        Isolation::Committed => log.last_stable_offset(),
    };
    ReadRequest {
        offset: spec.offset,
        max_bytes: spec.max_bytes,
        upper_bound,
        min_one: spec.min_one,
    }
}

/// Whether a reader whose last record before `offset` is of `epoch` has another history than `log` (KIP-595).
fn divergence(log: &Log, epoch: LeaderEpoch, offset: Offset) -> Option<(LeaderEpoch, Offset)> {
    let end = log.epoch_end(epoch)?;
    (end.leader_epoch < epoch || end.end_offset < offset).then_some((end.leader_epoch, end.end_offset))
}
