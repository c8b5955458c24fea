//! What the clients did and saw: the only thing that the checkers know.
//!
//! Always holds: every operation has the moment at which it was asked and that at which its answer was there, both from
//! one count of all clients. If A was answered before B was asked, A came first, whatever the clocks said.

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_model::{ErrorCode, Uuid};
use parking_lot::Mutex;

use crate::payload::RecordId;

/// A moment, in the count of all clients' events.
pub type Moment = u64;

/// A batch that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Its first record.
    pub first: RecordId,
    /// How many records it has.
    pub count: u32,
    /// The offset that the first record was said to have.
    pub base_offset: i64,
    /// When the acknowledgement was there.
    pub answered: Moment,
}

/// A record as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its offset.
    pub offset: i64,
    /// Which one it is; `None` when its bytes, its producer id or its sequence are not those of a record that was sent.
    pub id: Option<RecordId>,
}

/// One read of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The partition.
    pub partition: u32,
    /// When it was asked.
    pub asked: Moment,
    /// When the answer was there.
    pub answered: Moment,
    /// The high watermark.
    pub high_watermark: i64,
    /// The first offset there is.
    pub log_start_offset: i64,
    /// The records, in the order of the answer.
    pub records: Vec<Seen>,
}

/// What was asked of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicChange {
    /// It was created with so many partitions.
    Create(i32),
    /// It was deleted.
    Delete,
}

/// A change of a topic. The changes of one topic are asked one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicEvent {
    /// The topic.
    pub name: String,
    /// What was asked.
    pub change: TopicChange,
    /// The id that the answer gave; `None` while there is no answer, and then it is open whether the change was made.
    pub answered: Option<Uuid>,
}

/// A topic as the cluster describes it at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// Its id.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: i32,
}

/// All that happened, as far as the clients know.
#[derive(Clone, Debug, Default)]
pub struct History {
    moments: Moment,
    /// How many partitions the topic has.
    pub partitions: u32,
    /// Of each producer and partition, how many records it sent.
    pub sent: BTreeMap<(u32, u32), u32>,
    /// The acknowledged batches.
    pub acks: Vec<Ack>,
    /// What was read meanwhile.
    pub looks: Vec<Look>,
    /// What was read at the end, by partition.
    pub end: BTreeMap<u32, Look>,
    /// The producer ids that were given out, in any order.
    pub producer_ids: Vec<i64>,
    /// Of each producer, the id under which it sends.
    pub producers: BTreeMap<u32, i64>,
    /// Topics that came and went.
    pub topic_events: Vec<TopicEvent>,
    /// Those topics at the end.
    pub topics_at_the_end: BTreeMap<String, TopicState>,
    /// Answers that told a client to try again.
    pub refusals: BTreeMap<(&'static str, ErrorCode), u64>,
    /// What no client should meet.
    pub faults: Vec<String>,
}

impl History {
    /// A new moment.
    pub fn moment(&mut self) -> Moment {
        self.moments += 1;
        self.moments
    }

    /// Notes that an answer told a client to try again.
    pub fn refused(&mut self, api: &'static str, code: ErrorCode) {
        *self.refusals.entry((api, code)).or_default() += 1;
    }

    /// How many records were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acks.iter().map(|ack| u64::from(ack.count)).sum()
    }
}

/// The history as it is being written, and the word that the work is over. A clone is the same books.
#[derive(Clone, Default)]
pub struct Books {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    history: Mutex<History>,
    is_over: std::sync::atomic::AtomicBool,
}

impl Books {
    /// Reads or writes the history.
    pub fn write<T>(&self, change: impl FnOnce(&mut History) -> T) -> T {
        change(&mut self.inner.history.lock())
    }

    /// A new moment.
    pub fn moment(&self) -> Moment {
        self.write(History::moment)
    }

    /// Notes what no client should meet.
    pub fn fault(&self, what: String) {
        self.write(|history| history.faults.push(what));
    }

    /// Clients begin nothing new from now on and finish what they have begun.
    pub fn finish(&self) {
        self.inner
            .is_over
            .store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Whether clients should come to their end.
    pub fn is_over(&self) -> bool {
        self.inner.is_over.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The history so far, which is empty afterwards.
    pub fn take(&self) -> History {
        std::mem::take(&mut self.inner.history.lock())
    }
}
