//! One partition of an internal topic that is led here, and its shard.
//!
//! Always holds: one shard at a time, behind one lock, which is held for a decision and never across a wait; a shard that is
//! given up takes with it everybody who waits for it, and they are told so. A ticket is never given twice. From when there is a
//! seat, which is before the partition is read, nobody else writes there while it is led in the epoch that the seat was taken in.
//!
//! Next: `drive.rs` for the task that appends, loads and lets timers ring.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use klamm_coordinator::{Shard, Ticket};
use klamm_log::{EndTransaction, VerificationGuard};
use klamm_model::{ErrorCode, LeaderEpoch, Offset};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::around::{AppendFailure, Around};
use super::gathered::Taken;
use super::loaded::{Decided, Loaded};
use super::parked::{Due, Told};
use super::{Coordinator, Place, Shared};
use crate::replicas::Partition;

/// See the head of the file.
pub(super) struct Seat<C: Coordinator> {
    pub(super) shared: Arc<Shared<C>>,
    pub(super) partition: Arc<Partition>,
    /// In which the partition is led. In another one, another seat is made.
    pub(super) epoch: LeaderEpoch,
    phase: Mutex<Phase<C::Shard>>,
    pub(super) signal: Signal,
    tickets: AtomicU64,
}

/// What there is of the shard.
enum Phase<S: Shard> {
    /// It is being read.
    Loading,
    /// It could not be read, and will be tried again.
    Failed,
    Loaded(Box<Loaded<S>>),
    /// The partition is no longer this broker's, or the node stops.
    Left,
}

/// Wakes the seat's task; once for as often as it is told until then.
#[derive(Debug, Default)]
pub(super) struct Signal {
    is_set: AtomicBool,
    waker: AtomicWaker,
}

impl Signal {
    pub(super) fn set(&self) {
        if !self.is_set.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    pub(super) fn take(&self) -> bool {
        self.is_set.swap(false, Ordering::AcqRel)
    }

    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}

/// What an asker gets: an answer, or the way to it.
pub(crate) enum Asked<C: Coordinator> {
    Now(<C::Shard as Shard>::Answer),
    Later(Later<C>),
}

/// Somebody who waits for an answer, and no longer when this is dropped.
pub(crate) struct Later<C: Coordinator> {
    seat: Arc<Seat<C>>,
    ticket: Ticket,
    answer: Option<oneshot::Receiver<Result<<C::Shard as Shard>::Answer, ErrorCode>>>,
}

impl<C: Coordinator> Asked<C> {
    /// The answer; an error once there will be none, REQUEST_TIMED_OUT if what was decided is not committed in time.
    pub(crate) async fn answer(self) -> Result<<C::Shard as Shard>::Answer, ErrorCode> {
        match self {
            Self::Now(answer) => Ok(answer),
            Self::Later(later) => later.await,
        }
    }
}

impl<C: Coordinator> Future for Later<C> {
    type Output = Result<<C::Shard as Shard>::Answer, ErrorCode>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answer) = &mut self.answer else {
            return Poll::Pending;
        };
        let answered = std::task::ready!(Pin::new(answer).poll(cx));
        self.answer = None;
        Poll::Ready(answered.unwrap_or(Err(ErrorCode::NotCoordinator)))
    }
}

impl<C: Coordinator> Drop for Later<C> {
    fn drop(&mut self) {
        if self.answer.is_some() {
            self.seat.forget(self.ticket);
        }
    }
}

impl<C: Coordinator> Seat<C> {
    pub(super) fn new(shared: Arc<Shared<C>>, partition: Arc<Partition>, epoch: LeaderEpoch) -> Arc<Self> {
        partition.keep_in(epoch);
        Arc::new(Self {
            shared,
            partition,
            epoch,
            phase: Mutex::new(Phase::Loading),
            signal: Signal::default(),
            tickets: AtomicU64::new(0),
        })
    }

    /// Has a request decided.
    pub(super) fn ask(
        self: &Arc<Self>,
        request: <C::Shard as Shard>::Request,
    ) -> Result<Asked<C>, ErrorCode> {
        self.ask_if(|_| true, (request, None))
    }

    /// The same for one in a transaction, which has waited for the verification of `guard`.
    pub(super) fn ask_verified(
        self: &Arc<Self>,
        request: <C::Shard as Shard>::Request,
        guard: Option<VerificationGuard>,
    ) -> Result<Asked<C>, ErrorCode> {
        self.ask_if(|_| true, (request, guard))
    }

    /// The same, by the shard of this load alone.
    pub(super) fn report(
        self: &Arc<Self>,
        load: u64,
        request: <C::Shard as Shard>::Request,
    ) -> Result<Asked<C>, ErrorCode> {
        self.ask_if(|loaded| loaded.load() == load, (request, None))
    }

    fn ask_if(
        self: &Arc<Self>,
        is_meant: impl FnOnce(&Loaded<C::Shard>) -> bool,
        request: (<C::Shard as Shard>::Request, Option<VerificationGuard>),
    ) -> Result<Asked<C>, ErrorCode> {
        let ticket = Ticket(self.tickets.fetch_add(1, Ordering::Relaxed));
        let decided = self.with(|loaded, around| match is_meant(loaded) {
            true => loaded.ask(around, ticket, request),
            false => Err(ErrorCode::NotCoordinator),
        })?;
        Ok(match decided? {
            Decided::Now(answer) => Asked::Now(answer),
            Decided::Later(answer) => Asked::Later(Later {
                seat: self.clone(),
                ticket,
                answer: Some(answer),
            }),
        })
    }

    /// Ends the transaction of a producer in this partition; ready once that is committed.
    pub(super) async fn end_transaction(&self, end: &EndTransaction) -> Result<(), ErrorCode> {
        let (sender, written) = oneshot::channel();
        self.with(|loaded, around| loaded.end_transaction(around, end, sender))??;
        written.await.unwrap_or(Err(ErrorCode::NotCoordinator))
    }

    /// Whether there is a shard, and if not, what an asker is told.
    pub(super) fn state(&self) -> Result<(), ErrorCode> {
        state(&self.phase.lock())
    }

    /// Lets some of the timers that are due ring; whether there may be more.
    pub(super) fn ring(&self, most: usize) -> Result<bool, ErrorCode> {
        let now = self.shared.env.monotonic();
        self.look(|loaded, around| (0..most).all(|_| loaded.ring(around, now)))
    }

    /// Carries out and tells what is due; what the next of it waits for. Only the seat's task does this, hence in order.
    pub(super) fn settle(&self) -> Result<Option<Offset>, ErrorCode> {
        let limit = self.shared.commit_timeout;
        let mut due = Due::default();
        let next = self.look(|loaded, around| {
            loaded.take_due(around, limit, &mut due)?;
            Ok::<_, ErrorCode>((loaded.load(), loaded.next_due()))
        })?;
        let (load, next) = next?;
        self.carry_out(load, &mut due);
        self.deliver(due);
        Ok(next)
    }

    /// Tells those who have waited for too long.
    pub(super) fn refuse_late(&self) {
        let limit = self.shared.commit_timeout;
        let mut due = Due::default();
        if let Phase::Loaded(loaded) = &mut *self.phase.lock() {
            loaded.take_late(self.shared.env.monotonic(), limit, &mut due);
        }
        self.deliver(due);
    }

    /// Whether there are records to be appended.
    pub(super) fn has_gathered(&self) -> Result<bool, ErrorCode> {
        self.look(|loaded, _| loaded.has_gathered())
    }

    /// The records that are to be appended.
    pub(super) fn take_gathered(&self) -> Result<Option<Taken>, ErrorCode> {
        self.look(|loaded, _| loaded.take_gathered())
    }

    /// What was taken is in the log, which ends there.
    pub(super) fn appended(&self, end: Offset) -> Result<(), ErrorCode> {
        self.look(|loaded, _| loaded.appended(end))
    }

    /// Why the shard must be given up, if that is known.
    pub(super) fn failure(&self) -> Option<AppendFailure> {
        match &mut *self.phase.lock() {
            Phase::Loaded(loaded) => loaded.failure(),
            _ => None,
        }
    }

    /// When somebody will have waited for too long.
    pub(super) fn next_late(&self) -> Option<Duration> {
        match &*self.phase.lock() {
            Phase::Loaded(loaded) => loaded.next_late(self.shared.commit_timeout),
            _ => None,
        }
    }

    /// When the task must look again at the latest.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let limit = self.shared.commit_timeout;
        match &*self.phase.lock() {
            Phase::Loaded(loaded) => {
                let times = [loaded.next_timer(), loaded.next_late(limit)];
                times.into_iter().flatten().min()
            }
            _ => None,
        }
    }

    /// What there is to a shard to which all records below `next_offset` were replayed. Takes its time if that is large.
    pub(super) fn make(&self, shard: C::Shard, next_offset: Offset) -> Box<Loaded<C::Shard>> {
        let image = self.shared.metadata.published_arc();
        let load = self.shared.loads.fetch_add(1, Ordering::Relaxed);
        self.around(|around| Box::new(Loaded::new(around, shard, load, next_offset, image)))
    }

    /// Puts a shard into service, unless nobody needs it any more.
    pub(super) fn install(&self, loaded: Box<Loaded<C::Shard>>) {
        self.replace(Phase::Loaded(loaded));
    }

    /// The shard is given up and will be loaded again. Whoever waits is told so.
    pub(super) fn unload(&self, has_failed: bool) {
        let next = match has_failed {
            true => Phase::Failed,
            false => Phase::Loading,
        };
        self.replace(next);
    }

    /// The partition is no longer this broker's. Whoever waits is told so.
    pub(super) fn leave(&self) {
        self.replace(Phase::Left);
    }

    /// Whether the partition is no longer this broker's.
    pub(super) fn has_left(&self) -> bool {
        matches!(*self.phase.lock(), Phase::Left)
    }

    /// Whoever waits for what somebody else must do first is told to look elsewhere.
    pub(super) fn dismiss(&self) {
        let dismissed = match &mut *self.phase.lock() {
            Phase::Loaded(loaded) => loaded.dismiss(),
            _ => return,
        };
        for asker in dismissed {
            // Who has gone needs nothing.
            drop(asker.send(Err(ErrorCode::NotCoordinator)));
        }
    }

    fn replace(&self, next: Phase<C::Shard>) {
        let mut phase = self.phase.lock();
        if matches!(*phase, Phase::Left) {
            return;
        }
        let before = std::mem::replace(&mut *phase, next);
        drop(phase);
        if let Phase::Loaded(loaded) = before {
            let env = self.shared.env.clone();
            let let_go = loaded.into_memory();
            // A large one takes its time.
            self.shared
                .env
                .spawn(async move { env.blocking(move || drop(let_go)).await });
        }
    }

    fn forget(&self, ticket: Ticket) {
        if let Phase::Loaded(loaded) = &mut *self.phase.lock() {
            loaded.forget(ticket);
        }
    }

    /// Uses the shard, and wakes the seat's task if that has given it something to do.
    fn with<R>(
        &self,
        work: impl FnOnce(&mut Loaded<C::Shard>, &Around<'_, C::Shard>) -> R,
    ) -> Result<R, ErrorCode> {
        let (result, wakes) = self.around(|around| {
            let mut phase = self.phase.lock();
            // The task finds out whether the shard must be given up.
            let loaded = loaded(&mut phase).inspect_err(|_| self.signal.set())?;
            let before = (loaded.has_gathered(), loaded.next_due(), loaded.next_timer());
            loaded.follow(around, &self.shared.metadata.published());
            let result = work(loaded, around);
            let gathers = !before.0 && loaded.has_gathered();
            let waits = before.1.is_none() && loaded.next_due().is_some();
            let rings = loaded
                .next_timer()
                .is_some_and(|next| before.2.is_none_or(|before| next < before));
            Ok::<_, ErrorCode>((result, gathers || waits || rings || loaded.is_torn()))
        })?;
        if wakes {
            self.signal.set();
        }
        Ok(result)
    }

    /// The same for the seat's task itself.
    fn look<R>(
        &self,
        work: impl FnOnce(&mut Loaded<C::Shard>, &Around<'_, C::Shard>) -> R,
    ) -> Result<R, ErrorCode> {
        self.around(|around| {
            let mut phase = self.phase.lock();
            let loaded = loaded(&mut phase)?;
            loaded.follow(around, &self.shared.metadata.published());
            Ok(work(loaded, around))
        })
    }

    fn around<R>(&self, work: impl FnOnce(&Around<'_, C::Shard>) -> R) -> R {
        let config = self.shared.config.load();
        work(&Around {
            env: &self.shared.env,
            config: &config,
            partition: &self.partition,
            epoch: self.epoch,
            codec: self.shared.codec,
            stopping: &self.shared.is_stopping,
        })
    }

    fn carry_out(&self, load: u64, due: &mut Due<C::Shard>) {
        let from = Place {
            partition: self.partition.index(),
            epoch: self.epoch,
            load,
        };
        for effect in due.effects.drain(..) {
            self.shared.coordinator.carry_out(from, effect);
        }
    }

    fn deliver(&self, due: Due<C::Shard>) {
        due.told.into_iter().for_each(Told::send);
        let late = due.late.into_iter();
        late.for_each(|told| told.refuse(ErrorCode::RequestTimedOut));
    }
}

fn state<S: Shard>(phase: &Phase<S>) -> Result<(), ErrorCode> {
    match phase {
        Phase::Loaded(loaded) if !loaded.is_torn() => Ok(()),
        Phase::Loading => Err(ErrorCode::CoordinatorLoadInProgress),
        Phase::Loaded(_) | Phase::Failed | Phase::Left => Err(ErrorCode::NotCoordinator),
    }
}

/// The shard, or what an asker is told instead.
fn loaded<S: Shard>(phase: &mut Phase<S>) -> Result<&mut Loaded<S>, ErrorCode> {
    state(phase)?;
    match phase {
        Phase::Loaded(loaded) => Ok(loaded),
        _ => Err(ErrorCode::NotCoordinator),
    }
}
