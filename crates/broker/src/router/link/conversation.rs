//! The task behind a link: connects when there is something to send, converses until the connection ends, and again.
//!
//! Always holds: answers are matched to requests in order, and one that does not match ends the connection; while an
//! answer waits for memory, requests go on being sent (the other side may hold memory for the rest of one); a peer that
//! answers nothing is left when the first caller's time is over.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use klamm_env::{Env, Stream};
use klamm_model::limits::MAX_REQUESTS_IN_FLIGHT;
use klamm_net::{FrameError, Frames};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::{Answer, Call, Endpoint, Limits};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after the first failure; each one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    /// The link is gone.
    #[error("no longer needed")]
    Released,
    /// The controller closed it.
    #[error("closed by the controller")]
    Closed,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An answer is too large.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// An answer to something else.
    #[error("answer {0} does not belong to the request whose turn it is")]
    Stray(i32),
    /// The controller is silent.
    #[error("no answer in time")]
    Silent,
}

/// See the head of the file.
pub(super) struct Driver {
    env: Env,
    endpoint: Endpoint,
    limits: Limits,
    calls: mpsc::Receiver<Call>,
}

/// A request that was sent, or is about to be.
struct Awaited {
    correlation_id: i32,
    deadline: Duration,
    answer: oneshot::Sender<Answer>,
}

/// One connection.
struct Wire {
    stream: Box<dyn Stream>,
    frames: Frames,
    /// What is not sent yet.
    outgoing: VecDeque<Bytes>,
    /// In the order in which answers come.
    awaited: VecDeque<Awaited>,
}

impl Driver {
    pub(super) fn new(env: Env, endpoint: Endpoint, limits: Limits, calls: mpsc::Receiver<Call>) -> Self {
        Self {
            env,
            endpoint,
            limits,
            calls,
        }
    }

    /// Ends when the link is gone.
    pub(super) async fn run(mut self) {
        while let Some(call) = self.calls.recv().await {
            let Some(stream) = self.connect(&call).await else {
                continue;
            };
            let mut wire = Wire {
                stream,
                frames: Frames::new(self.limits.memory.charge(), self.limits.max_answer_bytes),
                outgoing: VecDeque::new(),
                awaited: VecDeque::new(),
            };
            wire.send(call);
            let end = loop {
                if let Err(end) = self.progress(&mut wire).await {
                    break end;
                }
            };
            let Endpoint { host, port } = &self.endpoint;
            match end {
                End::Released => return,
                End::Frame(_) | End::Stray(_) | End::Silent => {
                    warn!(%host, port, reason = %end, "connection to the controller given up");
                }
                End::Closed | End::Io(_) => {
                    debug!(%host, port, reason = %end, "connection to the controller lost")
                }
            }
        }
    }

    /// Connects, again and again while somebody waits for `call`.
    async fn connect(&self, call: &Call) -> Option<Box<dyn Stream>> {
        let Endpoint { host, port } = &self.endpoint;
        let mut pause = FIRST_PAUSE;
        while !call.answer.is_closed() {
            let connecting = self.env.network().connect(host, *port);
            let error = match self.env.timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(Ok(stream)) => return Some(stream),
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            if pause == FIRST_PAUSE {
                warn!(%host, port, %error, "the controller cannot be reached");
            }
            self.env.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        None
    }

    /// Waits for anything to happen on the connection and does what follows from it.
    async fn progress(&mut self, wire: &mut Wire) -> Result<(), End> {
        poll_fn(|cx| {
            if wire.awaited.iter_mut().any(|each| each.is_late(&self.env, cx)) {
                return Poll::Ready(Err(End::Silent));
            }
            while wire.awaited.len() < MAX_REQUESTS_IN_FLIGHT {
                match self.calls.poll_recv(cx) {
                    Poll::Ready(Some(call)) => wire.send(call),
                    // Whoever waits for an answer holds the link: nobody does.
                    Poll::Ready(None) => return Poll::Ready(Err(End::Released)),
                    Poll::Pending => break,
                }
            }
            if let Poll::Ready(Err(error)) = wire.poll_write(cx) {
                return Poll::Ready(Err(error.into()));
            }
            wire.poll_read(cx)
        })
        .await?;
        while let Some((frame, charge)) = wire.frames.next_frame()? {
            wire.answered(Answer { frame, charge })?;
        }
        let more = wire.frames.uncharged(|| wire.stream.readable_bytes());
        if more > 0 {
            wire.take_memory(more, &self.limits).await?;
        }
        Ok(())
    }
}

impl Awaited {
    /// Whether its caller's time is over. The caller leaves then, which is what wakes the task.
    fn is_late(&mut self, env: &Env, cx: &mut Context<'_>) -> bool {
        self.answer.poll_closed(cx).is_ready() && self.deadline <= env.monotonic()
    }
}

impl Wire {
    fn send(&mut self, call: Call) {
        if call.answer.is_closed() {
            return;
        }
        self.outgoing.push_back(call.frame);
        self.awaited.push_back(Awaited {
            correlation_id: call.correlation_id,
            deadline: call.deadline,
            answer: call.answer,
        });
    }

    /// Hands an answer to whoever waits for it.
    fn answered(&mut self, answer: Answer) -> Result<(), End> {
        let correlation_id = answer
            .frame
            .first_chunk()
            .map_or(-1, |id| i32::from_be_bytes(*id));
        match self.awaited.pop_front() {
            Some(awaited) if awaited.correlation_id == correlation_id => {
                // Whoever does not wait any more does not want it.
                let _ = awaited.answer.send(answer);
                Ok(())
            }
            _ => Err(End::Stray(correlation_id)),
        }
    }

    /// Sends what there is; ready when nothing is left.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(first) = self.outgoing.front_mut() {
            let written = ready!(self.stream.poll_write(cx, &[IoSlice::new(first)]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            first.advance(written);
            if first.is_empty() {
                self.outgoing.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        match ready!(self.stream.poll_read(cx, self.frames.make_room()))? {
            0 => Poll::Ready(Err(End::Closed)),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Waits for memory for what was read, and goes on sending.
    async fn take_memory(&mut self, bytes: usize, limits: &Limits) -> Result<(), End> {
        let mut charge = std::mem::replace(self.frames.charge(), limits.memory.charge());
        {
            let mut grown = pin!(charge.grow(bytes));
            poll_fn(|cx| {
                if grown.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                match self.poll_write(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                }
            })
            .await?;
        }
        *self.frames.charge() = charge;
        Ok(())
    }
}
