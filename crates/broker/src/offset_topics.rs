//! The topics that OffsetCommit, TxnOffsetCommit and OffsetDelete name: what is not there is refused alone.
//!
//! Always holds: once something is refused, each topic stands in the answer once, with all that is told of it, as in Kafka; as long as
//! nothing is, a topic that is named again is told of again.
//!
//! Next: `handlers/offset_commit.rs`, `handlers/txn_offset_commit.rs` and `handlers/offset_delete.rs`.

use std::collections::BTreeMap;

use klamm_metadata::Image;
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::ByteString;
use klamm_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use klamm_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use klamm_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use klamm_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use klamm_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use klamm_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};

/// How a version of a request names its topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    Names,
    Ids,
}

impl Naming {
    /// Of a request whose topics have ids since the version `by_id`.
    pub(crate) fn of(version: i16, by_id: i16) -> Self {
        match version >= by_id {
            true => Self::Ids,
            false => Self::Names,
        }
    }
}

/// A topic that is asked about.
pub(crate) trait AskedTopic {
    /// What it is told.
    type Told: ToldTopic;

    fn name(&self) -> &ByteString;
    fn set_name(&mut self, name: ByteString);
    /// Zero in a request that knows no ids.
    fn topic_id(&self) -> Uuid {
        Uuid::ZERO
    }
    fn set_topic_id(&mut self, _id: Uuid) {}
    fn partition_count(&self) -> usize;
    fn has(&self, which: impl Fn(i32) -> bool) -> bool;
    /// Takes out those partitions of which `which` holds, and tells them `code`.
    fn refuse(&mut self, code: ErrorCode, which: impl Fn(i32) -> bool) -> Self::Told;
}

/// A topic in an answer.
pub(crate) trait ToldTopic: Sized {
    /// What a topic and a partition take, refused or told of, and encoded, beside the name.
    const TOPIC_BYTES: usize = 2 * size_of::<Self>() + 96;
    const PARTITION_BYTES: usize;

    fn name(&self) -> &ByteString;
    fn topic_id(&self) -> Uuid {
        Uuid::ZERO
    }
    /// What else is told of the same topic.
    fn extend(&mut self, more: Self);
}

/// What the answer about these topics takes.
pub(crate) fn answer_bytes<T: AskedTopic>(topics: &[T]) -> usize {
    let topics = topics.iter().map(|topic| {
        let names = T::Told::TOPIC_BYTES + 2 * topic.name().len();
        names + T::Told::PARTITION_BYTES * topic.partition_count()
    });
    topics.sum()
}

/// Gives the topics their names and ids, and takes out what is not there, which is refused.
pub(crate) fn take_out_unknown<T: AskedTopic>(
    image: &Image,
    naming: Naming,
    topics: &mut Vec<T>,
) -> Refused<T::Told> {
    let mut refused = Refused {
        naming,
        topics: Vec::new(),
        places: BTreeMap::new(),
    };
    topics.retain_mut(|topic| refused.check(image, topic));
    refused
}

/// What was refused of a request.
pub(crate) struct Refused<T> {
    naming: Naming,
    topics: Vec<T>,
    /// Where each topic stands, by what it is named by.
    places: BTreeMap<(Uuid, ByteString), usize>,
}

impl<T: ToldTopic> Refused<T> {
    /// `false` if nothing of the topic is left.
    fn check(&mut self, image: &Image, topic: &mut impl AskedTopic<Told = T>) -> bool {
        let topics = image.topics();
        let (found, unknown) = match self.naming {
            Naming::Ids => (topics.by_id(&topic.topic_id()), ErrorCode::UnknownTopicId),
            Naming::Names => (topics.by_name(topic.name()), ErrorCode::UnknownTopicOrPartition),
        };
        let Some(found) = found else {
            self.add(topic.refuse(unknown, |_| true));
            return false;
        };
        match self.naming {
            Naming::Ids => topic.set_name(found.name.to_string().into()),
            Naming::Names => topic.set_topic_id(found.id),
        }
        let is_missing = |index: i32| found.partition(index).is_none();
        if topic.has(is_missing) {
            self.add(topic.refuse(ErrorCode::UnknownTopicOrPartition, is_missing));
        }
        topic.partition_count() > 0
    }

    /// What is told of a topic, of which something else may be told already.
    fn add(&mut self, topic: T) {
        let key = match self.naming {
            Naming::Ids => (topic.topic_id(), ByteString::new()),
            Naming::Names => (Uuid::ZERO, topic.name().clone()),
        };
        let place = *self.places.entry(key).or_insert(self.topics.len());
        match self.topics.get_mut(place) {
            Some(told) => told.extend(topic),
            None => self.topics.push(topic),
        }
    }

    /// All that is told, with what was answered about the rest.
    pub(crate) fn and(mut self, answered: Vec<T>) -> Vec<T> {
        if self.topics.is_empty() {
            return answered;
        }
        answered.into_iter().for_each(|topic| self.add(topic));
        self.topics
    }
}

/// The generated types differ in their names, and in whether there are ids.
macro_rules! topics {
    ($($asked:ident $told:ident $partition:ident $($topic_id:ident)?;)*) => {
        $(
            impl AskedTopic for $asked {
                type Told = $told;

                fn name(&self) -> &ByteString {
                    &self.name
                }

                fn set_name(&mut self, name: ByteString) {
                    self.name = name;
                }

                $(
                    fn topic_id(&self) -> Uuid {
                        self.$topic_id
                    }

                    fn set_topic_id(&mut self, id: Uuid) {
                        self.$topic_id = id;
                    }
                )?

                fn partition_count(&self) -> usize {
                    self.partitions.len()
                }

                fn has(&self, which: impl Fn(i32) -> bool) -> bool {
                    self.partitions.iter().any(|partition| which(partition.partition_index))
                }

                fn refuse(&mut self, code: ErrorCode, which: impl Fn(i32) -> bool) -> Self::Told {
                    let mut told = $told::default();
                    told.name = self.name.clone();
                    $(told.$topic_id = self.$topic_id;)?
                    let refused = self
                        .partitions
                        .extract_if(.., |partition| which(partition.partition_index));
                    told.partitions.extend(refused.map(|refused| {
                        let mut told = $partition::default();
                        told.partition_index = refused.partition_index;
                        told.error_code = code.code();
                        told
                    }));
                    told
                }
            }

            impl ToldTopic for $told {
                const PARTITION_BYTES: usize = 2 * size_of::<$partition>() + 8;

                fn name(&self) -> &ByteString {
                    &self.name
                }

                $(
                    fn topic_id(&self) -> Uuid {
                        self.$topic_id
                    }
                )?

                fn extend(&mut self, more: Self) {
                    self.partitions.extend(more.partitions);
                }
            }
        )*
    };
}

topics! {
    OffsetCommitRequestTopic OffsetCommitResponseTopic OffsetCommitResponsePartition topic_id;
    TxnOffsetCommitRequestTopic TxnOffsetCommitResponseTopic TxnOffsetCommitResponsePartition topic_id;
    OffsetDeleteRequestTopic OffsetDeleteResponseTopic OffsetDeleteResponsePartition;
}
