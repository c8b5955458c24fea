//! Whatever is decided in whatever order, the image stays one that a cluster can live with.

use std::collections::BTreeMap;
use std::time::Duration;

use klamm_protocol::messages::alter_partition_request as alter;
use klamm_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use klamm_protocol::messages::create_partitions_request as grow;
use klamm_protocol::messages::create_topics_request as create;
use klamm_protocol::messages::delete_topics_request as delete;
use klamm_protocol::messages::elect_leaders_request::ElectLeadersRequest;
use klamm_protocol::messages::unregister_broker_request::UnregisterBrokerRequest;
use klamm_protocol::metadata_records::RegisterBrokerRecord;
use proptest::prelude::*;

use super::*;
use crate::controller::isr_changes::Event;

#[derive(Debug, Clone)]
enum Step {
    Create {
        name: u8,
        partitions: i32,
        factor: i16,
        durable: bool,
        unclean: bool,
    },
    Delete {
        name: u8,
    },
    Grow {
        name: u8,
        count: i32,
    },
    Restart {
        id: i32,
        clean: bool,
    },
    Heartbeat {
        id: i32,
        fence: bool,
        stop: bool,
    },
    Silence {
        id: i32,
    },
    Unregister {
        id: i32,
    },
    Isr {
        name: u8,
        partition: i32,
        members: Vec<i32>,
        stale: bool,
    },
    Elect {
        unclean: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let flag = any::<bool>;
    prop_oneof![
        3 => (0..3u8, 1..4i32, 1..4i16, flag(), flag())
            .prop_map(|(name, partitions, factor, durable, unclean)| Step::Create { name, partitions, factor, durable, unclean }),
        1 => (0..3u8).prop_map(|name| Step::Delete { name }),
        1 => (0..3u8, 1..6i32).prop_map(|(name, count)| Step::Grow { name, count }),
        3 => (1..4i32, flag()).prop_map(|(id, clean)| Step::Restart { id, clean }),
        6 => (1..4i32, flag(), flag()).prop_map(|(id, fence, stop)| Step::Heartbeat { id, fence: fence && stop, stop: stop && !fence }),
        2 => (1..4i32).prop_map(|id| Step::Silence { id }),
        1 => (1..4i32).prop_map(|id| Step::Unregister { id }),
        6 => (0..3u8, 0..4i32, proptest::collection::vec(1..5i32, 0..4), flag())
            .prop_map(|(name, partition, members, stale)| Step::Isr { name, partition, members, stale }),
        1 => flag().prop_map(|unclean| Step::Elect { unclean }),
    ]
}

fn name(number: u8) -> ByteString {
    format!("topic-{number}").into()
}

fn take(cluster: &mut Cluster, step: Step) {
    let records = cluster.context(|context| records(context, step));
    cluster.commit(&records);
}

fn records(context: &mut Context<'_>, step: Step) -> Vec<MetadataRecord> {
    let sessions = Sessions::new(context.image, Duration::from_secs(9), Duration::ZERO);
    let offset = context.image.position().index as i64 + 1;
    match step {
        Step::Create {
            name: topic,
            partitions,
            factor,
            durable,
            unclean,
        } => {
            let config = |name: &str, value: &str| create::CreatableTopicConfig {
                name: name.into(),
                value: Some(value.into()),
                ..Default::default()
            };
            let topic = create::CreatableTopic {
                name: name(topic),
                num_partitions: partitions,
                replication_factor: factor,
                configs: vec![
                    config("klamm.durability", if durable { "fsync" } else { "page-cache" }),
                    config(
                        "unclean.leader.election.enable",
                        if unclean { "true" } else { "false" },
                    ),
                    config("min.insync.replicas", "2"),
                ],
                ..Default::default()
            };
            let request = create::CreateTopicsRequest {
                topics: vec![topic],
                ..Default::default()
            };
            create_topics::decide(context, &request).records
        }
        Step::Delete { name: topic } => {
            let request = delete::DeleteTopicsRequest {
                topic_names: vec![name(topic)],
                ..Default::default()
            };
            delete_topics::decide(context, &request).records
        }
        Step::Grow { name: topic, count } => {
            let topic = grow::CreatePartitionsTopic {
                name: name(topic),
                count,
                ..Default::default()
            };
            let topic = grow::CreatePartitionsTopic {
                assignments: None,
                ..topic
            };
            let request = grow::CreatePartitionsRequest {
                topics: vec![topic],
                ..Default::default()
            };
            create_partitions::decide(context, &request).records
        }
        Step::Restart { id, clean } => {
            let event = if clean { Event::Goes } else { Event::Crashed };
            let mut records = context.isr_changes(event(BrokerId(id))).unwrap();
            records.push(
                RegisterBrokerRecord {
                    fenced: true,
                    ..broker(id, offset)
                }
                .into(),
            );
            records
        }
        Step::Heartbeat { id, fence, stop } => {
            let epoch = context
                .image
                .cluster()
                .broker(BrokerId(id))
                .map_or(-1, |broker| broker.epoch);
            let request = BrokerHeartbeatRequest {
                broker_id: id,
                broker_epoch: epoch,
                current_metadata_offset: offset,
                want_fence: fence,
                want_shut_down: stop,
                ..Default::default()
            };
            heartbeat::decide(context, &sessions, &request).records
        }
        Step::Silence { id } => {
            let mut sessions = Sessions::new(&Image::default(), Duration::from_secs(9), Duration::ZERO);
            sessions.heard(BrokerId(id), 0, 0, Duration::ZERO);
            fence_stale::decide(context, &sessions, Duration::from_secs(10)).records
        }
        Step::Unregister { id } => {
            let request = UnregisterBrokerRequest {
                broker_id: id,
                ..Default::default()
            };
            unregister_broker::decide(context, &request).records
        }
        Step::Isr {
            name: topic,
            partition,
            members,
            stale,
        } => isr_records(context, &name(topic), partition, &members, stale),
        Step::Elect { unclean } => {
            let request = ElectLeadersRequest {
                election_type: unclean.into(),
                topic_partitions: None,
                ..Default::default()
            };
            elect_leaders::decide(context, &request).records
        }
    }
}

/// The leader's proposal of `members`, or one that was overtaken.
fn isr_records(
    context: &Context<'_>,
    topic: &str,
    number: i32,
    members: &[i32],
    stale: bool,
) -> Vec<MetadataRecord> {
    let Some(topic) = context.image.topics().by_name(topic) else {
        return Vec::new();
    };
    let Some(partition) = topic.partition(number) else {
        return Vec::new();
    };
    let leader = partition.leader.unwrap_or(BrokerId(1));
    let epoch = context
        .image
        .cluster()
        .broker(leader)
        .map_or(-1, |broker| broker.epoch);
    let member = |id: i32| alter::BrokerState {
        broker_id: id,
        ..Default::default()
    };
    let proposal = alter::PartitionData {
        partition_index: number,
        leader_epoch: partition.leader_epoch.0,
        new_isr_with_epochs: members.iter().copied().chain([leader.0]).map(member).collect(),
        partition_epoch: partition.partition_epoch - i32::from(stale),
        ..Default::default()
    };
    let request = alter::AlterPartitionRequest {
        broker_id: leader.0,
        broker_epoch: epoch,
        topics: vec![alter::TopicData {
            topic_id: topic.id,
            partitions: vec![proposal],
            ..Default::default()
        }],
        ..Default::default()
    };
    alter_partition::decide(context, 3, &request).records
}

/// Leader epoch, partition epoch and leader of each partition.
type Epochs = BTreeMap<(Uuid, usize), (i32, i32, Option<BrokerId>)>;

fn check(image: &Image, before: &Epochs) -> Epochs {
    let mut epochs = Epochs::new();
    for topic in image.topics().iter() {
        for (number, partition) in topic.partitions.iter().enumerate() {
            let shown = format!("{}-{number}: {partition:?}", topic.name);
            let members = || {
                partition
                    .isr
                    .iter()
                    .chain(&partition.elr)
                    .chain(&partition.leader)
            };
            assert!(
                members().all(|id| partition.is_replica(*id)),
                "within the replicas: {shown}"
            );
            assert!(
                partition.isr.iter().all(|id| !partition.elr.contains(id)),
                "ISR and ELR apart: {shown}"
            );
            if let Some(leader) = partition.leader {
                assert!(partition.isr.contains(&leader), "the leader is in sync: {shown}");
                assert!(
                    image.cluster().is_unfenced(leader),
                    "the leader is there: {shown}"
                );
                assert!(
                    partition.last_known_elr.is_empty(),
                    "no last leader beside one: {shown}"
                );
            }
            let fenced = |id: &BrokerId| !image.cluster().is_unfenced(*id);
            assert!(
                !partition.isr.iter().any(fenced),
                "fenced brokers are not in sync: {shown}"
            );
            let now = (
                partition.leader_epoch.0,
                partition.partition_epoch,
                partition.leader,
            );
            if let Some(then) = before.get(&(topic.id, number)) {
                assert!(
                    now.0 >= then.0 && now.1 >= then.1,
                    "epochs never go back: {shown}"
                );
                assert!(
                    now.2 == then.2 || now.0 > then.0,
                    "a new leader has a new epoch: {shown}"
                );
            }
            epochs.insert((topic.id, number), now);
        }
    }
    epochs
}

proptest! {
    #[test]
    fn no_decision_leaves_an_invalid_image(steps in proptest::collection::vec(step(), 0..60), brokers in 1..4i32) {
        let mut cluster = Cluster::new(brokers);
        let mut epochs = Epochs::new();
        for step in steps {
            take(&mut cluster, step);
            epochs = check(&cluster.image, &epochs);
        }
        let position = cluster.image.position();
        let (again, _) = Image::default().apply(position, &cluster.image.write_snapshot()).unwrap();
        prop_assert_eq!(again, cluster.image);
    }
}
