//! Tasks, timers and blocking work. The simulator runs the same calls under a clock of its own.
#![allow(clippy::disallowed_methods)] // the door itself

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

/// A time limit passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time limit passed")]
pub struct Elapsed;

/// A task that was started. As a future it gives the task's result, `None` if the task was ended or panicked.
#[derive(Debug)]
pub struct Task<T>(tokio::task::JoinHandle<T>);

impl<T> Task<T> {
    /// Ends the task at its next await.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Future for Task<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(cx).map(Result::ok)
    }
}

/// Runs `future`. A panic of it is told to `tell`, with what it said, and goes on.
pub async fn telling_of_panic<T>(future: impl Future<Output = T>, tell: impl FnOnce(&str)) -> T {
    let mut future = pin!(future);
    // What a panic has changed half is not polled any more.
    let polled = poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)))
            .map_or_else(|panic| Poll::Ready(Err(panic)), |poll| poll.map(Ok))
    });
    polled.await.unwrap_or_else(|panic| {
        tell(message(&*panic));
        resume_unwind(panic)
    })
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// Where blocking work runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// On the threads that tokio keeps for it.
    Threads,
    /// At once, on the simulator's only thread, after a simulated delay.
    Inline(Duration),
}

impl Blocking {
    /// Runs `work` and returns what it returns. A panic of the work is passed on.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Blocking::Threads => match tokio::task::spawn_blocking(work).await {
                Ok(result) => result,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime is going down: whoever waits is dropped with it.
                Err(_) => std::future::pending().await,
            },
            Blocking::Inline(delay) => {
                tokio::time::sleep(delay).await;
                work()
            }
        }
    }
}

/// A moment on the clock that timers run by.
pub use tokio::time::Instant as Moment;

/// The present moment on that clock. For a runtime that has no [`crate::Env`] at hand; others ask the `Env`.
pub fn moment() -> Moment {
    Moment::now()
}

/// Starts a task.
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Task<T> {
    // The runtime drops its tasks in an order that hangs on how many tasks this process ever started; the local set of
    // a simulated host in that of their start. Streams say goodbye when they are dropped, so the order is seen.
    #[cfg(feature = "sim")]
    if turmoil::in_simulation() {
        return Task(tokio::task::spawn_local(future));
    }
    Task(tokio::spawn(future))
}

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Runs `future` for at most `limit`.
pub async fn timeout<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, Elapsed> {
    tokio::time::timeout(limit, future).await.map_err(|_| Elapsed)
}

/// Lets the other tasks of this thread go first.
pub async fn yield_now() {
    tokio::task::yield_now().await;
}

/// A timer that can be set again and again without allocating; polled by whoever holds it.
#[derive(Debug)]
pub struct Timer(Pin<Box<tokio::time::Sleep>>);

impl Timer {
    /// A timer that ends after `duration`.
    pub fn after(duration: Duration) -> Self {
        Self(Box::pin(tokio::time::sleep(duration)))
    }

    /// Makes the timer end `duration` from now.
    pub fn reset(&mut self, duration: Duration) {
        self.0.as_mut().reset(tokio::time::Instant::now() + duration);
    }

    /// Ready once the time has passed.
    pub fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}
