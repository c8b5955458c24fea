use super::*;
use klamm_model::{ProducerEpoch, ProducerId};
use klamm_protocol::messages::api_versions_response::{ApiVersionsResponse, FinalizedFeatureKey};

fn named(id: i64, epoch: i16) -> Identity {
    Identity {
        id: ProducerId(id),
        epoch: ProducerEpoch(epoch),
    }
}

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new("t", index)
}

fn open(protocol: Protocol) -> State {
    let mut state = State::new(named(7, 3), protocol);
    state.begin().unwrap();
    state
}

#[test]
fn the_level_of_the_feature_decides() {
    let levels = [
        (None, Protocol::V1),
        (Some(0), Protocol::V1),
        (Some(1), Protocol::V1),
        (Some(2), Protocol::V2),
        (Some(3), Protocol::V2),
    ];
    for (level, expected) in levels {
        let features = level.map(|level| FinalizedFeatureKey {
            name: "transaction.version".into(),
            max_version_level: level,
            ..FinalizedFeatureKey::default()
        });
        let response = ApiVersionsResponse {
            finalized_features: features.into_iter().collect(),
            ..ApiVersionsResponse::default()
        };
        assert_eq!(Protocol::of(&ApiVersions::from(&response)), expected, "{level:?}");
    }
}

#[test]
fn of_the_first_version_a_partition_is_told_of_once() {
    let mut state = open(Protocol::V1);
    assert_eq!(state.admit(&partition(0)), Admission::Add(named(7, 3)));
    state.added(&partition(0));
    assert_eq!(state.admit(&partition(0)), Admission::Granted);
    assert_eq!(state.admit(&partition(1)), Admission::Add(named(7, 3)));
    assert_eq!(
        state.end(End::Commit),
        Ok(Ending::Tell(named(7, 3), Protocol::V1))
    );
    assert_eq!(state.ended(None, Protocol::V1), Ended::Continued);
    state.begin().unwrap();
    // The next transaction knows of nothing.
    assert_eq!(state.admit(&partition(0)), Admission::Add(named(7, 3)));
}

#[test]
fn of_the_second_version_each_transaction_has_its_own_epoch() {
    let mut state = open(Protocol::V2);
    assert_eq!(state.admit(&partition(0)), Admission::Granted);
    assert_eq!(state.sending(), Some(named(7, 3)));
    assert_eq!(
        state.end(End::Commit),
        Ok(Ending::Tell(named(7, 3), Protocol::V2))
    );
    assert_eq!(state.sending(), None);
    assert_eq!(state.ended(Some(named(7, 4)), Protocol::V2), Ended::Renewed);
    state.begin().unwrap();
    assert_eq!(state.sending(), Some(named(7, 4)));
}

#[test]
fn nothing_is_told_of_a_transaction_without_records() {
    for protocol in [Protocol::V1, Protocol::V2] {
        for end in [End::Commit, End::Abort] {
            let mut state = open(protocol);
            assert_eq!(state.end(end), Ok(Ending::Untold));
            assert_eq!(state.ended(None, protocol), Ended::Continued);
            state.begin().unwrap();
        }
    }
}

#[test]
fn what_failed_is_not_committed_and_the_first_reason_stays() {
    let mut state = open(Protocol::V2);
    assert_eq!(state.admit(&partition(0)), Admission::Granted);
    state.close(Some(ProduceError::Closed));
    state.close(None);
    let refusal = ProduceError::Aborted {
        because: Some(Box::new(ProduceError::Closed)),
    };
    assert_eq!(state.admit(&partition(0)), Admission::Refused(refusal.clone()));
    assert_eq!(state.admit_offsets(), Err(refusal));
    assert_eq!(state.sending(), None);
    assert_eq!(
        state.end(End::Commit),
        Ok(Ending::MustAbort(ProduceError::Closed))
    );
    assert_eq!(state.end(End::Abort), Ok(Ending::Tell(named(7, 3), Protocol::V2)));
}

#[test]
fn of_the_first_version_an_epoch_is_asked_for_after_an_abort() {
    let mut state = open(Protocol::V1);
    state.added(&partition(0));
    state.close(None);
    assert_eq!(state.end(End::Abort), Ok(Ending::Tell(named(7, 3), Protocol::V1)));
    assert_eq!(state.ended(None, Protocol::V1), Ended::NextEpoch(named(7, 3)));
    // Until it is there, the end can be asked for again.
    assert_eq!(state.left_over(), Some(End::Abort));
    assert_eq!(state.end(End::Abort), Ok(Ending::Untold));
    assert_eq!(state.ended(None, Protocol::V1), Ended::NextEpoch(named(7, 3)));
    state.renamed(named(7, 4));
    assert_eq!(state.left_over(), None);
    state.begin().unwrap();
    assert_eq!(state.sending(), Some(named(7, 4)));
    state.added(&partition(0));
    assert!(matches!(state.end(End::Commit), Ok(Ending::Tell(..))));
    assert_eq!(state.ended(None, Protocol::V1), Ended::Continued);
}

#[test]
fn a_cluster_that_was_upgraded_meanwhile_is_asked_for_an_epoch() {
    let mut state = open(Protocol::V1);
    state.added(&partition(0));
    assert!(matches!(
        state.end(End::Commit),
        Ok(Ending::Tell(_, Protocol::V1))
    ));
    assert_eq!(state.ended(None, Protocol::V2), Ended::NextEpoch(named(7, 3)));
    state.renamed(named(7, 4));
    state.begin().unwrap();
    assert_eq!(state.admit(&partition(0)), Admission::Granted);
}

#[test]
fn what_a_caller_let_go_of_is_ended_before_the_next_one() {
    let mut state = open(Protocol::V2);
    assert_eq!(state.left_over(), Some(End::Abort));
    state.admit(&partition(0));
    state.end(End::Commit).unwrap();
    // The answer is missing: the same is asked again.
    assert_eq!(state.left_over(), Some(End::Commit));
    // The coordinator says that it cannot be committed.
    state.close(Some(ProduceError::Closed));
    assert_eq!(state.left_over(), Some(End::Abort));
}

#[test]
fn a_producer_at_its_end_says_why() {
    let fenced = TransactionError::Fenced { id: "x".into() };
    let mut state = open(Protocol::V2);
    state.break_off(fenced.clone());
    state.break_off(TransactionError::Fenced { id: "y".into() });
    state.close(None);
    assert_eq!(state.begin(), Err(fenced.clone()));
    assert_eq!(state.end(End::Abort), Err(fenced));
    assert_eq!((state.sending(), state.left_over()), (None, None));
    assert!(matches!(state.admit(&partition(0)), Admission::Refused(_)));
}

#[test]
fn offsets_are_told_of_by_the_group_s_coordinator_or_by_the_producer() {
    let mut state = open(Protocol::V2);
    assert_eq!(state.admit_offsets(), Ok((named(7, 3), Protocol::V2)));
    assert!(matches!(state.end(End::Commit), Ok(Ending::Tell(..))));
    let mut state = open(Protocol::V1);
    assert_eq!(state.admit_offsets(), Ok((named(7, 3), Protocol::V1)));
    assert_eq!(state.end(End::Commit), Ok(Ending::Untold));
    let mut state = open(Protocol::V1);
    state.added_group();
    assert!(matches!(state.end(End::Commit), Ok(Ending::Tell(..))));
}
