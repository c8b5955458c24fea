//! What consumers say to each other within the classic protocol: bytes that the broker passes on and does not read.
//!
//! Always holds: the bytes come from another client, so they may be anything; a version above those that are known is read
//! as the highest known one, because newer ones only append.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use klamm_model::TopicPartition;
use klamm_protocol::data_records::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use klamm_protocol::data_records::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use klamm_protocol::{DecodeBudget, DecodeError, Message, Reader};

/// The protocol type of consumers.
pub(crate) const CONSUMER: &str = "consumer";
/// What is written: every client since 2015 reads it.
const WRITTEN_VERSION: i16 = 0;
/// Memory that decoding may take for each byte, and beyond that.
const DECODE_BYTES_PER_BYTE: usize = 16;
const DECODE_BYTES_BEYOND: usize = 64 * 1024;

/// The subscription to `topics`.
pub(super) fn subscription(topics: &[ByteString]) -> Bytes {
    write(&ConsumerProtocolSubscription {
        topics: topics.to_vec(),
        ..ConsumerProtocolSubscription::default()
    })
}

/// The topics that a member subscribes to.
pub(super) fn subscribed(bytes: Bytes) -> Result<Vec<ByteString>, DecodeError> {
    Ok(read::<ConsumerProtocolSubscription>(bytes)?.topics)
}

/// The assignment of `partitions`.
pub(super) fn assignment(partitions: &BTreeSet<TopicPartition>) -> Bytes {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics
            .entry(&*partition.topic)
            .or_default()
            .push(partition.partition);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| AssignedTopic {
        topic: topic.into(),
        partitions,
    });
    write(&ConsumerProtocolAssignment {
        assigned_partitions: topics.collect(),
        ..ConsumerProtocolAssignment::default()
    })
}

/// The partitions that a member was assigned; no bytes are none.
pub(crate) fn assigned(bytes: Bytes) -> Result<BTreeSet<TopicPartition>, DecodeError> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let assignment = read::<ConsumerProtocolAssignment>(bytes)?;
    let partitions = assignment.assigned_partitions.iter().flat_map(|topic| {
        let name: std::sync::Arc<str> = (&*topic.topic).into();
        topic
            .partitions
            .iter()
            .map(move |index| TopicPartition::new(name.clone(), *index))
    });
    Ok(partitions.collect())
}

fn write<M: Message>(message: &M) -> Bytes {
    let body = message
        .to_bytes(WRITTEN_VERSION)
        .expect("names of topics fit into a string, and version 0 has all that is set");
    let mut bytes = BytesMut::from(&WRITTEN_VERSION.to_be_bytes()[..]);
    bytes.extend_from_slice(&body);
    bytes.freeze()
}

fn read<M: Message>(bytes: Bytes) -> Result<M, DecodeError> {
    let allowance = bytes
        .len()
        .saturating_mul(DECODE_BYTES_PER_BYTE)
        .saturating_add(DECODE_BYTES_BEYOND);
    let mut reader = Reader::with_budget(bytes, DecodeBudget::new(allowance));
    let version = reader.i16()?.min(*M::VERSIONS.end());
    M::decode(&mut reader, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let topics = vec![ByteString::from("a"), ByteString::from("b")];
        assert_eq!(subscribed(subscription(&topics)).unwrap(), topics);
        let partitions =
            BTreeSet::from([("a", 0), ("a", 3), ("b", 1)].map(|(t, p)| TopicPartition::new(t, p)));
        assert_eq!(assigned(assignment(&partitions)).unwrap(), partitions);
        assert!(assigned(Bytes::new()).unwrap().is_empty());
    }

    #[test]
    fn the_bytes_are_those_of_other_clients() {
        // Version 0, one topic "ab", partitions 1 and 2, no user data.
        let expected = b"\0\0\0\0\0\x01\0\x02ab\0\0\0\x02\0\0\0\x01\0\0\0\x02\xff\xff\xff\xff";
        let partitions = BTreeSet::from([TopicPartition::new("ab", 1), TopicPartition::new("ab", 2)]);
        assert_eq!(assignment(&partitions), &expected[..]);
        // A later version has more behind it.
        let later = [
            &b"\0\x63\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0\0\0\0\x05\xff\xff"[..],
            b"more",
        ]
        .concat();
        assert_eq!(subscribed(later.into()).unwrap(), ["t"]);
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        for bytes in [&b"\0"[..], b"\0\0", b"\0\0\x7f\xff\xff\xff", b"\xff\xff\0\0\0\0"] {
            assert!(subscribed(Bytes::from_static(bytes)).is_err(), "{bytes:?}");
            assert!(assigned(Bytes::from_static(bytes)).is_err(), "{bytes:?}");
        }
    }
}
