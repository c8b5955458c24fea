//! What voters say to each other, as bytes.
//!
//! ```text
//! request  = version:u8 kind:u8 cluster:16 to:u64 body       answer = version:u8 kind:u8 body
//! ```
//!
//! Always holds: a message names its cluster and the node it is for, so that one that went astray is refused; decoding
//! is total and lets only such values through as a correct peer sends (entries without gaps, terms that do not fall, a
//! leader's vote where a leader speaks), because openraft asserts on them.
//!
//! The numbers are drawn in `docs/formats/metadata-log.md`.

use bytes::{BufMut, Bytes, BytesMut};
use klamm_model::Uuid;
use openraft::raft::TransferLeaderError;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest};
use openraft::raft::{VoteRequest, VoteResponse};

use crate::codec::{DecodeError, MAX_DECISION_BYTES, Reader, kind_of, payload, payload_bytes};
use crate::codec::{put_optional_log_id, put_vote};
use crate::storage::snapshot::{put_meta, read_meta};
use crate::types::{Entry, LogId, Snapshot, Types, Vote, log_id, term_of};

/// The version of all messages.
const VERSION: u8 = 1;
/// Entries of one message.
pub(crate) const MAX_ENTRIES: usize = 4096;
/// Bytes of the text of a refusal.
const MAX_TEXT_BYTES: usize = 1024;

/// A question to another voter.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Snapshot(Vote, Snapshot),
    Transfer(TransferLeaderRequest<Types>),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Snapshot(SnapshotResponse<Types>),
    Transfer(Result<(), TransferLeaderError<Types>>),
    /// The node asked cannot or will not say.
    Refused(String),
}

impl Request {
    /// The message to node `to` of `cluster`.
    pub(crate) fn encode(&self, cluster: Uuid, to: u64) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        out.put_u8(self.kind());
        out.put_slice(&cluster.0);
        out.put_u64(to);
        match self {
            Request::Append(request) => put_append(&mut out, request),
            Request::Vote(request) | Request::PreVote(request) => {
                put_vote(&mut out, &request.vote);
                put_optional_log_id(&mut out, request.last_log_id.as_ref());
                out.put_u8(u8::from(request.leadership_transfer));
            }
            Request::Snapshot(vote, snapshot) => {
                put_vote(&mut out, vote);
                put_meta(&mut out, &snapshot.meta);
                out.put_slice(&snapshot.snapshot);
            }
            Request::Transfer(request) => {
                put_vote(&mut out, request.from_leader());
                out.put_u64(*request.to_node_id());
                put_optional_log_id(&mut out, request.last_log_id());
            }
        }
        out.freeze()
    }

    fn kind(&self) -> u8 {
        match self {
            Request::Append(_) => 1,
            Request::Vote(_) => 2,
            Request::PreVote(_) => 3,
            Request::Snapshot(..) => 4,
            Request::Transfer(_) => 5,
        }
    }

    /// The request in `message`, which must be for node `to` of `cluster`.
    pub(crate) fn decode(message: Bytes, cluster: Uuid, to: u64) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(message);
        if reader.u8()? != VERSION {
            return Err(DecodeError("a message of another version"));
        }
        let kind = reader.u8()?;
        if reader.bytes(16)? != cluster.0[..] {
            return Err(DecodeError("a message of another cluster"));
        }
        if reader.node()? != to {
            return Err(DecodeError("a message for another node"));
        }
        let request = match kind {
            1 => Request::Append(read_append(&mut reader)?),
            2 => Request::Vote(read_vote_request(&mut reader)?),
            3 => Request::PreVote(read_vote_request(&mut reader)?),
            4 => {
                let vote = read_leader(&mut reader)?;
                let meta = read_meta(&mut reader)?;
                let snapshot = reader.rest();
                Request::Snapshot(vote, Snapshot { meta, snapshot })
            }
            5 => {
                let vote = read_leader(&mut reader)?;
                let next = reader.node()?;
                Request::Transfer(TransferLeaderRequest::new(vote, next, reader.optional_log_id()?))
            }
            _ => return Err(DecodeError("a message of an unknown kind")),
        };
        reader.end()?;
        // A node never writes to itself, and Raft asserts that what comes from a leader comes from another node.
        let (sender, latest) = request.sender_and_latest();
        if sender.leader_id.voted_for == to {
            return Err(DecodeError("a message of the node that it is for"));
        }
        // Nor has it an entry of a later term than its own.
        if latest.is_some_and(|latest| term_of(latest) > sender.leader_id.term) {
            return Err(DecodeError("an entry of a term above the sender's"));
        }
        Ok(request)
    }

    /// The vote of the node that leads, or wants to; and the latest entry that it speaks of, those that it brings aside.
    fn sender_and_latest(&self) -> (&Vote, Option<&LogId>) {
        match self {
            Request::Append(request) => (
                &request.vote,
                request.prev_log_id.as_ref().max(request.leader_commit.as_ref()),
            ),
            Request::Vote(request) | Request::PreVote(request) => {
                (&request.vote, request.last_log_id.as_ref())
            }
            Request::Snapshot(vote, Snapshot { meta, .. }) => {
                let membership = meta.last_membership.log_id().as_ref();
                (vote, meta.last_log_id.as_ref().max(membership))
            }
            Request::Transfer(request) => (request.from_leader(), request.last_log_id()),
        }
    }
}

fn read_leader(reader: &mut Reader) -> Result<Vote, DecodeError> {
    let vote = reader.vote()?;
    match vote.committed {
        true => Ok(vote),
        false => Err(DecodeError("a leader that is not elected")),
    }
}

fn read_vote_request(reader: &mut Reader) -> Result<VoteRequest<Types>, DecodeError> {
    let vote = reader.vote()?;
    if vote.committed {
        return Err(DecodeError("a candidate that is elected already"));
    }
    let mut request = VoteRequest::new(vote, reader.optional_log_id()?);
    request.leadership_transfer = reader.bool()?;
    Ok(request)
}

fn put_append(out: &mut BytesMut, request: &AppendEntriesRequest<Types>) {
    put_vote(out, &request.vote);
    put_optional_log_id(out, request.prev_log_id.as_ref());
    put_optional_log_id(out, request.leader_commit.as_ref());
    out.put_u16(
        u16::try_from(request.entries.len()).expect("the reader of the log and the configuration bound them"),
    );
    for entry in &request.entries {
        let bytes = payload_bytes(&entry.payload);
        out.put_u8(kind_of(&entry.payload));
        out.put_u64(term_of(&entry.log_id));
        out.put_u32(u32::try_from(bytes.len()).expect("payloads are bounded where they are made"));
        out.put_slice(&bytes);
    }
}

fn read_append(reader: &mut Reader) -> Result<AppendEntriesRequest<Types>, DecodeError> {
    let vote = read_leader(reader)?;
    let prev_log_id = reader.optional_log_id()?;
    let leader_commit = reader.optional_log_id()?;
    let mut least_term = prev_log_id.as_ref().map_or(0, term_of);
    let first = prev_log_id.map_or(0, |id| id.index + 1);
    let count = reader.count(MAX_ENTRIES)? as u64;
    let end = first
        .checked_add(count)
        .ok_or(DecodeError("an entry out of range"))?;
    let mut entries = Vec::new();
    for index in first..end {
        let kind = reader.u8()?;
        let term = reader.u64()?;
        if term < least_term || term > vote.leader_id.term {
            return Err(DecodeError("an entry of a term out of order"));
        }
        let length = reader.u32()? as usize;
        if length > MAX_DECISION_BYTES {
            return Err(DecodeError("an entry above the largest size"));
        }
        entries.push(Entry {
            log_id: log_id(term, index),
            payload: payload(kind, reader.bytes(length)?)?,
        });
        least_term = term;
    }
    Ok(AppendEntriesRequest {
        vote,
        prev_log_id,
        entries,
        leader_commit,
    })
}

impl Answer {
    /// The message.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        match self {
            Answer::Append(answer) => {
                out.put_u8(1);
                match answer {
                    AppendEntriesResponse::Success => out.put_u8(0),
                    AppendEntriesResponse::PartialSuccess(upto) => {
                        out.put_u8(1);
                        put_optional_log_id(&mut out, upto.as_ref());
                    }
                    AppendEntriesResponse::Conflict => out.put_u8(2),
                    AppendEntriesResponse::HigherVote(vote) => {
                        out.put_u8(3);
                        put_vote(&mut out, vote);
                    }
                }
            }
            Answer::Vote(answer) => {
                out.put_u8(2);
                put_vote(&mut out, &answer.vote);
                out.put_u8(u8::from(answer.vote_granted));
                put_optional_log_id(&mut out, answer.last_log_id.as_ref());
            }
            Answer::Snapshot(answer) => {
                out.put_u8(4);
                put_vote(&mut out, &answer.vote);
            }
            Answer::Transfer(answer) => {
                out.put_u8(5);
                put_transfer(&mut out, answer);
            }
            Answer::Refused(text) => {
                out.put_u8(255);
                let end = text.floor_char_boundary(MAX_TEXT_BYTES);
                out.put_slice(&text.as_bytes()[..end]);
            }
        }
        out.freeze()
    }

    /// The answer in `message`.
    pub(crate) fn decode(message: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(message);
        if reader.u8()? != VERSION {
            return Err(DecodeError("an answer of another version"));
        }
        let answer = match reader.u8()? {
            1 => Answer::Append(match reader.u8()? {
                0 => AppendEntriesResponse::Success,
                1 => AppendEntriesResponse::PartialSuccess(reader.optional_log_id()?),
                2 => AppendEntriesResponse::Conflict,
                3 => AppendEntriesResponse::HigherVote(reader.vote()?),
                _ => return Err(DecodeError("an answer of an unknown kind")),
            }),
            2 => {
                let vote = reader.vote()?;
                let granted = reader.bool()?;
                Answer::Vote(VoteResponse::new(vote, reader.optional_log_id()?, granted))
            }
            4 => Answer::Snapshot(SnapshotResponse::new(reader.vote()?)),
            5 => Answer::Transfer(read_transfer(&mut reader)?),
            255 => {
                let text = reader.rest();
                Answer::Refused(String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT_BYTES)]).into_owned())
            }
            _ => return Err(DecodeError("an answer of an unknown kind")),
        };
        reader.end()?;
        Ok(answer)
    }
}

fn put_transfer(out: &mut BytesMut, answer: &Result<(), TransferLeaderError<Types>>) {
    match answer {
        Ok(()) => out.put_u8(0),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.put_u8(1);
            put_vote(out, expected);
            put_vote(out, actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.put_u8(2);
            put_optional_log_id(out, expected.as_ref());
            put_optional_log_id(out, actual.as_ref());
        }
    }
}

fn read_transfer(reader: &mut Reader) -> Result<Result<(), TransferLeaderError<Types>>, DecodeError> {
    Ok(match reader.u8()? {
        0 => Ok(()),
        1 => Err(TransferLeaderError::VoteChanged {
            expected: reader.vote()?,
            actual: reader.vote()?,
        }),
        2 => Err(TransferLeaderError::LogNotFlushed {
            expected: reader.optional_log_id()?,
            actual: reader.optional_log_id()?,
        }),
        _ => return Err(DecodeError("an answer of an unknown kind")),
    })
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;
    use proptest::prelude::*;

    use super::*;
    use crate::config::Endpoint;
    use crate::types::{Decision, Membership, SnapshotMeta, StoredMembership};

    const CLUSTER: Uuid = Uuid([5; 16]);

    fn requests() -> Vec<Request> {
        let nodes =
            std::collections::BTreeMap::from([(1, Endpoint::new("a", 1)), (2, Endpoint::new("b", 2))]);
        let membership = Membership::new(vec![[1, 2].into()], nodes).unwrap();
        let entry = |term, index, payload| Entry {
            log_id: log_id(term, index),
            payload,
        };
        let leader = Vote::new_committed(4, 1);
        let mut transfer = VoteRequest::new(Vote::new(5, 3), Some(log_id(4, 9)));
        transfer.leadership_transfer = true;
        vec![
            Request::Append(AppendEntriesRequest {
                vote: leader,
                prev_log_id: Some(log_id(2, 7)),
                entries: vec![
                    entry(
                        2,
                        8,
                        EntryPayload::Normal(Decision(Bytes::from_static(b"decision"))),
                    ),
                    entry(4, 9, EntryPayload::Blank),
                    entry(4, 10, EntryPayload::Membership(membership.clone())),
                ],
                leader_commit: Some(log_id(2, 8)),
            }),
            Request::Append(AppendEntriesRequest {
                vote: leader,
                prev_log_id: None,
                entries: vec![entry(0, 0, EntryPayload::Membership(membership.clone()))],
                leader_commit: None,
            }),
            Request::Vote(VoteRequest::new(Vote::new(5, 3), None)),
            Request::Vote(transfer.clone()),
            Request::PreVote(transfer),
            Request::Snapshot(
                leader,
                Snapshot {
                    meta: SnapshotMeta {
                        last_log_id: Some(log_id(3, 4)),
                        last_membership: StoredMembership::new(Some(log_id(0, 0)), membership),
                    },
                    snapshot: Bytes::from_static(b"image"),
                },
            ),
            Request::Transfer(TransferLeaderRequest::new(leader, 2, Some(log_id(4, 10)))),
        ]
    }

    fn answers() -> Vec<Answer> {
        let vote = Vote::new_committed(4, 1);
        vec![
            Answer::Append(AppendEntriesResponse::Success),
            Answer::Append(AppendEntriesResponse::PartialSuccess(Some(log_id(1, 2)))),
            Answer::Append(AppendEntriesResponse::Conflict),
            Answer::Append(AppendEntriesResponse::HigherVote(vote)),
            Answer::Vote(VoteResponse::new(vote, Some(log_id(1, 2)), true)),
            Answer::Snapshot(SnapshotResponse::new(vote)),
            Answer::Transfer(Ok(())),
            Answer::Transfer(Err(TransferLeaderError::VoteChanged {
                expected: vote,
                actual: Vote::new(6, 2),
            })),
            Answer::Transfer(Err(TransferLeaderError::LogNotFlushed {
                expected: None,
                actual: Some(log_id(1, 2)),
            })),
            Answer::Refused("no".into()),
        ]
    }

    #[test]
    fn messages_come_back() {
        for request in requests() {
            let message = request.encode(CLUSTER, 2);
            let decoded = Request::decode(message, CLUSTER, 2).unwrap();
            assert_eq!(format!("{decoded:?}"), format!("{request:?}"));
        }
        for answer in answers() {
            assert_eq!(Answer::decode(answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn every_shortened_message_is_refused() {
        for request in requests()
            .into_iter()
            .filter(|request| !matches!(request, Request::Snapshot(..)))
        {
            let message = request.encode(CLUSTER, 2);
            for length in 0..message.len() {
                assert!(
                    Request::decode(message.slice(..length), CLUSTER, 2).is_err(),
                    "{request:?} {length}"
                );
            }
        }
    }

    #[test]
    fn what_no_correct_peer_sends_is_refused() {
        let message = requests()[0].encode(CLUSTER, 2);
        assert!(
            Request::decode(message.clone(), Uuid::ONE, 2).is_err(),
            "another cluster"
        );
        assert!(
            Request::decode(message.clone(), CLUSTER, 3).is_err(),
            "another node"
        );
        let mut other = message.to_vec();
        other[0] = 2;
        assert!(
            Request::decode(other.into(), CLUSTER, 2).is_err(),
            "another version"
        );

        let append = |vote, terms: &[u64]| {
            let entries = terms.iter().zip(8..).map(|(term, index)| Entry {
                log_id: log_id(*term, index),
                payload: EntryPayload::Blank,
            });
            let request = Request::Append(AppendEntriesRequest {
                vote,
                prev_log_id: Some(log_id(2, 7)),
                entries: entries.collect(),
                leader_commit: None,
            });
            Request::decode(request.encode(CLUSTER, 2), CLUSTER, 2)
        };
        assert!(append(Vote::new_committed(4, 1), &[2, 3, 4]).is_ok());
        assert!(
            append(Vote::new_committed(4, 1), &[1]).is_err(),
            "a term below the one before"
        );
        assert!(
            append(Vote::new_committed(4, 1), &[3, 2]).is_err(),
            "terms that fall"
        );
        assert!(
            append(Vote::new_committed(4, 1), &[5]).is_err(),
            "a term above the leader's"
        );
        assert!(
            append(Vote::new(4, 1), &[4]).is_err(),
            "a leader that is not elected"
        );
        assert!(
            append(Vote::new_committed(4, 2), &[4]).is_err(),
            "the node itself as the leader that writes to it"
        );

        let snapshot = |term| {
            let meta = SnapshotMeta {
                last_log_id: Some(log_id(term, 4)),
                ..Default::default()
            };
            let snapshot = Bytes::new();
            let request = Request::Snapshot(Vote::new_committed(4, 1), Snapshot { meta, snapshot });
            Request::decode(request.encode(CLUSTER, 2), CLUSTER, 2)
        };
        assert!(snapshot(4).is_ok());
        assert!(snapshot(5).is_err(), "a snapshot of a term above the leader's");
    }

    /// Every byte of every message, as every other byte: what is read is what was written.
    #[test]
    fn changed_messages_decode_or_are_refused() {
        let mut differ = Vec::new();
        for request in requests() {
            let message = request.encode(CLUSTER, 2).to_vec();
            for at in 0..message.len() {
                for byte in 0..=u8::MAX {
                    let mut changed = message.clone();
                    changed[at] = byte;
                    let Ok(decoded) = Request::decode(changed.clone().into(), CLUSTER, 2) else {
                        continue;
                    };
                    if decoded.encode(CLUSTER, 2) != changed {
                        differ.push((request.kind(), at, message[at], byte));
                    }
                }
            }
        }
        assert!(differ.is_empty(), "(kind, place, byte, changed byte): {differ:?}");
    }

    proptest! {
        #[test]
        fn any_answer_decodes_or_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Answer::decode(bytes.into());
        }
    }
}
