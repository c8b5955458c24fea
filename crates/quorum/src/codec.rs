//! From the types of Raft to bytes and back: what the files and the messages between voters share.
//!
//! Always holds: numbers are big endian; decoding is total (any bytes give a value or a [`DecodeError`]), takes no more
//! memory than a constant factor of the bytes that are there, and accepts nothing but what encoding makes.
//!
//! See [`crate::wire`] for the messages, [`crate::storage`] for the files.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, checksum};
use openraft::EntryPayload;

use crate::config::Endpoint;
use crate::types::{Decision, LogId, Membership, Payload, Vote, log_id, term_of};

/// Bytes of one decision.
pub const MAX_DECISION_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that an entry takes in a file beyond its payload; in a message it takes fewer.
pub(crate) const FRAME_OVERHEAD_BYTES: usize = 52;
/// Bytes of a host name.
pub(crate) const MAX_HOST_BYTES: usize = 255;
/// Nodes of a membership, and voters of one of its sets.
pub(crate) const MAX_NODES: usize = 4096;
/// Sets of voters that a membership joins.
pub(crate) const MAX_VOTER_SETS: usize = 8;

/// Bytes that no encoder makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub &'static str);

/// The CRC32C of `bytes`.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The greatest offset: they are Kafka's, and what follows the last one must be a number as well.
pub(crate) const MAX_INDEX: u64 = i64::MAX as u64;

/// Reads values off the front of some bytes.
pub(crate) struct Reader(Bytes);

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The next `count` bytes, which share memory with the whole.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<Bytes, DecodeError> {
        if self.0.len() < count {
            return Err(DecodeError("fewer bytes than announced"));
        }
        Ok(self.0.split_to(count))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.bytes(1)?.get_u8())
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(self.bytes(2)?.get_u16())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(self.bytes(4)?.get_u32())
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(self.bytes(8)?.get_u64())
    }

    pub(crate) fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError("a flag that is neither 0 nor 1")),
        }
    }

    /// A `u16` that counts things.
    pub(crate) fn count(&mut self, limit: usize) -> Result<usize, DecodeError> {
        let count = usize::from(self.u16()?);
        if count > limit {
            return Err(DecodeError("a count above its limit"));
        }
        Ok(count)
    }

    /// A node id: it fits a non-negative `i32`.
    pub(crate) fn node(&mut self) -> Result<u64, DecodeError> {
        let id = self.u64()?;
        if id > i32::MAX as u64 {
            return Err(DecodeError("a node id out of range"));
        }
        Ok(id)
    }

    /// A node id of a list that ascends: a node that is named twice, or out of order, is nothing that encoding makes.
    fn node_above(&mut self, before: Option<u64>) -> Result<u64, DecodeError> {
        let id = self.node()?;
        match before.is_none_or(|before| id > before) {
            true => Ok(id),
            false => Err(DecodeError("node ids that do not ascend")),
        }
    }

    pub(crate) fn log_id(&mut self) -> Result<LogId, DecodeError> {
        let term = self.u64()?;
        let index = self.u64()?;
        if term == u64::MAX || index > MAX_INDEX {
            return Err(DecodeError("a log id out of range"));
        }
        Ok(log_id(term, index))
    }

    pub(crate) fn optional_log_id(&mut self) -> Result<Option<LogId>, DecodeError> {
        match self.bool()? {
            true => Ok(Some(self.log_id()?)),
            false => Ok(None),
        }
    }

    pub(crate) fn vote(&mut self) -> Result<Vote, DecodeError> {
        let term = self.u64()?;
        if term == u64::MAX {
            return Err(DecodeError("a term out of range"));
        }
        let node = self.node()?;
        Ok(match self.bool()? {
            true => Vote::new_committed(term, node),
            false => Vote::new(term, node),
        })
    }

    fn endpoint(&mut self) -> Result<Endpoint, DecodeError> {
        let length = self.count(MAX_HOST_BYTES)?;
        let host = self.bytes(length)?;
        let host = std::str::from_utf8(&host).map_err(|_| DecodeError("a host name that is not UTF-8"))?;
        let port = self.u16()?;
        Ok(Endpoint::new(host, port))
    }

    pub(crate) fn membership(&mut self) -> Result<Membership, DecodeError> {
        let mut sets = Vec::new();
        for _ in 0..self.count(MAX_VOTER_SETS)? {
            let mut voters = BTreeSet::new();
            for _ in 0..self.count(MAX_NODES)? {
                let id = self.node_above(voters.last().copied())?;
                voters.insert(id);
            }
            sets.push(voters);
        }
        let mut nodes = BTreeMap::new();
        for _ in 0..self.count(MAX_NODES)? {
            let id = self.node_above(nodes.last_key_value().map(|(id, _)| *id))?;
            nodes.insert(id, self.endpoint()?);
        }
        if sets.is_empty() && nodes.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(sets, nodes).map_err(|_| DecodeError("a membership without its voters"))
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.0.split_off(0)
    }

    /// The end of a value that fills its bytes.
    pub(crate) fn end(self) -> Result<(), DecodeError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(DecodeError("more bytes than expected")),
        }
    }
}

pub(crate) fn put_log_id(to: &mut BytesMut, id: &LogId) {
    to.put_u64(term_of(id));
    to.put_u64(id.index);
}

pub(crate) fn put_optional_log_id(to: &mut BytesMut, id: Option<&LogId>) {
    to.put_u8(u8::from(id.is_some()));
    if let Some(id) = id {
        put_log_id(to, id);
    }
}

pub(crate) fn put_vote(to: &mut BytesMut, vote: &Vote) {
    to.put_u64(vote.leader_id.term);
    to.put_u64(vote.leader_id.voted_for);
    to.put_u8(u8::from(vote.committed));
}

fn put_count(to: &mut BytesMut, count: usize) {
    to.put_u16(u16::try_from(count).expect("memberships and host names are bounded where they are made"));
}

pub(crate) fn put_membership(to: &mut BytesMut, membership: &Membership) {
    put_count(to, membership.get_joint_config().len());
    for voters in membership.get_joint_config() {
        put_count(to, voters.len());
        for voter in voters {
            to.put_u64(*voter);
        }
    }
    put_count(to, membership.nodes().count());
    for (id, endpoint) in membership.nodes() {
        to.put_u64(*id);
        put_count(to, endpoint.host.len());
        to.put_slice(endpoint.host.as_bytes());
        to.put_u16(endpoint.port);
    }
}

/// What an entry carries, as a number.
pub(crate) fn kind_of(payload: &Payload) -> u8 {
    match payload {
        EntryPayload::Blank => 0,
        EntryPayload::Normal(_) => 1,
        EntryPayload::Membership(_) => 2,
    }
}

/// The bytes of what an entry carries.
pub(crate) fn payload_bytes(payload: &Payload) -> Bytes {
    match payload {
        EntryPayload::Blank => Bytes::new(),
        EntryPayload::Normal(decision) => decision.0.clone(),
        EntryPayload::Membership(membership) => {
            let mut to = BytesMut::new();
            put_membership(&mut to, membership);
            to.freeze()
        }
    }
}

/// The reverse of [`kind_of`] and [`payload_bytes`].
pub(crate) fn payload(kind: u8, bytes: Bytes) -> Result<Payload, DecodeError> {
    match kind {
        0 if bytes.is_empty() => Ok(EntryPayload::Blank),
        0 => Err(DecodeError("a blank entry with a payload")),
        1 => Ok(EntryPayload::Normal(Decision(bytes))),
        2 => {
            let mut reader = Reader::new(bytes);
            let membership = reader.membership()?;
            reader.end()?;
            Ok(EntryPayload::Membership(membership))
        }
        _ => Err(DecodeError("an entry of an unknown kind")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn membership(sets: Vec<BTreeSet<u64>>) -> Membership {
        let nodes = sets
            .iter()
            .flatten()
            .map(|id| (*id, Endpoint::new(format!("host-{id}"), 9093)))
            .collect::<BTreeMap<_, _>>();
        Membership::new(sets, nodes).unwrap()
    }

    #[test]
    fn memberships_come_back() {
        for sets in [
            vec![BTreeSet::from([1])],
            vec![BTreeSet::from([1, 2, 3])],
            vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])],
        ] {
            let before = EntryPayload::Membership(membership(sets));
            assert_eq!(payload(kind_of(&before), payload_bytes(&before)), Ok(before));
        }
        let empty = EntryPayload::Membership(Membership::default());
        assert_eq!(payload(2, payload_bytes(&empty)), Ok(empty));
    }

    #[test]
    fn a_log_id_that_nothing_can_follow_is_refused() {
        for (term, index, is_taken) in [
            (1, i64::MAX as u64, true),
            (1, i64::MAX as u64 + 1, false),
            (1, u64::MAX - 1, false),
            (u64::MAX, 1, false),
        ] {
            let mut bytes = BytesMut::new();
            bytes.put_u64(term);
            bytes.put_u64(index);
            let read = Reader::new(bytes.freeze()).log_id();
            assert_eq!(read.is_ok(), is_taken, "{term} {index}");
        }
    }

    #[test]
    fn a_voter_without_a_node_is_refused() {
        let bytes = Bytes::from_static(&[0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0]);
        assert!(payload(2, bytes).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(kind in 0u8..4, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(decoded) = payload(kind, Bytes::from(bytes)) {
                prop_assert_eq!(payload(kind, payload_bytes(&decoded)), Ok(decoded));
            }
        }
    }
}
