//! The task of a seat: loads the shard, appends what it decides on, tells those whose answers are due, lets timers ring.
//!
//! Always holds: one task a seat, which alone carries out and tells what is due; what gathers while it appends goes out with
//! its next turn. An append or a wait that fails gives up the shard, which is loaded again from what is in the log.
//!
//! Next: `loaded.rs` for what is parked until when.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use klamm_env::task::{self, Timer};
use klamm_model::{ErrorCode, Offset};
use thiserror::Error;

use super::Coordinator;
use super::around::AppendFailure;
use super::load::load;
use super::seat::Seat;
use crate::replicas::Watched;
use crate::waiters::Waiter;

/// Timers that ring before others may use the shard.
const RUNG_AT_ONCE: usize = 64;
/// Between one attempt to load and the next: at least, at most.
const RETRIES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Why a shard was given up.
#[derive(Debug, Error)]
enum Lost {
    #[error("the shard: {0}")]
    Shard(ErrorCode),
    #[error("appending: {0}")]
    Append(#[from] AppendFailure),
    #[error("waiting for the high watermark: {0}")]
    Wait(ErrorCode),
}

/// Drives the shard of a seat until the seat is left.
pub(super) async fn run<C: Coordinator>(seat: Arc<Seat<C>>) {
    let env = seat.shared.env.clone();
    let mut wait = Duration::ZERO;
    while !seat.has_left() {
        // One that had nothing to read is loaded already.
        if seat.state().is_err()
            && let Err(error) = load(&seat).await
        {
            seat.unload(true);
            wait = (2 * wait).clamp(RETRIES.0, RETRIES.1);
            let wait_ms = wait.as_millis();
            tracing::error!(partition = %seat.partition, %error, wait_ms, "a coordinator cannot be loaded: tried again");
            env.sleep(wait).await;
            seat.unload(false);
            continue;
        }
        let began = env.monotonic();
        let lost = Driver::new(seat.clone()).serve().await;
        if seat.has_left() {
            return;
        }
        seat.unload(false);
        if env.monotonic().saturating_sub(began) > RETRIES.1 {
            wait = Duration::ZERO;
        }
        tracing::warn!(partition = %seat.partition, why = %lost, "a coordinator gives up what it knows and loads it again");
        env.sleep(wait).await;
        wait = (2 * wait).clamp(RETRIES.0, RETRIES.1);
    }
}

struct Driver<C: Coordinator> {
    seat: Arc<Seat<C>>,
    /// Told when the high watermark has moved far enough.
    waiter: Arc<Waiter>,
    /// What it waits for.
    armed: Option<Offset>,
    timer: Option<Timer>,
    /// When it rings, until it has.
    rings_at: Option<Duration>,
}

impl<C: Coordinator> Driver<C> {
    fn new(seat: Arc<Seat<C>>) -> Self {
        Self {
            seat,
            waiter: Arc::default(),
            armed: None,
            timer: None,
            rings_at: None,
        }
    }

    /// Returns when the shard must be given up.
    async fn serve(mut self) -> Lost {
        loop {
            if let Err(lost) = self.turn().await {
                self.waiter.disarm();
                return lost;
            }
            self.rest().await;
        }
    }

    async fn turn(&mut self) -> Result<(), Lost> {
        while self.seat.ring(RUNG_AT_ONCE).map_err(|code| self.lost(code))? {
            task::yield_now().await;
        }
        if self.is_due() {
            self.settle()?;
        }
        if self.seat.has_gathered().map_err(|code| self.lost(code))? {
            // Requests that are there already are decided first: their records go out with these.
            task::yield_now().await;
            self.append().await?;
        }
        self.settle()
    }

    fn lost(&self, code: ErrorCode) -> Lost {
        match self.seat.failure() {
            Some(failure) => Lost::Append(failure),
            None => Lost::Shard(code),
        }
    }

    async fn append(&self) -> Result<(), Lost> {
        let seat = &self.seat;
        let Some(taken) = seat.take_gathered().map_err(|code| self.lost(code))? else {
            return Ok(());
        };
        let (at, end) = (taken.base_offset, taken.end_offset);
        let mut batches = taken.pack().map_err(AppendFailure::from)?;
        let env = &seat.shared.env;
        let partition = &seat.partition;
        let mut appended = pin!(partition.append_in_order(seat.epoch, at, &mut batches, env.now()));
        loop {
            let late = seat.next_late();
            let wait = late.map_or(seat.shared.commit_timeout, |late| {
                late.saturating_sub(env.monotonic())
            });
            // A device that hangs does not make anybody wait for ever.
            match env.timeout(wait, appended.as_mut()).await {
                Ok(appended) => {
                    appended.map_err(AppendFailure::from)?;
                    break;
                }
                Err(_) => seat.refuse_late(),
            }
        }
        seat.appended(end).map_err(|code| self.lost(code))
    }

    /// Tells those whose answers are due, and has itself woken when the next are.
    fn settle(&mut self) -> Result<(), Lost> {
        loop {
            let Some(next) = self.seat.settle().map_err(|code| self.lost(code))? else {
                self.waiter.disarm();
                self.armed = None;
                return Ok(());
            };
            let is_armed = self.armed == Some(next) && !self.waiter.has_fired();
            if !is_armed {
                self.armed = Some(next);
                let generation = self.waiter.arm();
                self.seat.partition.wake_at(next, &self.waiter, generation);
            }
            // Armed before it looks: an advance in between fires it.
            match self.seat.partition.watch(next) {
                Watched::NotYet => return Ok(()),
                Watched::Reached => {}
                Watched::Failed(code) => return Err(Lost::Wait(code)),
            }
        }
    }

    /// Whether the high watermark is where it was waited for.
    fn is_due(&self) -> bool {
        self.armed.is_some() && self.waiter.has_fired()
    }

    /// Waits until there is something to do.
    async fn rest(&mut self) {
        let env = &self.seat.shared.env;
        // One that rings too early is looked at then: most are moved to later before they ring.
        if let Some(at) = self.seat.next_look()
            && self.rings_at.is_none_or(|rings_at| at < rings_at)
        {
            self.rings_at = Some(at);
            let wait = at.saturating_sub(env.monotonic()).max(Duration::from_millis(1));
            match &mut self.timer {
                Some(timer) => timer.reset(wait),
                none => *none = Some(Timer::after(wait)),
            }
        }
        poll_fn(|cx| {
            self.seat.signal.register(cx.waker());
            self.waiter.register(cx.waker());
            let timer = self.timer.as_mut().filter(|_| self.rings_at.is_some());
            let rang = timer.is_some_and(|timer| timer.poll_elapsed(cx).is_ready());
            if rang {
                self.rings_at = None;
            }
            match self.seat.signal.take() || self.is_due() || rang {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}
