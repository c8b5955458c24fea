//! One partition on this broker: its log, its leadership, and those who wait for it.
//!
//! Always holds: the high watermark is the smallest durable end over the in-sync replicas and never goes back; the log is locked
//! for moments only, and whatever must wait for the device is done without the lock, on a thread that may block.

mod read;
mod transactions;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::{ArcSwap, Guard};
use klamm_env::Env;
use klamm_log::flush::flush;
use klamm_log::prepare::prepare;
use klamm_log::{
    AppendError, FlushScope, FlushTicket, Incoming, Log, LogCell, LogError, NotReady, Submission,
    VerificationGuard,
};
use klamm_metadata::PartitionImage;
use klamm_model::{BrokerId, ErrorCode, LeaderEpoch, Offset, TimestampMs, TopicId};
use klamm_records::Validated;
use klamm_replication::{Committed, Leader, LogEnds};
use parking_lot::Mutex;

pub(crate) use self::transactions::Asking;
pub(crate) use self::writer::{WriteError, Written};
use super::commit::{Committer, Target};
use super::outcome::{Appended, Refusal, Watched};
use super::settings::Settings;
use super::standing::{Moved, Standing};
use crate::waiters::{Waiter, Waiters};

/// See the head of the file.
pub(crate) struct Partition {
    topic: Arc<str>,
    topic_id: TopicId,
    index: i32,
    env: Env,
    settings: ArcSwap<Settings>,
    /// What `state` has, to be read without the lock.
    high_watermark: AtomicI64,
    state: Mutex<State>,
}

struct State {
    log: Log,
    /// Of the log dir.
    committer: Arc<Committer>,
    submission: Arc<Submission>,
    standing: Standing,
    waiters: Waiters,
    /// When the first record was appended that was not flushed since; for `flush.ms`.
    unflushed_since: Option<TimestampMs>,
    /// Where the log ended when the upkeep last looked.
    end_at_upkeep: Offset,
    /// The leadership in which a coordinator is the only writer here.
    kept_in: Option<LeaderEpoch>,
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
            settings: ArcSwap::new(settings),
            high_watermark: AtomicI64::new(high_watermark.0),
            state: Mutex::new(State {
                log,
                committer,
                submission: Submission::new(Target(own.clone())),
                standing: Standing::Waiting,
                waiters: Waiters::default(),
                unflushed_since: None,
                end_at_upkeep: high_watermark,
                kept_in: None,
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

    /// The first offset of the log.
    pub(crate) fn log_start_offset(&self) -> Offset {
        self.state.lock().log.log_start_offset()
    }

    /// Whether this broker leads and no other replica is in sync.
    pub(crate) fn is_alone_in_sync(&self) -> bool {
        let state = self.state.lock();
        state
            .standing
            .leader()
            .is_some_and(|leader| leader.isr().len() <= 1)
    }

    /// The leader and its epoch as far as known here.
    pub(crate) fn known_leader(&self) -> Option<(i32, i32)> {
        self.state.lock().standing.known_leader()
    }

    /// Changes the settings.
    pub(crate) fn configure(&self, settings: Arc<Settings>) {
        let mut state = self.state.lock();
        state.log.set_config(settings.log_config(&self.env));
        let replication = replication_settings(&settings);
        self.settings.store(settings);
        if let Some(leader) = state.standing.leader_mut() {
            leader.set_settings(replication, self.env.monotonic());
        }
        // Under fsync again, what is only in the page cache has to be synced.
        self.appended(&mut state);
        self.publish(&mut state);
    }

    /// The metadata says this about the partition now. Whoever waits for an earlier leadership looks again.
    pub(crate) fn follow(&self, broker: BrokerId, image: &PartitionImage) {
        let mut state = self.state.lock();
        let State {
            log,
            standing,
            waiters,
            ..
        } = &mut *state;
        let settings = replication_settings(&self.settings.load());
        let moved = standing.follow(
            broker,
            image,
            ends(log),
            log.high_watermark(),
            settings,
            self.env.monotonic(),
        );
        if let Moved::NewEpoch { leads } = moved {
            if leads {
                log.assign_leader_epoch(image.leader_epoch);
            }
            waiters.fire_all();
        }
        self.publish(&mut state);
    }

    /// The partition was deleted or taken away. Everybody who waits looks again.
    pub(crate) fn leave(&self) {
        let mut state = self.state.lock();
        state.standing = Standing::Gone;
        state.waiters.fire_all();
    }

    /// Appends a batch as the leader; `guard` is of the verification that one in a transaction has waited for. Waits only when a
    /// file must be opened or a segment begun.
    pub(crate) async fn append(
        self: &Arc<Self>,
        batch: &Validated,
        guard: Option<VerificationGuard>,
        acks_all: bool,
        now: TimestampMs,
    ) -> Result<Appended, Refusal> {
        loop {
            match self.try_append(batch, guard, acks_all, now)? {
                Ok(appended) => {
                    self.flush_by_count().await.map_err(AppendError::Storage)?;
                    return Ok(appended);
                }
                // In a box: every connection has the room that this future takes.
                Err(need) => match Box::pin(self.prepare(need)).await {
                    // Deleted meanwhile: the next look says so.
                    Ok(()) | Err(LogError::Retired) => {}
                    Err(error) => return Err(AppendError::Storage(error).into()),
                },
            }
        }
    }

    fn try_append(
        self: &Arc<Self>,
        batch: &Validated,
        guard: Option<VerificationGuard>,
        acks_all: bool,
        now: TimestampMs,
    ) -> Result<Result<Appended, NotReady>, Refusal> {
        let mut state = self.state.lock();
        let leader = state.open_leader()?;
        if acks_all {
            leader.check_append()?;
        }
        let epoch = leader.leader_epoch();
        let mut header = batch.header;
        let incoming = Incoming {
            header: &mut header,
            body: &batch.body,
            guard,
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
                // The time of the batch in the log, whoever gave it: so Kafka answers a repeated one.
                log_append_time: Some(timestamp),
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
        Box::pin(self.env.blocking(move || partition.flush(FlushScope::All))).await
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
        let since = state.unflushed_since.get_or_insert(now);
        // The clock may have been set back.
        *since = (*since).min(now);
        let since = *since;
        u128::try_from(now.ms_since(since)).is_ok_and(|waited| waited >= limit.as_millis())
    }

    /// Whether nothing was appended since this was last asked, and a file is kept open for what only the journal has.
    pub(super) fn rests_with_an_open_file(&self) -> bool {
        let mut state = self.state.lock();
        let end = state.log.log_end_offset();
        std::mem::replace(&mut state.end_at_upkeep, end) == end && state.log.is_flush_owed()
    }

    fn appended(&self, state: &mut State) {
        if state.log.durable_end_offset() < state.log.log_end_offset() {
            state.committer.submit(&state.submission);
        }
        self.advance(state);
    }

    /// The ticket's bytes are on the device: lets the high watermark follow.
    pub(super) fn made_durable(&self, ticket: &FlushTicket) {
        let mut state = self.state.lock();
        // A flush may have been quicker: the watermark follows all the same.
        state.log.flushed(ticket);
        self.advance(&mut state);
    }

    /// Flushes, and lets the high watermark follow what is on the device. Blocks.
    pub(super) fn flush(&self, scope: FlushScope) -> Result<(), LogError> {
        self.where_it_is(|| flush(self, scope))?;
        self.advance(&mut self.state.lock());
        Ok(())
    }

    /// Does work on the log's files again if the log has moved to another log dir meanwhile.
    pub(crate) fn where_it_is<R>(&self, work: impl Fn() -> Result<R, LogError>) -> Result<R, LogError> {
        loop {
            let before = self.with(|log| Arc::clone(log.dir()));
            match work() {
                Err(LogError::Retired) if self.with(|log| !Arc::ptr_eq(log.dir(), &before)) => {}
                done => return done,
            }
        }
    }

    /// The copy in another log dir, which has everything, takes the log's place, and `committer` is that log dir's.
    pub(super) fn exchange(self: &Arc<Self>, future: &Mutex<Log>, committer: Arc<Committer>) {
        let mut state = self.state.lock();
        state.log.exchange(&mut future.lock());
        state.committer = committer;
        state.submission = Submission::new(Target(Arc::downgrade(self)));
        self.appended(&mut state);
        self.publish(&mut state);
    }

    /// The log dir failed: nobody will see the watermark move any more.
    pub(crate) fn storage_failed(&self) {
        self.state.lock().waiters.fire_all();
    }

    /// The log has grown, or more of it is durable: lets the high watermark follow.
    fn advance(&self, state: &mut State) {
        let State { log, standing, .. } = state;
        if let Some(leader) = standing.leader_mut()
            && leader.progressed(ends(log), self.env.monotonic())
        {
            self.publish(state);
        }
    }

    /// Makes the high watermark of the role that of the log, and wakes who waits for it.
    fn publish(&self, state: &mut State) {
        let Some(high_watermark) = state.standing.high_watermark() else {
            return;
        };
        if state.log.update_high_watermark(high_watermark) {
            let high_watermark = state.log.high_watermark();
            self.high_watermark.store(high_watermark.0, Ordering::Release);
            let stable = state.log.last_stable_offset();
            state.waiters.advanced(high_watermark, stable);
        }
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
        match &state.standing {
            Standing::Gone => Watched::Failed(ErrorCode::UnknownTopicOrPartition),
            standing => match standing.leader() {
                None => Watched::Failed(ErrorCode::NotLeaderOrFollower),
                Some(_) if state.log.dir().failure().is_some() => {
                    Watched::Failed(ErrorCode::KafkaStorageError)
                }
                Some(leader) => match leader.committed(offset) {
                    Committed::Waiting => Watched::NotYet,
                    Committed::Yes => Watched::Reached,
                    Committed::WithTooFew => Watched::Failed(ErrorCode::NotEnoughReplicasAfterAppend),
                },
            },
        }
    }

    /// Runs `look` on the log if this broker leads the partition in the epoch that the client believes in.
    pub(crate) fn as_leader<R>(
        &self,
        epoch: Option<LeaderEpoch>,
        look: impl FnOnce(&mut Log, &Leader) -> R,
    ) -> Result<R, ErrorCode> {
        let mut state = self.state.lock();
        state.standing.check_leads(epoch)?;
        let State {
            log,
            standing,
            waiters,
            ..
        } = &mut *state;
        let leader = standing.leader().ok_or(ErrorCode::NotLeaderOrFollower)?;
        Ok(telling_of_start(log, waiters, |log| look(log, leader)))
    }
}

impl State {
    /// The leader's state, if this broker leads and no coordinator is the only writer here.
    fn open_leader(&self) -> Result<&Leader, Refusal> {
        let leader = self.standing.leader().ok_or(Refusal::NotLeader)?;
        match self.kept_in == Some(leader.leader_epoch()) {
            true => Err(Refusal::KeptForCoordinator),
            false => Ok(leader),
        }
    }
}

impl LogCell for Partition {
    fn with<R>(&self, f: impl FnOnce(&mut Log) -> R) -> R {
        let State { log, waiters, .. } = &mut *self.state.lock();
        telling_of_start(log, waiters, f)
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

/// Runs `change`; those who watch look again when the log starts elsewhere afterwards.
fn telling_of_start<R>(log: &mut Log, waiters: &mut Waiters, change: impl FnOnce(&mut Log) -> R) -> R {
    let start = log.log_start_offset();
    let result = change(log);
    if log.log_start_offset() != start {
        waiters.start_moved();
    }
    result
}

fn ends(log: &Log) -> LogEnds {
    LogEnds {
        log_end: log.log_end_offset(),
        durable_end: log.durable_end_offset(),
    }
}

fn replication_settings(settings: &Settings) -> klamm_replication::Settings {
    klamm_replication::Settings {
        min_isr: settings.min_insync_replicas,
        max_lag: settings.max_lag,
    }
}
