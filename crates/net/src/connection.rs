//! One connection: reads frames, has them handled, sends the answers; one task, driven by polling.
//!
//! Always holds: a frame starts only when the rules of [`Overlap`] allow it; at most [`MAX_REQUESTS_IN_FLIGHT`] are under
//! way, and not many more answers are owed; while a request is handled or parked, what was decided before it goes on being
//! sent.

mod sender;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::{fmt, io};

use klamm_env::{Env, Stream, task};
use klamm_model::limits::MAX_REQUESTS_IN_FLIGHT;

use self::sender::{Parked, Sender};
use crate::activity::Activity;
use crate::frames::{FrameError, Frames};
use crate::memory::RequestMemory;
use crate::output::Output;
use crate::service::{Connection, Frame, NetMetrics, Outcome, Overlap, Pending};
use crate::stop::{Stop, Told};

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The client closed it.
    Client,
    /// The client went away while a request waited: there is nobody to answer.
    Gone,
    /// The node is going down and nothing was under way.
    Shutdown,
    /// The client broke the rules; logged once.
    Misbehaved(String),
    /// An answer could not be written: a mistake of ours; logged once. Later answers would be taken for it.
    Unanswered(String),
    /// The socket failed.
    Io(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Client => f.write_str("closed by the client"),
            End::Gone => f.write_str("the client is gone"),
            End::Shutdown => f.write_str("the broker is stopping"),
            End::Misbehaved(why) | End::Unanswered(why) => f.write_str(why),
            End::Io(error) => error.fmt(f),
        }
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        End::Misbehaved(error.to_string())
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Io(error)
    }
}

/// What a connection needs of its server.
pub(crate) struct Surroundings {
    pub(crate) env: Env,
    pub(crate) memory: RequestMemory,
    pub(crate) max_request_bytes: usize,
    pub(crate) shutdown: Arc<Stop>,
    pub(crate) activity: Arc<Activity>,
}

enum Next {
    Frame(Frame, Overlap),
    End(End),
}

/// Serves `handler` on `stream` until one side ends it. What the caller can keep is borrowed: an argument of a future
/// takes its room twice.
pub(crate) async fn run<C: Connection>(
    stream: Box<dyn Stream>,
    handler: &mut C,
    context: &Surroundings,
    metrics: &dyn NetMetrics,
) -> End {
    let mut sender = Sender::new(stream, context, metrics);
    match serve(&mut sender, handler, context).await {
        Ok(end) | Err(end @ End::Unanswered(_)) => sender.finish(end).await,
        Err(end) => end,
    }
}

/// Handles requests; an end that is returned as an error is not to be told to the client.
async fn serve<C: Connection>(
    sender: &mut Sender<'_, C::Pending>,
    handler: &mut C,
    context: &Surroundings,
) -> Result<End, End> {
    let mut frames = Frames::new(context.memory.charge(), context.max_request_bytes);
    let mut answer = Output::default();
    let telling = pin!(context.shutdown.telling());
    let mut stopping = Told::new(&context.shutdown, telling);
    loop {
        let next = next_frame::<C>(sender, &mut frames, context, &mut stopping);
        let (frame, overlap) = match next.await? {
            Next::Frame(frame, overlap) => (frame, overlap),
            Next::End(end) => return Ok(end),
        };
        context.activity.under_way(true);
        let handling = handle(
            sender,
            handler,
            (frame, overlap),
            &mut answer,
            &mut frames,
            &mut stopping,
        );
        let outcome = handling.await?;
        charge_answer(sender, &mut answer, context).await?;
        match outcome {
            Outcome::Answered if sender.parked.is_empty() => sender.output.append(&mut answer),
            Outcome::Answered => {
                let decided = Parked::Decided(std::mem::take(&mut answer));
                sender.parked.push_back(decided);
            }
            Outcome::Silent => {}
            Outcome::Parked(pending) => sender.parked.push_back(Parked::Waiting(pending)),
            Outcome::Close(why) => return Ok(End::Misbehaved(why)),
        }
    }
}

/// Handles a request while answers go out. A future of its own, whose room is that of the others, which run before and after it.
async fn handle<C: Connection>(
    sender: &mut Sender<'_, C::Pending>,
    handler: &mut C,
    (frame, overlap): (Frame, Overlap),
    answer: &mut Output,
    frames: &mut Frames,
    stopping: &mut Told<'_, '_>,
) -> Result<Outcome<C::Pending>, End> {
    let handling = pin!(handler.handle(frame, answer));
    match overlap {
        Overlap::SerialWait => sender.during_unless_gone(handling, frames, stopping).await,
        Overlap::Serial | Overlap::Pipelined => sender.during(handling).await,
    }
}

/// Charges a large answer with what its handler did not. While there is none to be had, what was decided before goes out.
async fn charge_answer<P: Pending>(
    sender: &mut Sender<'_, P>,
    answer: &mut Output,
    context: &Surroundings,
) -> Result<(), End> {
    let uncharged = answer.uncharged();
    if uncharged > 0 {
        // What the handler reserved may have the overdraft: a charge beside it would wait for that.
        let reserved = answer.take_charge();
        let mut charge = reserved.unwrap_or_else(|| context.memory.charge());
        if !charge.try_grow(uncharged) {
            sender.during(pin!(charge.grow(uncharged))).await?;
        }
        answer.hold(charge);
    }
    Ok(())
}

/// Sends all of a large answer before anything else is read: a client that does not read is not asked for more.
async fn send_charged<P: Pending>(
    sender: &mut Sender<'_, P>,
    frames: &mut Frames,
    context: &Surroundings,
) -> Result<(), End> {
    if !sender.output.is_charged() {
        return Ok(());
    }
    context.activity.under_way(!sender.parked.is_empty());
    while sender.output.is_charged() {
        sender.progress(frames.charge().bytes()).await?;
    }
    Ok(())
}

/// Waits for the next frame that may start, while answers go out.
async fn next_frame<C: Connection>(
    sender: &mut Sender<'_, C::Pending>,
    frames: &mut Frames,
    context: &Surroundings,
    stopping: &mut Told<'_, '_>,
) -> Result<Next, End> {
    let mut is_fresh = false;
    loop {
        send_charged(sender, frames, context).await?;
        if let Some(bytes) = frames.peek() {
            let overlap = C::overlap(bytes);
            let may_start = match overlap {
                Overlap::Serial | Overlap::SerialWait => sender.parked.is_empty(),
                Overlap::Pipelined => sender.parked.len() < MAX_REQUESTS_IN_FLIGHT,
            };
            if !may_start || sender.owes_enough() {
                is_fresh = false;
                context.activity.under_way(!sender.parked.is_empty());
                // The frame is whole and takes its memory: that may be what keeps it from being answered.
                sender.progress(frames.charge().bytes()).await?;
                continue;
            }
            if let Ok(Some((bytes, charge))) = frames.next_frame() {
                let frame = Frame {
                    bytes,
                    charge,
                    received: frames.read_at,
                    is_fresh,
                };
                return Ok(Next::Frame(frame, overlap));
            }
        }
        if let Err(error) = frames.next_frame() {
            return Ok(Next::End(error.into()));
        }
        charge(sender, frames, context).await?;
        match read(sender, frames, context, stopping).await? {
            Read::Bytes(n) => {
                sender.metrics.received(n);
                sender.activity.moved();
                frames.read_at = context.env.monotonic();
                is_fresh = true;
            }
            Read::Nothing => {}
            Read::End => return Ok(Next::End(End::Client)),
            Read::Shutdown => return Ok(Next::End(End::Shutdown)),
        }
    }
}

/// Takes the memory for the next read. It is not the client's fault when that takes its time.
async fn charge<P: Pending>(
    sender: &mut Sender<'_, P>,
    frames: &mut Frames,
    context: &Surroundings,
) -> Result<(), End> {
    let uncharged = frames.uncharged(|| sender.stream.readable_bytes());
    if uncharged > 0 && !frames.charge().try_grow(uncharged) {
        context.activity.under_way(true);
        let began = context.env.monotonic();
        sender.during(pin!(frames.charge().grow(uncharged))).await?;
        frames.excuse(context.env.monotonic().saturating_sub(began));
    }
    Ok(())
}

enum Read {
    Bytes(usize),
    /// A large answer is going out, before which nothing is read.
    Nothing,
    End,
    Shutdown,
}

/// Reads once, behind the answers that can go out. A read that was ready at once lets other connections go first; one that
/// was waited for had its turn given by the runtime.
async fn read<P: Pending>(
    sender: &mut Sender<'_, P>,
    frames: &mut Frames,
    context: &Surroundings,
    stopping: &mut Told<'_, '_>,
) -> Result<Read, End> {
    if let Some(since) = frames.half_since() {
        context.activity.owes(since, frames.charge().bytes());
    }
    let mut waited = false;
    let result = poll_fn(|cx| {
        // No more requests are taken; what was decided or is parked is still answered.
        if stopping.poll(cx).is_ready() {
            return Poll::Ready(Ok(Read::Shutdown));
        }
        let progress = sender.poll_all(cx);
        context.activity.under_way(!sender.parked.is_empty());
        if let Err(end) = progress {
            return Poll::Ready(Err(end));
        }
        if sender.output.is_charged() {
            return Poll::Ready(Ok(Read::Nothing));
        }
        let room = frames.make_room();
        if let Poll::Ready(read) = sender.stream.poll_read(cx, room) {
            let read = read.map(|n| if n == 0 { Read::End } else { Read::Bytes(n) });
            return Poll::Ready(read.map_err(End::from));
        }
        waited = true;
        Poll::Pending
    })
    .await;
    context.activity.owes_nothing();
    if !waited {
        task::yield_now().await;
    }
    result
}
