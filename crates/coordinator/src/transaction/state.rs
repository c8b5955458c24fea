//! A transaction as it is recorded, and the changes that it may go through.
//!
//! Always holds: a change is a new value and leaves the old one alone; every change is exactly one record. An epoch that clients
//! see is below `i16::MAX - 1` or equal to it: there is always a higher one to fence its producer with. What was read from a record
//! is copied.

use std::fmt;
use std::sync::Arc;

use klamm_model::{ProducerEpoch, ProducerId, TimestampMs, TopicPartition};
use klamm_protocol::coordinator_records::transaction_log_value::PartitionsSchema;
use klamm_protocol::coordinator_records::{TransactionLogKey, TransactionLogValue};

use super::record::TransactionRecord;
use super::request::{VERSION_1, VERSION_2};
use crate::contract::TransactionalProducer;

/// Where a transaction stands; the numbers are those of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// There was none since the id was initialized.
    Empty = 0,
    /// Partitions take part.
    Ongoing = 1,
    /// It is decided to take effect.
    PrepareCommit = 2,
    /// It is decided to be void.
    PrepareAbort = 3,
    /// It took effect, everywhere.
    CompleteCommit = 4,
    /// It is void, everywhere.
    CompleteAbort = 5,
}

impl Status {
    const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    /// What DescribeTransactions and ListTransactions call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// The state of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether Kafka has a state of that name that nobody ever sees.
    pub fn is_unseen(name: &str) -> bool {
        matches!(name, "Dead" | "PrepareEpochFence")
    }

    fn of_number(number: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| *status as i8 == number)
    }

    /// Whether markers are being written.
    pub(super) fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    /// Whether it takes effect, once there is nothing to change about that.
    pub(super) fn commits(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::CompleteCommit)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Adds those that are not there; both are sorted afterwards.
pub(super) fn merge(into: &mut Vec<TopicPartition>, added: &[TopicPartition]) {
    into.extend_from_slice(added);
    into.sort_unstable();
    into.dedup();
}

/// What is recorded of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) producer: TransactionalProducer,
    /// The producer id before the last change.
    pub(super) previous_id: Option<ProducerId>,
    /// The producer id from the next completion on.
    pub(super) next_id: Option<ProducerId>,
    pub(super) timeout_ms: i32,
    pub(super) status: Status,
    /// Sorted, each once.
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) started: Option<TimestampMs>,
    pub(super) updated: TimestampMs,
    /// The version that the client spoke at the last change that tells.
    pub(super) version: i16,
}

impl Transaction {
    /// A transactional id that nobody had before.
    pub(super) fn created(id: ProducerId, timeout_ms: i32, now: TimestampMs) -> Self {
        Self {
            producer: TransactionalProducer {
                id,
                epoch: ProducerEpoch(0),
            },
            previous_id: Some(id),
            next_id: None,
            timeout_ms,
            status: Status::Empty,
            partitions: Vec::new(),
            started: None,
            updated: now,
            version: VERSION_1,
        }
    }

    fn changed(&self, now: TimestampMs) -> Self {
        Self {
            previous_id: Some(self.producer.id),
            updated: now,
            ..self.clone()
        }
    }

    /// Whether the producer's epoch is the last that a client may see.
    pub(super) fn is_exhausted(&self) -> bool {
        self.producer.epoch.0 >= i16::MAX - 1
    }

    /// Who the producer is once the markers are written.
    pub(super) fn upcoming(&self) -> TransactionalProducer {
        match self.next_id {
            Some(id) if self.status.is_prepared() && self.version >= VERSION_2 => TransactionalProducer {
                id,
                epoch: ProducerEpoch(0),
            },
            _ => self.producer,
        }
    }

    /// InitProducerId, with the producer as given.
    pub(super) fn initialized(
        &self,
        producer: TransactionalProducer,
        timeout_ms: i32,
        now: TimestampMs,
    ) -> Self {
        Self {
            producer,
            timeout_ms,
            status: Status::Empty,
            partitions: Vec::new(),
            started: None,
            ..self.changed(now)
        }
    }

    /// AddPartitionsToTxn.
    pub(super) fn with_partitions(&self, added: &[TopicPartition], version: i16, now: TimestampMs) -> Self {
        let mut next = self.changed(now);
        if self.status != Status::Ongoing {
            next.started = Some(now);
        }
        merge(&mut next.partitions, added);
        Self {
            status: Status::Ongoing,
            version,
            ..next
        }
    }

    /// EndTxn: decided. Under version 2 in the next epoch, and with `next_id` for the producer if there is no more.
    pub(super) fn prepared(
        &self,
        commit: bool,
        version: i16,
        next_id: Option<ProducerId>,
        now: TimestampMs,
    ) -> Self {
        let mut next = self.changed(now);
        if version >= VERSION_2 {
            next.producer.epoch = self.epoch_above();
        }
        if self.status != Status::Ongoing {
            next.started = Some(now);
        }
        Self {
            status: if commit {
                Status::PrepareCommit
            } else {
                Status::PrepareAbort
            },
            next_id,
            version,
            ..next
        }
    }

    /// The transaction is decided to be void, and its producer shut out.
    pub(super) fn fenced(&self, server_version: i16, next_id: Option<ProducerId>, now: TimestampMs) -> Self {
        if server_version >= VERSION_2 {
            return self.prepared(false, VERSION_2, next_id, now);
        }
        let mut next = self.prepared(false, VERSION_1, None, now);
        next.producer.epoch = self.epoch_above();
        next
    }

    /// Saturates: who has the highest epoch, by whatever mistake, gets out of it by an abort.
    fn epoch_above(&self) -> ProducerEpoch {
        ProducerEpoch(self.producer.epoch.0.saturating_add(1))
    }

    /// All markers are written.
    pub(super) fn completed(&self, now: TimestampMs) -> Self {
        Self {
            producer: self.upcoming(),
            next_id: None,
            status: if self.status.commits() {
                Status::CompleteCommit
            } else {
                Status::CompleteAbort
            },
            partitions: Vec::new(),
            ..self.changed(now)
        }
    }

    /// The time from which it takes too long. One that is prepared outside never does; one that does not say when it began, which no
    /// broker records, does at once.
    pub(super) fn deadline(&self) -> Option<TimestampMs> {
        let may_be_late = self.status == Status::Ongoing && self.timeout_ms != i32::MAX;
        let started = self.started.unwrap_or(TimestampMs(-1));
        may_be_late.then(|| started.plus_ms(i64::from(self.timeout_ms)))
    }

    pub(super) fn to_record(&self, id: &str) -> TransactionRecord {
        let mut topics: Vec<PartitionsSchema> = Vec::new();
        for partition in &self.partitions {
            match topics.last_mut().filter(|last| *last.topic == *partition.topic) {
                Some(last) => last.partition_ids.push(partition.partition),
                None => topics.push(PartitionsSchema {
                    topic: (&*partition.topic).into(),
                    partition_ids: vec![partition.partition],
                    ..Default::default()
                }),
            }
        }
        let value = TransactionLogValue {
            producer_id: self.producer.id.0,
            previous_producer_id: self.previous_id.map_or(-1, |id| id.0),
            next_producer_id: self.next_id.map_or(-1, |id| id.0),
            producer_epoch: self.producer.epoch.0,
            transaction_timeout_ms: self.timeout_ms,
            transaction_status: self.status as i8,
            transaction_partitions: (self.status != Status::Empty).then_some(topics),
            transaction_last_update_timestamp_ms: self.updated.0,
            transaction_start_timestamp_ms: self.started.map_or(-1, |at| at.0),
            client_transaction_version: self.version,
            ..Default::default()
        };
        let key = TransactionLogKey {
            transactional_id: id.into(),
        };
        TransactionRecord::Transaction(key, Some(value))
    }

    /// What a record says; `None` for a state that is never recorded.
    pub(super) fn of_record(value: &TransactionLogValue) -> Option<Self> {
        let mut partitions = Vec::new();
        for topic in value.transaction_partitions.iter().flatten() {
            let name: Arc<str> = (&*topic.topic).into();
            let numbers = topic.partition_ids.iter();
            partitions.extend(numbers.map(|number| TopicPartition::new(name.clone(), *number)));
        }
        partitions.sort_unstable();
        partitions.dedup();
        let id = |raw: i64| (raw >= 0).then_some(ProducerId(raw));
        let started = value.transaction_start_timestamp_ms;
        Some(Self {
            producer: TransactionalProducer {
                id: ProducerId(value.producer_id),
                epoch: ProducerEpoch(value.producer_epoch),
            },
            previous_id: id(value.previous_producer_id),
            next_id: id(value.next_producer_id),
            timeout_ms: value.transaction_timeout_ms,
            status: Status::of_number(value.transaction_status)?,
            partitions,
            started: (started >= 0).then_some(TimestampMs(started)),
            updated: TimestampMs(value.transaction_last_update_timestamp_ms),
            version: value.client_transaction_version,
        })
    }
}

#[cfg(test)]
mod tests;
