//! What the metadata log drives: the broker's image of the cluster.

use bytes::Bytes;

/// The place of an entry in the metadata log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The metadata offset: 0 for the first entry, and without gaps.
    pub index: u64,
    /// The term of the leader that wrote the entry.
    pub term: u64,
}

/// A snapshot, or an entry, that its machine cannot read: the quorum of this node stops there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReplayError(pub String);

/// The state that the metadata log describes. Entries arrive in order, each once between two restores, and only when
/// they are committed.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies the entry at `position`, `None` for one that carries no decision (a new leader's first entry, a change
    /// of the membership). None comes after one that it could not follow: its state would not be that of the log.
    fn apply(&self, position: Position, entry: Option<Bytes>) -> Result<(), ReplayError>;

    /// The state after the last applied entry, in a form that [`StateMachine::restore`] reads. Applying waits for it.
    fn snapshot(&self) -> Bytes;

    /// Replaces the state by the one of `snapshot`, which holds all entries up to `position`.
    fn restore(&self, position: Position, snapshot: Bytes) -> Result<(), ReplayError>;
}
