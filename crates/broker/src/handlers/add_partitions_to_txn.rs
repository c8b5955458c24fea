//! AddPartitionsToTxn, versions 0 to 5: partitions take part in a transaction (KIP-98). PRODUCER_FENCED since version 2. Since 4
//! brokers ask, for several transactions at once, and may only ask whether partitions take part (KIP-890);
//! TRANSACTION_ABORTABLE since 5.
//!
//! A partition that does not exist keeps all of its transaction's from being added, and so does one of an internal topic: nobody
//! writes there in a transaction but the coordinators of groups, whose partitions are added by AddOffsetsToTxn, or by brokers. Until
//! version 3 the one transaction of a client is added to as `transaction.version` 1 does, from 4 on as 2 does.
//!
//! *Memory*: the answer, proportional to the partitions, reserved before it is made. *Authorization*: until version 3 WRITE on the
//! transactional id and on each topic, then CLUSTER_ACTION.

use futures_util::future::join_all;
use klamm_coordinator::transaction::request::{
    AddPartitions, VERSION_1, VERSION_2, VerifyPartitions, before_fencing,
};
use klamm_metadata::Image;
use klamm_metadata::image::TopicImage;
use klamm_model::{ErrorCode, TopicPartition, topic_name};
use klamm_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use klamm_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use klamm_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use crate::context::RequestContext;
use crate::coordinators::markers::is_unmarked;
use crate::coordinators::transactions::{add_partitions, producer, verify_partitions};

/// Since this version clients know PRODUCER_FENCED.
const WITH_FENCING: i16 = 2;
/// Since this version brokers ask for several transactions.
const BATCHED: i16 = 4;
/// Transactions that are decided on at once: one that waits for the markers of the one before it holds up no other.
const AT_ONCE: usize = 256;
/// What a partition takes in the answer, and while it is looked for.
const PARTITION_BYTES: usize =
    size_of::<AddPartitionsToTxnPartitionResult>() + 2 * size_of::<TopicPartition>() + 16;
/// The same of a transaction or a topic, beside its name.
const NAMED_BYTES: usize = size_of::<AddPartitionsToTxnResult>() + 64;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let mut response = AddPartitionsToTxnResponse::default();
    if context.version < BATCHED {
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            topics: request.v3_and_below_topics,
            ..Default::default()
        };
        if context.memory.reserve(bytes_of(&transaction)).await {
            response.results_by_topic_v3_and_below = add(context, &transaction).await;
        }
        return response;
    }
    let transactions = &request.transactions;
    // Those that are too large end the connection.
    if context
        .memory
        .reserve(transactions.iter().map(bytes_of).sum())
        .await
    {
        for some in transactions.chunks(AT_ONCE) {
            let results = some.iter().map(|transaction| result_of(context, transaction));
            response.results_by_transaction.extend(join_all(results).await);
        }
    }
    response
}

async fn result_of(
    context: &RequestContext<'_>,
    transaction: &AddPartitionsToTxnTransaction,
) -> AddPartitionsToTxnResult {
    AddPartitionsToTxnResult {
        topic_results: add(context, transaction).await,
        transactional_id: transaction.transactional_id.clone(),
        ..Default::default()
    }
}

/// What the answer for a transaction takes, and encoded.
fn bytes_of(transaction: &AddPartitionsToTxnTransaction) -> usize {
    let topics = transaction
        .topics
        .iter()
        .map(|topic| NAMED_BYTES + 3 * topic.name.len() + PARTITION_BYTES * topic.partitions.len());
    NAMED_BYTES + 2 * transaction.transactional_id.len() + topics.sum::<usize>()
}

/// Has the partitions of one transaction added, or verified.
async fn add(
    context: &RequestContext<'_>,
    transaction: &AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let image = context.broker.metadata.published_arc();
    let topics = &transaction.topics;
    let is_client_s = context.version < BATCHED;
    let is_kept = |topic: &AddPartitionsToTxnTopic| match is_client_s {
        true => topic_name::is_internal(&topic.name),
        false => is_unmarked(&topic.name),
    };
    if topics
        .iter()
        .any(|topic| is_kept(topic) || known(&image, topic).is_none())
    {
        let told = topics.iter().map(|topic| match is_kept(topic) {
            true => result(topic, |_| ErrorCode::TopicAuthorizationFailed),
            false => not_attempted(&image, topic),
        });
        return told.collect();
    }
    let partitions = partitions(&image, topics);
    if transaction.verify_only {
        return verify(context, transaction, partitions).await;
    }
    let add = AddPartitions {
        transactional_id: (&*transaction.transactional_id).into(),
        producer: producer(transaction.producer_id, transaction.producer_epoch),
        partitions,
        version: match is_client_s {
            true => VERSION_1,
            false => VERSION_2,
        },
    };
    let code = match add_partitions(context.broker, add).await {
        code if context.version < WITH_FENCING => before_fencing(code),
        code => code,
    };
    results(topics, code)
}

async fn verify(
    context: &RequestContext<'_>,
    transaction: &AddPartitionsToTxnTransaction,
    partitions: Vec<TopicPartition>,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let verify = VerifyPartitions {
        transactional_id: (&*transaction.transactional_id).into(),
        producer: producer(transaction.producer_id, transaction.producer_epoch),
        partitions,
    };
    let verdicts = match verify_partitions(context.broker, verify).await {
        Ok(verdicts) => verdicts,
        Err(code) => return results(&transaction.topics, code),
    };
    let of_topic = |topic: &AddPartitionsToTxnTopic| {
        result(topic, |partition| {
            let asked = (&*topic.name, partition);
            let verdict = verdicts.binary_search_by(|(verified, _)| {
                let verified = (&*verified.topic, verified.partition);
                verified.cmp(&asked)
            });
            verdict.map_or(ErrorCode::UnknownServerError, |at| verdicts[at].1)
        })
    };
    transaction.topics.iter().map(of_topic).collect()
}

/// The topic, if it has all of these partitions.
fn known<'a>(image: &'a Image, topic: &AddPartitionsToTxnTopic) -> Option<&'a TopicImage> {
    let found = image.topics().by_name(&topic.name)?;
    let mut partitions = topic.partitions.iter();
    let all = partitions.all(|partition| found.partition(*partition).is_some());
    all.then_some(found)
}

/// What partitions are told that stand beside one that keeps them from being added.
fn not_attempted(image: &Image, topic: &AddPartitionsToTxnTopic) -> AddPartitionsToTxnTopicResult {
    let found = image.topics().by_name(&topic.name);
    result(topic, |partition| {
        match found.and_then(|found| found.partition(partition)) {
            Some(_) => ErrorCode::OperationNotAttempted,
            None => ErrorCode::UnknownTopicOrPartition,
        }
    })
}

/// The partitions, sorted, each once; they share the names that the metadata has.
fn partitions(image: &Image, topics: &[AddPartitionsToTxnTopic]) -> Vec<TopicPartition> {
    let mut partitions: Vec<TopicPartition> = topics
        .iter()
        .filter_map(|topic| Some((known(image, topic)?.name.clone(), topic)))
        .flat_map(|(name, topic)| {
            let numbers = topic.partitions.iter();
            numbers.map(move |partition| TopicPartition::new(name.clone(), *partition))
        })
        .collect();
    partitions.sort_unstable();
    partitions.dedup();
    partitions
}

/// The same for all partitions of a request.
fn results(topics: &[AddPartitionsToTxnTopic], code: ErrorCode) -> Vec<AddPartitionsToTxnTopicResult> {
    topics.iter().map(|topic| result(topic, |_| code)).collect()
}

fn result(topic: &AddPartitionsToTxnTopic, code: impl Fn(i32) -> ErrorCode) -> AddPartitionsToTxnTopicResult {
    let partitions = topic.partitions.iter();
    let results = partitions.map(|partition| AddPartitionsToTxnPartitionResult {
        partition_index: *partition,
        partition_error_code: code(*partition).code(),
        ..Default::default()
    });
    AddPartitionsToTxnTopicResult {
        name: topic.name.clone(),
        results_by_partition: results.collect(),
        ..Default::default()
    }
}
