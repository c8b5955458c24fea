//! What the layer above gives to the network: who handles a frame, and how.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::admission::Refused;
use crate::memory::Charge;
use crate::output::Output;
use crate::stop::Stopping;

/// One request as it came: the bytes behind the length, and the memory they are charged with until this is dropped.
#[derive(Debug)]
pub struct Frame {
    /// The request: header and body.
    pub bytes: Bytes,
    /// Given back when the request is answered.
    pub charge: Charge,
    /// When its last byte was read, on the monotonic clock.
    pub received: std::time::Duration,
    /// Nothing was done since then: handling begins at that time too.
    pub is_fresh: bool,
}

/// Where a connection comes from.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The listener's name, for example `PLAINTEXT`.
    pub listener: Arc<str>,
    /// The client.
    pub peer: SocketAddr,
    /// This side.
    pub local: SocketAddr,
    /// Counts the connections of this process, from 1.
    pub id: u64,
    /// Whether the server stops.
    pub stopping: Stopping,
}

/// How a request stands to its neighbours on the same connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Starts when everything before it is answered.
    Serial,
    /// Serial, and only waits for something to read: given up when the client goes away, polled once more when the server
    /// stops ([`ConnectionInfo::stopping`]): it should then answer what is there.
    SerialWait,
    /// Starts when the ordered stage of the request before it, also of this kind, has ended.
    Pipelined,
}

/// What became of the ordered stage of a request.
#[derive(Debug)]
pub enum Outcome<P> {
    /// The answer is in the output that was given.
    Answered,
    /// The answer comes later (only from a [`Overlap::Pipelined`] request).
    Parked(P),
    /// The request wants no answer.
    Silent,
    /// The connection must end, for this reason; answers decided before are still sent.
    Close(String),
}

/// The background stage of a pipelined request: polled by the connection's task until the answer is written.
pub trait Pending: Send + Unpin {
    /// Writes the whole answer into `out` once it is decided. An error, for the log, ends the connection: without this
    /// answer the client would take the next one for it.
    fn poll_answer(&mut self, cx: &mut Context<'_>, out: &mut Output) -> Poll<Result<(), String>>;
}

/// One connection, as the layer above sees it.
pub trait Connection: Send + 'static {
    /// The background stage of a pipelined request.
    type Pending: Pending;

    /// How the request in `frame` stands to its neighbours; decided from its first bytes.
    fn overlap(frame: &[u8]) -> Overlap;

    /// Runs the ordered stage of a request; an answer goes into `out`, which is empty.
    fn handle<'a>(
        &'a mut self,
        frame: Frame,
        out: &'a mut Output,
    ) -> impl Future<Output = Outcome<Self::Pending>> + Send + 'a;
}

/// Makes a [`Connection`] of every connection that is accepted.
pub trait Service: Send + Sync + 'static {
    /// What handles a connection's requests.
    type Connection: Connection;

    /// A connection was accepted.
    fn connect(&self, info: ConnectionInfo) -> Self::Connection;

    /// A task that the server cannot do without, the one that `does` this, panicked and said `why`: no more connections are
    /// accepted, or none is let go of.
    fn panicked(&self, does: &str, why: &str);

    /// Counters of the network layer.
    fn metrics(&self) -> &dyn NetMetrics;
}

/// What the network layer counts.
pub trait NetMetrics: Send + Sync {
    /// A connection was opened.
    fn opened(&self, listener: &str);
    /// A connection ended.
    fn closed(&self, listener: &str);
    /// A connection was refused.
    fn refused(&self, listener: &str, why: &Refused);
    /// Bytes came in.
    fn received(&self, bytes: usize);
    /// Bytes went out.
    fn sent(&self, bytes: usize);
    /// A socket has taken the last byte of an answer of this kind ([`Output::end_answer`]), so long after it first took
    /// no more.
    fn answered(&self, kind: i16, took: std::time::Duration);
}
