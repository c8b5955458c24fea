//! One connection: reads frames, has them handled, sends the answers; one task, driven by polling.
//!
//! Always holds: a frame starts only when the rules of [`Overlap`] allow it; at most [`MAX_REQUESTS_IN_FLIGHT`] are under
//! way; while a request is handled or parked, what was decided before it goes on being sent.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use klamm_env::{Env, Stream, task};
use klamm_model::limits::MAX_REQUESTS_IN_FLIGHT;

use crate::frames::{FrameError, Frames};
use crate::memory::RequestMemory;
use crate::output::Output;
use crate::service::{Connection, Frame, NetMetrics, Outcome, Overlap, Pending};
use crate::stop::Stop;

/// Answers are sent before more requests are taken when this much waits.
const FLUSH_BYTES: usize = 256 * 1024;

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The client closed it.
    Client,
    /// The node is going down and nothing was under way.
    Shutdown,
    /// The client broke the rules; logged once.
    Misbehaved(String),
    /// The socket failed.
    Io(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Client => f.write_str("closed by the client"),
            End::Shutdown => f.write_str("the broker is stopping"),
            End::Misbehaved(why) => f.write_str(why),
            End::Io(error) => error.fmt(f),
        }
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        End::Misbehaved(error.to_string())
    }
}

/// What the server keeps of a connection while it runs.
#[derive(Debug)]
pub(crate) struct Activity {
    /// When bytes last came, in milliseconds of the monotonic clock.
    pub(crate) last_read_ms: AtomicU64,
}

/// What a connection needs of its server.
pub(crate) struct Surroundings {
    pub(crate) env: Env,
    pub(crate) memory: RequestMemory,
    pub(crate) max_request_bytes: usize,
    pub(crate) shutdown: Arc<Stop>,
    pub(crate) activity: Arc<Activity>,
}

/// A request whose answer does not go out yet.
enum Parked<P> {
    /// It is not decided.
    Waiting(P),
    /// It is decided, and stays behind one that is not: answers leave in the order of the requests.
    Decided(Output),
}

/// The sending side: apart from what handles requests, so that both can be driven at once.
struct Sender<'m, P> {
    stream: Box<dyn Stream>,
    output: Output,
    scratch: Output,
    /// The requests that are not answered yet, oldest first.
    parked: VecDeque<Parked<P>>,
    metrics: &'m dyn NetMetrics,
    env: Env,
    /// Since when the socket takes no more, while it does not.
    blocked_since: Option<Duration>,
}

impl<P: Pending> Sender<'_, P> {
    /// Collects the parked answers that are decided, in order, and sends. Ready when an answer was collected or
    /// everything is sent; never ready when there is nothing to do.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut collected = false;
        while let Some(first) = self.parked.front_mut() {
            match first {
                Parked::Waiting(pending) => {
                    if pending.poll_answer(cx, &mut self.scratch).is_pending() {
                        break;
                    }
                    self.output.append(&mut self.scratch);
                }
                Parked::Decided(answer) => self.output.append(answer),
            }
            self.parked.pop_front();
            collected = true;
        }
        if !self.output.is_empty() {
            match self.output.poll_send(cx, &mut *self.stream) {
                Poll::Ready(Ok(sent)) => {
                    self.metrics.sent(sent);
                    collected |= self.output.is_empty();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
            self.time_sending();
        }
        if collected {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    /// After an attempt to send. A socket that takes all at once, the usual case, costs no look at the clock.
    fn time_sending(&mut self) {
        match (self.output.is_empty(), self.blocked_since) {
            (true, None) => self.metrics.drained(Duration::ZERO),
            (true, Some(since)) => {
                self.blocked_since = None;
                self.metrics.drained(self.env.monotonic().saturating_sub(since));
            }
            (false, None) => self.blocked_since = Some(self.env.monotonic()),
            (false, Some(_)) => {}
        }
    }

    /// Runs `future` while answers go out.
    async fn during<T>(&mut self, future: impl Future<Output = T>) -> io::Result<T> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            while let Poll::Ready(progress) = self.poll_progress(cx) {
                if let Err(error) = progress {
                    return Poll::Ready(Err(error));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Returns when all that was decided is sent.
    async fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() || !self.parked.is_empty() {
            poll_fn(|cx| self.poll_progress(cx)).await?;
        }
        Ok(())
    }
}

enum Next {
    Frame(Frame, Overlap),
    End(End),
}

/// Serves `handler` on `stream` until one side ends it.
pub(crate) async fn run<C: Connection>(
    stream: Box<dyn Stream>,
    mut handler: C,
    mut context: Surroundings,
    metrics: &dyn NetMetrics,
) -> End {
    let mut frames = Frames::new(context.memory.charge(), context.max_request_bytes);
    let mut sender = Sender {
        stream,
        output: Output::default(),
        scratch: Output::default(),
        parked: VecDeque::new(),
        metrics,
        env: context.env.clone(),
        blocked_since: None,
    };
    let mut answer = Output::default();
    loop {
        let next = match next_frame::<C>(&mut sender, &mut frames, &mut context).await {
            Ok(next) => next,
            Err(error) => return End::Io(error),
        };
        let (frame, overlap) = match next {
            Next::Frame(frame, overlap) => (frame, overlap),
            Next::End(end) => return finish(sender, end).await,
        };
        let handled = {
            let handling = handler.handle(frame, &mut answer);
            if overlap == Overlap::SerialWait {
                sender.during_unless_gone(handling, &mut frames).await
            } else {
                sender.during(handling).await.map(Some)
            }
        };
        match handled {
            Err(error) => return End::Io(error),
            Ok(None) => return End::Client,
            Ok(Some(Outcome::Answered)) if sender.parked.is_empty() => sender.output.append(&mut answer),
            Ok(Some(Outcome::Answered)) => {
                let decided = Parked::Decided(std::mem::take(&mut answer));
                sender.parked.push_back(decided);
            }
            Ok(Some(Outcome::Silent)) => {}
            Ok(Some(Outcome::Parked(pending))) => sender.parked.push_back(Parked::Waiting(pending)),
            Ok(Some(Outcome::Close(why))) => return finish(sender, End::Misbehaved(why)).await,
        }
    }
}

/// Sends what was decided, as far as the socket takes it, and ends the stream.
async fn finish<P: Pending>(mut sender: Sender<'_, P>, end: End) -> End {
    if let Err(error) = sender.flush().await {
        return End::Io(error);
    }
    // The client may be gone already: there is nobody to tell.
    let _ = poll_fn(|cx| sender.stream.poll_shutdown(cx)).await;
    end
}

/// Waits for the next frame that may start, while answers go out.
async fn next_frame<C: Connection>(
    sender: &mut Sender<'_, C::Pending>,
    frames: &mut Frames,
    context: &mut Surroundings,
) -> io::Result<Next> {
    loop {
        if let Some(bytes) = frames.peek() {
            let overlap = C::overlap(bytes);
            let may_start = match overlap {
                Overlap::Serial | Overlap::SerialWait => sender.parked.is_empty(),
                Overlap::Pipelined => sender.parked.len() < MAX_REQUESTS_IN_FLIGHT,
            };
            if !may_start || sender.output.len() > FLUSH_BYTES {
                poll_fn(|cx| sender.poll_progress(cx)).await?;
                continue;
            }
            if let Ok(Some((bytes, charge))) = frames.next_frame() {
                let frame = Frame {
                    bytes,
                    charge,
                    received: frames.read_at,
                };
                return Ok(Next::Frame(frame, overlap));
            }
        }
        if let Err(error) = frames.next_frame() {
            return Ok(Next::End(error.into()));
        }
        let uncharged = frames.uncharged();
        if uncharged > 0 && !frames.charge().try_grow(uncharged) {
            sender.during(frames.charge().grow(uncharged)).await?;
        }
        match read(sender, frames, context).await? {
            Read::Bytes(n) => {
                sender.metrics.received(n);
                frames.read_at = context.env.monotonic();
                let now = frames.read_at.as_millis() as u64;
                context.activity.last_read_ms.store(now, Ordering::Relaxed);
            }
            Read::Nothing => {}
            Read::End => return Ok(Next::End(End::Client)),
            Read::Shutdown => return Ok(Next::End(End::Shutdown)),
        }
    }
}

enum Read {
    Bytes(usize),
    /// Answers went out instead.
    Nothing,
    End,
    Shutdown,
}

/// Reads once, while answers go out. A read that was ready at once lets other connections go first.
async fn read<P: Pending>(
    sender: &mut Sender<'_, P>,
    frames: &mut Frames,
    context: &mut Surroundings,
) -> io::Result<Read> {
    let mut waited = false;
    let result = {
        let mut stopping = pin!(context.shutdown.told());
        poll_fn(|cx| {
            // No more requests are taken; what was decided or is parked is still answered.
            if stopping.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Read::Shutdown));
            }
            let progress = sender.poll_progress(cx);
            if let Poll::Ready(Err(error)) = progress {
                return Poll::Ready(Err(error));
            }
            let room = frames.make_room();
            if let Poll::Ready(read) = sender.stream.poll_read(cx, room) {
                return Poll::Ready(read.map(|n| if n == 0 { Read::End } else { Read::Bytes(n) }));
            }
            if progress.is_ready() {
                return Poll::Ready(Ok(Read::Nothing));
            }
            waited = true;
            Poll::Pending
        })
        .await
    };
    if !waited {
        task::yield_now().await;
    }
    result
}

impl<P: Pending> Sender<'_, P> {
    /// Like [`Sender::during`], but `None` as soon as the client is gone. What the client sends meanwhile is kept, up to
    /// one read.
    async fn during_unless_gone<T>(
        &mut self,
        future: impl Future<Output = T>,
        frames: &mut Frames,
    ) -> io::Result<Option<T>> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(Some(value)));
            }
            while let Poll::Ready(progress) = self.poll_progress(cx) {
                if let Err(error) = progress {
                    return Poll::Ready(Err(error));
                }
            }
            if !frames.is_within_frame()
                && let Poll::Ready(read) = self.stream.poll_read(cx, frames.make_room())
            {
                match read {
                    Ok(0) => return Poll::Ready(Ok(None)),
                    Ok(n) => {
                        frames.read_at = self.env.monotonic();
                        self.metrics.received(n);
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The age of the last read of `activity` at `now`.
pub(crate) fn idle_for(activity: &Activity, now: Duration) -> Duration {
    now.saturating_sub(Duration::from_millis(
        activity.last_read_ms.load(Ordering::Relaxed),
    ))
}
