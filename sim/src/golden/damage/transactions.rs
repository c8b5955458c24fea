//! Two transactions in small segments, one aborted and one committed: there are records that readers of committed ones must not
//! take for such, and an index that says which.
//!
//! Always holds: every answer is one that the node gives where nothing fails, but for those that ask to try again while the
//! coordinator is made.

use klamm_env::Env;
use klamm_model::{ErrorCode, Offset, ProducerEpoch, ProducerId};
use klamm_protocol::Records;
use klamm_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use klamm_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use klamm_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use klamm_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest,
};
use klamm_records::{BatchBuilder, Compression};

use super::super::{GoldenError, Told, script};
use crate::wire::Wire;

/// The topic of the transactions.
const TOPIC: &str = "transactional";
const ID: &str = "worker";
const TIMEOUT_MS: i32 = 60_000;
/// A key of this kind is a transactional id.
const OF_TRANSACTIONS: i8 = 1;
/// Batches of a transaction.
const BATCHES: i32 = 4;
/// Records of a batch.
const RECORDS: i32 = 2;
/// A transaction is asked for again this often at most.
const ATTEMPTS: u32 = 1_000;

/// Writes them.
pub(super) async fn play(env: Env) -> Told<()> {
    let mut wire = script::connect(&env).await;
    create(&mut wire).await?;
    let find = FindCoordinatorRequest {
        key_type: OF_TRANSACTIONS,
        coordinator_keys: vec![ID.into()],
        ..Default::default()
    };
    again(&env, &mut wire, 4, &find, |answer| {
        answer.coordinators.first().map_or(-1, |one| one.error_code)
    })
    .await?;
    let begin = InitProducerIdRequest {
        transactional_id: Some(ID.into()),
        transaction_timeout_ms: TIMEOUT_MS,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let producer = again(&env, &mut wire, 4, &begin, |answer| answer.error_code).await?;
    let producer = (producer.producer_id, producer.producer_epoch);
    for (at, committed) in [(0, false), (1, true)] {
        transaction(&env, &mut wire, producer, at, committed).await?;
    }
    Ok(())
}

async fn create(wire: &mut Wire) -> Told<()> {
    let config = |(name, value): (&str, &str)| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    let small = [("internal.segment.bytes", "512"), ("retention.ms", "-1")];
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: TOPIC.into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: small.map(config).to_vec(),
            ..Default::default()
        }],
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let answer = wire.ask(7, &request).await?;
    match answer.topics.first().map(|topic| topic.error_code) {
        Some(0) => Ok(()),
        code => Err(GoldenError::Answer(format!("{TOPIC} is answered with {code:?}"))),
    }
}

async fn transaction(
    env: &Env,
    wire: &mut Wire,
    (id, epoch): (i64, i16),
    at: i32,
    committed: bool,
) -> Told<()> {
    let add = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: ID.into(),
        v3_and_below_producer_id: id,
        v3_and_below_producer_epoch: epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: TOPIC.into(),
            partitions: vec![0],
            ..Default::default()
        }],
        ..Default::default()
    };
    again(env, wire, 3, &add, |answer| {
        let topics = answer.results_by_topic_v3_and_below.iter();
        let partitions = topics.flat_map(|topic| &topic.results_by_partition);
        worst(partitions.map(|partition| partition.partition_error_code))
    })
    .await?;
    for batch in 0..BATCHES {
        let sequence = (at * BATCHES + batch) * RECORDS;
        let builder = BatchBuilder::new(Compression::None)
            .producer(ProducerId(id), ProducerEpoch(epoch), Some(sequence))
            .transactional();
        let produce = produce(builder, &format!("transaction {at} batch {batch}"));
        again(env, wire, 11, &produce, |answer| {
            let topics = answer.responses.iter();
            let partitions = topics.flat_map(|topic| &topic.partition_responses);
            worst(partitions.map(|partition| partition.error_code))
        })
        .await?;
    }
    let end = EndTxnRequest {
        transactional_id: ID.into(),
        producer_id: id,
        producer_epoch: epoch,
        committed,
        ..Default::default()
    };
    again(env, wire, 4, &end, |answer| answer.error_code).await?;
    Ok(())
}

fn produce(mut builder: BatchBuilder, value: &str) -> ProduceRequest {
    for record in 0..RECORDS {
        let value = format!("{value} record {record}");
        builder.append(script::START, None, Some(value.as_bytes()), &[]);
    }
    let bytes = builder
        .build(Offset(0))
        .expect("memory takes what is not compressed");
    ProduceRequest {
        transactional_id: Some(ID.into()),
        acks: -1,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Records::Bytes(bytes),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn worst(codes: impl Iterator<Item = i16>) -> i16 {
    codes.fold(0, |worst, code| if worst == 0 { code } else { worst })
}

/// Asks until the answer is a good one; an error that does not ask to try again is one here too.
async fn again<R: klamm_protocol::Request>(
    env: &Env,
    wire: &mut Wire,
    version: i16,
    request: &R,
    code: impl Fn(&R::Response) -> i16,
) -> Told<R::Response> {
    for _ in 0..ATTEMPTS {
        let answer = wire.ask(version, request).await?;
        match ErrorCode::from_code(code(&answer)) {
            Some(ErrorCode::None) => return Ok(answer),
            Some(ErrorCode::ConcurrentTransactions) => {}
            Some(code) if code.is_retriable() => {}
            code => {
                return Err(GoldenError::Answer(format!(
                    "a transaction is answered with {code:?}"
                )));
            }
        }
        env.sleep(std::time::Duration::from_millis(10)).await;
    }
    Err(GoldenError::Answer("a transaction gets no further".to_owned()))
}
