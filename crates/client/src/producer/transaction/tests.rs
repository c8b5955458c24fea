use super::*;
use crate::error::Refusal;
use crate::testing::{self, Fault};
use klamm_env::Env;
use klamm_model::ErrorCode;
use klamm_protocol::ApiKey;

const LEVELS: [i16; 3] = [0, 1, 2];

fn record(n: u32) -> ProducerRecord {
    ProducerRecord {
        partition: Some((n % 3) as i32),
        value: Some(n.to_string().into()),
        ..ProducerRecord::default()
    }
}

/// A broker with a topic of three partitions, and this level of `transaction.version`.
fn broker(level: i16) -> testing::Shared {
    let broker = testing::broker(&[("t", 3)]);
    broker.lock().transactions.level = level;
    broker
}

async fn producer(env: &Env, id: &str) -> TransactionalProducer {
    let mut config = TransactionConfig::new(id);
    config.producer.batch_bytes = 500;
    let client = testing::client(env).await;
    TransactionalProducer::new(client, config).await.unwrap()
}

async fn send(transaction: &Transaction<'_>, numbers: std::ops::Range<u32>) {
    for n in numbers {
        drop(transaction.send("t", record(n)).await.unwrap());
    }
}

/// What those see who read what is committed, sorted.
fn committed(broker: &testing::Shared) -> Vec<u32> {
    let broker = broker.lock();
    let values = (0..3).flat_map(|partition| broker.transactions.values(&broker.topics, "t", partition));
    let mut numbers: Vec<u32> = values.map(|value| value.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn what_is_committed_is_read_and_what_is_aborted_is_not() {
    for level in LEVELS {
        let broker = broker(level);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            let mut producer = producer(&env, "x").await;
            for round in 0..10 {
                let transaction = producer.begin().await.unwrap();
                send(&transaction, round * 100..(round + 1) * 100).await;
                let before = committed(&shared).len();
                match round % 2 {
                    0 => transaction.commit().await.unwrap(),
                    _ => transaction.abort().await.unwrap(),
                }
                let expected = before + if round % 2 == 0 { 100 } else { 0 };
                assert_eq!(committed(&shared).len(), expected, "level {level}");
            }
        });
        let expected: Vec<u32> = (0..1000).filter(|n| n / 100 % 2 == 0).collect();
        assert_eq!(committed(&broker), expected, "level {level}");
    }
}

#[test]
fn faults_on_the_way_lose_and_double_nothing() {
    use Fault::*;
    for level in LEVELS {
        let broker = broker(level);
        {
            let mut broker = broker.lock();
            broker.faults = [
                CloseBefore,
                Nothing,
                CloseAfter,
                Refuse(ErrorCode::NotLeaderOrFollower),
                Refuse(ErrorCode::ConcurrentTransactions),
                RefuseAfter(ErrorCode::RequestTimedOut),
                CloseAfter,
            ]
            .into();
            let transactions = &mut broker.transactions;
            for api in [ApiKey::InitProducerId, ApiKey::AddPartitionsToTxn, ApiKey::EndTxn] {
                let codes = [ErrorCode::ConcurrentTransactions, ErrorCode::NotCoordinator];
                transactions.refuse(api, &codes);
            }
            transactions.lost = match level {
                2 => [ApiKey::EndTxn, ApiKey::EndTxn].into(),
                _ => [ApiKey::AddPartitionsToTxn, ApiKey::EndTxn].into(),
            };
        }
        testing::with_broker(&broker, |env| async move {
            let mut producer = producer(&env, "x").await;
            for round in 0..5 {
                let transaction = producer.begin().await.unwrap();
                send(&transaction, round * 200..(round + 1) * 200).await;
                transaction.commit().await.unwrap();
            }
        });
        assert_eq!(committed(&broker), (0..1000).collect::<Vec<_>>(), "level {level}");
        let broker = broker.lock();
        assert!(broker.faults.is_empty() && broker.transactions.lost.is_empty());
    }
}

#[test]
fn a_record_that_fails_fails_its_transaction_and_not_the_next() {
    let codes = [
        ErrorCode::InvalidRecord,
        ErrorCode::OutOfOrderSequenceNumber,
        ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable,
        ErrorCode::UnknownServerError,
    ];
    for (level, code) in LEVELS
        .into_iter()
        .flat_map(|level| codes.map(|code| (level, code)))
    {
        let broker = broker(level);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            let mut producer = producer(&env, "x").await;
            shared.lock().faults = [Fault::Nothing, Fault::Refuse(code)].into();
            let transaction = producer.begin().await.unwrap();
            for n in 0..200 {
                // As soon as one has failed, no more are taken.
                if transaction.send("t", record(n)).await.is_err() {
                    break;
                }
            }
            let Err(TransactionError::Aborted { cause }) = transaction.commit().await else {
                panic!("{code} at level {level} is no failure");
            };
            let ProduceError::Refused { refusal, .. } = cause else {
                panic!("{cause}")
            };
            assert_eq!(refusal.code, code);
            assert!(committed(&shared).is_empty());

            let transaction = producer.begin().await.unwrap();
            send(&transaction, 500..600).await;
            transaction.commit().await.unwrap();
        });
        let expected: Vec<u32> = (500..600).collect();
        assert_eq!(committed(&broker), expected, "{code} at level {level}");
    }
}

#[test]
fn what_was_not_even_taken_fails_the_transaction_too() {
    for level in LEVELS {
        let broker = broker(level);
        testing::with_broker(&broker, |env| async move {
            let mut producer = producer(&env, "x").await;
            let transaction = producer.begin().await.unwrap();
            send(&transaction, 0..10).await;
            transaction.send("nope", record(1)).await.unwrap_err();
            let refused = transaction.send("t", record(1)).await.unwrap_err();
            assert!(matches!(refused, ProduceError::Aborted { .. }), "{refused}");
            let error = transaction.commit().await.unwrap_err();
            assert!(error.is_abort(), "{error}");
        });
        assert!(committed(&broker).is_empty(), "level {level}");
    }
}

#[test]
fn a_producer_that_was_replaced_ends() {
    for level in LEVELS {
        let broker = broker(level);
        testing::with_broker(&broker, |env| async move {
            let mut old = producer(&env, "x").await;
            let transaction = old.begin().await.unwrap();
            send(&transaction, 0..10).await;
            transaction.producer.producer.flush().await;
            let mut new = producer(&env, "x").await;
            let fenced = Err(TransactionError::Fenced { id: "x".into() });
            assert_eq!(transaction.commit().await, fenced);
            assert_eq!(old.begin().await.map(drop), fenced);
            let transaction = new.begin().await.unwrap();
            send(&transaction, 20..30).await;
            transaction.commit().await.unwrap();
        });
        let expected: Vec<u32> = (20..30).collect();
        assert_eq!(committed(&broker), expected, "level {level}");
    }
}

#[test]
fn a_transaction_that_is_let_go_of_is_aborted_before_the_next() {
    for level in LEVELS {
        let broker = broker(level);
        testing::with_broker(&broker, |env| async move {
            let mut producer = producer(&env, "x").await;
            let transaction = producer.begin().await.unwrap();
            send(&transaction, 0..50).await;
            drop(transaction);
            let transaction = producer.begin().await.unwrap();
            send(&transaction, 50..60).await;
            transaction.commit().await.unwrap();
        });
        let expected: Vec<u32> = (50..60).collect();
        assert_eq!(committed(&broker), expected, "level {level}");
    }
}

#[test]
fn offsets_are_committed_with_the_transaction_or_not_at_all() {
    for level in LEVELS {
        let broker = broker(level);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            let mut producer = producer(&env, "x").await;
            let offsets = |offset| BTreeMap::from([(TopicPartition::new("t", 1), Offset(offset))]);
            let outsider = Committer::outsider();
            let transaction = producer.begin().await.unwrap();
            let sent = transaction.send_offsets("g", &outsider, &offsets(5)).await;
            sent.unwrap();
            assert!(shared.lock().transactions.offsets.is_empty());
            transaction.commit().await.unwrap();
            let key = ("t".to_owned(), 1);
            assert_eq!(shared.lock().transactions.offsets[&key], 5);

            let transaction = producer.begin().await.unwrap();
            let sent = transaction.send_offsets("g", &outsider, &offsets(6)).await;
            sent.unwrap();
            transaction.abort().await.unwrap();
            assert_eq!(shared.lock().transactions.offsets[&key], 5);

            let refused = [ErrorCode::IllegalGeneration];
            let api = ApiKey::TxnOffsetCommit;
            shared.lock().transactions.refuse(api, &refused);
            let transaction = producer.begin().await.unwrap();
            let sent = transaction.send_offsets("g", &outsider, &offsets(7)).await;
            assert!(sent.is_err());
            assert!(transaction.commit().await.unwrap_err().is_abort());
            assert_eq!(shared.lock().transactions.offsets[&key], 5);
        });
    }
}

#[test]
fn a_commit_that_is_not_answered_is_not_called_a_failure() {
    let broker = broker(2);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let mut producer = producer(&env, "x").await;
        let transaction = producer.begin().await.unwrap();
        send(&transaction, 0..10).await;
        let silent = [ErrorCode::CoordinatorNotAvailable; 1000];
        shared.lock().transactions.refuse(ApiKey::EndTxn, &silent);
        let error = transaction.commit().await.unwrap_err();
        let refusal = Refusal::new(ErrorCode::CoordinatorNotAvailable);
        let unknown = TransactionError::OutcomeUnknown {
            id: "x".into(),
            cause: ClientError::refused(ApiKey::EndTxn, refusal),
        };
        assert_eq!(error, unknown);
        assert_eq!(producer.begin().await.map(drop), Err(unknown));
    });
}

#[test]
fn a_commit_that_was_interrupted_is_asked_for_again() {
    let broker = broker(2);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let mut producer = producer(&env, "x").await;
        let transaction = producer.begin().await.unwrap();
        send(&transaction, 0..10).await;
        transaction.producer.producer.flush().await;
        let slow = [ErrorCode::CoordinatorLoadInProgress; 3];
        shared.lock().transactions.refuse(ApiKey::EndTxn, &slow);
        let interrupted = env
            .timeout(Duration::from_millis(100), transaction.commit())
            .await;
        assert!(interrupted.is_err());
        drop(producer.begin().await.unwrap());
    });
    assert_eq!(committed(&broker), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_transaction_without_records_asks_nothing_of_the_coordinator() {
    for level in LEVELS {
        let broker = broker(level);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            let mut producer = producer(&env, "x").await;
            producer.begin().await.unwrap().commit().await.unwrap();
            let asked = shared.lock().transactions.take_asked();
            assert_eq!(asked, [ApiKey::InitProducerId]);
        });
    }
}
