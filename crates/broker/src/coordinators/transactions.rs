//! The coordinators of transactional ids that this broker is: the way from a handler to the shard of an id, and back.
//!
//! Always holds: every request gets an answer, whatever becomes of the shard; one for which the shard needs a producer id is asked
//! again with one that nobody has. What a shard wants done outside is put into a queue, which the node's [`sender`] works off.
//!
//! Next: [`sender`]; `runtime.rs`; `klamm_coordinator::transaction` for what is decided.

pub(crate) mod sender;

use std::sync::Arc;
use std::time::Duration;

use klamm_coordinator::transaction::request::{AddPartitions, RequestKind, VerifyPartitions};
use klamm_coordinator::transaction::{
    TransactionAnswer, TransactionConfig, TransactionEffect, TransactionRequest, TransactionShard,
};
use klamm_coordinator::{Answer as _, TransactionalProducer};
use klamm_env::Env;
use klamm_model::{ErrorCode, ProducerEpoch, ProducerId, TimestampMs, TopicPartition};
use klamm_records::Compression;

use self::sender::{Order, Orders};
use super::runtime::{Asked, Coordinator, Parts, Place, Runtime};
use super::{Key, Kind};
use crate::broker::Broker;
use crate::metadata_store::MetadataStore;
use crate::vitals::Vitals;

/// How long an answer waits until what it tells of is committed. Clients give up after 30 s.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Transactions, as the runtime needs to know them.
#[derive(Default)]
pub(crate) struct Transactions {
    orders: Orders,
}

impl Transactions {
    /// How many transactions that were decided before `time` have not ended in all of their partitions.
    pub(crate) fn ending_since_before(&self, time: TimestampMs) -> usize {
        self.orders.older_than(time)
    }
}

/// The runtime of the coordinators of transactions.
pub(crate) type TransactionRuntime = Runtime<Transactions>;

/// A runtime for a broker that is set like this.
pub(crate) fn runtime(
    env: &Env,
    vitals: &Arc<Vitals>,
    metadata: &Arc<MetadataStore>,
    set: &klamm_config::broker::Transactions,
) -> TransactionRuntime {
    let parts = Parts {
        env: env.clone(),
        vitals: vitals.clone(),
        metadata: metadata.clone(),
        load_bytes: set.load_bytes as usize,
        codec: Compression::None.into(),
        commit_timeout: COMMIT_TIMEOUT,
    };
    let config = TransactionConfig {
        max_timeout: set.max_timeout,
        abort_interval: set.abort_interval,
        id_expiration: set.id_expiration,
        expiration_interval: set.expiration_interval,
    };
    Runtime::new(parts, Transactions::default(), config)
}

impl Coordinator for Transactions {
    type Shard = TransactionShard;
    const KIND: Kind = Kind::Transaction;

    fn carry_out(&self, from: Place, effect: TransactionEffect) {
        self.orders.put(Order { from, effect });
    }
}

/// Takes the answer out of the variant that belongs to the request.
macro_rules! answer_to {
    ($variant:ident, $answer:expr) => {
        match $answer {
            klamm_coordinator::transaction::TransactionAnswer::$variant(answer) => answer,
            other => unreachable!("an answer to another request: {other:?}"),
        }
    };
}
pub(crate) use answer_to;

/// The answer when there is none. Of what is not committed in time Kafka says what makes clients ask again.
fn refused(kind: RequestKind, code: ErrorCode) -> TransactionAnswer {
    let code = match code {
        ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        code => code,
    };
    TransactionAnswer::refused(&kind, code)
}

/// Asks the shard of `id`. A request may wait for the markers of the transaction before it.
pub(crate) async fn ask(
    broker: &Broker,
    id: &str,
    kind: RequestKind,
    request: TransactionRequest,
) -> TransactionAnswer {
    let transactions = &broker.transactions;
    if let Some(refused) = request.refused_anywhere(&transactions.config()) {
        return refused;
    }
    answer(kind, transactions.ask(&Key::Transaction(id), request)).await
}

/// Asks the shard of a partition about all of its ids.
pub(crate) async fn ask_in(
    broker: &Broker,
    partition: i32,
    kind: RequestKind,
    request: TransactionRequest,
) -> TransactionAnswer {
    answer(kind, broker.transactions.ask_partition(partition, request)).await
}

async fn answer(kind: RequestKind, asked: Result<Asked<Transactions>, ErrorCode>) -> TransactionAnswer {
    let answered = match asked {
        Ok(asked) => asked.answer().await,
        Err(code) => Err(code),
    };
    answered.unwrap_or_else(|code| refused(kind, code))
}

/// The same for a request that `make` makes with a new producer id once the shard needs one.
pub(crate) async fn ask_with_ids(
    broker: &Broker,
    id: &str,
    kind: RequestKind,
    make: impl Fn(Option<ProducerId>) -> TransactionRequest,
) -> TransactionAnswer {
    let answer = ask(broker, id, kind, make(None)).await;
    if answer != TransactionAnswer::NeedsProducerId {
        return answer;
    }
    match broker.producer_ids.next(&broker.router).await {
        Ok(fresh) => ask(broker, id, kind, make(Some(fresh))).await,
        Err(code) => refused(kind, code),
    }
}

/// A producer as requests name it.
pub(crate) fn producer(id: i64, epoch: i16) -> TransactionalProducer {
    TransactionalProducer {
        id: ProducerId(id),
        epoch: ProducerEpoch(epoch),
    }
}

/// Has partitions take part in a transaction of `id`: what AddPartitionsToTxn does, and the leader of a partition before the first
/// record of a client of version 2.
pub(crate) async fn add_partitions(broker: &Broker, request: AddPartitions) -> ErrorCode {
    let id = request.transactional_id.clone();
    let request = TransactionRequest::AddPartitions(request);
    answer_to!(Added, ask(broker, &id, RequestKind::AddPartitions, request).await)
}

/// Whether partitions take part in a transaction of `id`: what the leader of a partition asks before the first record of any other
/// client.
pub(crate) async fn verify_partitions(
    broker: &Broker,
    request: VerifyPartitions,
) -> Result<Vec<(TopicPartition, ErrorCode)>, ErrorCode> {
    let id = request.transactional_id.clone();
    let request = TransactionRequest::VerifyPartitions(request);
    answer_to!(
        Verified,
        ask(broker, &id, RequestKind::VerifyPartitions, request).await
    )
}
