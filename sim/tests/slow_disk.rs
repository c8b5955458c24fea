//! A whole node whose disk takes its time.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use klamm_broker::{FixedLoggers, Node};
use klamm_config::{BrokerConfig, Sources};
use klamm_env::sim::simulation::Ended;
use klamm_env::sim::{Options, Simulation};
use klamm_env::{Env, Files};
use klamm_model::{ErrorCode, Offset, TimestampMs, Uuid};
use klamm_protocol::Records;
use klamm_protocol::messages::ProduceRequest;
use klamm_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm_protocol::messages::produce_response::PartitionProduceResponse;
use klamm_records::{BatchBuilder, Compression};
use klamm_sim::topics::{self, NewTopic};
use klamm_sim::wire::{Address, Wire};
use parking_lot::Mutex;

const BROKER: &str = "broker";
const PORT: u16 = 9092;

fn config() -> BrokerConfig {
    let set = [
        ("node.id", "1".to_owned()),
        ("log.dirs", "/data/logs".to_owned()),
        ("listeners", format!("PLAINTEXT://0.0.0.0:{PORT}")),
        ("advertised.listeners", format!("PLAINTEXT://{BROKER}:{PORT}")),
    ];
    let sources = Sources {
        set: set.map(|(key, value)| (key.to_owned(), value)).to_vec(),
        ..Sources::default()
    };
    BrokerConfig::load(&sources).unwrap().0
}

async fn live(env: Env) -> Ended {
    let node = Node::start(env, config(), Arc::new(FixedLoggers)).await?;
    Err(node.failed().await.into())
}

fn request(topic_id: Uuid, timeout_ms: i32, batch: &Bytes) -> ProduceRequest {
    let partition = PartitionProduceData {
        index: 0,
        records: Records::Bytes(batch.clone()),
        ..Default::default()
    };
    ProduceRequest {
        acks: -1,
        timeout_ms,
        topic_data: vec![TopicProduceData {
            topic_id,
            partition_data: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn produce(env: Env, timeouts_ms: Vec<i32>) -> Vec<PartitionProduceResponse> {
    let address = Address {
        host: BROKER.to_owned(),
        port: PORT,
    };
    let topic = NewTopic {
        name: "events".to_owned(),
        partitions: 1,
        configs: vec![("klamm.durability".to_owned(), "fsync".to_owned())],
    };
    let topic = topics::create(&env, &address, &topic).await;
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(TimestampMs(0), Some(b"k"), Some(b"v"), &[]);
    let batch = builder.build(Offset(0)).unwrap();
    let mut wire = Wire::open(&env, &address, "producer").await.unwrap();
    let mut answers = Vec::new();
    for timeout_ms in timeouts_ms {
        let mut answer = wire.ask(13, &request(topic, timeout_ms, &batch)).await.unwrap();
        answers.append(&mut answer.responses[0].partition_responses);
    }
    answers
}

/// The time that a producer gives is for the other replicas, and there are none.
#[test]
fn a_lone_replica_waits_for_its_disk_however_little_time_there_is() {
    let options = Options {
        blocking_delay: Duration::from_millis(25),
        ..Options::default()
    };
    let mut simulation = Simulation::new(7, options);
    let disk = simulation.world().disk(BROKER);
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk.sync_all();
    simulation.host(BROKER, live);
    let answers: Arc<Mutex<Vec<PartitionProduceResponse>>> = Arc::default();
    let told = answers.clone();
    simulation.client("producer", move |env| async move {
        *told.lock() = produce(env, vec![0, -1, 1, 5_000]).await;
        Ok(())
    });
    while answers.lock().is_empty() {
        simulation.step().unwrap();
        assert!(simulation.elapsed() < Duration::from_secs(60), "no answers");
    }
    for (offset, answer) in (0..).zip(answers.lock().iter()) {
        assert_eq!(answer.error_code, ErrorCode::None.code(), "batch {offset}");
        assert_eq!((answer.base_offset, answer.log_start_offset), (offset, 0));
    }
}
