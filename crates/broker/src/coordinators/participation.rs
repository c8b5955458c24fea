//! Whether a partition takes part in a producer's transaction: what the leader of the partition asks the coordinator of the
//! transaction before the producer's first record there (KIP-890).
//!
//! Always holds: a client is told in the codes that its version knows; a coordinator that does not answer in time keeps nobody
//! waiting, who is told to ask again.
//!
//! Next: `transactions.rs`; who asks is `handlers/produce/transaction.rs` and `handlers/txn_offset_commit.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use klamm_coordinator::TransactionalProducer;
use klamm_coordinator::transaction::request::{AddPartitions, VERSION_2, VerifyPartitions};
use klamm_env::Env;
use klamm_model::{ErrorCode, TopicPartition};

use super::transactions::{add_partitions, verify_partitions};
use crate::broker::Broker;

/// How long the coordinator may take. Kafka's `request.timeout.ms`, which holds between its brokers.
const LIMIT: Duration = Duration::from_secs(30);

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
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NotTaken {
    /// None of them does.
    all: Option<ErrorCode>,
    some: BTreeMap<TopicPartition, ErrorCode>,
}

impl NotTaken {
    fn any(why: ErrorCode) -> Self {
        Self {
            all: Some(why),
            ..Self::default()
        }
    }

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
    participant: Participant<'_>,
    partitions: Vec<TopicPartition>,
) -> NotTaken {
    within_limit(&broker.env, ask(broker, participant, partitions)).await
}

/// A coordinator that is silent is one that cannot be reached.
async fn within_limit(env: &Env, asking: impl Future<Output = NotTaken>) -> NotTaken {
    let answered = env.timeout(LIMIT, asking).await;
    answered.unwrap_or_else(|_| NotTaken::any(ErrorCode::NetworkException))
}

async fn ask(
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
        return match add_partitions(broker, request).await {
            ErrorCode::None => NotTaken::default(),
            code => NotTaken::any(support.told(code)),
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
        Err(code) => NotTaken::any(support.told(code)),
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
    use std::future::pending;

    use klamm_env::sim::World;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_coordinator_that_is_silent_is_asked_again_later() {
        let env = World::new(1).env("node");
        let asked = env.timeout(LIMIT + Duration::from_secs(1), within_limit(&env, pending()));
        let denied = asked.await.unwrap();
        let why = denied.of(&"t".into(), 0);
        assert!(why.is_some_and(is_worth_another_try), "{why:?}");
        assert_eq!(
            within_limit(&env, async { NotTaken::default() }).await,
            NotTaken::default()
        );
    }

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
