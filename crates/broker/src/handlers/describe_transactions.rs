//! DescribeTransactions, version 0: where the transactions of given ids stand (KIP-664).
//!
//! Ids are told in the order of the request, one that is named again is told again. While a transaction is being ended, its partitions
//! are those that have not been told yet.
//!
//! *Memory*: the answer, proportional to the partitions of the transactions; a few are described at once, and reserved before the
//! next. *Authorization*: DESCRIBE on each transactional id, and on each topic that is told.

use futures_util::future::join_all;
use klamm_coordinator::transaction::TransactionRequest;
use klamm_coordinator::transaction::request::{DescribedTransaction, RequestKind};
use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use klamm_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};

use crate::context::RequestContext;
use crate::coordinators::transactions::{answer_to, ask};
use crate::turn::Turn;

/// Transactions that are described at once: they share the wait for what is not committed yet.
const AT_ONCE: usize = 16;
/// What a transaction, a topic and a partition of it take in the answer, described and encoded, beside their texts.
const TRANSACTION_BYTES: usize = size_of::<TransactionState>() + 64;
const TOPIC_BYTES: usize = size_of::<TopicData>() + 32;
const PARTITION_BYTES: usize = 8;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut response = DescribeTransactionsResponse::default();
    let mut turn = Turn::default();
    for some in request.transactional_ids.chunks(AT_ONCE) {
        let bytes = |states: &Vec<TransactionState>| states.iter().map(bytes_of).sum::<usize>();
        let make = || join_all(some.iter().map(|id| describe(context, id)));
        let Some(states) = context.memory.make(make, bytes).await else {
            break;
        };
        turn.spend(bytes(&states)).await;
        response.transaction_states.extend(states);
    }
    response
}

/// What a transaction takes, described and encoded.
fn bytes_of(state: &TransactionState) -> usize {
    let topics = state
        .topics
        .iter()
        .map(|topic| TOPIC_BYTES + 2 * topic.topic.len() + PARTITION_BYTES * topic.partitions.len());
    TRANSACTION_BYTES + 2 * state.transactional_id.len() + topics.sum::<usize>()
}

async fn describe(context: &RequestContext<'_>, id: &ByteString) -> TransactionState {
    let request = TransactionRequest::Describe((&**id).into());
    let answer = ask(context.broker, id, RequestKind::Describe, request).await;
    match answer_to!(Described, answer) {
        Ok(described) => state(id.clone(), &described),
        Err(code) => TransactionState {
            error_code: code.code(),
            transactional_id: id.clone(),
            ..Default::default()
        },
    }
}

fn state(transactional_id: ByteString, described: &DescribedTransaction) -> TransactionState {
    let mut topics: Vec<TopicData> = Vec::new();
    for partition in &described.partitions {
        match topics.last_mut().filter(|last| *last.topic == *partition.topic) {
            Some(last) => last.partitions.push(partition.partition),
            None => topics.push(TopicData {
                topic: (&*partition.topic).into(),
                partitions: vec![partition.partition],
                ..Default::default()
            }),
        }
    }
    TransactionState {
        error_code: ErrorCode::None.code(),
        transactional_id,
        transaction_state: ByteString::from_static(described.status.name()),
        transaction_timeout_ms: described.timeout_ms,
        transaction_start_time_ms: described.started.map_or(-1, |at| at.0),
        producer_id: described.producer.id.0,
        producer_epoch: described.producer.epoch.0,
        topics,
        ..Default::default()
    }
}
