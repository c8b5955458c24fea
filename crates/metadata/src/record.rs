//! The records of the metadata log, and the form in which one decision's records are stored together.
//!
//! A decision is one entry of the log:
//!
//! ```text
//! format (1 byte, 1) | number of records (varint) | per record: its bytes + 1 (varint), Kafka's frame and fields
//! ```
//!
//! Always holds: a decision is stored and replayed whole; bytes from a disk or a peer end in a value or in an
//! [`InvalidDecision`], whatever they are. Records are written in their newest version; every version can be read.
//!
//! Next: [`crate::Image::apply`], which gives the records their meaning.

use bytes::Bytes;
use klamm_protocol::metadata_records as records;
use klamm_protocol::record_frame::{RecordFrame, decode_record, encode_record};
use klamm_protocol::{DecodeError, Message, Reader, Writer};

/// The format that [`encode_decision`] writes.
const FORMAT: i8 = 1;
/// The fewest bytes of a record: its length, and Kafka's frame version, type and version.
const MIN_RECORD_BYTES: usize = 4;

/// Bytes that are not a decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDecision {
    /// Written by a newer version of Klamm.
    #[error("the decision has format {found}, this version reads up to {FORMAT}")]
    Format {
        /// The format found.
        found: i8,
    },
    /// More records are announced than the bytes can hold.
    #[error("the decision announces {announced} records in {remaining} bytes")]
    Count {
        /// Records announced.
        announced: u32,
        /// Bytes that are left for them.
        remaining: usize,
    },
    /// A record of a type that Klamm does not keep.
    #[error("record {index} has type {record_type}, which is not served")]
    RecordType {
        /// Which record, from 0.
        index: usize,
        /// Kafka's number of the type.
        record_type: i16,
    },
    /// A record that cannot be decoded.
    #[error("record {index}: {source}")]
    Record {
        /// Which record, from 0.
        index: usize,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The head of the decision cannot be decoded, or bytes are left behind it.
    #[error("the decision's frame: {0}")]
    Frame(#[from] DecodeError),
}

macro_rules! metadata_records {
    ($($(#[$doc:meta])* $variant:ident($record:ident))*) => {
        /// A record of the metadata log: Kafka's own types, as far as Klamm keeps them.
        #[derive(Debug, Clone, PartialEq)]
        pub enum MetadataRecord {
            $($(#[$doc])* $variant(records::$record),)*
        }

        $(impl From<records::$record> for MetadataRecord {
            fn from(record: records::$record) -> Self {
                Self::$variant(record)
            }
        })*

        impl MetadataRecord {
            /// Kafka's name of the record, for messages.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => records::$record::NAME,)*
                }
            }

            fn encode(&self, w: &mut Writer) -> Result<(), klamm_protocol::EncodeError> {
                match self {
                    $(Self::$variant(record) => encode_record(w, *records::$record::VERSIONS.end(), record),)*
                }
            }

            /// `None`: a type that is not kept.
            pub(crate) fn decode(frame: RecordFrame, r: &mut Reader) -> Result<Option<Self>, DecodeError> {
                $(if Some(frame.record_type) == records::$record::API_KEY {
                    return Ok(Some(Self::$variant(decode_record(r, frame.version)?)));
                })*
                Ok(None)
            }
        }
    };
}

metadata_records! {
    /// A broker registers, or changes its registration.
    RegisterBroker(RegisterBrokerRecord)
    /// A broker leaves for good.
    UnregisterBroker(UnregisterBrokerRecord)
    /// A broker is fenced, unfenced, shuts down, or its directories change.
    BrokerRegistrationChange(BrokerRegistrationChangeRecord)
    /// The older form of fencing.
    FenceBroker(FenceBrokerRecord)
    /// The older form of unfencing.
    UnfenceBroker(UnfenceBrokerRecord)
    /// A controller registers.
    RegisterController(RegisterControllerRecord)
    /// A controller leaves for good.
    UnregisterController(UnregisterControllerRecord)
    /// A topic is made.
    Topic(TopicRecord)
    /// A partition is made.
    Partition(PartitionRecord)
    /// A partition changes.
    PartitionChange(PartitionChangeRecord)
    /// A topic is deleted, with its partitions and configs.
    RemoveTopic(RemoveTopicRecord)
    /// The eligible leader replicas of a topic's partitions, or of all, are forgotten (KIP-966).
    ClearElr(ClearElrRecord)
    /// A config is set or unset.
    Config(ConfigRecord)
    /// A feature is finalized at a level.
    FeatureLevel(FeatureLevelRecord)
    /// A block of producer ids is given out.
    ProducerIds(ProducerIdsRecord)
    /// A client quota is set or unset.
    ClientQuota(ClientQuotaRecord)
    /// Nothing changes.
    NoOp(NoOpRecord)
}

/// The bytes of one decision's records.
///
/// # Panics
/// When a record cannot be encoded: the decisions here, and replay, make no such record.
pub fn encode_decision(records: &[MetadataRecord]) -> Bytes {
    let mut decision = Writer::contiguous();
    decision.i8(FORMAT);
    decision.unsigned_varint(u32::try_from(records.len()).expect("a decision has fewer than 2^32 records"));
    for record in records {
        let mut frame = Writer::contiguous();
        record
            .encode(&mut frame)
            .expect("a record that was decided fits its newest version");
        decision
            .bytes(&frame.into_bytes(), true)
            .expect("a record has less than 2 GiB");
    }
    decision.into_bytes()
}

/// The records of one decision.
pub fn decode_decision(bytes: Bytes) -> Result<Vec<MetadataRecord>, InvalidDecision> {
    let mut r = Reader::new(bytes);
    let found = r.i8()?;
    if found != FORMAT {
        return Err(InvalidDecision::Format { found });
    }
    let announced = r.unsigned_varint()?;
    if announced as usize > r.remaining() / MIN_RECORD_BYTES {
        return Err(InvalidDecision::Count {
            announced,
            remaining: r.remaining(),
        });
    }
    let mut decoded = Vec::new();
    for index in 0..announced as usize {
        decoded.push(decode_one(index, &mut r)?);
    }
    r.finish()?;
    Ok(decoded)
}

fn decode_one(index: usize, r: &mut Reader) -> Result<MetadataRecord, InvalidDecision> {
    let invalid = |source| InvalidDecision::Record { index, source };
    let mut r = Reader::new(r.bytes("Record", true).map_err(invalid)?);
    let frame = RecordFrame::decode(&mut r).map_err(invalid)?;
    let record = MetadataRecord::decode(frame, &mut r).map_err(invalid)?;
    record.ok_or(InvalidDecision::RecordType {
        index,
        record_type: frame.record_type,
    })
}

#[cfg(test)]
mod tests {
    use klamm_model::Uuid;
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Vec<MetadataRecord> {
        vec![
            records::TopicRecord {
                name: "orders".into(),
                ..Default::default()
            }
            .into(),
            records::NoOpRecord::default().into(),
            records::PartitionRecord {
                replicas: vec![1, 2],
                isr: vec![1],
                ..Default::default()
            }
            .into(),
        ]
    }

    #[test]
    fn a_decision_is_read_as_it_was_written() {
        for records in [Vec::new(), sample()] {
            assert_eq!(decode_decision(encode_decision(&records)).unwrap(), records);
        }
    }

    #[test]
    fn the_format_is_as_it_was() {
        let no_op = || records::NoOpRecord::default().into();
        let topic = records::TopicRecord {
            name: "ab".into(),
            topic_id: Uuid::ONE,
            ..Default::default()
        };
        let bytes = encode_decision(&[no_op(), topic.into()]);
        // Format, count; length + 1, frame version, type, version, no tags; the same, name, id, no tags.
        let mut golden = vec![1, 2, 5, 1, 20, 0, 0, 24, 1, 2, 0, 3, b'a', b'b'];
        golden.extend(Uuid::ONE.0);
        golden.push(0);
        assert_eq!(bytes, golden);
    }

    #[test]
    fn bad_bytes_are_named() {
        let whole = encode_decision(&sample());
        let cut = whole.slice(..whole.len() - 1);
        let mut longer = whole.to_vec();
        longer.push(0);
        let topic_only = encode_decision(&sample()[..1]);
        let mut acl = topic_only.to_vec();
        // The record's type stands behind format, count, length and frame version.
        acl[4] = 18;
        let cases: &[(Vec<u8>, &str)] = &[
            (
                vec![],
                "the decision's frame: the frame ends early: 1 more bytes are announced, 0 are left",
            ),
            (
                vec![2, 0],
                "the decision has format 2, this version reads up to 1",
            ),
            (
                vec![1, 0xff, 0xff, 0x03, 1],
                "the decision announces 65535 records in 1 bytes",
            ),
            (
                cut.to_vec(),
                "record 2: the frame ends early: 53 more bytes are announced, 52 are left",
            ),
            (
                longer,
                "the decision's frame: 1 bytes are left behind the message",
            ),
            (acl, "record 0 has type 18, which is not served"),
        ];
        for (bytes, message) in cases {
            let error = decode_decision(Bytes::from(bytes.clone())).unwrap_err();
            assert_eq!(&error.to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode_decision(Bytes::from(bytes));
        }

        #[test]
        fn any_mutation_ends(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = encode_decision(&sample()).to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = decode_decision(Bytes::from(bytes));
        }
    }
}
