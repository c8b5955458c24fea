//! What is decided in the transactions of producers, and their ends.

use futures_util::FutureExt;
use futures_util::future::join_all;
use klamm_coordinator::TransactionalProducer;
use klamm_env::sim::World;
use klamm_log::producers::ProducerState;
use klamm_log::{Durability, EndTransaction, LogCell, Verification};
use klamm_model::{ErrorCode, ProducerEpoch, ProducerId};

use super::toy::{Ask, Fixture, Told, With};
use super::{end_of, producer};

#[tokio::test(start_paused = true)]
async fn a_zombie_costs_nobody_else_anything() {
    use ErrorCode::{InvalidProducerEpoch, InvalidTxnState, TransactionCoordinatorFenced};
    let next = TransactionalProducer {
        epoch: ProducerEpoch(1),
        ..producer(1)
    };
    // What the log knows, and what it does not know yet, is refused alike.
    for durability in [Durability::Fsync, Durability::PageCache] {
        let world = World::new(1);
        let with = With {
            durability,
            ..With::default()
        };
        let fixture = Fixture::open(&world, with);
        let add = |producer, name| fixture.ask(Ask::AddIn(producer, name, 1));
        let end = async |producer, epoch| {
            let end = end_of(producer, true, epoch);
            fixture.runtime.end_transaction(0, &end).await
        };
        let told = join_all([
            add(producer(1), "zombie").boxed_local(),
            add(producer(2), "other").boxed_local(),
            add(next, "zombie").boxed_local(),
            add(producer(1), "zombie").boxed_local(),
        ]);
        let told = told.await;
        // In its own epoch the transaction is open, and no verification is left for another one.
        let one = || Ok(Told::Value(1));
        assert_eq!(
            told,
            [one(), one(), Err(InvalidTxnState), one()],
            "{durability:?}"
        );
        assert_eq!(end(next, 5).await, Ok(()));
        assert_eq!(add(producer(1), "zombie").await, Err(InvalidProducerEpoch));
        assert_eq!(end(producer(1), 5).await, Err(InvalidProducerEpoch));
        assert_eq!(end(next, 4).await, Err(TransactionCoordinatorFenced));
        assert_eq!(fixture.value("zombie").await, 2, "the shard was not lost");
        // Not verified: nobody has asked.
        let asked = fixture
            .runtime
            .ask_verified(0, Ask::AddIn(next, "zombie", 1), None);
        assert_eq!(asked.err(), Some(InvalidTxnState));
        assert_eq!(add(producer(2), "other").await, one());
        assert_eq!(end(producer(2), 5).await, Ok(()));
        assert_eq!(fixture.value("other").await, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_verification_of_before_the_marker_opens_nothing() {
    let fixture = Fixture::open(&World::new(1), With::default());
    let late = fixture.verify(producer(1)).unwrap();
    // Both go into the log together.
    let end = end_of(producer(1), true, 0);
    let first = fixture.ask(Ask::AddIn(producer(1), "a", 1));
    let ended = fixture.runtime.end_transaction(0, &end);
    let behind = async {
        let asked = fixture
            .runtime
            .ask_verified(0, Ask::AddIn(producer(1), "a", 5), late);
        asked.map(drop)
    };
    let (first, ended, behind) = futures_util::join!(first, ended, behind);
    assert_eq!((first, ended), (Ok(Told::Value(1)), Ok(())));
    assert_eq!(behind, Err(ErrorCode::InvalidTxnState));
    assert_eq!(fixture.value("a").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_marker_that_is_written_again_leaves_the_next_transaction_alone() {
    for (epochs, expected) in [
        (&[1][..], Ok(())),
        (&[1, 1], Ok(())),
        // It is the end of the transaction that was verified.
        (&[1, 2], Err(ErrorCode::InvalidProducerEpoch)),
    ] {
        let fixture = Fixture::open(&World::new(1), With::default());
        let at = |epoch| TransactionalProducer {
            epoch: ProducerEpoch(epoch),
            ..producer(1)
        };
        let end = async |epoch| {
            let end = EndTransaction {
                transaction_version: 2,
                ..end_of(at(epoch), true, 0)
            };
            fixture.runtime.end_transaction(0, &end).await
        };
        fixture.ask(Ask::AddIn(at(0), "a", 1)).await.unwrap();
        end(1).await.unwrap();
        let guard = fixture.verify_by(at(1), 2).unwrap();
        // While somebody waits, what comes gathers.
        let other = fixture.ask(Ask::Add("other", 1));
        let again = join_all(epochs.iter().map(|epoch| end(*epoch)));
        let next = async {
            let asked = fixture.runtime.ask_verified(0, Ask::AddIn(at(1), "a", 1), guard);
            asked?.answer().await.map(drop)
        };
        let (other, again, next) = futures_util::join!(other, again, next);
        assert_eq!((other, next), (Ok(Told::Value(1)), expected), "{epochs:?}");
        assert!(again.iter().all(Result::is_ok), "{again:?}");
        if expected.is_ok() {
            end(2).await.unwrap();
        }
        let value = 1 + i64::from(expected.is_ok());
        assert_eq!(
            fixture.value("a").await,
            value,
            "the shard was not lost: {epochs:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_before_the_coordinator_answers_leaves_nothing_behind() {
    let fixture = Fixture::open(&World::new(1), With::default());
    let asked = Verification {
        producer_id: ProducerId(4_711),
        producer_epoch: ProducerEpoch(0),
        base_sequence: Some(0),
        bumps_epoch: false,
    };
    let verify = || fixture.runtime.verify(0, &asked).unwrap().unwrap();
    let is_known = || {
        fixture
            .partition
            .with(|log| *log.producers() != ProducerState::default())
    };
    let (one, other) = (verify(), verify());
    assert!(is_known());
    drop(one);
    assert!(is_known(), "another one asks");
    drop(other);
    assert!(!is_known());
    // Who was told to ask again is waited for, and not for ever.
    verify().leave();
    drop(verify());
    assert!(is_known());
    let minutes = fixture.now().plus_ms(10 * 60 * 1_000);
    fixture.partition.with(|log| log.expire_producers(minutes));
    assert!(!is_known());
}
