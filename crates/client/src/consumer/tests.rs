use super::*;
use crate::producer::{Producer, ProducerConfig, ProducerRecord};
use crate::testing;
use klamm_model::TimestampMs;

const SOON: Duration = Duration::from_secs(1);

async fn fill(client: &Client, topic: &str, count: i64, batch_bytes: usize) {
    let config = ProducerConfig {
        batch_bytes,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client.clone(), config);
    for n in 0..count {
        let record = ProducerRecord {
            partition: Some(0),
            value: Some(n.to_string().into()),
            timestamp: Some(TimestampMs(1_000 + n)),
            ..ProducerRecord::default()
        };
        drop(producer.send(topic, record).await.unwrap());
    }
    producer.flush().await;
}

fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

async fn read(consumer: &mut Consumer, count: usize) -> Vec<i64> {
    let mut offsets = Vec::new();
    while offsets.len() < count {
        let fetched = consumer.poll(SOON).await.unwrap().expect("there are more");
        offsets.extend(fetched.records.iter().map(|record| record.offset.0));
    }
    offsets
}

#[test]
fn records_come_in_order_from_the_position_on() {
    let broker = testing::broker(&[("t", 1)]);
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        fill(&client, "t", 1_000, 700).await;
        for from in [0, 1, 499, 999] {
            let mut consumer = Consumer::new(client.clone(), ConsumerConfig::default());
            consumer.assign([(partition(), Offset(from))]);
            let offsets = read(&mut consumer, (1_000 - from) as usize).await;
            assert_eq!(offsets, (from..1_000).collect::<Vec<_>>());
            assert_eq!(consumer.position(&partition()), Some(Offset(1_000)));
            assert_eq!(consumer.poll(SOON).await.unwrap(), None);
        }
    });
}

#[test]
fn a_seek_gives_nothing_from_before_it() {
    let broker = testing::broker(&[("t", 1)]);
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        fill(&client, "t", 300, 300).await;
        let mut consumer = Consumer::new(client, ConsumerConfig::default());
        consumer.assign([(partition(), Offset(0))]);
        read(&mut consumer, 10).await;
        consumer.seek(partition(), Offset(250));
        assert_eq!(read(&mut consumer, 50).await[0], 250);
    });
}

#[test]
fn a_position_outside_of_the_log_is_an_error_or_moved() {
    let cases = [
        (Reset::Fail, None),
        (Reset::Earliest, Some(3)),
        (Reset::Latest, Some(10)),
    ];
    for (reset, expected) in cases {
        let broker = testing::broker(&[("t", 1)]);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            let client = testing::client(&env).await;
            fill(&client, "t", 10, 100).await;
            shared.lock().topics.get_mut("t").unwrap()[0].start = 3;
            let config = ConsumerConfig {
                reset,
                ..ConsumerConfig::default()
            };
            let mut consumer = Consumer::new(client, config);
            consumer.assign([(partition(), Offset(0))]);
            let result = consumer.poll(SOON).await;
            match expected {
                None => {
                    let error = result.unwrap_err().to_string();
                    assert!(
                        error.contains("offset 0 is not in the log, which begins at 3"),
                        "{error}"
                    );
                }
                Some(3) => assert_eq!(result.unwrap().unwrap().records[0].offset, Offset(3)),
                Some(end) => assert_eq!(consumer.position(&partition()), Some(Offset(end))),
            }
        });
    }
}

#[test]
fn a_topic_that_is_deleted_ends_the_read_after_a_while() {
    let broker = testing::broker(&[("t", 1)]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        fill(&client, "t", 10, 100).await;
        let mut consumer = Consumer::new(client, ConsumerConfig::default());
        consumer.assign([(partition(), Offset(0))]);
        read(&mut consumer, 10).await;
        shared.lock().topics.clear();
        let error = consumer.poll(Duration::from_secs(20)).await.unwrap_err();
        assert!(
            matches!(error, ConsumeError::Client(ClientError::UnknownTopic { .. })),
            "{error}"
        );
    });
}

#[test]
fn a_partition_without_a_leader_keeps_no_other_waiting() {
    let broker = testing::broker(&[("t", 1), ("u", 1)]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        fill(&client, "t", 10, 100).await;
        fill(&client, "u", 10, 100).await;
        shared.lock().unled.insert(("t".into(), 0));
        let config = ConsumerConfig {
            patience: Duration::from_secs(10),
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::new(testing::client(&env).await, config);
        let other = TopicPartition::new("u", 0);
        consumer.assign([(partition(), Offset(0)), (other.clone(), Offset(0))]);
        let begin = env.monotonic();
        read(&mut consumer, 10).await;
        assert!(env.monotonic() - begin < SOON, "{:?}", env.monotonic() - begin);
        assert_eq!(consumer.position(&other), Some(Offset(10)));
        assert_eq!(consumer.poll(Duration::from_secs(5)).await.unwrap(), None);
        // Nor is it forgotten.
        shared.lock().unled.clear();
        let begin = env.monotonic();
        assert_eq!(read(&mut consumer, 10).await, (0..10).collect::<Vec<_>>());
        assert!(env.monotonic() - begin < 2 * SOON);
        // One that stays away for long fails the read.
        shared.lock().unled.insert(("t".into(), 0));
        consumer = Consumer::new(testing::client(&env).await, config);
        consumer.assign([(partition(), Offset(0))]);
        let error = consumer.poll(Duration::from_secs(60)).await.unwrap_err();
        assert!(
            matches!(error, ConsumeError::Client(ClientError::NoLeader { .. })),
            "{error}"
        );
        assert!(env.monotonic() - begin < Duration::from_secs(20));
    });
}

#[test]
fn offsets_are_found_by_name_and_by_time() {
    let broker = testing::broker(&[("t", 2)]);
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        fill(&client, "t", 10, 100).await;
        let cases = [
            (OffsetSpec::Earliest, Some(0)),
            (OffsetSpec::Latest, Some(10)),
            (OffsetSpec::At(TimestampMs(1_004)), Some(4)),
            (OffsetSpec::At(TimestampMs(0)), Some(0)),
            (OffsetSpec::At(TimestampMs(9_999)), None),
        ];
        for (spec, expected) in cases {
            let other = TopicPartition::new("t", 1);
            let asked = [(partition(), spec), (other.clone(), OffsetSpec::Latest)];
            let found = client
                .list_offsets(&asked, Isolation::ReadCommitted)
                .await
                .unwrap();
            assert_eq!(found[&partition()].offset, expected.map(Offset), "{spec:?}");
            assert_eq!(found[&other].offset, Some(Offset(0)));
        }
    });
}
