//! What became of a record.

use std::time::Duration;

use klamm_model::{Offset, TimestampMs, TopicPartition};
use tokio::sync::watch;

use crate::error::{ClientError, Refusal};

/// A record was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// The topic could not be looked up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The record is larger than any broker takes.
    #[error("a record of {bytes} bytes is beyond the {limit} that this client sends")]
    RecordTooLarge {
        /// Its size.
        bytes: usize,
        /// The most there may be.
        limit: usize,
    },
    /// The leader refused it, and did not store it.
    #[error("{partition}: {refusal}")]
    Refused {
        /// Where it was to go.
        partition: TopicPartition,
        /// The leader's answer.
        refusal: Refusal,
    },
    /// It was not acknowledged in time.
    #[error("{partition}: not acknowledged within {after:?}, {}; {last}", stored(*.may_be_stored))]
    Expired {
        /// Where it was to go.
        partition: TopicPartition,
        /// The time that was given.
        after: Duration,
        /// Whether it may be stored all the same.
        may_be_stored: bool,
        /// What happened at the last attempt.
        last: String,
    },
    /// The cluster forgot the producer while the answer was outstanding.
    #[error(
        "{partition}: the cluster began to count this producer anew while the answer was outstanding; the record may be stored or not"
    )]
    OutcomeUnknown {
        /// Where it was to go.
        partition: TopicPartition,
    },
    /// Its transaction was aborted before it was sent, or failed before.
    #[error("the transaction of the record was aborted{}", after(.because))]
    Aborted {
        /// What failed first; nothing when the caller aborted it.
        because: Option<Box<ProduceError>>,
    },
    /// The producer has ended.
    #[error("the producer has ended")]
    Closed,
}

fn stored(may_be: bool) -> &'static str {
    if may_be {
        "it may be stored all the same"
    } else {
        "it is not stored"
    }
}

fn after(because: &Option<Box<ProduceError>>) -> String {
    because
        .as_ref()
        .map(|error| format!(" after a failure: {error}"))
        .unwrap_or_default()
}

/// Where a record is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// In which partition.
    pub partition: TopicPartition,
    /// At which offset; `None` when the broker knows only that it has the record already.
    pub offset: Option<Offset>,
    /// The time that the leader gave it, where the topic says so.
    pub append_time: Option<TimestampMs>,
}

/// Where a batch is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) base_offset: Option<Offset>,
    pub(crate) append_time: Option<TimestampMs>,
}

/// What became of `count` records from `first` on.
#[derive(Debug, Clone)]
struct Segment {
    first: usize,
    count: usize,
    result: Result<Place, ProduceError>,
}

/// Tells all records of a batch what became of them; a batch that is cut in two has two such ends.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    partition: TopicPartition,
    first: usize,
    done: watch::Sender<Vec<Segment>>,
}

impl Reporter {
    pub(crate) fn new(partition: TopicPartition) -> Self {
        Self {
            partition,
            first: 0,
            done: watch::Sender::new(Vec::new()),
        }
    }

    /// The end for the records from `by` on.
    pub(crate) fn from(&self, by: usize) -> Self {
        Self {
            first: self.first + by,
            ..self.clone()
        }
    }

    /// The delivery of record `index` of the batch.
    pub(crate) fn delivery(&self, index: usize) -> Delivery {
        Delivery {
            partition: self.partition.clone(),
            index: self.first + index,
            done: self.done.subscribe(),
        }
    }

    pub(crate) fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Reports what became of the batch's `count` records.
    pub(crate) fn report(self, count: usize, result: Result<Place, ProduceError>) {
        let first = self.first;
        self.done
            .send_modify(|done| done.push(Segment { first, count, result }));
    }
}

/// The outstanding answer for one record.
#[derive(Debug, Clone)]
#[must_use = "whether the record is stored is in `stored`"]
pub struct Delivery {
    partition: TopicPartition,
    index: usize,
    done: watch::Receiver<Vec<Segment>>,
}

impl Delivery {
    /// Where the record goes.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Waits for the answer.
    pub async fn stored(mut self) -> Result<Stored, ProduceError> {
        let index = self.index;
        let covers = |segment: &&Segment| (segment.first..segment.first + segment.count).contains(&index);
        let done = self
            .done
            .wait_for(|done| done.iter().find(covers).is_some())
            .await
            .map_err(|_| ProduceError::Closed)?;
        let segment = done.iter().find(covers).ok_or(ProduceError::Closed)?;
        let place = segment.result.clone()?;
        let delta = i64::try_from(index - segment.first).expect("records of one batch");
        Ok(Stored {
            partition: self.partition.clone(),
            offset: place.base_offset.map(|base| base.plus(delta)),
            append_time: place.append_time,
        })
    }
}
