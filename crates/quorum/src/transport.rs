//! How a message gets to another voter: the broker's business, behind a trait.

use std::time::Duration;

use bytes::Bytes;
use klamm_env::network::BoxFuture;

use crate::config::Endpoint;

/// A message that was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TransportError(pub String);

/// Carries messages between the voters. At most one message is under way to a node for each of: entries, heartbeats,
/// votes, a snapshot.
pub trait Transport: Send + Sync + 'static {
    /// Hands `message` to [`crate::Quorum::handle`] of node `to`, whose controller listener is at `endpoint`, and
    /// returns its answer; gives up after `limit`.
    fn send(
        &self,
        to: i32,
        endpoint: &Endpoint,
        message: Bytes,
        limit: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;
}

/// The transport of a node that is its own quorum: nothing is ever sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

impl Transport for NoPeers {
    fn send(
        &self,
        to: i32,
        endpoint: &Endpoint,
        _message: Bytes,
        _limit: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let text = format!("node {to} at {endpoint}: other voters are not served");
        Box::pin(async move { Err(TransportError(text)) })
    }
}
