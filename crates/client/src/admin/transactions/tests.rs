use super::*;
use crate::client::Client;
use crate::producer::{ProducerRecord, TransactionConfig, TransactionError, TransactionalProducer};
use crate::testing;

/// Writes `count` records in a transaction of `id` that it leaves open.
async fn leave_open(client: &Client, id: &str, count: i32) -> TransactionalProducer {
    let config = TransactionConfig::new(id);
    let mut producer = TransactionalProducer::new(client.clone(), config).await.unwrap();
    let transaction = producer.begin().await.unwrap();
    for n in 0..count {
        let record = ProducerRecord {
            partition: Some(n % 2),
            value: Some(n.to_string().into()),
            timestamp: Some(TimestampMs(0)),
            ..ProducerRecord::default()
        };
        let delivery = transaction.send("t", record).await.unwrap();
        delivery.stored().await.unwrap();
    }
    producer
}

fn broker() -> testing::Shared {
    let broker = testing::broker(&[("t", 2)]);
    broker.lock().transactions.level = 2;
    broker
}

fn ids(listed: &[TransactionListing]) -> Vec<&str> {
    listed.iter().map(|listed| listed.id.as_str()).collect()
}

#[test]
fn transactions_are_listed_and_filtered() {
    let broker = broker();
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        let admin = Admin::new(client.clone());
        let _open = leave_open(&client, "open", 1).await;
        let mut empty = leave_open(&client, "idle", 0).await;
        empty.begin().await.unwrap().commit().await.unwrap();
        let all = admin
            .list_transactions(&TransactionFilter::default())
            .await
            .unwrap();
        assert_eq!(ids(&all), ["idle", "open"]);
        assert_eq!(
            (all[0].state.as_str(), all[1].state.as_str()),
            ("Empty", "Ongoing")
        );
        let filters = [
            TransactionFilter {
                states: vec!["Ongoing".into()],
                ..TransactionFilter::default()
            },
            TransactionFilter {
                producers: vec![all[1].producer],
                ..TransactionFilter::default()
            },
            TransactionFilter {
                open_for: Some(Duration::ZERO),
                ..TransactionFilter::default()
            },
            TransactionFilter {
                pattern: Some("pen".into()),
                ..TransactionFilter::default()
            },
        ];
        for filter in filters {
            let listed = admin.list_transactions(&filter).await.unwrap();
            assert_eq!(ids(&listed), ["open"], "{filter:?}");
        }
    });
}

#[test]
fn a_filter_that_a_broker_does_not_have_is_said_to_be_missing() {
    let broker = broker();
    let versions = (0, 1);
    broker.lock().versions.insert(ApiKey::ListTransactions, versions);
    testing::with_broker(&broker, |env| async move {
        let admin = Admin::new(testing::client(&env).await);
        let filter = TransactionFilter {
            pattern: Some("x".into()),
            ..TransactionFilter::default()
        };
        let error = admin.list_transactions(&filter).await.unwrap_err();
        assert!(error.to_string().contains("serves versions 0-1"), "{error}");
        let open_for = Some(Duration::from_secs(1));
        let filter = TransactionFilter {
            open_for,
            ..TransactionFilter::default()
        };
        assert!(admin.list_transactions(&filter).await.is_ok());
    });
}

#[test]
fn a_transaction_is_described() {
    let broker = broker();
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        let admin = Admin::new(client.clone());
        let missing = admin.describe_transaction("x").await.unwrap().unwrap_err();
        assert_eq!(missing.code, ErrorCode::TransactionalIdNotFound);
        let _open = leave_open(&client, "x", 2).await;
        let found = admin.describe_transaction("x").await.unwrap().unwrap();
        assert_eq!((found.state.as_str(), found.coordinator.id.0), ("Ongoing", 1));
        assert_eq!(found.since, Some(TimestampMs(5)));
        assert_eq!(found.timeout, Duration::from_secs(60));
        let partitions = BTreeSet::from([0, 1].map(|index| TopicPartition::new("t", index)));
        assert_eq!(found.partitions, partitions);
    });
}

#[test]
fn a_fenced_transactional_id_is_ended_and_its_producer_too() {
    let broker = broker();
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        let mut producer = leave_open(&client, "x", 2).await;
        let busy = [ErrorCode::ConcurrentTransactions, ErrorCode::NotCoordinator];
        shared.lock().transactions.refuse(ApiKey::InitProducerId, &busy);
        let admin = Admin::new(client);
        let timeout = Duration::from_secs(60);
        admin.fence_transactional_id("x", timeout).await.unwrap().unwrap();
        let found = admin.describe_transaction("x").await.unwrap().unwrap();
        assert_ne!(found.state, "Ongoing");
        assert_eq!(found.since, None);
        let fenced = producer.begin().await.map(drop).unwrap_err();
        assert_eq!(fenced, TransactionError::Fenced { id: "x".into() });
    });
}

#[test]
fn a_hanging_transaction_is_found_and_ended_in_its_partition() {
    let broker = broker();
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        let admin = Admin::new(client.clone());
        let (_known, _lost) = (
            leave_open(&client, "known", 2).await,
            leave_open(&client, "lost", 1).await,
        );
        let partitions = [0, 1].map(|index| TopicPartition::new("t", index));
        let limit = Duration::ZERO;
        let hanging = admin.hanging_transactions(&partitions, limit).await.unwrap();
        assert_eq!(hanging, []);
        shared.lock().transactions.forget("lost");
        let hanging = admin.hanging_transactions(&partitions, limit).await.unwrap();
        let [found] = &hanging[..] else {
            panic!("{hanging:?}")
        };
        assert_eq!(found.partition, partitions[0]);
        let producer = &found.producer;
        assert_eq!(producer.open_from.map(|offset| offset.0), Some(1));

        let moved = [ErrorCode::NotLeaderOrFollower, ErrorCode::InvalidProducerEpoch];
        let api = ApiKey::WriteTxnMarkers;
        shared.lock().transactions.refuse(api, &moved);
        let name = (producer.id, producer.epoch);
        let epoch = producer.coordinator_epoch;
        let refused = admin
            .abort_in_partition(&found.partition, name, epoch)
            .await
            .unwrap();
        assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidProducerEpoch);
        let ended = admin
            .abort_in_partition(&found.partition, name, epoch)
            .await
            .unwrap();
        assert_eq!(ended, Ok(()));
        let hanging = admin.hanging_transactions(&partitions, limit).await.unwrap();
        assert_eq!(hanging, []);
    });
}
