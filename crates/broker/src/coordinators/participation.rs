//! Whether a partition takes part in a producer's transaction: what the leader of the partition asks the coordinator of the
//! transaction before the producer's first record there (KIP-890).
//!
//! Always holds: a client is told in the codes that its version knows.
//!
//! Next: `transactions.rs`; who asks is `handlers/produce/transaction.rs` and `handlers/txn_offset_commit.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_coordinator::TransactionalProducer;
use klamm_coordinator::transaction::request::{AddPartitions, VERSION_2, VerifyPartitions};
use klamm_model::{ErrorCode, TopicPartition};

use super::transactions::{add_partitions, verify_partitions};
use crate::broker::Broker;

/// What a client knows of all this, by the version of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// Nothing.
    Early,
    /// The code TRANSACTION_ABORTABLE.
    Abortable,
    /// Partitions are added as they are written to, and each transaction has an epoch of its own.
    Adds,
}

impl Support {
    pub(crate) fn of_produce(version: i16) -> Self {
        match version {
            ..=10 => Self::Early,
            11 => Self::Abortable,
            12.. => Self::Adds,
        }
    }

    pub(crate) fn of_offset_commit(version: i16) -> Self {
        match version {
            ..=3 => Self::Early,
            4 => Self::Abortable,
            5.. => Self::Adds,
        }
    }

    pub(crate) fn adds(self) -> bool {
        self == Self::Adds
    }

    /// What a client of this version is told.
    fn told(self, code: ErrorCode) -> ErrorCode {
        match code {
            ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
            ErrorCode::TransactionAbortable if self == Self::Early => ErrorCode::InvalidTxnState,
            code => code,
        }
    }
}

/// Who is about to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Participant<'a> {
    pub(crate) transactional_id: &'a str,
    pub(crate) producer: TransactionalProducer,
    pub(crate) support: Support,
}

/// The partitions that do not take part, and why.
#[derive(Debug, Default)]
pub(crate) struct NotTaken {
    /// None of them does.
    all: Option<ErrorCode>,
    some: BTreeMap<TopicPartition, ErrorCode>,
}

impl NotTaken {
    /// Why this one does not.
    pub(crate) fn of(&self, topic: &Arc<str>, index: i32) -> Option<ErrorCode> {
        self.all.or_else(|| {
            let partition = TopicPartition::new(topic.clone(), index);
            self.some.get(&partition).copied()
        })
    }
}

/// Has the coordinator add the partitions, or tell whether they were added. May wait for the end of the transaction before.
pub(crate) async fn take_part(
    broker: &Broker,
    Participant {
        transactional_id,
        producer,
        support,
    }: Participant<'_>,
    partitions: Vec<TopicPartition>,
) -> NotTaken {
    let transactional_id: Arc<str> = transactional_id.into();
    if support.adds() {
        let request = AddPartitions {
            transactional_id,
            producer,
            partitions,
            version: VERSION_2,
        };
        let code = add_partitions(broker, request).await;
        return NotTaken {
            all: (code != ErrorCode::None).then(|| support.told(code)),
            ..Default::default()
        };
    }
    let request = VerifyPartitions {
        transactional_id,
        producer,
        partitions,
    };
    match verify_partitions(broker, request).await {
        Ok(verdicts) => {
            let denied = verdicts.into_iter().filter(|(_, code)| *code != ErrorCode::None);
            NotTaken {
                all: None,
                some: denied
                    .map(|(partition, code)| (partition, support.told(code)))
                    .collect(),
            }
        }
        Err(code) => NotTaken {
            all: Some(support.told(code)),
            ..Default::default()
        },
    }
}

/// Whether the coordinator may say something else when it is asked again.
pub(crate) fn is_worth_another_try(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NetworkException
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::ConcurrentTransactions
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_know_what_kafka_s_know() {
        use Support::{Abortable, Adds, Early};
        let produce = [3, 10, 11, 12, 13].map(Support::of_produce);
        assert_eq!(produce, [Early, Early, Abortable, Adds, Adds]);
        let commit = [0, 3, 4, 5, 6].map(Support::of_offset_commit);
        assert_eq!(commit, [Early, Early, Abortable, Adds, Adds]);
        let abortable = ErrorCode::TransactionAbortable;
        assert_eq!(Early.told(abortable), ErrorCode::InvalidTxnState);
        assert_eq!(Abortable.told(abortable), abortable);
        assert_eq!(
            Adds.told(ErrorCode::ProducerFenced),
            ErrorCode::InvalidProducerEpoch
        );
    }
}
