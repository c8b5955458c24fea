//! The types that openraft is instantiated with, and their short names.
//!
//! Always holds: one leader a term (`leader_id_std`), so a log id is (term, index) and nothing else; node ids are `u64`
//! inside and `i32` at the edge of the crate. None of these types is ever written out as it is: [`crate::codec`] is
//! the only way to bytes.

use std::fmt;

use bytes::Bytes;
use openraft::impls::leader_id_std;
use openraft::type_config::alias;

use crate::config::Endpoint;
use crate::runtime::Runtime;

/// One decision of the controller: opaque here, applied whole.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Decision(pub Bytes);

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

openraft::declare_raft_types!(
    /// What openraft is parametrised with.
    pub(crate) Types:
        D = Decision,
        R = (),
        NodeId = u64,
        Node = Endpoint,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = Runtime,
);

pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type Payload = alias::PayloadOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, Endpoint>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub(crate) type Snapshot = alias::SnapshotOf<Types, Bytes>;
pub(crate) type Raft = openraft::Raft<Types, crate::applier::Applier>;

/// The log id of entry `index` that the leader of `term` wrote.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(alias::CommittedLeaderIdOf::<Types>::from(term), index)
}

/// The term in a log id.
pub(crate) fn term_of(id: &LogId) -> u64 {
    id.leader_id.term
}

/// The id as the rest of Klamm writes it. Ids come from configurations and are checked on the way in.
pub(crate) fn node_id(id: u64) -> i32 {
    i32::try_from(id).unwrap_or(i32::MAX)
}
