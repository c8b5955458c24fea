//! The task of a seat: loads the shard, appends what it decides on, tells those whose answers are due, lets timers ring.
//!
//! Always holds: one task a seat, which alone appends to the partition; what gathers while it appends goes out with its next
//! turn. An append or a wait that fails gives up the shard, which is loaded again from what is in the log.
//!
//! Next: `loaded.rs` for what is parked until when.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use klamm_env::task::{self, Timer};
use klamm_model::{ErrorCode, Offset};
use thiserror::Error;

use super::Coordinator;
use super::gathered::PackError;
use super::load::load;
use super::seat::Seat;
use crate::replicas::{Watched, WriteError};
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
    Append(#[from] WriteError),
    #[error("appending: {0}")]
    Pack(#[from] PackError),
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
}

impl<C: Coordinator> Driver<C> {
    fn new(seat: Arc<Seat<C>>) -> Self {
        Self {
            seat,
            waiter: Arc::default(),
            armed: None,
            timer: None,
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
        while self.seat.ring(RUNG_AT_ONCE).map_err(Lost::Shard)? {
            task::yield_now().await;
        }
        self.settle()?;
        if self.seat.has_gathered().map_err(Lost::Shard)? {
            // Requests that are there already are decided first: their records go out with these.
            task::yield_now().await;
            self.append().await?;
            self.settle()?;
        }
        Ok(())
    }

    async fn append(&self) -> Result<(), Lost> {
        let seat = &self.seat;
        let Some(taken) = seat.take_gathered().map_err(Lost::Shard)? else {
            return Ok(());
        };
        let at = taken.base_offset;
        let mut batches = taken.pack()?;
        let now = seat.shared.env.now();
        seat.partition
            .append_in_order(seat.epoch, at, &mut batches, now)
            .await?;
        Ok(())
    }

    /// Tells those whose answers are due, and has itself woken when the next are.
    fn settle(&mut self) -> Result<(), Lost> {
        loop {
            let Some(next) = self.seat.settle().map_err(Lost::Shard)? else {
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

    /// Waits until there is something to do.
    async fn rest(&mut self) {
        let env = &self.seat.shared.env;
        let mut rings = false;
        if let Some(at) = self.seat.next_timer() {
            rings = true;
            let wait = at.saturating_sub(env.monotonic()).max(Duration::from_millis(1));
            match &mut self.timer {
                Some(timer) => timer.reset(wait),
                none => *none = Some(Timer::after(wait)),
            }
        }
        poll_fn(|cx| {
            self.seat.signal.register(cx.waker());
            self.waiter.register(cx.waker());
            let is_due = self.armed.is_some() && self.waiter.has_fired();
            let timer = self.timer.as_mut().filter(|_| rings);
            let rang = timer.is_some_and(|timer| timer.poll_elapsed(cx).is_ready());
            match self.seat.signal.take() || is_due || rang {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}
