//! AlterPartition and ElectLeaders.

use klamm_protocol::messages::alter_partition_request as alter;
use klamm_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use klamm_protocol::metadata_records::{BrokerRegistrationChangeRecord, PartitionChangeRecord};

use super::*;

/// A partition on brokers 1, 2 and 3, led by 1, with 1 and 2 in sync, two being needed.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.topic("t", &[&[1, 2, 3]], &[("min.insync.replicas", "2")]);
    let change = PartitionChangeRecord {
        isr: Some(vec![1, 2]),
        ..change_of(&cluster)
    };
    cluster.commit(&[change.into()]);
    cluster
}

fn change_of(cluster: &Cluster) -> PartitionChangeRecord {
    let topic_id = cluster.image.topics().by_name("t").unwrap().id;
    PartitionChangeRecord {
        topic_id,
        partition_id: 0,
        ..Default::default()
    }
}

struct Proposal<'a> {
    from: i32,
    leader_epoch: i32,
    partition_epoch: i32,
    isr: &'a [(i32, i64)],
    recovery: i8,
}

const PROPOSAL: Proposal<'static> = Proposal {
    from: 1,
    leader_epoch: 0,
    partition_epoch: 1,
    isr: &[(1, -1), (2, 2), (3, 3)],
    recovery: 0,
};

fn propose(cluster: &mut Cluster, proposal: &Proposal<'_>) -> (i16, Vec<i32>, i32) {
    let state = |(broker_id, broker_epoch): &(i32, i64)| alter::BrokerState {
        broker_id: *broker_id,
        broker_epoch: *broker_epoch,
        ..Default::default()
    };
    let partition = alter::PartitionData {
        partition_index: 0,
        leader_epoch: proposal.leader_epoch,
        new_isr_with_epochs: proposal.isr.iter().map(state).collect(),
        leader_recovery_state: proposal.recovery,
        partition_epoch: proposal.partition_epoch,
        ..Default::default()
    };
    let topic_id = cluster.image.topics().by_name("t").unwrap().id;
    let request = alter::AlterPartitionRequest {
        broker_id: proposal.from,
        broker_epoch: proposal.from.into(),
        topics: vec![alter::TopicData {
            topic_id,
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = cluster.does(|context| alter_partition::decide(context, 3, &request));
    assert_eq!(response.error_code, 0);
    let partition = &response.topics[0].partitions[0];
    (
        partition.error_code,
        partition.isr.clone(),
        partition.partition_epoch,
    )
}

#[test]
fn a_leader_changes_its_in_sync_set() {
    let mut cluster = cluster();
    assert_eq!(propose(&mut cluster, &PROPOSAL), (0, vec![1, 2, 3], 2));
    assert_eq!(cluster.shown("t", 0), "leader 1 isr 1,2,3");
    let shrink = Proposal {
        partition_epoch: 2,
        isr: &[(1, -1)],
        ..PROPOSAL
    };
    assert_eq!(propose(&mut cluster, &shrink), (0, vec![1], 3));
    assert_eq!(cluster.shown("t", 0), "leader 1 isr 1 elr 2,3");
    let same = Proposal {
        partition_epoch: 3,
        isr: &[(1, -1)],
        ..PROPOSAL
    };
    assert_eq!(propose(&mut cluster, &same), (0, vec![1], 3), "nothing changes");
}

#[test]
fn proposals_are_refused() {
    let cases = [
        (
            Proposal {
                leader_epoch: 1,
                ..PROPOSAL
            },
            41,
        ),
        (
            Proposal {
                partition_epoch: 2,
                ..PROPOSAL
            },
            41,
        ),
        (
            Proposal {
                leader_epoch: -1,
                ..PROPOSAL
            },
            74,
        ),
        (Proposal { from: 2, ..PROPOSAL }, 42),
        (
            Proposal {
                partition_epoch: 0,
                ..PROPOSAL
            },
            95,
        ),
        (
            Proposal {
                isr: &[(2, -1)],
                ..PROPOSAL
            },
            42,
        ),
        (
            Proposal {
                isr: &[(1, -1), (9, -1)],
                ..PROPOSAL
            },
            42,
        ),
        (
            Proposal {
                isr: &[(1, -1), (1, -1)],
                ..PROPOSAL
            },
            42,
        ),
        (
            Proposal {
                isr: &[(1, -1), (2, 7)],
                ..PROPOSAL
            },
            107,
        ),
        (
            Proposal {
                isr: &[(1, -1)],
                recovery: 1,
                ..PROPOSAL
            },
            42,
        ),
        (
            Proposal {
                recovery: 5,
                ..PROPOSAL
            },
            42,
        ),
    ];
    for (at, (proposal, code)) in cases.iter().enumerate() {
        let mut cluster = cluster();
        assert_eq!(propose(&mut cluster, proposal).0, *code, "case {at}");
        assert_eq!(cluster.shown("t", 0), "leader 1 isr 1,2");
    }
    let mut cluster = cluster();
    let fence = BrokerRegistrationChangeRecord {
        broker_id: 3,
        broker_epoch: 3,
        fenced: 1,
        ..Default::default()
    };
    cluster.commit(&[fence.into()]);
    assert_eq!(propose(&mut cluster, &PROPOSAL).0, 107);
}

#[test]
fn strangers_and_unknown_partitions_are_told_so() {
    let mut cluster = cluster();
    let topic_id = cluster.image.topics().by_name("t").unwrap().id;
    let ask = |broker_epoch, topic_id, partition_index| alter::AlterPartitionRequest {
        broker_id: 1,
        broker_epoch,
        topics: vec![alter::TopicData {
            topic_id,
            partitions: vec![alter::PartitionData {
                partition_index,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let cases = [
        (9, topic_id, 0, 77, None),
        (1, Uuid::ONE, 0, 0, Some(100)),
        (1, topic_id, 1, 0, Some(3)),
    ];
    for (broker_epoch, topic_id, partition, code, inner) in cases {
        let request = ask(broker_epoch, topic_id, partition);
        let response = cluster.does(|context| alter_partition::decide(context, 3, &request));
        let first = response
            .topics
            .first()
            .map(|topic| topic.partitions[0].error_code);
        assert_eq!((response.error_code, first), (code, inner));
    }
}

fn elect(
    cluster: &mut Cluster,
    election_type: i8,
    partitions: Option<&[(&str, &[i32])]>,
) -> Vec<(String, i32, i16, Option<String>)> {
    let topic = |(topic, partitions): &(&str, &[i32])| TopicPartitions {
        topic: (*topic).into(),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    let request = ElectLeadersRequest {
        election_type,
        topic_partitions: partitions.map(|topics| topics.iter().map(topic).collect()),
        ..Default::default()
    };
    let response = cluster.does(|context| elect_leaders::decide(context, &request));
    let results = response.replica_election_results.into_iter();
    let flat = results.flat_map(|topic| {
        let name = topic.topic.to_string();
        topic.partition_result.into_iter().map(move |each| {
            let words = each.error_message.map(|words| words.to_string());
            (name.clone(), each.partition_id, each.error_code, words)
        })
    });
    flat.collect()
}

#[test]
fn operators_move_leaderships() {
    let mut cluster = cluster();
    let led_by_2 = PartitionChangeRecord {
        leader: 2,
        ..change_of(&cluster)
    };
    cluster.commit(&[led_by_2.into()]);
    let t = |code, words: Option<&str>| [("t".to_owned(), 0, code, words.map(str::to_owned))];
    assert_eq!(elect(&mut cluster, 0, Some(&[("t", &[0])])), t(0, None));
    assert_eq!(cluster.shown("t", 0), "leader 1 isr 1,2");
    let not_needed = Some("Leader election not needed for topic partition.");
    assert_eq!(elect(&mut cluster, 0, Some(&[("t", &[0])])), t(84, not_needed));
    assert_eq!(elect(&mut cluster, 1, Some(&[("t", &[0])])), t(84, not_needed));
    assert_eq!(
        elect(&mut cluster, 0, None),
        [],
        "those that need none are left out"
    );
    let unknown = elect(&mut cluster, 0, Some(&[("x", &[0]), ("t", &[5])]));
    let expected = [
        ("x".to_owned(), 0, 3, Some("No such topic as x".to_owned())),
        ("t".to_owned(), 5, 3, Some("No such partition as t-5".to_owned())),
    ];
    assert_eq!(unknown, expected);
}

#[test]
fn elections_need_somebody() {
    let mut cluster = cluster();
    let behind = PartitionChangeRecord {
        leader: 2,
        isr: Some(vec![2, 3]),
        ..change_of(&cluster)
    };
    cluster.commit(&[behind.into()]);
    let preferred = elect(&mut cluster, 0, Some(&[("t", &[0])]));
    assert_eq!(
        (preferred[0].2, preferred[0].3.as_deref()),
        (80, Some("The preferred leader was not available."))
    );
    let lost = PartitionChangeRecord {
        leader: -1,
        isr: Some(vec![]),
        ..change_of(&cluster)
    };
    cluster.commit(&[lost.into()]);
    assert_eq!(elect(&mut cluster, 1, Some(&[("t", &[0])]))[0].2, 0);
    assert_eq!(cluster.shown("t", 0), "leader 1 isr 1 recovering");
    let lost = PartitionChangeRecord {
        leader: -1,
        isr: Some(vec![]),
        ..change_of(&cluster)
    };
    let gone = |id: i32| BrokerRegistrationChangeRecord {
        broker_id: id,
        broker_epoch: id.into(),
        fenced: 1,
        ..Default::default()
    };
    cluster.commit(&[lost.into(), gone(1).into(), gone(2).into(), gone(3).into()]);
    let nobody = elect(&mut cluster, 1, Some(&[("t", &[0])]));
    let words = "Eligible topic partition leaders are not available.";
    assert_eq!((nobody[0].2, nobody[0].3.as_deref()), (83, Some(words)));
}

#[test]
fn leaderships_are_balanced_without_being_asked() {
    let mut cluster = Cluster::new(2);
    cluster.topic(
        "t",
        &[&[1, 2], &[1, 2], &[2, 1]],
        &[("unclean.leader.election.enable", "true")],
    );
    let moved = |number, leader, isr: &[i32]| PartitionChangeRecord {
        partition_id: number,
        leader,
        isr: Some(isr.to_vec()),
        ..change_of(&cluster)
    };
    let changes = [
        moved(0, 2, &[1, 2]).into(),
        moved(1, 2, &[2]).into(),
        moved(2, -1, &[]).into(),
    ];
    cluster.commit(&changes);
    assert_eq!(
        cluster
            .context(|context| elect_leaders::balance(context, true, 1))
            .len(),
        1
    );
    for (preferred, shown) in [
        (false, ["leader 2 isr 1,2", "leader 2 isr 2"]),
        (true, ["leader 1 isr 1,2", "leader 2 isr 2"]),
    ] {
        let records = cluster.context(|context| elect_leaders::balance(context, preferred, 10));
        cluster.commit(&records);
        assert_eq!([cluster.shown("t", 0), cluster.shown("t", 1)], shown);
        assert_eq!(cluster.shown("t", 2), "leader 2 isr 2 recovering");
    }
}
