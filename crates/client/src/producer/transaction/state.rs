//! Where a transactional producer stands: what it is called, what is open, what may be done next.
//!
//! Always holds:
//! - Records go out only while a transaction is open and nothing of it has failed.
//! - A transaction of which anything failed is never committed.
//! - After an abort sequences begin anew under another epoch, so that a request that is late changes nothing.
//!
//! No I/O and no clock; the producer (`../transaction.rs`) asks and obeys, the sender reads.

use std::collections::BTreeSet;

use klamm_model::TopicPartition;

use super::TransactionError;
use super::verdict::End;
use crate::producer::ProduceError;
use crate::producer::identity::Identity;
use crate::versions::ApiVersions;

/// The feature whose level says how transactions are made (KIP-890).
const FEATURE: &str = "transaction.version";
/// The first level at which leaders add partitions by themselves, and each transaction has an epoch of its own.
const FIRST_LEVEL_WITH_EPOCHS: i16 = 2;

/// How transactions are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The coordinator is told of each partition; the epoch stays.
    V1,
    /// Leaders tell the coordinator; each transaction has the next epoch.
    V2,
}

impl Protocol {
    /// As the cluster has decided.
    pub(super) fn of(versions: &ApiVersions) -> Self {
        let level = versions.features().get(FEATURE).copied().unwrap_or_default();
        match level >= FIRST_LEVEL_WITH_EPOCHS {
            true => Self::V2,
            false => Self::V1,
        }
    }

    /// The versions of Produce that say it.
    pub(super) fn produce(self) -> (i16, i16) {
        match self {
            Self::V1 => (3, 11),
            Self::V2 => (12, i16::MAX),
        }
    }

    /// The versions of EndTxn that say it.
    pub(super) fn end(self) -> (i16, i16) {
        match self {
            Self::V1 => (0, 4),
            Self::V2 => (5, i16::MAX),
        }
    }

    /// The versions of TxnOffsetCommit that say it, with topics by name.
    pub(super) fn commit_offsets(self) -> (i16, i16) {
        match self {
            Self::V1 => (3, 4),
            Self::V2 => (5, 5),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Open,
    /// It will be aborted: nothing more goes out. Why, if its producer did not want it so.
    Closed(Option<ProduceError>),
    /// The coordinator is told how it ends.
    Ending(End),
    /// Nothing can be done any more.
    Broken(TransactionError),
}

/// Whether a record may go to a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Granted,
    /// The coordinator has to be told of the partition first.
    Add(Identity),
    /// Nothing more is taken.
    Refused(ProduceError),
}

/// What is to be done to end a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Tell the coordinator.
    Tell(Identity, Protocol),
    /// The coordinator knows of nothing.
    Untold,
    /// It failed, and can only be aborted.
    MustAbort(ProduceError),
}

/// What is to be done after the coordinator ended a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Sequences go on.
    Continued,
    /// Sequences begin anew.
    Renewed,
    /// The coordinator has to be asked for the epoch after this one.
    NextEpoch(Identity),
}

/// The state of a transactional producer.
#[derive(Debug)]
pub(super) struct State {
    identity: Identity,
    protocol: Protocol,
    phase: Phase,
    /// Whether the coordinator knows of the transaction, or will as soon as what was taken has arrived.
    is_told: bool,
    /// The partitions that the coordinator was told of; of the first version only.
    partitions: BTreeSet<TopicPartition>,
    /// Sequences cannot be continued; of the first version only.
    needs_epoch: bool,
}

impl State {
    /// A producer that the coordinator has named.
    pub(super) fn new(identity: Identity, protocol: Protocol) -> Self {
        Self {
            identity,
            protocol,
            phase: Phase::Idle,
            is_told: false,
            partitions: BTreeSet::new(),
            needs_epoch: false,
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// How a transaction has to be ended that its caller let go of.
    pub(super) fn left_over(&self) -> Option<End> {
        match &self.phase {
            Phase::Open | Phase::Closed(_) => Some(End::Abort),
            Phase::Ending(end) => Some(*end),
            Phase::Idle | Phase::Broken(_) => None,
        }
    }

    /// Opens a transaction.
    pub(super) fn begin(&mut self) -> Result<(), TransactionError> {
        match &self.phase {
            Phase::Broken(error) => Err(error.clone()),
            phase => {
                assert_eq!(
                    *phase,
                    Phase::Idle,
                    "a transaction ends before the next one begins"
                );
                self.phase = Phase::Open;
                Ok(())
            }
        }
    }

    /// Under which name batches go out, if any may.
    pub(super) fn sending(&self) -> Option<Identity> {
        (self.phase == Phase::Open).then_some(self.identity)
    }

    /// Why what waits to be sent must not go out any more.
    pub(super) fn refusal(&self) -> Option<ProduceError> {
        let because = match &self.phase {
            Phase::Open => return None,
            Phase::Closed(because) => because.clone(),
            // With nothing open, nothing waits.
            Phase::Idle | Phase::Ending(_) | Phase::Broken(_) => None,
        };
        Some(ProduceError::Aborted {
            because: because.map(Box::new),
        })
    }

    /// Whether a record may go to `partition`.
    pub(super) fn admit(&mut self, partition: &TopicPartition) -> Admission {
        if let Some(refusal) = self.refusal() {
            return Admission::Refused(refusal);
        }
        match self.protocol {
            Protocol::V1 if !self.partitions.contains(partition) => Admission::Add(self.identity),
            Protocol::V1 => Admission::Granted,
            Protocol::V2 => {
                self.is_told = true;
                Admission::Granted
            }
        }
    }

    /// The coordinator knows of `partition`.
    pub(super) fn added(&mut self, partition: &TopicPartition) {
        self.is_told = true;
        self.partitions.insert(partition.clone());
    }

    /// Whether offsets may be sent, under which name, and how.
    pub(super) fn admit_offsets(&mut self) -> Result<(Identity, Protocol), ProduceError> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        // A group's coordinator of the second version tells the transaction's by itself.
        self.is_told |= self.protocol == Protocol::V2;
        Ok((self.identity, self.protocol))
    }

    /// The coordinator knows of a group.
    pub(super) fn added_group(&mut self) {
        self.is_told = true;
    }

    /// Nothing more goes out, and the transaction will be aborted; the first reason stays.
    pub(super) fn close(&mut self, because: Option<ProduceError>) {
        match self.phase {
            Phase::Open | Phase::Ending(End::Commit) => self.phase = Phase::Closed(because),
            Phase::Idle | Phase::Closed(_) | Phase::Ending(End::Abort) | Phase::Broken(_) => {}
        }
    }

    /// The producer is at its end; the first reason stays.
    pub(super) fn break_off(&mut self, error: TransactionError) {
        if !matches!(self.phase, Phase::Broken(_)) {
            self.phase = Phase::Broken(error);
        }
    }

    /// Ends the transaction, once nothing of it is on its way. May be called again until it has ended.
    pub(super) fn end(&mut self, end: End) -> Result<Ending, TransactionError> {
        match (&self.phase, end) {
            (Phase::Broken(error), _) => return Err(error.clone()),
            (Phase::Closed(Some(because)), End::Commit) => return Ok(Ending::MustAbort(because.clone())),
            _ => {}
        }
        self.needs_epoch |= matches!(self.phase, Phase::Closed(_)) && self.protocol == Protocol::V1;
        self.phase = Phase::Ending(end);
        Ok(match self.is_told {
            true => Ending::Tell(self.identity, self.protocol),
            false => Ending::Untold,
        })
    }

    /// The transaction has ended. `next` is the name for the next one, if the coordinator gave it; `protocol` how the next
    /// one is made.
    pub(super) fn ended(&mut self, next: Option<Identity>, protocol: Protocol) -> Ended {
        self.is_told = false;
        self.partitions.clear();
        // A transaction that leaders add to must not be taken for one whose partitions the coordinator was told of.
        self.needs_epoch |= self.protocol == Protocol::V1 && protocol == Protocol::V2;
        self.protocol = protocol;
        if self.needs_epoch {
            return Ended::NextEpoch(self.identity);
        }
        self.phase = Phase::Idle;
        match next {
            Some(next) => {
                self.identity = next;
                Ended::Renewed
            }
            None => Ended::Continued,
        }
    }

    /// The coordinator gave the name for the next transaction.
    pub(super) fn renamed(&mut self, identity: Identity) {
        self.identity = identity;
        self.needs_epoch = false;
        self.phase = Phase::Idle;
    }
}

#[cfg(test)]
mod tests;
