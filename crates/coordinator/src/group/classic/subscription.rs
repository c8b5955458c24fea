//! Which topics a group of consumers wants: their offsets are kept.
//!
//! The members' own format begins, in every version, with its version and the topics.
//!
//! Next: `group/offsets/expire.rs`, which asks.

use std::collections::BTreeSet;

use bytes::Bytes;
use klamm_protocol::data_records::ConsumerProtocolSubscription;
use klamm_protocol::{ByteString, Message, Reader};

use super::ClassicGroup;

/// What is known of the topics that a group wants.
#[derive(Debug, PartialEq)]
pub(crate) enum Subscribed {
    /// These.
    To(BTreeSet<ByteString>),
    /// It is a group of consumers who do not say it, or not in a way that can be read.
    Unknown,
    /// It is none of consumers.
    NotConsumers,
}

impl Subscribed {
    /// Whether the offsets of the topic may be needed.
    pub(crate) fn may_want(&self, topic: &str) -> bool {
        match self {
            Self::To(topics) => topics.contains(topic),
            Self::Unknown => true,
            Self::NotConsumers => false,
        }
    }
}

impl ClassicGroup {
    /// The topics that its members want.
    pub(crate) fn subscribed(&self) -> Subscribed {
        if !self.is_of_consumers() {
            return Subscribed::NotConsumers;
        }
        let mut all = BTreeSet::new();
        for member in self.members.iter() {
            let Some(topics) = self
                .protocol
                .as_deref()
                .and_then(|protocol| topics(member.metadata(protocol)))
            else {
                return Subscribed::Unknown;
            };
            all.extend(topics);
        }
        Subscribed::To(all)
    }
}

fn topics(metadata: Bytes) -> Option<Vec<ByteString>> {
    let mut reader = Reader::new(metadata);
    let version = reader.i16().ok()?;
    let subscription = ConsumerProtocolSubscription::decode(&mut reader, 0).ok()?;
    (version >= 0).then_some(subscription.topics)
}
