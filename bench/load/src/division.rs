//! What members of the classic protocol say to each other: which topic they read, and who gets which of its partitions.
//!
//! Always holds: the bytes are those of Kafka's own consumer with its default assignors, `range` and `cooperative-sticky`,
//! of which the first is used.

use anyhow::{Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use klamm_protocol::Message;
use klamm_protocol::data_records::consumer_protocol_assignment::TopicPartition;
use klamm_protocol::data_records::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use klamm_protocol::messages::join_group_request::JoinGroupRequestProtocol;

/// The protocol type of consumers.
pub(crate) const PROTOCOL_TYPE: &str = "consumer";
const VERSION: i16 = 3;
/// The generation of a member that has none, which `cooperative-sticky` adds.
const NO_GENERATION: i32 = -1;

/// What a member that holds nothing can do.
pub(crate) fn protocols(topic: &str) -> Result<Vec<JoinGroupRequestProtocol>> {
    let protocol = |name: &'static str, user_data| -> Result<_> {
        let subscription = ConsumerProtocolSubscription {
            topics: vec![topic.into()],
            user_data,
            ..ConsumerProtocolSubscription::default()
        };
        Ok(JoinGroupRequestProtocol {
            name: name.into(),
            metadata: write(&subscription)?,
            ..JoinGroupRequestProtocol::default()
        })
    };
    let generation = Bytes::copy_from_slice(&NO_GENERATION.to_be_bytes());
    Ok(vec![
        protocol("range", None)?,
        protocol("cooperative-sticky", Some(generation))?,
    ])
}

/// The parts of so many members: each gets as many partitions as the others, but for one, and those that follow each other.
pub(crate) fn parts(topic: &str, partitions: i32, members: usize) -> Result<Vec<Bytes>> {
    let count = usize::try_from(partitions)?;
    ensure!(members > 0, "nobody gets anything");
    let part = |number: usize| {
        let bound = |number: usize| i32::try_from(count * number / members);
        let assigned = TopicPartition {
            topic: topic.into(),
            partitions: (bound(number)?..bound(number + 1)?).collect(),
        };
        write(&ConsumerProtocolAssignment {
            assigned_partitions: vec![assigned],
            ..ConsumerProtocolAssignment::default()
        })
    };
    (0..members).map(part).collect()
}

/// A message behind its version.
fn write<M: Message>(message: &M) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(VERSION);
    bytes.extend_from_slice(&message.to_bytes(VERSION)?);
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use klamm_protocol::Reader;

    use super::*;

    #[test]
    fn all_partitions_are_given_once_and_evenly() {
        for (partitions, members) in [(500, 49), (500, 50), (3, 5), (7, 1)] {
            let mut all = Vec::new();
            for part in parts("t", partitions, members).unwrap() {
                let mut reader = Reader::new(part);
                assert_eq!(reader.i16().unwrap(), VERSION);
                let part = ConsumerProtocolAssignment::decode(&mut reader, VERSION).unwrap();
                reader.finish().unwrap();
                let [topic] = &part.assigned_partitions[..] else {
                    panic!("{part:?}");
                };
                assert_eq!(&*topic.topic, "t");
                let even = partitions as usize / members;
                assert!((even..=even + 1).contains(&topic.partitions.len()));
                all.extend_from_slice(&topic.partitions);
            }
            assert!(all.into_iter().eq(0..partitions), "{partitions} {members}");
        }
    }

    #[test]
    fn the_subscription_is_that_of_other_clients() {
        let protocols = protocols("ab").unwrap();
        assert_eq!(protocols[0].name, "range");
        // Version 3, the topic, no user data, no partitions, no generation, no rack.
        let range = b"\0\x03\0\0\0\x01\0\x02ab\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff";
        assert_eq!(protocols[0].metadata, &range[..]);
        assert_eq!(protocols[1].name, "cooperative-sticky");
        assert_eq!(protocols[1].metadata.len(), range.len() + 4);
    }
}
