use super::*;
use crate::error::Refusal;
use crate::testing::{self, Fault};
use klamm_model::{ErrorCode, Offset};
use klamm_records::Compression;

fn record(key: Option<&str>, value: String) -> ProducerRecord {
    ProducerRecord {
        key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        value: Some(value.into()),
        ..ProducerRecord::default()
    }
}

#[test]
fn everything_is_stored_once_in_order_under_faults() {
    use Fault::*;
    let faults = [
        Nothing,
        CloseBefore,
        CloseAfter,
        Nothing,
        Refuse(ErrorCode::NotLeaderOrFollower),
        Nothing,
        RefuseAfter(ErrorCode::RequestTimedOut),
        CloseAfter,
        CloseAfter,
        Refuse(ErrorCode::NotEnoughReplicas),
        Nothing,
        CloseBefore,
    ];
    for compression in Compression::ALL {
        let broker = testing::broker(&[("t", 3)]);
        broker.lock().faults = faults.into();
        testing::with_broker(&broker, |env| async move {
            let client = testing::client(&env).await;
            let config = ProducerConfig {
                codec: compression.into(),
                batch_bytes: 2_000,
                request_bytes: 4_000,
                ..ProducerConfig::default()
            };
            let producer = Producer::new(client, config);
            let mut deliveries = Vec::new();
            for n in 0..3_000 {
                let mut record = record(None, n.to_string());
                record.partition = Some(n % 3);
                deliveries.push((n, producer.send("t", record).await.unwrap()));
            }
            producer.flush().await;
            for (n, delivery) in deliveries {
                let stored = delivery.stored().await.unwrap();
                assert_eq!(stored.partition.partition, n % 3);
                assert_eq!(stored.offset, Some(Offset(i64::from(n / 3))), "{n}");
            }
        });
        let broker = broker.lock();
        for partition in 0..3 {
            let expected: Vec<String> = (0..1000).map(|n| (n * 3 + partition).to_string()).collect();
            assert_eq!(broker.values("t", partition), expected, "{compression}");
        }
        assert!(broker.faults.is_empty());
    }
}

#[test]
fn keys_decide_and_records_without_a_key_stay_together_for_a_while() {
    let broker = testing::broker(&[("t", 8)]);
    testing::with_broker(&broker, |env| async move {
        let producer = Producer::new(testing::client(&env).await, ProducerConfig::default());
        for key in ["21", "foobar", "abc"] {
            let delivery = producer.send("t", record(Some(key), "x".into())).await.unwrap();
            let stored = delivery.stored().await.unwrap();
            assert_eq!(
                stored.partition.partition,
                partitioner::for_key(key.as_bytes(), 8)
            );
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10 {
            seen.insert(
                producer
                    .send("t", record(None, "x".into()))
                    .await
                    .unwrap()
                    .partition()
                    .partition,
            );
        }
        assert_eq!(seen.len(), 1);
    });
}

#[test]
fn a_refusal_reaches_the_record_and_only_it() {
    let broker = testing::broker(&[("t", 1)]);
    broker.lock().faults = [Fault::Nothing, Fault::Refuse(ErrorCode::InvalidRecord)].into();
    testing::with_broker(&broker, |env| async move {
        let producer = Producer::new(testing::client(&env).await, ProducerConfig::default());
        let mut results = Vec::new();
        for value in ["a", "b", "c"] {
            let delivery = producer.send("t", record(None, value.into())).await.unwrap();
            results.push(delivery.stored().await.map(|stored| stored.offset));
        }
        let refused = ProduceError::Refused {
            partition: TopicPartition::new("t", 0),
            refusal: Refusal::new(ErrorCode::InvalidRecord),
        };
        assert_eq!(results, [Ok(Some(Offset(0))), Err(refused), Ok(Some(Offset(1)))]);
    });
    assert_eq!(broker.lock().values("t", 0), ["a", "c"]);
}

#[test]
fn a_topic_that_takes_only_small_batches_gets_them() {
    let broker = testing::broker(&[("t", 1)]);
    broker.lock().max_batch_bytes = Some(500);
    testing::with_broker(&broker, |env| async move {
        let producer = Producer::new(testing::client(&env).await, ProducerConfig::default());
        let mut deliveries = Vec::new();
        for n in 0..200 {
            deliveries.push(producer.send("t", record(None, n.to_string())).await.unwrap());
        }
        let large = producer.send("t", record(None, "x".repeat(600))).await.unwrap();
        producer.flush().await;
        for (n, delivery) in (0..).zip(deliveries) {
            assert_eq!(delivery.stored().await.unwrap().offset, Some(Offset(n)));
        }
        let error = large.stored().await.unwrap_err().to_string();
        assert_eq!(error, "t-0: MESSAGE_TOO_LARGE");
    });
    let expected: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(broker.lock().values("t", 0), expected);
}

#[test]
fn what_cannot_be_sent_is_refused_at_once() {
    let broker = testing::broker(&[("t", 1)]);
    testing::with_broker(&broker, |env| async move {
        let producer = Producer::new(testing::client(&env).await, ProducerConfig::default());
        let mut elsewhere = record(None, "x".into());
        elsewhere.partition = Some(1);
        let cases = [("nope", record(None, "x".into())), ("t", elsewhere)];
        for (topic, record) in cases {
            let error = producer.send(topic, record).await.unwrap_err();
            assert!(matches!(error, ProduceError::Client(_)), "{error}");
        }
        // Nothing is outstanding, so this returns.
        producer.flush().await;
    });
}

#[test]
fn memory_is_bounded_and_comes_back() {
    let broker = testing::broker(&[("t", 1)]);
    testing::with_broker(&broker, |env| async move {
        let config = ProducerConfig {
            buffer_bytes: 10_000,
            linger: Duration::from_secs(3600),
            ..ProducerConfig::default()
        };
        let producer = Producer::new(testing::client(&env).await, config);
        for _ in 0..100 {
            let delivery = producer.send("t", record(None, "x".repeat(1_000))).await;
            drop(delivery.unwrap());
        }
        producer.flush().await;
    });
    assert_eq!(broker.lock().values("t", 0).len(), 100);
}

#[test]
fn a_dropped_producer_sends_what_it_took() {
    let broker = testing::broker(&[("t", 1)]);
    testing::with_broker(&broker, |env| async move {
        let producer = Producer::new(testing::client(&env).await, ProducerConfig::default());
        let delivery = producer.send("t", record(None, "last".into())).await.unwrap();
        drop(producer);
        delivery.stored().await.unwrap();
    });
    assert_eq!(broker.lock().values("t", 0), ["last"]);
}
