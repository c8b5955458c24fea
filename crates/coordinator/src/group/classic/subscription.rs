//! Which topics a group of consumers wants: their offsets are kept.
//!
//! The members' own format begins, in every version, with its version and the topics. What members say counts from the generation on
//! that they say it for: while they join, it is not known yet what the group will want.
//!
//! Next: `group/offsets/expire.rs`, which asks.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use klamm_protocol::data_records::ConsumerProtocolSubscription;
use klamm_protocol::{ByteString, Message, Reader};

use super::ClassicGroup;

/// What is known of the topics that a group wants.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Subscribed {
    /// These.
    To(Arc<BTreeSet<Box<str>>>),
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
    /// The topics that its members wanted when this generation began.
    pub(crate) fn subscribed(&self) -> Subscribed {
        match &self.topics {
            Some(topics) => Subscribed::To(topics.clone()),
            None if self.is_of_consumers() => Subscribed::Unknown,
            None => Subscribed::NotConsumers,
        }
    }

    /// Takes over which topics its members want: to be called whenever a generation begins, and when the group is made from a record.
    pub(crate) fn note_topics(&mut self) {
        self.topics = self.wanted().map(Arc::new);
    }

    fn wanted(&self) -> Option<BTreeSet<Box<str>>> {
        if !self.is_of_consumers() {
            return None;
        }
        let mut all = BTreeSet::new();
        for member in self.members.iter() {
            for topic in topics(member.metadata(self.protocol.as_deref()?))? {
                if !all.contains(&*topic) {
                    all.insert((&*topic).into());
                }
            }
        }
        Some(all)
    }
}

fn topics(metadata: Bytes) -> Option<Vec<ByteString>> {
    let mut reader = Reader::new(metadata);
    let version = reader.i16().ok()?;
    let subscription = ConsumerProtocolSubscription::decode(&mut reader, 0).ok()?;
    (version >= 0).then_some(subscription.topics)
}
