use super::*;
use crate::consumer::{Isolation, OffsetSpec};
use crate::group::{GroupConfig, GroupConsumer};
use crate::producer::{Producer, ProducerConfig, ProducerRecord};
use crate::testing::{self, groups::GROUP};
use klamm_model::TimestampMs;
use std::time::Duration;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn groups_are_listed_and_filtered_where_the_broker_can() {
    let cases = [
        (5, "", "", Some("a b")),
        (5, "Stable", "", Some("a")),
        (5, "Stable Empty", "Classic", Some("b")),
        (4, "Empty", "", Some("b")),
        (4, "Empty", "Classic", None),
        (2, "", "", Some("a b")),
        // Nothing at all would be a lie.
        (3, "Empty", "", None),
    ];
    for (version, states, kinds, expected) in cases {
        let broker = testing::broker(&[]);
        broker.lock().versions.insert(ApiKey::ListGroups, (0, version));
        testing::with_broker(&broker, |env| async move {
            let admin = Admin::new(testing::client(&env).await);
            let listed = admin.list_groups(&words(states), &words(kinds)).await;
            if let Some(first) = listed.iter().flatten().next() {
                assert_eq!(first.kind.is_some(), version >= 5);
            }
            let names = listed.ok().map(|listed| {
                let names: Vec<String> = listed.into_iter().map(|group| group.name).collect();
                names.join(" ")
            });
            assert_eq!(names.as_deref(), expected, "version {version}");
        });
    }
}

#[test]
fn groups_of_both_protocols_are_described_alike() {
    for is_modern in [false, true] {
        let broker = testing::broker(&[("t", 2)]);
        let shared = broker.clone();
        testing::with_broker(&broker, |env| async move {
            shared.lock().groups.is_modern = is_modern;
            shared.lock().groups.target = BTreeMap::from([("t", vec![0, 1])]);
            let client = testing::client(&env).await;
            let config = GroupConfig::new(GROUP, vec!["t".to_owned()]);
            let mut member = GroupConsumer::new(client.clone(), config).await.unwrap();
            member.poll(Duration::from_millis(100)).await.unwrap();
            let group = Admin::new(client).describe_group(GROUP).await.unwrap().unwrap();
            let (kind, assignor) = match is_modern {
                true => (GroupKind::Consumer, "uniform"),
                false => (GroupKind::Classic, "range"),
            };
            assert_eq!((group.kind, group.assignor.as_deref()), (kind, Some(assignor)));
            assert_eq!(
                (group.state.as_str(), group.epoch.is_some()),
                ("Stable", is_modern)
            );
            assert_eq!(group.coordinator.id.0, 1);
            let assigned = BTreeSet::from([0, 1].map(|index| TopicPartition::new("t", index)));
            assert_eq!(group.members[0].assigned, Some(assigned));
            if !is_modern {
                assert_eq!(group.members[0].host, "10.0.0.1");
            }
        });
    }
}

#[test]
fn offsets_are_set_without_a_member_and_make_a_simple_group() {
    let broker = testing::broker(&[("t", 1)]);
    testing::with_broker(&broker, |env| async move {
        let admin = Admin::new(testing::client(&env).await);
        let missing = admin.describe_group(GROUP).await.unwrap().unwrap_err();
        assert_eq!(missing.code, ErrorCode::GroupIdNotFound);
        let partition = TopicPartition::new("t", 0);
        let offsets = BTreeMap::from([(partition.clone(), Offset(7))]);
        let set = admin.set_group_offsets(GROUP, &offsets).await.unwrap();
        assert_eq!(set[&partition], Ok(()));
        assert_eq!(
            admin.group_offsets(GROUP).await.unwrap()[&partition].offset,
            Offset(7)
        );
        let group = admin.describe_group(GROUP).await.unwrap().unwrap();
        assert_eq!((group.kind, group.members.len()), (GroupKind::Simple, 0));
    });
}

#[test]
fn what_one_group_is_refused_does_not_keep_the_others() {
    let broker = testing::broker(&[]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let codes = [
            ErrorCode::NonEmptyGroup,
            ErrorCode::None,
            ErrorCode::NotCoordinator,
        ];
        shared.lock().groups.refuse(ApiKey::DeleteGroups, &codes);
        let admin = Admin::new(testing::client(&env).await);
        let deleted = admin.delete_groups(&["a", "b", "c"]).await;
        let codes: Vec<_> = deleted
            .iter()
            .map(|(name, result)| (name.as_str(), result.as_ref().err().and_then(ClientError::code)))
            .collect();
        let mut refused = codes.clone();
        refused.retain(|(_, code)| code.is_some());
        assert_eq!(
            codes.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["a", "b", "c"]
        );
        assert_eq!(refused.len(), 1, "{codes:?}");
        assert_eq!(refused[0].1, Some(ErrorCode::NonEmptyGroup));
        // Nor does a coordinator that cannot be found at all: the others are gone, and said to be.
        let gone = [ErrorCode::GroupAuthorizationFailed];
        shared.lock().groups.refuse(ApiKey::FindCoordinator, &gone);
        let deleted = admin.delete_groups(&["a", "b", "c"]).await;
        assert_eq!(deleted.iter().filter(|(_, result)| result.is_ok()).count(), 2);
    });
}

#[test]
fn a_partition_whose_end_is_not_told_hides_no_other_end() {
    for code in [
        ErrorCode::TopicAuthorizationFailed,
        ErrorCode::KafkaStorageError,
        ErrorCode::NotLeaderOrFollower,
    ] {
        let broker = testing::broker(&[("t", 3)]);
        broker.lock().unled.insert(("t".into(), 0));
        broker.lock().untold.insert(("t".into(), 1), code);
        testing::with_broker(&broker, |env| async move {
            let admin = Admin::new(testing::client(&env).await);
            let names = [("gone", 0), ("t", 0), ("t", 1), ("t", 2)];
            let partitions = names.map(|(topic, index)| TopicPartition::new(topic, index));
            let ends = admin.known_ends(&partitions).await.unwrap();
            let told = BTreeMap::from([(TopicPartition::new("t", 2), Offset(0))]);
            assert_eq!(ends, told, "{code}");
        });
    }
}

#[test]
fn an_end_that_is_told_late_is_waited_for_beside_one_that_is_refused_for_good() {
    for (refused, late) in [(0, 1), (1, 0)] {
        let broker = testing::broker(&[("t", 2)]);
        let codes = [
            (refused, ErrorCode::TopicAuthorizationFailed),
            (late, ErrorCode::NotLeaderOrFollower),
        ];
        for (index, code) in codes {
            broker.lock().untold.insert(("t".into(), index), code);
        }
        let shared = broker.clone();
        testing::with_broker(&broker, move |env| async move {
            let admin = Admin::new(testing::client(&env).await);
            let partitions = [0, 1].map(|index| TopicPartition::new("t", index));
            let soon = async {
                env.sleep(Duration::from_millis(500)).await;
                shared.lock().untold.remove(&("t".into(), late));
            };
            let (ends, ()) = tokio::join!(admin.known_ends(&partitions), soon);
            let told = BTreeMap::from([(TopicPartition::new("t", late), Offset(0))]);
            assert_eq!(ends.unwrap(), told, "refused: {refused}");
        });
    }
}

#[test]
fn who_needs_all_ends_does_not_wait_for_one_that_is_late_when_another_is_refused_for_good() {
    for (refused, late) in [(0, 1), (1, 0)] {
        let broker = testing::broker(&[("t", 2)]);
        let codes = [
            (refused, ErrorCode::TopicAuthorizationFailed),
            (late, ErrorCode::NotLeaderOrFollower),
        ];
        for (index, code) in codes {
            broker.lock().untold.insert(("t".into(), index), code);
        }
        testing::with_broker(&broker, move |env| async move {
            let client = testing::client(&env).await;
            let asked = [0, 1].map(|index| (TopicPartition::new("t", index), OffsetSpec::Latest));
            let begun = env.monotonic();
            let error = client
                .list_offsets(&asked, Isolation::ReadUncommitted)
                .await
                .unwrap_err();
            assert_eq!(error.code(), Some(ErrorCode::TopicAuthorizationFailed));
            assert!(
                env.monotonic() - begun < Duration::from_secs(5),
                "refused: {refused}"
            );
        });
    }
}

#[test]
fn the_time_of_the_first_unread_record_is_found() {
    let broker = testing::broker(&[("t", 2)]);
    let shared = broker.clone();
    testing::with_broker(&broker, |env| async move {
        let client = testing::client(&env).await;
        let producer = Producer::new(client.clone(), ProducerConfig::default());
        for n in 0..20 {
            let record = ProducerRecord {
                partition: Some(n % 2),
                value: Some("x".into()),
                timestamp: Some(TimestampMs(i64::from(1_000 + n))),
                ..ProducerRecord::default()
            };
            drop(producer.send("t", record).await.unwrap());
        }
        producer.flush().await;
        let (first, second) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        let offsets = BTreeMap::from([
            (first.clone(), (Offset(4), Offset(10))),
            (second.clone(), (Offset(10), Offset(10))),
        ]);
        let admin = Admin::new(client);
        let expected = BTreeMap::from([(first.clone(), TimestampMs(1_008))]);
        assert_eq!(admin.times_of_unread(&offsets).await, expected);
        // One that cannot be read keeps no other from being shown.
        let mut offsets = offsets;
        offsets.insert(TopicPartition::new("nope", 0), (Offset(4), Offset(10)));
        offsets.insert(second, (Offset(0), Offset(10)));
        shared.lock().topics.get_mut("t").unwrap()[1].is_damaged = true;
        assert_eq!(admin.times_of_unread(&offsets).await, expected);
    });
}
