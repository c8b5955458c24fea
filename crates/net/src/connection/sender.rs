//! The sending side of a connection: apart from what handles requests, so that both can be driven at once.
//!
//! Always holds: answers leave in the order of their requests; after an answer that could not be written none follows.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use klamm_env::{Env, Stream};
use klamm_model::limits::MAX_REQUESTS_IN_FLIGHT;

use super::{End, Surroundings};
use crate::activity::Activity;
use crate::frames::Frames;
use crate::memory::RequestMemory;
use crate::output::Output;
use crate::service::{NetMetrics, Pending};
use crate::stop::Told;

/// Answers are sent before more requests are taken when this much waits.
const FLUSH_BYTES: usize = 256 * 1024;

/// A request whose answer does not go out yet.
pub(super) enum Parked<P> {
    /// It is not decided.
    Waiting(P),
    /// It is decided, and stays behind one that is not: answers leave in the order of the requests.
    Decided(Output),
}

/// See the head of the file.
pub(super) struct Sender<'m, P> {
    pub(super) stream: Box<dyn Stream>,
    pub(super) output: Output,
    scratch: Output,
    /// The requests that are not answered yet, oldest first.
    pub(super) parked: VecDeque<Parked<P>>,
    pub(super) metrics: &'m dyn NetMetrics,
    env: Env,
    memory: RequestMemory,
    pub(super) activity: Arc<Activity>,
}

impl<'m, P: Pending> Sender<'m, P> {
    /// Sends on `stream`.
    pub(super) fn new(stream: Box<dyn Stream>, context: &Surroundings, metrics: &'m dyn NetMetrics) -> Self {
        Self {
            stream,
            output: Output::default(),
            scratch: Output::default(),
            parked: VecDeque::new(),
            metrics,
            env: context.env.clone(),
            memory: context.memory.clone(),
            activity: context.activity.clone(),
        }
    }

    /// Whether answers must be sent before more requests are taken.
    pub(super) fn owes_enough(&self) -> bool {
        self.output.len() > FLUSH_BYTES || self.output.answer_count() > MAX_REQUESTS_IN_FLIGHT
    }

    /// Collects the parked answers that are decided, in order, and sends. Ready when an answer was collected or
    /// everything is sent; never ready when there is nothing to do.
    pub(super) fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let mut collected = false;
        while let Some(first) = self.parked.front_mut() {
            match first {
                Parked::Waiting(pending) => match pending.poll_answer(cx, &mut self.scratch) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(())) => {
                        let uncharged = self.scratch.uncharged();
                        if uncharged > 0 {
                            // Nobody can wait here; its request, which is as large, was charged.
                            self.scratch.hold(self.memory.take(uncharged));
                        }
                        self.output.append(&mut self.scratch);
                    }
                    Poll::Ready(Err(why)) => {
                        // Whatever came next would be taken for this answer.
                        self.scratch.clear();
                        self.parked.clear();
                        return Poll::Ready(Err(End::Unanswered(why)));
                    }
                },
                Parked::Decided(answer) => self.output.append(answer),
            }
            self.parked.pop_front();
            collected = true;
        }
        if !self.output.is_empty() {
            match self.output.poll_send(cx, &mut *self.stream) {
                Poll::Ready(Ok(sent)) => {
                    self.metrics.sent(sent);
                    self.activity.moved();
                    collected |= self.output.is_empty();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
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
        let mut now = None;
        while let Some(answer) = self.output.next_sent() {
            let took = answer.waits_since.map_or(Duration::ZERO, |since| {
                now.get_or_insert_with(|| self.env.monotonic())
                    .saturating_sub(since)
            });
            self.metrics.answered(answer.kind, took);
        }
        if !self.output.is_empty() {
            self.output
                .wait_since(|| now.unwrap_or_else(|| self.env.monotonic()));
        }
    }

    /// Waits for [`Sender::poll_progress`]. Meanwhile the server knows of what a client keeps that does not read: its
    /// answers, and `behind` bytes, which wait for it to read them.
    pub(super) async fn progress(&mut self, behind: usize) -> Result<(), End> {
        let progress = poll_fn(|cx| {
            let progress = self.poll_progress(cx);
            self.tell_unread(behind);
            progress
        })
        .await;
        self.activity.owes_nothing();
        progress
    }

    /// Tells the server since when the client leaves an answer unread, and what memory that keeps.
    fn tell_unread(&self, behind: usize) {
        match self.output.waits_since() {
            Some(since) => self.activity.owes(since, self.output.charged() + behind),
            None => self.activity.owes_nothing(),
        }
    }

    /// Sends and collects until neither goes on.
    pub(super) fn poll_all(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while let Poll::Ready(progress) = self.poll_progress(cx) {
            progress?;
        }
        Ok(())
    }

    /// Runs `future` while answers go out. It may wait for memory that one of them has, which was parked until now. It
    /// stays where it is pinned: to take it would keep room for it twice, in every connection.
    pub(super) async fn during<T>(
        &mut self,
        mut future: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, End> {
        let result = poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            match self.poll_all(cx) {
                Ok(()) => {
                    self.tell_unread(0);
                    Poll::Pending
                }
                Err(end) => Poll::Ready(Err(end)),
            }
        })
        .await;
        self.activity.owes_nothing();
        result
    }

    /// Like [`Sender::during`], but ends as soon as the client is gone. What the client sends meanwhile is kept, up to
    /// one read. Looks at `future` once more when the server stops, so that it can end its wait.
    pub(super) async fn during_unless_gone<T>(
        &mut self,
        mut future: Pin<&mut impl Future<Output = T>>,
        frames: &mut Frames,
        stopping: &mut Told<'_, '_>,
    ) -> Result<T, End> {
        let mut is_told = false;
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(value) = future.as_mut().poll(cx) {
                    return Poll::Ready(Ok(value));
                }
                if is_told || stopping.poll(cx).is_pending() {
                    break;
                }
                is_told = true;
            }
            if let Err(end) = self.poll_all(cx) {
                return Poll::Ready(Err(end));
            }
            if !frames.is_within_frame()
                && let Poll::Ready(read) = self.stream.poll_read(cx, frames.make_room())
            {
                match read {
                    Ok(0) => return Poll::Ready(Err(End::Gone)),
                    Ok(n) => {
                        frames.read_at = self.env.monotonic();
                        self.activity.moved();
                        self.metrics.received(n);
                    }
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Sends what was decided, as far as the socket takes it, and ends the stream.
    pub(super) async fn finish(&mut self, end: End) -> End {
        self.activity.under_way(false);
        if let Err(error) = self.flush().await {
            return error;
        }
        // The client may be gone already: there is nobody to tell.
        let _: io::Result<()> = poll_fn(|cx| self.stream.poll_shutdown(cx)).await;
        end
    }

    /// Returns when all that was decided is sent.
    async fn flush(&mut self) -> Result<(), End> {
        while !self.output.is_empty() || !self.parked.is_empty() {
            self.progress(0).await?;
        }
        Ok(())
    }
}
