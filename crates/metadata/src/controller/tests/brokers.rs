//! Brokers that come and go: BrokerRegistration, BrokerHeartbeat, fencing, UnregisterBroker, AllocateProducerIds.

use std::time::Duration;

use klamm_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use klamm_protocol::messages::broker_heartbeat_request::BrokerHeartbeatRequest;
use klamm_protocol::messages::broker_heartbeat_response::BrokerHeartbeatResponse;
use klamm_protocol::messages::broker_registration_request::{BrokerRegistrationRequest, Feature};
use klamm_protocol::messages::unregister_broker_request::UnregisterBrokerRequest;

use super::*;
use crate::image::directory;

const TIMEOUT: Duration = Duration::from_secs(9);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The request of broker `id`'s incarnation `incarnation`, whose earlier one had `previous`.
fn registration(id: i32, incarnation: u8, previous: i64) -> BrokerRegistrationRequest {
    let features = broker(id, 0).features.into_iter().map(|feature| Feature {
        name: feature.name,
        min_supported_version: feature.min_supported_version,
        max_supported_version: feature.max_supported_version,
        ..Default::default()
    });
    let elr = Feature {
        name: "eligible.leader.replicas.version".into(),
        max_supported_version: 1,
        ..Default::default()
    };
    BrokerRegistrationRequest {
        broker_id: id,
        cluster_id: "cluster".into(),
        incarnation_id: Uuid([incarnation; 16]),
        features: features.chain([elr]).collect(),
        log_dirs: vec![Uuid([100 + id as u8; 16])],
        previous_broker_epoch: previous,
        ..Default::default()
    }
}

fn register(
    cluster: &mut Cluster,
    sessions: &Sessions,
    now: Duration,
    request: &BrokerRegistrationRequest,
) -> Result<i64, (i16, String)> {
    let epoch = cluster.image.position().index as i64 + 1;
    let decided =
        cluster.context(|context| register_broker::decide(context, sessions, "cluster", epoch, now, request));
    match decided {
        Ok(decision) => {
            cluster.commit(&decision.records);
            Ok(decision.response.unwrap().broker_epoch)
        }
        Err(refusal) => Err((refusal.code.code(), refusal.message.unwrap_or_default())),
    }
}

/// A heartbeat of the newest incarnation: wants to be fenced, wants to stop.
fn beat(
    cluster: &mut Cluster,
    sessions: &mut Sessions,
    id: i32,
    want: (bool, bool),
) -> BrokerHeartbeatResponse {
    let epoch = cluster.image.cluster().broker(BrokerId(id)).unwrap().epoch;
    let offset = cluster.image.position().index as i64;
    let request = BrokerHeartbeatRequest {
        broker_id: id,
        broker_epoch: epoch,
        current_metadata_offset: offset,
        want_fence: want.0,
        want_shut_down: want.1,
        ..Default::default()
    };
    let response = cluster
        .does_all(|context| heartbeat::decide(context, sessions, &request))
        .0;
    sessions.heard(BrokerId(id), epoch, offset, at(0));
    response
}

fn sessions(cluster: &Cluster, now: Duration) -> Sessions {
    Sessions::new(&cluster.image, TIMEOUT, now)
}

#[test]
fn a_lone_node_that_was_killed_is_back_at_once() {
    for (configs, crashed) in [
        (&[][..], "leader none isr  elr 1 last 1"),
        (&[("klamm.durability", "page-cache")], "leader none isr  last 1"),
    ] {
        let mut cluster = Cluster::new(1);
        cluster.topic("t", &[&[1]], configs);
        let mut sessions = sessions(&cluster, at(0));
        let epoch = register(&mut cluster, &sessions, at(0), &registration(1, 9, -1)).unwrap();
        assert_eq!(cluster.shown("t", 0), crashed);
        assert!(cluster.image.cluster().broker(BrokerId(1)).unwrap().fenced);
        sessions.heard(BrokerId(1), epoch, 0, at(0));
        let response = beat(&mut cluster, &mut sessions, 1, (false, false));
        assert_eq!(
            (response.error_code, response.is_fenced, response.is_caught_up),
            (0, false, true)
        );
        // Where the disk was not waited for, the log may have lost its end.
        let led = if configs.is_empty() {
            "leader 1 isr 1"
        } else {
            "leader 1 isr 1 recovering"
        };
        assert_eq!(cluster.shown("t", 0), led);
    }
}

#[test]
fn registrations_are_refused() {
    let mut cluster = Cluster::new(2);
    let mut sessions = sessions(&cluster, at(0));
    sessions.heard(BrokerId(2), 2, 0, at(0));
    let change = |change: fn(&mut BrokerRegistrationRequest)| {
        let mut request = registration(1, 9, -1);
        change(&mut request);
        request
    };
    let twice = "Another broker is registered with that broker id. If the broker was recently restarted this should \
                 self-resolve once the heartbeat manager expires the broker's session.";
    let unable = "Unable to register because the broker does not support finalized version 2 of transaction.version. The \
                  broker wants a version between 0 and 1, inclusive.";
    let cases = [
        (
            change(|r| r.cluster_id = "other".into()),
            104,
            "Expected cluster ID cluster, but got cluster ID other",
        ),
        (registration(2, 9, -1), 101, twice),
        (
            change(|r| r.log_dirs.clear()),
            119,
            "No directories specified in request",
        ),
        (
            change(|r| r.log_dirs = vec![Uuid::ONE]),
            119,
            "Reserved directory ID in request",
        ),
        (
            change(|r| r.log_dirs.push(r.log_dirs[0])),
            119,
            "Duplicate directory ID in request",
        ),
        (
            change(|r| r.log_dirs = vec![Uuid([102; 16])]),
            119,
            "Broker 2 is already registered with directory ZmZmZmZmZmZmZmZmZmZmZg",
        ),
        (
            change(|r| r.features.clear()),
            119,
            "Request features do not contain 'metadata.version'",
        ),
        (change(|r| r.features[1].max_supported_version = 1), 35, unable),
    ];
    for (request, code, words) in cases {
        assert_eq!(
            register(&mut cluster, &sessions, at(1), &request),
            Err((code, words.to_owned()))
        );
    }
    // The session has ended: nobody is in the way.
    assert!(register(&mut cluster, &sessions, at(9), &registration(2, 9, 2)).is_ok());
}

#[test]
fn the_same_incarnation_changes_what_it_said() {
    let mut cluster = Cluster::new(1);
    let sessions = sessions(&cluster, at(0));
    let mut request = registration(1, 1, -1);
    request.rack = Some("r".into());
    assert_eq!(register(&mut cluster, &sessions, at(1), &request), Ok(1));
    let broker = cluster.image.cluster().broker(BrokerId(1)).unwrap();
    assert_eq!((broker.rack.as_deref(), broker.fenced), (Some("r"), false));
}

#[test]
fn silent_brokers_are_fenced_one_by_one() {
    let mut cluster = Cluster::new(3);
    cluster.topic("t", &[&[1, 2, 3]], &[("min.insync.replicas", "2")]);
    let mut sessions = sessions(&cluster, at(0));
    sessions.heard(BrokerId(3), 3, 0, at(5));
    let mut fenced = Vec::new();
    while let Some(id) = cluster.does(|context| fence_stale::decide(context, &sessions, at(9))) {
        sessions.forget(id);
        fenced.push((id.0, cluster.shown("t", 0)));
    }
    let expected = [
        (1, "leader 2 isr 2,3".to_owned()),
        (2, "leader 3 isr 3 elr 2".to_owned()),
    ];
    assert_eq!(fenced, expected);
    assert!(
        cluster.image.cluster().is_active(BrokerId(3)) && !cluster.image.cluster().is_unfenced(BrokerId(1))
    );
}

#[test]
fn a_broker_that_falls_silent_while_it_comes_leads_nothing() {
    use crate::controller::isr_changes::Event;
    let mut cluster = Cluster::new(1);
    cluster.topic("t", &[&[1]], &[]);
    let mut sessions = sessions(&cluster, at(0));
    let fenced = |cluster: &mut Cluster, sessions: &Sessions| {
        cluster.does(|context| fence_stale::decide(context, sessions, at(9)))
    };
    assert_eq!(fenced(&mut cluster, &sessions), Some(BrokerId(1)));
    let gone = cluster.shown("t", 0);
    assert!(gone.starts_with("leader none"), "{gone}");
    // Of the entries that let it lead, those before the last, which unfences it.
    sessions.heard(BrokerId(1), 1, 0, at(0));
    let part = cluster.context(|context| context.isr_changes(Event::Comes(BrokerId(1))).unwrap());
    cluster.commit(&part);
    assert_eq!(cluster.shown("t", 0), "leader 1 isr 1");
    assert_eq!(fenced(&mut cluster, &sessions), Some(BrokerId(1)));
    assert_eq!(cluster.shown("t", 0), gone);
    sessions.forget(BrokerId(1));
    assert_eq!(fenced(&mut cluster, &sessions), None);
}

#[test]
fn a_broker_gives_its_leaderships_away_before_it_stops() {
    let mut cluster = Cluster::new(2);
    cluster.topic("t", &[&[1, 2]], &[]);
    let mut sessions = sessions(&cluster, at(0));
    beat(&mut cluster, &mut sessions, 2, (false, false));
    let first = beat(&mut cluster, &mut sessions, 1, (false, true));
    assert_eq!((first.is_fenced, first.should_shut_down), (false, false));
    assert_eq!(cluster.shown("t", 0), "leader 2 isr 2");
    sessions.shutting_down(BrokerId(1), cluster.image.position().index as i64);
    // The other has not seen that yet.
    assert!(!beat(&mut cluster, &mut sessions, 1, (false, true)).should_shut_down);
    beat(&mut cluster, &mut sessions, 2, (false, false));
    let last = beat(&mut cluster, &mut sessions, 1, (false, true));
    assert_eq!((last.is_fenced, last.should_shut_down), (true, true));
    assert!(!cluster.image.cluster().is_unfenced(BrokerId(1)));
}

#[test]
fn heartbeats_of_others_are_refused() {
    let mut cluster = Cluster::new(1);
    let sessions = sessions(&cluster, at(0));
    for (broker_id, broker_epoch) in [(1, 5), (7, 1)] {
        let request = BrokerHeartbeatRequest {
            broker_id,
            broker_epoch,
            ..Default::default()
        };
        let decision = cluster.context(|context| heartbeat::decide(context, &sessions, &request));
        assert_eq!(
            (decision.response.unwrap().error_code, decision.records.len()),
            (77, 0)
        );
    }
}

#[test]
fn a_fenced_broker_catches_up_first() {
    let mut cluster = Cluster::new(1);
    cluster.commit(&[RegisterBrokerRecord {
        fenced: true,
        ..broker(1, 50)
    }
    .into()]);
    let sessions = sessions(&cluster, at(0));
    for (current_metadata_offset, want_fence, fenced) in
        [(49, false, true), (50, true, true), (50, false, false)]
    {
        let request = BrokerHeartbeatRequest {
            broker_id: 1,
            broker_epoch: 50,
            current_metadata_offset,
            want_fence,
            ..Default::default()
        };
        let decision = cluster.context(|context| heartbeat::decide(context, &sessions, &request));
        assert_eq!(decision.response.as_ref().unwrap().is_fenced, fenced);
        assert_eq!(decision.records.is_empty(), fenced);
    }
}

#[test]
fn a_lost_log_dir_takes_its_partitions() {
    let mut cluster = Cluster::new(2);
    let dirs = vec![Uuid([101; 16]), Uuid([111; 16])];
    cluster.topic("t", &[&[1, 2]], &[]);
    cluster.commit(&[RegisterBrokerRecord {
        log_dirs: dirs,
        ..broker(1, 1)
    }
    .into()]);
    let sessions = sessions(&cluster, at(0));
    let request = BrokerHeartbeatRequest {
        broker_id: 1,
        broker_epoch: 1,
        current_metadata_offset: 99,
        offline_log_dirs: vec![Uuid([101; 16])],
        ..Default::default()
    };
    cluster.does_all(|context| heartbeat::decide(context, &sessions, &request));
    assert_eq!(cluster.shown("t", 0), "leader 2 isr 2");
    assert_eq!(
        cluster.image.cluster().broker(BrokerId(1)).unwrap().directories,
        [Uuid([111; 16])]
    );
}

#[test]
fn a_broker_leaves_for_good() {
    let mut cluster = Cluster::new(2);
    cluster.topic("t", &[&[1, 2]], &[("min.insync.replicas", "2")]);
    let leave = |cluster: &mut Cluster, broker_id| {
        let request = UnregisterBrokerRequest {
            broker_id,
            ..Default::default()
        };
        let response = cluster
            .does_all(|context| unregister_broker::decide(context, &request))
            .0;
        (
            response.error_code,
            response.error_message.map(|words| words.to_string()),
        )
    };
    let unknown = (102, Some("Broker ID 9 is not currently registered".to_owned()));
    assert_eq!(leave(&mut cluster, 9), unknown);
    assert_eq!(leave(&mut cluster, 1), (0, None));
    assert_eq!(cluster.shown("t", 0), "leader 2 isr 2");
    assert!(cluster.image.cluster().broker(BrokerId(1)).is_none());
}

#[test]
fn producer_ids_are_given_out_once() {
    let mut cluster = Cluster::new(1);
    let mut ask = |broker_epoch| {
        let request = AllocateProducerIdsRequest {
            broker_id: 1,
            broker_epoch,
            ..Default::default()
        };
        let response = cluster.does(|context| allocate_producer_ids::decide(context, &request));
        (
            response.error_code,
            response.producer_id_start,
            response.producer_id_len,
        )
    };
    assert_eq!(
        [ask(1), ask(1), ask(2)],
        [(0, 0, 1000), (0, 1000, 1000), (77, 0, 0)]
    );
}

#[test]
fn controllers_register_once() {
    use klamm_protocol::messages::controller_registration_request::{
        self as api, ControllerRegistrationRequest,
    };
    let mut cluster = Cluster::new(1);
    let feature = |name: &str| api::Feature {
        name: name.into(),
        max_supported_version: 3,
        ..Default::default()
    };
    let request = ControllerRegistrationRequest {
        controller_id: 1,
        features: vec![feature("b"), feature("a")],
        listeners: vec![api::Listener {
            name: "CONTROLLER".into(),
            port: 9093,
            ..Default::default()
        }],
        ..Default::default()
    };
    for written in [1, 0] {
        let decision = cluster.context(|context| register_controller::decide(context, &request));
        assert_eq!(decision.records.len(), written);
        cluster.commit(&decision.records);
    }
    let controller = cluster.image.cluster().controller(BrokerId(1)).unwrap();
    assert_eq!(
        (controller.endpoints[0].port, controller.features.len()),
        (9093, 2)
    );
}

#[test]
fn a_broker_of_very_many_partitions_goes_and_comes_in_several_entries() {
    use klamm_protocol::metadata_records::{PartitionRecord, TopicRecord};
    const TOPICS: u8 = 201;
    const EACH: i32 = 1_000;
    /// What the quorum takes.
    const MAX_ENTRY_BYTES: usize = 8 * 1024 * 1024;
    let mut cluster = Cluster::new(1);
    for topic in 1..=TOPICS {
        let topic_id = Uuid([topic; 16]);
        let record = TopicRecord {
            name: format!("t{topic}").into(),
            topic_id,
            ..Default::default()
        };
        let partitions = (0..EACH).map(|partition_id| PartitionRecord {
            partition_id,
            topic_id,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            directories: vec![Uuid([101; 16])],
            ..Default::default()
        });
        let records: Vec<_> = [record.into()]
            .into_iter()
            .chain(partitions.map(MetadataRecord::from))
            .collect();
        cluster.commit(&records);
    }
    let led = |cluster: &Cluster| {
        let partitions = cluster.image.topics().iter().flat_map(|topic| &topic.partitions);
        partitions.filter(|partition| partition.leader.is_some()).count()
    };
    let all = usize::from(TOPICS) * EACH as usize;
    assert_eq!(led(&cluster), all);
    let mut sessions = sessions(&cluster, at(0));
    let request = registration(1, 9, -1);
    let (response, parts) = cluster.does_all(|context| {
        let epoch = context.image.position().index as i64 + 1;
        let decision =
            register_broker::decide(context, &sessions, "cluster", epoch, at(0), &request).unwrap();
        assert!(crate::encode_decision(&decision.records).len() < MAX_ENTRY_BYTES / 4);
        decision
    });
    assert_eq!((parts, led(&cluster)), (21, 0));
    let registered = cluster.image.cluster().broker(BrokerId(1)).unwrap();
    assert_eq!(
        (registered.epoch, registered.fenced),
        (response.broker_epoch, true)
    );
    sessions.heard(BrokerId(1), response.broker_epoch, 0, at(0));
    let response = beat(&mut cluster, &mut sessions, 1, (false, false));
    assert_eq!((response.is_fenced, led(&cluster)), (false, all));
    assert!(cluster.image.cluster().is_unfenced(BrokerId(1)));
}

/// Where a replica lies, as the cluster has it.
fn directory_of(cluster: &Cluster, topic: &str, broker: i32) -> Uuid {
    let partition = cluster.image.partition_by_name(topic, 0).unwrap();
    partition.directory(BrokerId(broker)).unwrap()
}

#[test]
fn a_broker_says_in_which_of_its_log_dirs_its_replicas_lie() {
    use klamm_protocol::messages::assign_replicas_to_dirs_request::*;
    let (one, two) = (Uuid([101; 16]), Uuid([111; 16]));
    let mut cluster = Cluster::new(3);
    cluster.commit(&[RegisterBrokerRecord {
        log_dirs: vec![one, two],
        ..broker(1, 1)
    }
    .into()]);
    cluster.topic("t", &[&[1, 2], &[2, 3]], &[]);
    cluster.topic("u", &[&[1]], &[]);
    let id_of = |name: &str| cluster.image.topics().by_name(name).unwrap().id;
    let (id, other) = (id_of("t"), id_of("u"));
    assert_eq!(directory_of(&cluster, "t", 1), directory::UNASSIGNED);
    let request = |epoch, directory, topic_id, number| AssignReplicasToDirsRequest {
        broker_id: 1,
        broker_epoch: epoch,
        directories: vec![DirectoryData {
            id: directory,
            topics: vec![TopicData {
                topic_id,
                partitions: vec![PartitionData {
                    partition_index: number,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let none = ErrorCode::None;
    // (epoch, where, topic, number, (code of all, code of the partition), how it stands then)
    let cases = [
        (
            7,
            two,
            id,
            0,
            Err(ErrorCode::StaleBrokerEpoch),
            "leader 1 isr 1,2",
        ),
        (
            1,
            two,
            Uuid([9; 16]),
            0,
            Ok(ErrorCode::UnknownTopicId),
            "leader 1 isr 1,2",
        ),
        (
            1,
            two,
            id,
            9,
            Ok(ErrorCode::UnknownTopicOrPartition),
            "leader 1 isr 1,2",
        ),
        (
            1,
            two,
            id,
            1,
            Ok(ErrorCode::NotLeaderOrFollower),
            "leader 1 isr 1,2",
        ),
        (1, two, id, 0, Ok(none), "leader 1 isr 1,2"),
        // Somewhere that is not online: it is lost there.
        (1, Uuid([77; 16]), id, 0, Ok(none), "leader 2 isr 2"),
        (
            1,
            Uuid([77; 16]),
            other,
            0,
            Ok(none),
            "leader none isr  elr 1 last 1",
        ),
        // It was found after all.
        (1, two, other, 0, Ok(none), "leader 1 isr 1"),
    ];
    for (epoch, directory, topic_id, number, codes, shown) in cases {
        let request = request(epoch, directory, topic_id, number);
        let before = cluster.image.position().index;
        let response = cluster.does(|context| assign_replicas_to_dirs::decide(context, &request));
        let told = match response.error_code {
            0 => Ok(response.directories[0].topics[0].partitions[0].error_code),
            code => Err(code),
        };
        let codes = codes.map(ErrorCode::code).map_err(ErrorCode::code);
        assert_eq!(told, codes, "{directory} {number}");
        let name = if topic_id == other { "u" } else { "t" };
        assert_eq!(cluster.shown(name, 0), shown, "{directory} {number}");
        if told == Ok(0) {
            assert_eq!(directory_of(&cluster, name, 1), directory);
            let again = cluster.context(|context| assign_replicas_to_dirs::decide(context, &request));
            assert_eq!(again.records, [], "said twice, after {before}");
        }
    }
    assert_eq!(
        directory_of(&cluster, "t", 2),
        Uuid([102; 16]),
        "another broker's is its own"
    );
}
