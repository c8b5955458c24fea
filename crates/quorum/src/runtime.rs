//! openraft's tasks, timers, channels and chance, on ours.
//!
//! Always holds: tasks and timers are those of `klamm_env`, so the simulator drives them; chance is a tree of seeds
//! that grows from the one given to [`seeded`] (each task has a seed of its own, handed down when it is spawned), so
//! elections repeat with the seed of the world. A panic of a task is the quorum's failure. Nothing here depends on the order in which tasks draw.

mod channels;
mod latest;

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use klamm_env::task::{self, Elapsed, Task};
use openraft::{AsyncRuntime, OptionalSend};

use crate::storage::writer::{Failure, panicked};

pub(crate) use channels::{MpscChannel, OneshotChannel, TaskMutex};
pub(crate) use latest::WatchChannel;

tokio::task_local! {
    static SEED: Cell<u64>;
    /// Who is told of a panic.
    static FAILURE: Failure;
}

/// The next number of the sequence that goes through `seed` (SplitMix64; `gamma` selects the sequence).
fn mix(seed: u64, gamma: u64) -> u64 {
    let z = seed.wrapping_add(gamma);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const OWN: u64 = 0x9e37_79b9_7f4a_7c15;
const HANDED_DOWN: u64 = 0xd1b5_4a32_d192_ed03;

/// A seed for a child or a generator; the task's own moves on. Outside of [`seeded`], where openraft draws nothing that
/// decides an election, it is a constant.
fn hand_down() -> u64 {
    let draw = |seed: &Cell<u64>| {
        let now = seed.get();
        seed.set(mix(now, OWN));
        mix(now, HANDED_DOWN)
    };
    SEED.try_with(draw).unwrap_or(HANDED_DOWN)
}

/// Runs `future`, and the tasks that it spawns through openraft, with chance that grows from `seed`. A panic of such a task
/// is a failure.
pub(crate) async fn seeded<F: Future>(seed: u64, failure: Failure, future: F) -> F::Output {
    FAILURE.scope(failure, SEED.scope(Cell::new(seed), future)).await
}

/// The runtime that openraft is given. It has no state.
#[derive(Debug)]
pub(crate) struct Runtime;

/// A task that ended without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskFailed;

impl fmt::Display for TaskFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was ended or panicked")
    }
}

/// A task of openraft.
#[derive(Debug)]
pub(crate) struct Join<T>(Task<T>);

impl<T> Future for Join<T> {
    type Output = Result<T, TaskFailed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|result| result.ok_or(TaskFailed))
    }
}

/// A moment on the clock that timers run by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(task::Moment);

impl openraft::Instant for Moment {
    fn now() -> Self {
        Moment(task::moment())
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Moment(self.0 + duration)
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Moment(self.0 - duration)
    }
}

impl Sub for Moment {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}

impl SubAssign<Duration> for Moment {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 -= duration;
    }
}

/// A generator that starts at a seed.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl rand_core::TryRng for Chance {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|n| (n >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = mix(self.0, OWN);
        Ok(self.0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let number = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
        Ok(())
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A future with a time limit.
pub(crate) struct Limited<F> {
    future: Pin<Box<F>>,
    limit: Boxed<()>,
}

impl<F: Future> Future for Limited<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(result) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(result));
        }
        self.limit.as_mut().poll(cx).map(|()| Err(Elapsed))
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = TaskFailed;
    type JoinHandle<T: OptionalSend + 'static> = Join<T>;
    type Sleep = Boxed<()>;
    type Instant = Moment;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Limited<T>;
    type ThreadLocalRng = Chance;

    fn spawn<T>(future: T) -> Join<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let seeded = SEED.scope(Cell::new(hand_down()), future);
        Join(match FAILURE.try_with(Failure::clone) {
            Ok(failure) => {
                let tell = failure.clone();
                let told =
                    task::telling_of_panic(seeded, move |why| panicked(&tell, "carries the quorum", why));
                task::spawn(FAILURE.scope(failure, told))
            }
            Err(_) => task::spawn(seeded),
        })
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Box::pin(task::sleep(duration))
    }

    fn sleep_until(deadline: Moment) -> Self::Sleep {
        Box::pin(async move { task::sleep(deadline.0.saturating_duration_since(task::moment())).await })
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Limited<F> {
        Limited {
            future: Box::pin(future),
            limit: Self::sleep(duration),
        }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Moment, future: F) -> Limited<F> {
        Limited {
            future: Box::pin(future),
            limit: Self::sleep_until(deadline),
        }
    }

    fn is_panic(_: &TaskFailed) -> bool {
        // No task of openraft is ever aborted.
        true
    }

    fn thread_rng() -> Chance {
        Chance(hand_down())
    }

    type Mpsc = MpscChannel;
    type Watch = WatchChannel;
    type Oneshot = OneshotChannel;
    type Mutex<T: OptionalSend + 'static> = TaskMutex<T>;

    fn new(_threads: usize) -> Self {
        Runtime
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        // openraft calls this in its own tests only; ours run under `#[tokio::test]`.
        futures_util::FutureExt::now_or_never(future).expect("nothing here blocks on a future")
    }

    async fn spawn_blocking<F, T>(work: F) -> Result<T, io::Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // openraft does no blocking work by itself; ours goes through `Env::blocking`.
        Ok(work())
    }
}

#[cfg(test)]
mod tests {
    use rand_core::Rng;

    use super::*;

    async fn draws(seed: u64) -> Vec<u64> {
        let (failure, _) = tokio::sync::watch::channel(None);
        seeded(seed, failure, async {
            let child = Runtime::spawn(async { Runtime::thread_rng().next_u64() });
            let own = Runtime::thread_rng().next_u64();
            let second = Runtime::spawn(async { Runtime::thread_rng().next_u64() });
            vec![own, child.await.unwrap(), second.await.unwrap()]
        })
        .await
    }

    #[tokio::test]
    async fn chance_repeats_with_its_seed_and_differs_between_tasks() {
        let first = draws(7).await;
        assert_eq!(first, draws(7).await);
        assert_ne!(first, draws(8).await);
        assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_passes() {
        let result = Runtime::timeout(Duration::from_secs(1), std::future::pending::<()>()).await;
        assert_eq!(result, Err(Elapsed));
        assert_eq!(Runtime::timeout(Duration::from_secs(1), async { 3 }).await, Ok(3));
    }
}
