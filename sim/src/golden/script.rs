//! What is in a golden folder: topics with every codec, producers, several leader epochs, segments, a moved log start, a
//! deleted topic, a metadata log with a snapshot.
//!
//! Always holds: times, ids and bytes follow from this file. It may grow with a release; a folder that was made stays as
//! it is, so a new step must not change what [`go_on`] asks of an old folder.

use std::time::Duration;

use bytes::Bytes;
use klamm_env::Env;
use klamm_model::{ErrorCode, Offset, ProducerEpoch, ProducerId, TimestampMs};
use klamm_protocol::Records;
use klamm_protocol::messages::{
    create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest},
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic},
    delete_topics_request::{DeleteTopicState, DeleteTopicsRequest},
    init_producer_id_request::InitProducerIdRequest,
    produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData},
};
use klamm_records::{BatchBuilder, Compression};

use super::{Ending, GoldenError, Told, World};
use crate::stage;
use crate::wire::Wire;

/// When the world of a golden folder begins.
pub const START: TimestampMs = TimestampMs(1_790_000_000_000);
/// Keys of the node, so that little data makes much of it.
pub const CONFIG: Configs = &[
    ("metadata.log.max.record.bytes.between.snapshots", "700"),
    ("transaction.state.log.num.partitions", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
];

/// One partition for each.
const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];
/// The topic whose partition `p` has batches of codec `p` and of producer `p`.
const CODED: &str = "codecs";
/// The topic with many segments, of one producer, the first records deleted.
const CUT: &str = "segments";
const CUT_PRODUCER: i64 = CODECS.len() as i64;
/// Records in a batch.
const BATCH: i32 = 3;
/// Batches of each partition, by the life of the node that took them.
const LIVES: [i32; 4] = [2, 2, 1, 1];
const TIMEOUT_MS: i32 = 10_000;

/// Configs, by key and value.
type Configs = &'static [(&'static str, &'static str)];

/// What a topic is made with; nothing of a golden folder may be old enough to go.
const TOPICS: &[(&str, i32, Configs)] = &[
    (CODED, CODECS.len() as i32, &[]),
    (
        CUT,
        1,
        &[("internal.segment.bytes", "512"), ("index.interval.bytes", "100")],
    ),
    ("stamped", 1, &[("message.timestamp.type", "LogAppendTime")]),
    ("written-back", 1, &[("klamm.durability", "page-cache")]),
    ("empty", 2, &[]),
    ("gone", 1, &[]),
];

/// Plays the lives of the node whose folder is kept.
pub fn play(world: &mut World, ending: Ending) -> Told<()> {
    world.start();
    world.ask(begin)?;
    world.ask(|env| produce_all(env, 0))?;
    world.stop()?;
    world.start();
    world.ask(|env| produce_all(env, 1))?;
    world.ask(cut)?;
    world.kill();
    world.start();
    world.ask(|env| produce_all(env, 2))?;
    match ending {
        Ending::Stopped => world.stop(),
        Ending::Killed => {
            world.ask(|env| produce_all(env, 3))?;
            world.kill();
            Ok(())
        }
    }
}

/// How many batches each partition has at the end.
fn batches(ending: Ending) -> i32 {
    match ending {
        Ending::Stopped => LIVES[..3].iter().sum(),
        Ending::Killed => LIVES.iter().sum(),
    }
}

/// Producers go on as they would over an upgrade: a repetition of the last batch is recognised, the next one is taken, one
/// too far ahead is refused.
pub async fn go_on(env: Env, ending: Ending) -> Told<()> {
    let mut wire = connect(&env).await;
    let count = batches(ending);
    for (topic, partition, producer) in written() {
        let mut attempt = async |at| {
            let bytes = batch(Some(producer), codec(topic, partition), at);
            send(&mut wire, topic, partition, bytes).await
        };
        for (at, expected) in [
            (count - 1, (ErrorCode::None, base(count - 1))),
            (count, (ErrorCode::None, base(count))),
            (count + 5, (ErrorCode::OutOfOrderSequenceNumber, -1)),
        ] {
            let answer = attempt(at).await?;
            if answer != expected {
                return Err(GoldenError::Answer(format!(
                    "{topic}-{partition}: batch {at} is answered with {answer:?}, not {expected:?}"
                )));
            }
        }
    }
    Ok(())
}

/// The partitions of the idempotent producers, and those producers.
fn written() -> impl Iterator<Item = (&'static str, i32, i64)> {
    let coded = (0..CODECS.len() as i32).map(|partition| (CODED, partition, i64::from(partition)));
    coded.chain([(CUT, 0, CUT_PRODUCER)])
}

fn codec(topic: &str, partition: i32) -> Compression {
    match topic {
        CODED => CODECS[partition as usize],
        _ => Compression::None,
    }
}

fn base(at: i32) -> i64 {
    i64::from(at * BATCH)
}

/// A connection, once the node serves.
pub(super) async fn connect(env: &Env) -> Wire {
    loop {
        if let Ok(wire) = Wire::open(env, &stage::address(), "golden").await {
            return wire;
        }
        env.sleep(Duration::from_millis(10)).await;
    }
}

/// Topics and producer ids.
async fn begin(env: Env) -> Told<()> {
    let mut wire = connect(&env).await;
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
        ..CreatableTopicConfig::default()
    };
    for (name, partitions, configs) in TOPICS {
        let keep = ("retention.ms", "-1");
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: (*name).into(),
                num_partitions: *partitions,
                replication_factor: 1,
                configs: configs.iter().chain([&keep]).map(config).collect(),
                ..CreatableTopic::default()
            }],
            timeout_ms: TIMEOUT_MS,
            ..CreateTopicsRequest::default()
        };
        let answer = wire.ask(7, &request).await?;
        good(name, answer.topics.first().map(|topic| topic.error_code))?;
    }
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some("gone".into()),
            ..DeleteTopicState::default()
        }],
        timeout_ms: TIMEOUT_MS,
        ..DeleteTopicsRequest::default()
    };
    let answer = wire.ask(6, &request).await?;
    good("gone", answer.responses.first().map(|topic| topic.error_code))?;
    for expected in 0..=CUT_PRODUCER {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: TIMEOUT_MS,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        let answer = wire.ask(5, &request).await?;
        if (answer.error_code, answer.producer_id) != (0, expected) {
            return Err(GoldenError::Answer(format!(
                "{answer:?}, not producer {expected}"
            )));
        }
    }
    Ok(())
}

/// The batches of one life of the node.
async fn produce_all(env: Env, life: usize) -> Told<()> {
    let mut wire = connect(&env).await;
    let first: i32 = LIVES[..life].iter().sum();
    for at in first..first + LIVES[life] {
        for (topic, partition, producer) in written() {
            let bytes = batch(Some(producer), codec(topic, partition), at);
            let answer = send(&mut wire, topic, partition, bytes).await?;
            if answer != (ErrorCode::None, base(at)) {
                let said = format!("{topic}-{partition}: batch {at} is answered with {answer:?}");
                return Err(GoldenError::Answer(said));
            }
        }
        for topic in ["stamped", "written-back"] {
            let (code, _) = send(&mut wire, topic, 0, batch(None, Compression::Lz4, at)).await?;
            good(topic, Some(code.code()))?;
        }
    }
    Ok(())
}

/// Moves a log's start into the middle of a batch.
async fn cut(env: Env) -> Told<()> {
    let mut wire = connect(&env).await;
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: CUT.into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset: 4,
                ..DeleteRecordsPartition::default()
            }],
            ..DeleteRecordsTopic::default()
        }],
        timeout_ms: TIMEOUT_MS,
        ..DeleteRecordsRequest::default()
    };
    let answer = wire.ask(2, &request).await?;
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    good(CUT, partition.map(|partition| partition.error_code))
}

/// Writes a batch with acks=all, as often as the node asks for it; the error and the first offset.
async fn send(wire: &mut Wire, topic: &str, partition: i32, bytes: Bytes) -> Told<(ErrorCode, i64)> {
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Records::Bytes(bytes),
                ..PartitionProduceData::default()
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    loop {
        let answer = wire.ask(12, &request).await?;
        let one = answer
            .responses
            .first()
            .and_then(|topic| topic.partition_responses.first());
        let Some(one) = one else {
            return Err(GoldenError::Answer(format!("no answer for {topic}-{partition}")));
        };
        match ErrorCode::from_code(one.error_code) {
            Some(ErrorCode::NotLeaderOrFollower | ErrorCode::UnknownTopicOrPartition) => {}
            Some(code) => return Ok((code, one.base_offset)),
            None => return Err(GoldenError::Answer(format!("error {}", one.error_code))),
        }
    }
}

fn good(what: &str, code: Option<i16>) -> Told<()> {
    match code {
        Some(0) => Ok(()),
        code => Err(GoldenError::Answer(format!("{what} is answered with {code:?}"))),
    }
}

/// The batch at a place in a partition: with headers, a name twice, nulls, and a value that packs well.
fn batch(producer: Option<i64>, codec: Compression, at: i32) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    if let Some(id) = producer {
        builder = builder.producer(ProducerId(id), ProducerEpoch(0), Some(at * BATCH));
    }
    let value = format!("value {at} {}", "golden ".repeat(8));
    let key = format!("key {at}");
    let time = |step: i64| START.plus_ms(i64::from(at) * 1_000 + step);
    let headers: &[(&[u8], Option<&[u8]>)] = &[(b"name", Some(b"one")), (b"name", None), (b"", Some(b""))];
    builder.append(time(0), Some(key.as_bytes()), Some(value.as_bytes()), headers);
    builder.append(time(1), None, Some(b"no key"), &[]);
    builder.append(time(2), Some(b"no value"), None, &[]);
    builder
        .build(Offset(0))
        .expect("memory takes what a codec writes")
}
