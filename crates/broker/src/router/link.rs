//! The connection to a controller: requests go out as they are made, answers come back in their order.
//!
//! Always holds: a request is sent at most once. What is lost after it began to be sent may have been decided, so it is
//! not sent again but answered NOT_CONTROLLER, and the client decides. What cannot be sent waits for the controller to be
//! reachable until its time is over. Whoever gives up waiting disturbs nobody else. Answers are charged to the memory of
//! the link as they come, and none may be larger than a request.
//!
//! [`conversation`] drives the connection; it is a task of its own, which ends with the [`Link`].

mod conversation;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use klamm_env::Env;
use klamm_model::ErrorCode;
use klamm_model::limits::MAX_REQUESTS_IN_FLIGHT;
use klamm_net::{Charge, RequestMemory};
use klamm_protocol::{
    ByteString, DecodeError, EncodeError, MemoryPool, Message, Reader, Request, ResponseHeader, Writer,
    encode_request,
};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use self::conversation::Driver;
use crate::vitals::Vitals;

/// How long a request may take, the wait for a connection included. Kafka's `request.timeout.ms`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a controller listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// What a link may take.
#[derive(Clone)]
pub(crate) struct Limits {
    /// What answers are charged to as they come.
    pub(crate) memory: RequestMemory,
    /// What decoding them draws on: the same memory.
    pub(crate) pool: Arc<dyn MemoryPool>,
    /// Bytes of one answer.
    pub(crate) max_answer_bytes: usize,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// It cannot be written in its version.
    #[error("the request cannot be written: {0}")]
    Request(#[from] EncodeError),
    /// The connection ended after it began to be sent.
    #[error("the connection was lost")]
    Lost,
    /// Its time is over.
    #[error("no answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Late,
    /// The answer is none.
    #[error("malformed answer: {0}")]
    Answer(#[from] DecodeError),
}

impl From<LinkError> for ErrorCode {
    fn from(error: LinkError) -> Self {
        warn!(%error, "the controller has not answered");
        match error {
            LinkError::Request(_) | LinkError::Answer(_) => ErrorCode::UnknownServerError,
            LinkError::Lost => ErrorCode::NotController,
            LinkError::Late => ErrorCode::RequestTimedOut,
        }
    }
}

/// A request on its way.
struct Call {
    correlation_id: i32,
    frame: Bytes,
    /// On the monotonic clock.
    deadline: Duration,
    answer: oneshot::Sender<Answer>,
}

/// An answer as it came, and what it is charged with.
struct Answer {
    frame: Bytes,
    charge: Charge,
}

/// See the head of the file.
pub(crate) struct Link {
    env: Env,
    client_id: ByteString,
    pool: Arc<dyn MemoryPool>,
    next_correlation_id: AtomicI32,
    calls: mpsc::Sender<Call>,
}

impl Link {
    /// A link to `endpoint`, which names itself `client_id`. It connects when there is something to send.
    pub(crate) fn start(
        env: &Env,
        vitals: &Arc<Vitals>,
        client_id: String,
        endpoint: Endpoint,
        limits: Limits,
    ) -> Self {
        let (sender, calls) = mpsc::channel(MAX_REQUESTS_IN_FLIGHT);
        let pool = limits.pool.clone();
        let driver = Driver::new(env.clone(), endpoint, limits, calls);
        vitals.spawn(env, "asks the controller", driver.run());
        Self {
            env: env.clone(),
            client_id: client_id.into(),
            pool,
            next_correlation_id: AtomicI32::new(0),
            calls: sender,
        }
    }

    /// Sends a request and returns its answer.
    pub(crate) async fn ask<R: Request>(&self, version: i16, request: &R) -> Result<R::Response, LinkError> {
        let correlation_id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let mut writer = Writer::contiguous();
        encode_request(
            &mut writer,
            correlation_id,
            Some(&self.client_id),
            version,
            request,
        )?;
        let (answer, answered) = oneshot::channel();
        let call = Call {
            correlation_id,
            frame: writer.into_bytes(),
            deadline: self.env.monotonic() + REQUEST_TIMEOUT,
            answer,
        };
        let exchange = async {
            self.calls.send(call).await.map_err(|_| LinkError::Lost)?;
            answered.await.map_err(|_| LinkError::Lost)
        };
        let exchanged = self.env.timeout(REQUEST_TIMEOUT, exchange).await;
        let Answer { frame, charge } = exchanged.unwrap_or(Err(LinkError::Late))?;
        let mut reader = self.reader(frame);
        ResponseHeader::decode(&mut reader, R::KEY, version)?;
        let response = R::Response::decode(&mut reader, version)?;
        drop(charge);
        Ok(response)
    }

    /// A reader whose decoding is charged to the link's memory.
    pub(crate) fn reader(&self, bytes: Bytes) -> Reader {
        Reader::with_pool(bytes, self.pool.clone())
    }
}

#[cfg(test)]
mod tests;
