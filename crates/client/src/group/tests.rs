use super::*;
use crate::producer::{Producer, ProducerConfig, ProducerRecord};
use crate::testing::{self, Shared, groups::GROUP};
use klamm_env::Env;
use klamm_protocol::ApiKey;

const SOON: Duration = Duration::from_secs(1);

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new("t", index)
}

/// Some records in each partition of `t`.
async fn fill(client: &Client, partitions: i32) {
    let config = ProducerConfig {
        // Several batches, so that there are more when the first is given.
        batch_bytes: 100,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client.clone(), config);
    for n in 0..10 * partitions {
        let record = ProducerRecord {
            partition: Some(n % partitions),
            value: Some(n.to_string().into()),
            ..ProducerRecord::default()
        };
        drop(producer.send("t", record).await.unwrap());
    }
    producer.flush().await;
}

/// A record at the end of a partition of `t`.
async fn add(client: &Client, index: i32) {
    let producer = Producer::new(client.clone(), ProducerConfig::default());
    let record = ProducerRecord {
        partition: Some(index),
        value: Some("late".into()),
        ..ProducerRecord::default()
    };
    drop(producer.send("t", record).await.unwrap());
    producer.flush().await;
}

/// A member that begins at the ends.
async fn member_at_ends(env: &Env) -> GroupConsumer {
    let client = testing::client(env).await;
    let config = GroupConfig::new(GROUP, vec!["t".to_owned()]);
    GroupConsumer::new(client, config).await.unwrap()
}

async fn member(env: &Env, partitions: i32) -> GroupConsumer {
    member_within(env, partitions, Duration::from_secs(20)).await
}

/// A member with this rebalance timeout.
async fn member_within(env: &Env, partitions: i32, rebalance_timeout: Duration) -> GroupConsumer {
    let client = testing::client(env).await;
    fill(&client, partitions).await;
    let config = GroupConfig {
        start: OffsetSpec::Earliest,
        session_timeout: Duration::from_secs(6),
        rebalance_timeout,
        ..GroupConfig::new(GROUP, vec!["t".to_owned()])
    };
    GroupConsumer::new(client, config).await.unwrap()
}

/// Reads until there are no more, and is done with each record; the offsets by partition.
async fn read_all(member: &mut GroupConsumer) -> BTreeMap<i32, Vec<i64>> {
    let mut read: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    while let Some(fetched) = member.poll(SOON).await.unwrap() {
        let offsets = read.entry(fetched.partition.partition).or_default();
        offsets.extend(fetched.records.iter().map(|record| record.offset.0));
        let next = member.position(&fetched.partition).unwrap();
        member.processed(&fetched.partition, next);
    }
    read
}

fn offsets(broker: &Shared) -> Vec<i64> {
    broker.lock().groups.offsets.values().copied().collect()
}

fn set_target(broker: &Shared, partitions: &[i32]) {
    let mut broker = broker.lock();
    broker.groups.is_modern = true;
    broker.groups.target = BTreeMap::from([("t", partitions.to_vec())]);
}

#[test]
fn a_classic_member_joins_reads_commits_and_leaves() {
    let broker = testing::broker(&[("t", 2)]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        shared.lock().groups.offsets.insert(("t".into(), 1), 4);
        let mut member = member(&env, 2).await;
        assert_eq!((member.protocol(), member.assignment()), ("classic", None));
        let read = read_all(&mut member).await;
        assert_eq!(read[&0], (0..10).collect::<Vec<_>>());
        assert_eq!(read[&1], (4..10).collect::<Vec<_>>());
        assert_eq!(offsets(&shared), [10, 10]);
        member.leave().await.unwrap();
        let asked = shared.lock().groups.take_asked();
        let joined = [
            ApiKey::FindCoordinator,
            ApiKey::JoinGroup,
            ApiKey::JoinGroup,
            ApiKey::SyncGroup,
            ApiKey::OffsetFetch,
        ];
        assert_eq!(asked[..5], joined);
        assert_eq!(asked.last(), Some(&ApiKey::LeaveGroup));
    });
}

#[test]
fn what_was_not_processed_is_not_committed() {
    let broker = testing::broker(&[("t", 1)]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let mut member = member(&env, 1).await;
        member.poll(SOON).await.unwrap().unwrap();
        member.processed(&partition(0), Offset(1));
        // Not its own.
        member.processed(&partition(9), Offset(1));
        member.leave().await.unwrap();
        assert_eq!(offsets(&shared), [1]);
    });
}

#[test]
fn what_came_to_a_quiet_partition_between_two_members_is_not_skipped() {
    for is_modern in [false, true] {
        let broker = testing::broker(&[("t", 2)]);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            if is_modern {
                set_target(&shared, &[0, 1]);
            }
            let client = testing::client(&env).await;
            fill(&client, 2).await;
            let mut first = member_at_ends(&env).await;
            assert_eq!(first.poll(SOON).await.unwrap(), None);
            add(&client, 0).await;
            let fetched = first.poll(SOON).await.unwrap().unwrap();
            assert_eq!(fetched.partition, partition(0));
            first.processed(&partition(0), Offset(11));
            first.leave().await.unwrap();
            assert_eq!(offsets(&shared), [11, 10]);
            add(&client, 1).await;
            let read = read_all(&mut member_at_ends(&env).await).await;
            assert_eq!(read, BTreeMap::from([(1, vec![10])]));
        });
    }
}

#[test]
fn what_came_to_a_quiet_partition_during_a_rebalance_is_not_skipped() {
    let broker = testing::broker(&[("t", 1)]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        fill(&client, 1).await;
        let mut member = member_at_ends(&env).await;
        assert_eq!(member.poll(SOON).await.unwrap(), None);
        {
            let groups = &mut shared.lock().groups;
            groups.refuse(ApiKey::Heartbeat, &[ErrorCode::RebalanceInProgress]);
            // The others take some seconds to give up what they have.
            groups.refuse(ApiKey::JoinGroup, &[ErrorCode::CoordinatorLoadInProgress; 8]);
        }
        let meanwhile = async {
            env.sleep(Duration::from_secs(4)).await;
            assert_eq!(shared.lock().groups.epoch, 1);
            add(&client, 0).await;
        };
        let (fetched, ()) = tokio::join!(member.poll(Duration::from_secs(20)), meanwhile);
        assert_eq!(fetched.unwrap().unwrap().records[0].offset, Offset(10));
        assert_eq!(shared.lock().groups.epoch, 2);
    });
}

#[test]
fn a_trickle_of_records_is_not_committed_one_by_one() {
    let broker = testing::broker(&[("t", 1)]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        let mut member = member(&env, 1).await;
        read_all(&mut member).await;
        shared.lock().groups.take_asked();
        let trickle = async {
            for _ in 0..150 {
                add(&client, 0).await;
                env.sleep(Duration::from_millis(20)).await;
            }
        };
        let (read, ()) = tokio::join!(read_all(&mut member), trickle);
        assert_eq!(read[&0].len(), 150);
        let asked = shared.lock().groups.take_asked();
        // One a second, and one at the end.
        assert!(asked.len() <= 5, "{asked:?}");
        assert_eq!(offsets(&shared), [160]);
    });
}

#[test]
fn a_rebalance_commits_before_it_joins_again_and_goes_on_there() {
    let broker = testing::broker(&[("t", 1)]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let mut member = member(&env, 1).await;
        member.poll(SOON).await.unwrap().unwrap();
        member.processed(&partition(0), Offset(1));
        member.config.commit_interval = Duration::MAX;
        shared.lock().groups.take_asked();
        let code = ErrorCode::RebalanceInProgress;
        shared.lock().groups.refuse(ApiKey::Heartbeat, &[code]);
        env.sleep(Duration::from_secs(5)).await;
        assert_eq!(read_all(&mut member).await[&0], (1..10).collect::<Vec<_>>());
        let asked = shared.lock().groups.take_asked();
        let commit = asked.iter().position(|api| *api == ApiKey::OffsetCommit);
        let join = asked.iter().position(|api| *api == ApiKey::JoinGroup);
        assert!(commit.is_some() && commit < join, "{asked:?}");
    });
}

#[test]
fn a_member_that_the_group_let_go_of_joins_again() {
    let cases = [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration];
    for code in cases {
        let broker = testing::broker(&[("t", 1)]);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            let mut member = member(&env, 1).await;
            assert_eq!(read_all(&mut member).await[&0].len(), 10);
            shared.lock().groups.refuse(ApiKey::Heartbeat, &[code]);
            env.sleep(Duration::from_secs(5)).await;
            assert_eq!(member.poll(SOON).await.unwrap(), None);
            assert_eq!(shared.lock().groups.epoch, 2, "{code}");
            assert_eq!(member.assignment().map(BTreeSet::len), Some(1));
        });
    }
}

#[test]
fn a_coordinator_that_moved_is_found_again() {
    let apis = [
        ApiKey::FindCoordinator,
        ApiKey::JoinGroup,
        ApiKey::SyncGroup,
        ApiKey::OffsetFetch,
        ApiKey::OffsetCommit,
        ApiKey::Heartbeat,
    ];
    let codes = [
        ErrorCode::NotCoordinator,
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::CoordinatorNotAvailable,
    ];
    for api in apis {
        let broker = testing::broker(&[("t", 1)]);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            shared.lock().groups.refuse(api, &codes);
            let mut member = member(&env, 1).await;
            assert_eq!(read_all(&mut member).await[&0].len(), 10, "{api}");
            env.sleep(Duration::from_secs(5)).await;
            assert_eq!(member.poll(SOON).await.unwrap(), None, "{api}");
            member.leave().await.unwrap();
            let groups = &mut shared.lock().groups;
            assert!(groups.refusals[&api].is_empty(), "{api}");
            let found = groups
                .take_asked()
                .into_iter()
                .filter(|asked| *asked == ApiKey::FindCoordinator);
            assert!(found.count() >= 3, "{api}");
        });
        assert_eq!(offsets(&broker), [10], "{api}");
    }
}

#[test]
fn a_group_that_cannot_be_joined_is_an_error() {
    for (api, is_modern) in [(ApiKey::JoinGroup, false), (ApiKey::ConsumerGroupHeartbeat, true)] {
        let broker = testing::broker(&[("t", 1)]);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            shared.lock().groups.is_modern = is_modern;
            shared
                .lock()
                .groups
                .refuse(api, &[ErrorCode::GroupMaxSizeReached]);
            let mut member = member(&env, 1).await;
            let error = member.poll(SOON).await.unwrap_err().to_string();
            assert!(
                error.contains("group 'g'") && error.contains("GROUP_MAX_SIZE_REACHED"),
                "{error}"
            );
        });
    }
}

#[test]
fn a_member_by_heartbeat_takes_up_and_gives_up_single_partitions() {
    let broker = testing::broker(&[("t", 3)]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        set_target(&shared, &[0, 1]);
        let mut member = member(&env, 3).await;
        assert_eq!(member.protocol(), "consumer");
        let read = read_all(&mut member).await;
        assert_eq!(read.keys().copied().collect::<Vec<_>>(), [0, 1]);
        // It reads 1 anew, and is done with its first record when it loses it.
        member.consumer.seek(partition(1), Offset(0));
        member.poll(SOON).await.unwrap().unwrap();
        member.processed(&partition(1), Offset(1));
        member.config.commit_interval = Duration::MAX;
        set_target(&shared, &[0, 2]);
        env.sleep(Duration::from_secs(2)).await;
        let read = read_all(&mut member).await;
        assert_eq!(read.keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(offsets(&shared), [10, 1, 10]);
        assert_eq!(shared.lock().groups.told, [vec![], vec![0, 1], vec![0, 2]]);
        member.leave().await.unwrap();
    });
}

#[test]
fn a_fenced_member_joins_by_its_first_epoch_again() {
    for code in [ErrorCode::FencedMemberEpoch, ErrorCode::UnknownMemberId] {
        let broker = testing::broker(&[("t", 1)]);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            set_target(&shared, &[0]);
            let mut member = member(&env, 1).await;
            assert_eq!(read_all(&mut member).await[&0].len(), 10);
            shared
                .lock()
                .groups
                .refuse(ApiKey::ConsumerGroupHeartbeat, &[code]);
            env.sleep(Duration::from_secs(2)).await;
            assert_eq!(member.poll(SOON).await.unwrap(), None);
            assert_eq!(
                shared.lock().groups.told,
                [vec![], vec![0], vec![], vec![0]],
                "{code}"
            );
        });
    }
}

#[test]
fn a_member_that_is_fenced_while_it_gives_up_a_partition_has_none() {
    for code in [ErrorCode::FencedMemberEpoch, ErrorCode::UnknownMemberId] {
        let broker = testing::broker(&[("t", 2)]);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            set_target(&shared, &[0, 1]);
            let mut member = member(&env, 2).await;
            member.poll(SOON).await.unwrap().unwrap();
            member.config.commit_interval = Duration::MAX;
            member.processed(&partition(1), Offset(1));
            set_target(&shared, &[0]);
            // Its commit for what it is to give up comes too late. What it gets when it joins again is nothing.
            shared.lock().groups.refuse(ApiKey::OffsetCommit, &[code]);
            shared.lock().groups.next_target = Some(BTreeMap::new());
            env.sleep(Duration::from_secs(2)).await;
            assert_eq!(read_all(&mut member).await, BTreeMap::new(), "{code}");
            assert_eq!(member.assignment(), Some(&BTreeSet::new()), "{code}");
            assert_eq!(shared.lock().groups.epoch, 2, "{code}");
        });
    }
}

#[test]
fn a_member_that_is_busy_stays_and_one_that_does_not_come_back_leaves() {
    for is_modern in [false, true] {
        let broker = testing::broker(&[("t", 1)]);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            if is_modern {
                set_target(&shared, &[0]);
            }
            let mut member = member(&env, 1).await;
            member.poll(SOON).await.unwrap().unwrap();
            member.processed(&partition(0), Offset(1));
            // Longer than a session.
            env.sleep(Duration::from_secs(15)).await;
            assert!(shared.lock().groups.beats > 10, "{}", shared.lock().groups.beats);
            member.poll(SOON).await.unwrap().unwrap();
            assert_eq!(shared.lock().groups.epoch, 1);
            assert!(shared.lock().groups.has_member());
            // Longer than the group was told that it may take.
            env.sleep(Duration::from_secs(25)).await;
            assert!(!shared.lock().groups.has_member());
            let read = read_all(&mut member).await;
            assert_eq!(read[&0], (1..10).collect::<Vec<_>>());
            assert_eq!(shared.lock().groups.epoch, 2);
        });
    }
}

#[test]
fn a_member_that_is_away_does_not_tell_what_it_has_not_given_up() {
    let broker = testing::broker(&[("t", 2)]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        set_target(&shared, &[0, 1]);
        let mut member = member(&env, 2).await;
        read_all(&mut member).await;
        set_target(&shared, &[0]);
        env.sleep(Duration::from_secs(10)).await;
        assert_eq!(shared.lock().groups.told, [vec![], vec![0, 1]]);
        read_all(&mut member).await;
        assert_eq!(shared.lock().groups.told, [vec![], vec![0, 1], vec![0]]);
    });
}

#[test]
fn a_change_of_the_group_that_another_member_holds_up_ends_nobody() {
    let broker = testing::broker(&[("t", 1)]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let mut member = member_within(&env, 1, Duration::from_secs(10)).await;
        assert_eq!(read_all(&mut member).await[&0].len(), 10);
        {
            let broker = &mut *shared.lock();
            // The first two are not waited for to the end, together for longer than any call may take.
            let long = [20, 20, 10].map(Duration::from_secs);
            broker.delays.insert(ApiKey::JoinGroup, long.into());
            let code = ErrorCode::RebalanceInProgress;
            broker.groups.refuse(ApiKey::Heartbeat, &[code]);
        }
        let begin = env.monotonic();
        // Each poll keeps its limit meanwhile.
        while env.monotonic() - begin < Duration::from_secs(50) {
            let before = env.monotonic();
            assert_eq!(member.poll(SOON).await.unwrap(), None);
            assert!(env.monotonic() - before < 2 * SOON);
        }
        assert!(shared.lock().delays[&ApiKey::JoinGroup].is_empty());
        assert_eq!(member.assignment().map(BTreeSet::len), Some(1));
        assert_eq!(shared.lock().groups.epoch, 4);
    });
}

#[test]
fn a_partition_that_an_open_transaction_holds_keeps_no_other_waiting() {
    for fetch_version in [7, 9] {
        let broker = testing::broker(&[("t", 2)]);
        let shared = broker.clone();
        broker
            .lock()
            .versions
            .insert(ApiKey::OffsetFetch, (1, fetch_version));
        testing::with_broker(&broker, |env| async move {
            shared.lock().groups.unstable.insert(("t".into(), 1));
            let mut member = member(&env, 2).await;
            let read = read_all(&mut member).await;
            assert_eq!(read.keys().collect::<Vec<_>>(), [&0]);
            assert!(!member.is_settled());
            // Longer than any call may take, and than a session.
            assert_eq!(member.poll(Duration::from_secs(40)).await.unwrap(), None);
            {
                let groups = &mut shared.lock().groups;
                assert!(groups.beats > 20 && groups.epoch == 1, "{}", groups.beats);
                groups.unstable.clear();
                groups.offsets.insert(("t".into(), 1), 4);
            }
            let read = read_all(&mut member).await;
            assert_eq!(read, BTreeMap::from([(1, (4..10).collect())]));
            assert!(member.is_settled());
        });
    }
}

#[test]
fn a_partition_without_a_leader_does_not_end_the_member() {
    let broker = testing::broker(&[("t", 2)]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        fill(&client, 2).await;
        shared.lock().unled.insert(("t".into(), 0));
        shared.lock().unled.insert(("t".into(), 1));
        // Of one the group knows where to go on.
        shared.lock().groups.offsets.insert(("t".into(), 1), 4);
        let config = GroupConfig {
            start: OffsetSpec::Earliest,
            ..GroupConfig::new(GROUP, vec!["t".to_owned()])
        };
        let client = testing::client(&env).await;
        let mut member = GroupConsumer::new(client, config).await.unwrap();
        assert_eq!(member.poll(Duration::from_secs(40)).await.unwrap(), None);
        assert!(shared.lock().groups.beats > 10 && !member.is_settled());
        shared.lock().unled.clear();
        let read = read_all(&mut member).await;
        assert_eq!(
            read,
            BTreeMap::from([(0, (0..10).collect()), (1, (4..10).collect())])
        );
        assert_eq!(shared.lock().groups.epoch, 1);
    });
}

#[test]
fn a_commit_for_a_topic_that_the_coordinator_does_not_know_yet_is_made_again() {
    let unknown = ErrorCode::UnknownTopicOrPartition;
    // In the end it was deleted: nothing is committed, and the member goes on.
    for (refusals, expected) in [(1, vec![1]), (2, vec![1]), (20, vec![])] {
        let broker = testing::broker(&[("t", 1)]);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            let mut member = member(&env, 1).await;
            member.poll(SOON).await.unwrap().unwrap();
            shared.lock().groups.offsets.clear();
            member.processed(&partition(0), Offset(1));
            let refused = vec![unknown; refusals];
            shared.lock().groups.refuse(ApiKey::OffsetCommit, &refused);
            member.commit().await.unwrap();
            assert_eq!(offsets(&shared), expected, "{refusals}");
            shared.lock().groups.refusals.clear();
            assert_eq!(read_all(&mut member).await[&0].last(), Some(&9));
            assert_eq!(offsets(&shared), [10]);
        });
    }
}

#[test]
fn a_commit_that_is_refused_is_told_once_and_does_not_end_the_member() {
    let broker = testing::broker(&[("t", 1)]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let mut member = member(&env, 1).await;
        member.poll(SOON).await.unwrap().unwrap();
        member.processed(&partition(0), Offset(1));
        let code = ErrorCode::TopicAuthorizationFailed;
        shared.lock().groups.refuse(ApiKey::OffsetCommit, &[code]);
        let error = member.commit().await.unwrap_err();
        assert!(
            matches!(&error, GroupError::Commit { offset: Offset(1), refusal, .. } if refusal.code == code)
        );
        assert_eq!(read_all(&mut member).await[&0].last(), Some(&9));
        assert_eq!(offsets(&shared), [10]);
    });
}

#[test]
fn a_member_of_a_group_that_was_deleted_joins_again() {
    for is_modern in [false, true] {
        let broker = testing::broker(&[("t", 1)]);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            if is_modern {
                set_target(&shared, &[0]);
            }
            let mut member = member(&env, 1).await;
            member.poll(SOON).await.unwrap().unwrap();
            member.processed(&partition(0), Offset(1));
            let refused = [ErrorCode::GroupIdNotFound];
            shared.lock().groups.refuse(ApiKey::OffsetCommit, &refused);
            member.commit().await.unwrap();
            assert_eq!(read_all(&mut member).await[&0].last(), Some(&9));
            assert_eq!((offsets(&shared), shared.lock().groups.epoch), (vec![10], 2));
        });
    }
}

#[test]
fn a_commit_in_an_old_epoch_is_made_again_in_the_new_one() {
    let broker = testing::broker(&[("t", 1)]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        set_target(&shared, &[0]);
        let mut member = member(&env, 1).await;
        member.poll(SOON).await.unwrap().unwrap();
        shared.lock().groups.epoch += 5;
        member.processed(&partition(0), Offset(1));
        member.commit().await.unwrap();
        assert_eq!(offsets(&shared), [1]);
    });
}

#[test]
fn an_old_coordinator_is_spoken_to_in_its_versions() {
    let broker = testing::broker(&[("t", 1)]);
    let shared = broker.clone();
    let versions = [
        (ApiKey::FindCoordinator, (0, 3)),
        (ApiKey::JoinGroup, (0, 4)),
        (ApiKey::SyncGroup, (0, 4)),
        (ApiKey::LeaveGroup, (0, 2)),
        (ApiKey::OffsetFetch, (1, 6)),
        (ApiKey::OffsetCommit, (2, 7)),
    ];
    broker.lock().versions.extend(versions);
    testing::with_broker(&broker, |env| async move {
        let mut member = member(&env, 1).await;
        assert_eq!(read_all(&mut member).await[&0].len(), 10);
        member.leave().await.unwrap();
        assert_eq!(offsets(&shared), [10]);
    });
}
