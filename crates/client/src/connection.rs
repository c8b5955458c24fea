//! One connection to one broker: requests go out pipelined, answers come back in the same order.
//!
//! Always holds: every request that was submitted ends, with its answer or with the reason why there is none. A request
//! that is not answered in time ends the connection, because what follows on it would wait behind the missing answer.
//!
//! Next: `connection/driver.rs` moves the bytes.

mod driver;

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use klamm_env::{Env, Task};
use klamm_model::ErrorCode;
use klamm_protocol::messages::api_versions_request::ApiVersionsRequest;
use klamm_protocol::messages::api_versions_response::ApiVersionsResponse;
use klamm_protocol::writer::HoleContent;
use klamm_protocol::{
    ApiKey, DecodeBudget, DecodeError, Message, Reader, Request, ResponseHeader, Writer, encode_request,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::address::HostPort;
use crate::error::{ConnectionError, Refusal};
use crate::versions::ApiVersions;

/// Requests that wait to be written before the next one waits to be accepted.
const QUEUED_REQUESTS: usize = 64;
/// Memory that decoding an answer may take for each of its bytes, and beyond that.
const DECODE_BYTES_PER_BYTE: usize = 8;
const DECODE_BYTES_BEYOND: usize = 64 * 1024 * 1024;
/// What this client calls itself in ApiVersions (KIP-511).
const SOFTWARE_NAME: &str = "klamm";

/// How a connection is made and used.
#[derive(Clone, Debug)]
pub struct ConnectionOptions {
    /// What the broker's quotas and logs know this client by.
    pub client_id: String,
    /// How long the connection may take to come about.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub request_timeout: Duration,
}

/// One connection. A clone is the same one; the last clone closes it, after what was submitted is answered.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    address: HostPort,
    options: ConnectionOptions,
    client_id: ByteString,
    versions: ApiVersions,
    next_correlation: AtomicI32,
    requests: mpsc::Sender<Outgoing>,
    end: End,
    task: Task<()>,
}

/// Why the connection ended; shared with the driver.
type End = Arc<Mutex<Option<String>>>;

/// A request on its way to the driver.
pub(crate) struct Outgoing {
    /// The frame, in pieces.
    pieces: Vec<Bytes>,
    correlation_id: i32,
    answer: oneshot::Sender<Bytes>,
}

impl Connection {
    /// Connects, and asks the broker what it serves.
    pub async fn open(
        env: &Env,
        address: &HostPort,
        options: &ConnectionOptions,
    ) -> Result<Self, ConnectionError> {
        let failed = |reason: String| ConnectionError::Connect {
            address: address.clone(),
            reason,
        };
        let connecting = env.network().connect(&address.host, address.port);
        let stream = match env.timeout(options.connect_timeout, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("no answer within {:?}", options.connect_timeout))),
        };
        let (requests, queue) = mpsc::channel(QUEUED_REQUESTS);
        let end = End::default();
        let task = env.spawn(driver::Driver::new(stream, queue).run(end.clone()));
        let mut connection = Inner {
            env: env.clone(),
            address: address.clone(),
            options: options.clone(),
            client_id: options.client_id.as_str().into(),
            versions: ApiVersions::default(),
            next_correlation: AtomicI32::new(0),
            requests,
            end,
            task,
        };
        connection.versions = connection.negotiate().await?;
        Ok(Self {
            inner: Arc::new(connection),
        })
    }

    /// Where to.
    pub fn address(&self) -> &HostPort {
        &self.inner.address
    }

    /// What the broker serves.
    pub fn versions(&self) -> &ApiVersions {
        &self.inner.versions
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.inner.task.is_finished() || self.inner.requests.is_closed()
    }

    /// The version in which `R` will be sent: the highest that both sides have, at most `most`.
    pub fn version_of<R: Request>(&self, most: i16) -> Result<i16, ConnectionError> {
        self.version_between::<R>(i16::MIN, most)
    }

    /// As [`Connection::version_of`], and at least `least`.
    pub fn version_between<R: Request>(&self, least: i16, most: i16) -> Result<i16, ConnectionError> {
        let ours = R::KEY.stable_versions();
        let ours = (*ours.start()).max(least)..=(*ours.end()).min(most);
        self.inner
            .versions
            .pick(R::KEY, ours)
            .map_err(|source| ConnectionError::Version {
                address: self.inner.address.clone(),
                source,
            })
    }

    /// Sends `request` in the highest common version and waits for the answer.
    pub async fn send<R: Request>(&self, request: &R) -> Result<R::Response, ConnectionError> {
        let version = self.version_of::<R>(i16::MAX)?;
        self.submit(version, request).await?.answer().await
    }

    /// Queues `request`; requests leave in the order in which this is called. The answer is waited for apart.
    pub async fn submit<R: Request>(&self, version: i16, request: &R) -> Result<Pending<R>, ConnectionError> {
        let answer = self.inner.submit(version, request).await?;
        Ok(Pending {
            connection: self.clone(),
            version,
            answer,
            request: PhantomData,
        })
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.inner.address)
    }
}

/// A request whose answer is outstanding.
#[must_use = "the answer is in `answer`"]
pub struct Pending<R> {
    connection: Connection,
    version: i16,
    answer: oneshot::Receiver<Bytes>,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Pending<R> {
    /// The answer.
    pub async fn answer(self) -> Result<R::Response, ConnectionError> {
        let limit = self.connection.inner.options.request_timeout;
        self.answer_within(limit).await
    }

    /// The answer, which may take `limit`: some requests are answered when somebody else has done something.
    pub async fn answer_within(self, limit: Duration) -> Result<R::Response, ConnectionError> {
        let inner = &self.connection.inner;
        let frame = inner.wait(R::KEY, self.answer, limit).await?;
        inner.decode::<R::Response>(R::KEY, self.version, frame)
    }
}

impl Inner {
    async fn submit<R: Request>(
        &self,
        version: i16,
        request: &R,
    ) -> Result<oneshot::Receiver<Bytes>, ConnectionError> {
        let correlation_id = self.next_correlation.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let mut writer = Writer::new();
        encode_request(
            &mut writer,
            correlation_id,
            Some(&self.client_id),
            version,
            request,
        )
        .map_err(|source| ConnectionError::Encode {
            address: self.address.clone(),
            api: R::KEY,
            source,
        })?;
        let (answer, answered) = oneshot::channel();
        let outgoing = Outgoing {
            pieces: pieces(writer),
            correlation_id,
            answer,
        };
        match self.requests.send(outgoing).await {
            Ok(()) => Ok(answered),
            Err(_) => Err(self.closed()),
        }
    }

    async fn wait(
        &self,
        api: ApiKey,
        answer: oneshot::Receiver<Bytes>,
        limit: Duration,
    ) -> Result<Bytes, ConnectionError> {
        match self.env.timeout(limit, answer).await {
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(_)) => Err(self.closed()),
            Err(_) => {
                let mut end = self.end.lock();
                end.get_or_insert_with(|| format!("{api} was not answered within {limit:?}"));
                self.task.abort();
                Err(ConnectionError::TimedOut {
                    address: self.address.clone(),
                    api,
                    after: limit,
                })
            }
        }
    }

    fn decode<M: Message>(&self, api: ApiKey, version: i16, frame: Bytes) -> Result<M, ConnectionError> {
        decode_answer(api, version, frame).map_err(|source| self.unreadable(api, source))
    }

    fn unreadable(&self, api: ApiKey, source: DecodeError) -> ConnectionError {
        let mut end = self.end.lock();
        end.get_or_insert_with(|| format!("an answer to {api} could not be read: {source}"));
        self.task.abort();
        ConnectionError::Decode {
            address: self.address.clone(),
            api,
            source,
        }
    }

    fn closed(&self) -> ConnectionError {
        let reason = self.end.lock().clone();
        ConnectionError::Closed {
            address: self.address.clone(),
            reason: reason.unwrap_or_else(|| "it was closed".to_owned()),
        }
    }

    /// The first request of a connection. A broker that does not know its version answers in version 0, with error 35 and
    /// the versions that it does know (KIP-511).
    async fn negotiate(&self) -> Result<ApiVersions, ConnectionError> {
        let api = ApiKey::ApiVersions;
        let mut version = *api.stable_versions().end();
        loop {
            let request = ApiVersionsRequest {
                client_software_name: software(version, SOFTWARE_NAME),
                client_software_version: software(version, env!("CARGO_PKG_VERSION")),
                ..ApiVersionsRequest::default()
            };
            let answer = self.submit(version, &request).await?;
            let frame = self.wait(api, answer, self.options.connect_timeout).await?;
            let response = decode_versions(version, frame).map_err(|source| self.unreadable(api, source))?;
            let Err(refusal) = Refusal::check(response.error_code, None) else {
                return Ok(ApiVersions::from(&response));
            };
            let lower = ApiVersions::from(&response)
                .pick(api, 0..=version - 1)
                .unwrap_or(0);
            if refusal.code != ErrorCode::UnsupportedVersion || version == 0 {
                return Err(ConnectionError::Refused {
                    address: self.address.clone(),
                    refusal,
                });
            }
            version = lower;
        }
    }
}

/// The client's name stands in ApiVersions from version 3 on.
fn software(version: i16, text: &'static str) -> ByteString {
    ByteString::from_static(if version >= 3 { text } else { "" })
}

fn decode_versions(version: i16, frame: Bytes) -> Result<ApiVersionsResponse, DecodeError> {
    // Behind the correlation id stands the error code, in every version.
    let error_at = 4;
    let unsupported = ErrorCode::UnsupportedVersion.code().to_be_bytes();
    let is_fallback = frame.get(error_at..error_at + 2) == Some(&unsupported[..]);
    decode_answer(ApiKey::ApiVersions, if is_fallback { 0 } else { version }, frame)
}

fn decode_answer<M: Message>(api: ApiKey, version: i16, frame: Bytes) -> Result<M, DecodeError> {
    let allowance = frame
        .len()
        .saturating_mul(DECODE_BYTES_PER_BYTE)
        .saturating_add(DECODE_BYTES_BEYOND);
    let mut reader = Reader::with_budget(frame, DecodeBudget::new(allowance));
    ResponseHeader::decode(&mut reader, api, version)?;
    M::decode(&mut reader, version)
}

fn pieces(mut writer: Writer) -> Vec<Bytes> {
    let (buffer, holes) = writer.take();
    let buffer = buffer.freeze();
    let mut pieces = Vec::with_capacity(2 * holes.len() + 1);
    let mut at = 0;
    for hole in holes {
        if hole.at > at {
            pieces.push(buffer.slice(at..hole.at));
            at = hole.at;
        }
        if let HoleContent::Bytes(bytes) = hole.content {
            pieces.push(bytes);
        }
    }
    if at < buffer.len() {
        pieces.push(buffer.slice(at..));
    }
    pieces
}

#[cfg(test)]
mod tests;
