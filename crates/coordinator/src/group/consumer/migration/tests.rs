//! A group on its way from one protocol to the other, and back.

use bytes::Bytes;
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::data_records::consumer_protocol_subscription::TopicPartition;
use klamm_protocol::data_records::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
};
use klamm_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JoinGroupResponse, SyncGroupRequest,
    join_group_request::JoinGroupRequestProtocol,
};
use klamm_protocol::{Message, Writer};

use crate::group::answer::Answer;
use crate::group::config::MigrationPolicy;
use crate::group::consumer::embedded;
use crate::group::consumer::testing::{Cluster, joining, owning, quiet, told};
use crate::group::driver::{Driver, Join, commit, commit_codes, heartbeat, join, leave};
use crate::group::request::{Client, Request};
use crate::group::shard::{Group, Timer};

const TOPIC: Uuid = Uuid([7; 16]);

pub(super) fn embed<M: Message>(version: i16, message: &M) -> Vec<u8> {
    let mut writer = Writer::contiguous();
    writer.i16(version);
    message.encode(&mut writer, version).unwrap();
    writer.into_bytes().to_vec()
}

/// What a consumer says that wants topic `t` and has some of its partitions.
fn wants(has: &[i32]) -> Vec<u8> {
    let owned = TopicPartition {
        topic: "t".into(),
        partitions: has.to_vec(),
    };
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["t".into()],
        owned_partitions: if has.is_empty() { Vec::new() } else { vec![owned] },
        ..Default::default()
    };
    embed(3, &subscription)
}

fn gives(partitions: &[i32], user_data: Option<&'static [u8]>) -> Vec<u8> {
    let assigned = consumer_protocol_assignment::TopicPartition {
        topic: "t".into(),
        partitions: partitions.to_vec(),
    };
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: vec![assigned],
        user_data: user_data.map(Bytes::from_static),
    };
    embed(3, &assignment)
}

/// A heartbeat of the static member `i` that has some partitions of topic `t`.
fn of_instance(member: &str, epoch: i32, has: &[i32]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..owning(member, epoch, TOPIC, has)
    }
}

/// A consumer of the classic protocol that does what it is told.
struct Classic {
    id: String,
    generation: i32,
    has: Vec<i32>,
}

fn had(members: &[Classic]) -> Vec<i32> {
    let mut all: Vec<i32> = members.iter().flat_map(|member| member.has.clone()).collect();
    all.sort_unstable();
    all
}

struct World {
    driver: Driver,
    cluster: Cluster,
}

impl World {
    fn new() -> Self {
        let mut cluster = Cluster::default();
        cluster.topic_with_id("t", TOPIC, 4, &["r"]);
        let mut driver = Driver::new();
        driver.config.consumer_assignment_interval = std::time::Duration::ZERO;
        driver.change(cluster.image());
        Self { driver, cluster }
    }

    fn beat(&mut self, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let request = Request::ConsumerGroupHeartbeat {
            client: Client::default(),
            version: 1,
            request: Box::new(request),
        };
        match self.driver.at_once(request) {
            Answer::ConsumerGroupHeartbeat(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn join(&mut self, join: Join) -> JoinGroupResponse {
        match self.driver.at_once(join) {
            Answer::JoinGroup(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Code, and the partitions of topic `t`.
    fn sync(&mut self, generation: i32, member: &str, given: &[(&str, Vec<u8>)]) -> (ErrorCode, Vec<i32>) {
        self.sync_as("range", generation, member, given)
    }

    fn sync_as(
        &mut self,
        protocol: &str,
        generation: i32,
        member: &str,
        given: &[(&str, Vec<u8>)],
    ) -> (ErrorCode, Vec<i32>) {
        let mut request = SyncGroupRequest {
            group_id: "g".into(),
            generation_id: generation,
            member_id: member.into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some(protocol.into()),
            ..Default::default()
        };
        for (member, bytes) in given {
            request.assignments.push(
                klamm_protocol::messages::sync_group_request::SyncGroupRequestAssignment {
                    member_id: (*member).into(),
                    assignment: bytes.clone().into(),
                    ..Default::default()
                },
            );
        }
        match self.driver.at_once(Request::SyncGroup {
            version: 5,
            request: Box::new(request),
        }) {
            Answer::SyncGroup(answer) => {
                let partitions = embedded::assignment(&answer.assignment).unwrap_or_default();
                let partitions = partitions.assigned_partitions;
                let code = ErrorCode::from_code(answer.error_code).unwrap();
                (
                    code,
                    partitions
                        .first()
                        .map(|topic| topic.partitions.clone())
                        .unwrap_or_default(),
                )
            }
            other => panic!("{other:?}"),
        }
    }

    fn alive(&mut self, generation: i32, member: &str) -> ErrorCode {
        match self.driver.at_once(heartbeat(generation, member, None)) {
            Answer::Heartbeat(answer) => ErrorCode::from_code(answer.error_code).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Members go on for some heartbeats.
    fn obey(&mut self, members: &mut [Classic], heartbeats: usize) {
        for _ in 0..heartbeats {
            for member in &mut *members {
                match self.alive(member.generation, &member.id) {
                    ErrorCode::None => continue,
                    ErrorCode::RebalanceInProgress => {}
                    code => panic!("{code:?}"),
                }
                let joined = self.join(join(&member.id).saying(&wants(&member.has)));
                assert_eq!(joined.error_code, 0);
                member.generation = joined.generation_id;
                let (code, has) = self.sync(joined.generation_id, &member.id, &[]);
                if code.is_none() {
                    member.has = has;
                }
            }
        }
    }

    /// Members of the classic protocol join the group in which `new` has everything at epoch 2, and all come to what they are to have.
    fn classic_beside(&mut self, new: &str, count: usize) -> Vec<Classic> {
        let joined = (0..count).map(|_| self.join(join("").version(3).saying(&wants(&[]))));
        let members = joined.map(|joined| Classic {
            id: joined.member_id.to_string(),
            generation: joined.generation_id,
            has: Vec::new(),
        });
        let mut members: Vec<Classic> = members.collect();
        let is_static = self.driver.shard.groups["g"]
            .consumer()
            .unwrap()
            .static_member("i")
            .is_some();
        let mut epoch = 2;
        let mut has = vec![0, 1, 2, 3];
        for _ in 0..3 {
            let answer = self.beat(ConsumerGroupHeartbeatRequest {
                instance_id: is_static.then(|| "i".into()),
                ..owning(new, epoch, TOPIC, &has)
            });
            assert_eq!(answer.error_code, 0);
            epoch = answer.member_epoch;
            if let Some([(_, partitions)]) = told(&answer).as_deref() {
                has.clone_from(partitions);
            }
            self.obey(&mut members, 1);
        }
        assert_eq!(self.listed(), ["consumer", "Stable"]);
        members
    }

    fn listed(&mut self) -> [String; 2] {
        match self.driver.at_once(Request::ListGroups(Default::default())) {
            Answer::ListGroups(answer) => {
                [&answer.groups[0].group_type, &answer.groups[0].group_state].map(|text| text.to_string())
            }
            other => panic!("{other:?}"),
        }
    }

    /// A classic group of one member, which was given partitions.
    fn classic(&mut self, given: Vec<u8>) -> String {
        let ticket = self.driver.ask(join("").version(3).saying(&wants(&[])));
        self.driver.pass(3_000);
        let joined = self.driver.joined(ticket).unwrap();
        let member = joined.member_id.to_string();
        assert_eq!((joined.error_code, joined.generation_id), (0, 1));
        self.sync(1, &member, &[(&*member, given)]);
        member
    }
}

#[test]
fn a_classic_group_goes_over_and_comes_back() {
    let mut world = World::new();
    let classic = world.classic(gives(&[0, 1, 2, 3], None));
    assert_eq!(world.listed(), ["classic", "Stable"]);

    // A member of the consumer protocol comes: half of the partitions is to be its own.
    let answer = world.beat(joining("new", &["t"]));
    assert_eq!(
        (answer.error_code, answer.member_epoch, told(&answer)),
        (0, 2, Some(vec![]))
    );
    assert_eq!(world.listed(), ["consumer", "Reconciling"]);
    assert!(
        !world
            .driver
            .timers
            .keys()
            .any(|timer| matches!(timer, Timer::ClassicSession { .. }))
    );
    world.driver.reload();
    assert_eq!(world.listed(), ["consumer", "Reconciling"]);

    // The other one hears of it, comes with what it has, and is told what to keep.
    assert_eq!(world.alive(1, &classic), ErrorCode::RebalanceInProgress);
    assert_eq!(world.sync(1, &classic, &[]).0, ErrorCode::RebalanceInProgress);
    let joined = world.join(join(&classic).saying(&wants(&[0, 1, 2, 3])));
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert!(joined.leader.is_empty() && joined.members.is_empty());
    assert_eq!(world.sync(1, &classic, &[]), (ErrorCode::None, vec![0, 1]));
    assert_eq!(told(&world.beat(quiet("new", 2))), None, "it still has all");
    assert_eq!(world.alive(1, &classic), ErrorCode::RebalanceInProgress);
    let joined = world.join(join(&classic).saying(&wants(&[0, 1])));
    assert_eq!(joined.generation_id, 2);
    assert_eq!(world.sync(2, &classic, &[]), (ErrorCode::None, vec![0, 1]));
    assert_eq!(world.alive(2, &classic), ErrorCode::None);
    assert_eq!(
        told(&world.beat(quiet("new", 2))),
        Some(vec![(TOPIC, vec![2, 3])])
    );
    assert_eq!(world.listed(), ["consumer", "Stable"]);
    assert_eq!(
        commit_codes(&world.driver.at_once(commit(2, &classic, &[(0, 5)]))),
        [0]
    );
    let illegal = commit_codes(&world.driver.at_once(commit(3, &classic, &[(0, 5)])));
    assert_eq!(illegal, [ErrorCode::IllegalGeneration.code()]);

    // The last one of the consumer protocol goes: the group is classic again, and its members join again.
    assert_eq!(world.beat(quiet("new", -1)).member_epoch, -1);
    assert_eq!(world.listed(), ["classic", "PreparingRebalance"]);
    assert!(
        !world
            .driver
            .timers
            .keys()
            .any(|timer| matches!(timer, Timer::Consumer { .. }))
    );
    let group = world.driver.shard.groups.get("g").and_then(Group::classic);
    let subscribed = group.unwrap().subscribed();
    assert_eq!(["t", "u"].map(|topic| subscribed.may_want(topic)), [true, false]);
    assert_eq!(world.alive(2, &classic), ErrorCode::RebalanceInProgress);
    let joined = world.join(join(&classic).saying(&wants(&[0, 1])));
    assert_eq!((joined.error_code, joined.generation_id), (0, 3));
    let all = gives(&[0, 1, 2, 3], None);
    assert_eq!(
        world.sync(3, &classic, &[(&*classic, all)]),
        (ErrorCode::None, vec![0, 1, 2, 3])
    );
    assert_eq!(world.listed(), ["classic", "Stable"]);
    world.driver.reload();
    assert_eq!(world.alive(3, &classic), ErrorCode::None);
}

#[test]
fn a_group_goes_over_only_where_that_is_allowed_and_understood() {
    use MigrationPolicy::{Bidirectional, Disabled, Downgrade, Upgrade};
    let table: [(MigrationPolicy, Vec<u8>, &str); 5] = [
        (Disabled, gives(&[0], None), "because online upgrade is disabled."),
        (
            Downgrade,
            gives(&[0], None),
            "because online upgrade is disabled.",
        ),
        (
            Bidirectional,
            b"\x00".to_vec(),
            "because the embedded consumer protocol is malformed.",
        ),
        (
            Bidirectional,
            gives(&[0], Some(b"mine")),
            "because an unsupported custom assignor is in use.",
        ),
        (Upgrade, gives(&[0], None), ""),
    ];
    for (policy, given, because) in table {
        let mut world = World::new();
        world.driver.config.consumer_migration_policy = policy;
        world.classic(given);
        let written = world.driver.written();
        let answer = world.beat(joining("new", &["t"]));
        let message = answer.error_message.as_deref().unwrap_or_default();
        assert!(message.contains(because), "{message}");
        if because.is_empty() {
            assert_eq!(answer.error_code, 0);
        } else {
            assert_eq!(answer.error_code, ErrorCode::GroupIdNotFound.code());
            assert_eq!(world.driver.written(), written);
            assert_eq!(world.listed(), ["classic", "Stable"]);
        }
    }
}

#[test]
fn a_classic_group_whose_members_wait_goes_over_too() {
    let mut world = World::new();
    let classic = world.classic(gives(&[0, 1, 2, 3], None));
    // Somebody else joins, and waits for the first one.
    let waiting = world.driver.ask(join("").version(3).saying(&wants(&[])));
    assert!(world.driver.is_waiting(waiting));
    assert_eq!(world.beat(joining("new", &["t"])).error_code, 0);
    let told_again = world.driver.joined(waiting).unwrap();
    assert_eq!(told_again.error_code, ErrorCode::RebalanceInProgress.code());
    assert_eq!(world.alive(1, &classic), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_static_classic_member_at_epoch_0_is_who_it_says() {
    let mut world = World::new();
    world.beat(joining("new", &["t"]));
    let of_instance = |member: &str, has: &[i32]| join(member).instance("i").saying(&wants(has));
    let first = world.join(of_instance("", &[])).member_id.to_string();
    world.beat(quiet("new", 2));
    world.beat(owning("new", 2, TOPIC, &[0, 1]));
    world.join(of_instance(&first, &[]));
    assert_eq!(world.sync(3, &first, &[]), (ErrorCode::None, vec![2, 3]));
    for member in ["third", "fourth"] {
        world.beat(joining(member, &["t"]));
    }
    // Another one takes its place, and has something to let go.
    let joined = world.join(of_instance("", &[2, 3]));
    assert_eq!((joined.error_code, joined.generation_id), (0, 0));
    let member = joined.member_id.to_string();
    let written = world.driver.written();
    let joined = world.join(of_instance(&member, &[2, 3]));
    assert_eq!((joined.error_code, joined.generation_id), (0, 0));
    assert_eq!(world.driver.written(), written, "it takes nobody's place");
    assert_eq!(
        world.join(of_instance("other", &[])).error_code,
        ErrorCode::FencedInstanceId.code()
    );
}

#[test]
fn what_a_leader_gave_to_two_members_has_one_of_them() {
    let mut world = World::new();
    let tickets = [(); 2].map(|()| world.driver.ask(join("").version(3).saying(&wants(&[]))));
    while tickets.iter().any(|ticket| world.driver.is_waiting(*ticket)) {
        world.driver.pass(500);
    }
    let joined = tickets.map(|ticket| world.driver.joined(ticket).unwrap());
    let given = joined
        .each_ref()
        .map(|joined| (&*joined.member_id, gives(&[0, 1, 2, 3], None)));
    world.sync(1, &joined[0].leader, &given);
    assert_eq!(world.listed(), ["classic", "Stable"]);

    assert_eq!(world.beat(joining("new", &["t"])).error_code, 0);
    let group = world.driver.shard.groups["g"].consumer().unwrap();
    let mut holders = std::collections::BTreeMap::new();
    for (id, member) in group.members() {
        for (topic, held) in member.current.assigned.iter() {
            for held in held {
                assert_eq!(holders.insert((*topic, held.partition), id), None);
            }
        }
    }
    assert_eq!(holders.len(), 4);
}

#[test]
fn a_classic_member_joins_a_consumer_group() {
    let mut world = World::new();
    world.beat(joining("new", &["t"]));
    let required = world.join(join("").saying(&wants(&[])));
    assert_eq!(required.error_code, ErrorCode::MemberIdRequired.code());
    let classic = required.member_id.to_string();
    let other = Join {
        protocol_type: "connect",
        ..join(&classic)
    };
    for refused in [other.saying(&wants(&[])), join(&classic).saying(b"?")] {
        assert_eq!(
            world.join(refused).error_code,
            ErrorCode::InconsistentGroupProtocol.code()
        );
    }
    let joined = world.join(join(&classic).saying(&wants(&[])));
    assert_eq!((joined.error_code, joined.generation_id), (0, 3));
    assert_eq!(world.sync(3, &classic, &[]), (ErrorCode::None, vec![]));
    assert_eq!(
        world.alive(3, &classic),
        ErrorCode::None,
        "it waits for the other one"
    );
    world.beat(quiet("new", 2));
    world.beat(owning("new", 2, TOPIC, &[0, 1]));
    assert_eq!(world.alive(3, &classic), ErrorCode::RebalanceInProgress);
    let joined = world.join(join(&classic).saying(&wants(&[])));
    assert_eq!(
        world.sync(joined.generation_id, &classic, &[]),
        (ErrorCode::None, vec![2, 3])
    );

    // Only who speaks what all speak may come.
    let other = join("x").speaking(&["sticky"]);
    assert_eq!(
        world.join(other).error_code,
        ErrorCode::InconsistentGroupProtocol.code()
    );
    // It changes to the consumer protocol under its id.
    let answer = world.beat(joining(&classic, &["t"]));
    assert_eq!(answer.error_code, 0);
    assert_eq!(told(&answer), Some(vec![(TOPIC, vec![2, 3])]));
    assert_eq!(world.alive(3, &classic), ErrorCode::UnknownMemberId);

    world.driver.config.consumer_migration_policy = MigrationPolicy::Disabled;
    let refused = world.join(join("").version(3).saying(&wants(&[])));
    assert_eq!(refused.error_code, ErrorCode::InconsistentGroupProtocol.code());
}

#[test]
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the time that it takes is what is asked"
)]
fn classic_members_that_name_very_many_protocols_are_refused_in_no_time() {
    let naming = |first: Option<&str>, numbers: std::ops::Range<u32>| {
        let mut request = Request::from(join("").version(3));
        let Request::JoinGroup { request: said, .. } = &mut request else {
            panic!("it is one");
        };
        let names = first.map(str::to_owned).into_iter();
        let names = names.chain(numbers.map(|number| format!("{number:05}")));
        let protocols = names.map(|name| JoinGroupRequestProtocol {
            name: name.as_str().into(),
            metadata: wants(&[]).into(),
            ..Default::default()
        });
        said.protocols = protocols.collect();
        request
    };
    let code = |answer| match answer {
        Answer::JoinGroup(answer) => ErrorCode::from_code(answer.error_code),
        other => panic!("{other:?}"),
    };
    let mut world = World::new();
    world.beat(joining("new", &["t"]));
    let first = world.driver.at_once(naming(Some("range"), 0..40_000));
    assert_eq!(code(first), Some(ErrorCode::None));
    let begin = std::time::Instant::now();
    let other = world.driver.at_once(naming(None, 40_000..80_000));
    assert_eq!(code(other), Some(ErrorCode::InconsistentGroupProtocol));
    // Some 20 ms in a build for debugging; each with each takes a minute.
    assert!(begin.elapsed() < std::time::Duration::from_secs(2));
    let third = world.driver.at_once(naming(Some("range"), 40_000..40_001));
    assert_eq!(code(third), Some(ErrorCode::None));
}

#[test]
fn a_classic_member_that_does_not_do_what_is_next_is_fenced() {
    // It does not ask for its assignment, does not join when it is told to, or is silent.
    for (syncs, lives, fenced_after) in [(false, true, 60_000), (true, true, 70_000), (true, false, 10_000)] {
        let mut world = World::new();
        world.beat(joining("new", &["t"]));
        let joined = world.join(join("").version(3).saying(&wants(&[])));
        let classic = joined.member_id.to_string();
        if syncs {
            world.sync(joined.generation_id, &classic, &[]);
        }
        let mut epoch = 2;
        let mut waited = 0;
        loop {
            let members = match world
                .driver
                .at_once(Request::ConsumerGroupDescribe(vec!["g".into()]))
            {
                Answer::ConsumerGroupDescribe(groups) => groups[0].members.len(),
                other => panic!("{other:?}"),
            };
            if members == 1 {
                break;
            }
            assert!(waited <= fenced_after, "{syncs} {lives}");
            world.driver.pass(5_000);
            waited += 5_000;
            if lives {
                world.alive(joined.generation_id, &classic);
            }
            let answer = world.beat(owning("new", epoch, TOPIC, &[0, 1]));
            if answer.error_code == 0 {
                epoch = answer.member_epoch;
            }
        }
        assert!(waited >= fenced_after - 5_000, "{syncs} {lives} {waited}");
    }
}

#[test]
fn a_static_member_changes_its_protocol_and_nobody_joins_again() {
    let mut world = World::new();
    let of_instance = ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..joining("new", &["t"])
    };
    world.beat(of_instance.clone());
    // The only member goes over, under a new id: the group is classic, and everything stays as it is.
    let joined = world.join(join("").instance("i").saying(&wants(&[])));
    assert_eq!((joined.error_code, joined.generation_id), (0, 2));
    // It leads, so that it looks for new partitions, and has nothing to share out.
    assert_eq!((&joined.leader, joined.members.len()), (&joined.member_id, 1));
    assert!(joined.skip_assignment);
    assert_eq!(world.listed(), ["classic", "Stable"]);
    let classic = joined.member_id.to_string();
    assert_eq!(world.sync(2, &classic, &[]), (ErrorCode::None, vec![0, 1, 2, 3]));
    assert_eq!(world.alive(2, &classic), ErrorCode::None);
    world.driver.reload();
    assert_eq!(world.alive(2, &classic), ErrorCode::None);

    // And back: it takes the place of the other one, with what that one had.
    let answer = world.beat(of_instance);
    assert_eq!(
        (answer.error_code, told(&answer)),
        (0, Some(vec![(TOPIC, vec![0, 1, 2, 3])]))
    );
    assert_eq!(world.listed(), ["consumer", "Stable"]);
    assert_eq!(world.alive(2, &classic), ErrorCode::UnknownMemberId);
}

#[test]
fn a_static_member_that_goes_back_and_cannot_be_told_that_it_leads_joins_for_all() {
    let mut world = World::new();
    world.beat(ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..joining("new", &["t"])
    });
    let joined = world.join(join("").version(8).instance("i").saying(&wants(&[])));
    assert_eq!((joined.error_code, joined.generation_id), (0, 3));
    assert_eq!((&joined.leader, joined.members.len()), (&joined.member_id, 1));
    assert_eq!(world.listed(), ["classic", "CompletingRebalance"]);
}

/// Members of the classic protocol that speak two protocols are between their JoinGroup and their SyncGroup when the last member of the
/// other protocol comes back as one of them, or leaves.
#[test]
fn a_member_that_was_told_its_favourite_protocol_is_not_refused_for_another_one() {
    const RANGE: [&str; 2] = ["range", "sticky"];
    const STICKY: [&str; 2] = ["sticky", "range"];
    let speaking = |join: Join, names: [&'static str; 2]| Join {
        protocols: names.map(|name| (name, wants(&[]))).to_vec(),
        ..join
    };
    // (what the two speak, what the last one speaks that comes back, what the group is then)
    let table = [
        ([RANGE, RANGE], Some(STICKY), "PreparingRebalance"),
        ([STICKY, STICKY], Some(STICKY), "Stable"),
        ([RANGE, STICKY], Some(STICKY), "PreparingRebalance"),
        ([RANGE, STICKY], None, "PreparingRebalance"),
    ];
    for (spoken, back, state) in table {
        let mut world = World::new();
        world.beat(ConsumerGroupHeartbeatRequest {
            instance_id: Some("i".into()),
            ..joining("new", &["t"])
        });
        let members = spoken.map(|names| {
            let joined = world.join(speaking(join("").version(3), names));
            (joined.member_id, names)
        });
        let mut epoch = 2;
        for _ in 0..2 {
            epoch = world.beat(of_instance("new", epoch, &[0])).member_epoch;
        }
        let told = members.map(|(member, names)| {
            let joined = world.join(speaking(join(&member), names));
            assert_eq!(
                (joined.generation_id, joined.protocol_name.as_deref()),
                (epoch, Some(names[0]))
            );
            (member, names[0])
        });
        if let Some(names) = back {
            let ticket = world.driver.ask(speaking(join("").instance("i"), names));
            if let Some(back) = world.driver.joined(ticket) {
                let name = back.protocol_name.as_deref().unwrap();
                let synced = world.sync_as(name, epoch, &back.member_id, &[]);
                assert_eq!(synced.0, ErrorCode::None);
            }
        } else {
            world.beat(of_instance("new", -1, &[]));
        }
        assert_eq!(world.listed(), ["classic", state]);
        let expected = match state {
            "Stable" => ErrorCode::None,
            _ => ErrorCode::RebalanceInProgress,
        };
        for (member, name) in told {
            assert_eq!(
                world.sync_as(name, epoch, &member, &[]).0,
                expected,
                "{spoken:?} {back:?}"
            );
        }
    }
}

#[test]
fn a_static_member_that_goes_back_is_not_given_what_another_one_still_reads() {
    let mut world = World::new();
    let classic = world.classic(gives(&[0, 1, 2, 3], None));
    let of_instance = ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..joining("new", &["t"])
    };
    // Half is to be the new one's; the other one is told so, and is busy.
    assert_eq!(told(&world.beat(of_instance)), Some(vec![]));
    assert_eq!(world.alive(1, &classic), ErrorCode::RebalanceInProgress);
    let back = world.driver.ask(join("").instance("i").saying(&wants(&[])));
    assert_eq!(world.listed(), ["classic", "PreparingRebalance"]);
    assert!(world.driver.is_waiting(back), "it waits for the other one");
    let other = world.driver.ask(join(&classic).saying(&wants(&[])));
    let (back, other) = (
        world.driver.joined(back).unwrap(),
        world.driver.joined(other).unwrap(),
    );
    assert_eq!((back.generation_id, other.generation_id), (3, 3));
    assert_eq!(back.leader, other.leader);
    assert!([&back.member_id, &other.member_id].contains(&&back.leader));
}

#[test]
fn a_member_that_is_behind_lives_and_commits_until_it_joins_the_group_that_went_back() {
    for reloads in [false, true] {
        let mut world = World::new();
        let classic = world.classic(gives(&[0, 1, 2, 3], None));
        world.beat(joining("new", &["t"]));
        world.beat(quiet("new", -1));
        if reloads {
            world.driver.reload();
        }
        // Its poll loop is busy for longer than its session is.
        for _ in 0..4 {
            world.driver.pass(5_000);
            assert_eq!(
                world.alive(1, &classic),
                ErrorCode::RebalanceInProgress,
                "{reloads}"
            );
        }
        let codes = commit_codes(&world.driver.at_once(commit(1, &classic, &[(0, 5)])));
        assert_eq!(codes, [0]);
        assert_eq!(world.sync(1, &classic, &[]).0, ErrorCode::RebalanceInProgress);
        let joined = world.join(join(&classic).saying(&wants(&[0, 1, 2, 3])));
        assert_eq!(joined.generation_id, 3);
        assert_eq!(world.alive(1, &classic), ErrorCode::IllegalGeneration);
    }
}

#[test]
fn what_a_leader_gave_to_nobody_is_assigned_when_a_static_member_takes_its_own_place() {
    let mut world = World::new();
    let ticket = world.driver.ask(join("").instance("i").saying(&wants(&[])));
    world.driver.pass(3_000);
    let classic = world.driver.joined(ticket).unwrap().member_id;
    world.sync(1, &classic, &[(&*classic, gives(&[0, 1, 3], None))]);
    let answer = world.beat(ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..joining("new", &["t"])
    });
    assert_eq!(told(&answer), Some(vec![(TOPIC, vec![0, 1, 2, 3])]));
}

#[test]
fn what_others_read_is_not_given_away_in_a_group_that_goes_there_and_back() {
    let mut world = World::new();
    let classic = world.classic(gives(&[0, 1, 2, 3], None));
    world.beat(joining("new", &["t"]));
    world.beat(quiet("new", -1));
    assert_eq!(world.listed(), ["classic", "PreparingRebalance"]);
    // Nobody has told the other one yet.
    assert_eq!(told(&world.beat(joining("newer", &["t"]))), Some(vec![]));
    let joined = world.join(join(&classic).saying(&wants(&[0, 1, 2, 3])));
    assert_eq!(
        world.sync(joined.generation_id, &classic, &[]),
        (ErrorCode::None, vec![0, 1])
    );
    assert_eq!(
        told(&world.beat(quiet("newer", 3))),
        None,
        "it is to say that it has let go"
    );
}

#[test]
fn what_a_cooperative_member_owns_and_was_not_given_is_not_given_away_either() {
    let mut world = World::new();
    let classic = world.classic(gives(&[0, 1, 2, 3], None));
    // Another one comes, and goes before anything is shared out.
    let other = world.driver.ask(join("").version(3).saying(&wants(&[])));
    world.join(join(&classic).saying(&wants(&[0, 1, 2, 3])));
    let other = world.driver.joined(other).unwrap();
    world.driver.at_once(leave(&[(&*other.member_id, None)]));
    assert_eq!(world.listed(), ["classic", "PreparingRebalance"]);
    assert_eq!(told(&world.beat(joining("new", &["t"]))), Some(vec![]));
}

#[test]
fn a_member_that_was_told_the_protocol_of_a_classic_group_is_not_refused_for_it_in_a_consumer_group() {
    let mut world = World::new();
    let joins = ["range", "sticky"].map(|favourite| {
        let other = if favourite == "range" { "sticky" } else { "range" };
        let protocols = [favourite, other].map(|name| (name, wants(&[]))).to_vec();
        world.driver.ask(Join {
            protocols,
            ..join("").version(3)
        })
    });
    while joins.iter().any(|join| world.driver.is_waiting(*join)) {
        world.driver.pass(500);
    }
    let joined = joins.map(|join| world.driver.joined(join).unwrap());
    world.beat(joining("new", &["t"]));
    for joined in joined {
        let name = joined.protocol_name.as_deref().unwrap();
        let code = world.sync_as(name, 1, &joined.member_id, &[]).0;
        assert_eq!(code, ErrorCode::RebalanceInProgress);
        let code = world.sync_as("other", 1, &joined.member_id, &[]).0;
        assert_eq!(code, ErrorCode::InconsistentGroupProtocol);
    }
}

#[test]
fn a_static_member_that_wants_something_else_with_its_protocol_joins_for_all() {
    let mut world = World::new();
    world.beat(ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..joining("new", &["other"])
    });
    let joined = world.join(join("").instance("i").saying(&wants(&[])));
    assert_eq!((joined.error_code, joined.generation_id), (0, 3));
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!(world.listed(), ["classic", "CompletingRebalance"]);
}

#[test]
fn a_static_member_that_went_back_is_given_what_it_wants_after_a_crash_in_its_rebalance() {
    let mut world = World::new();
    world.beat(ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..joining("new", &["other"])
    });
    let joined = world.join(join("").instance("i").saying(&wants(&[])));
    assert_eq!(joined.generation_id, 3);
    world.driver.reload();
    // What it was assigned was of the other protocol, and for another topic.
    let all = [(&*joined.member_id, gives(&[0, 1, 2, 3], None))];
    assert_eq!(
        world.sync(3, &joined.member_id, &all).0,
        ErrorCode::IllegalGeneration
    );
    let joined = world.join(join(&joined.member_id).instance("i").saying(&wants(&[])));
    assert_eq!(joined.leader, joined.member_id);
    let synced = world.sync(joined.generation_id, &joined.member_id, &all);
    assert_eq!(synced, (ErrorCode::None, vec![0, 1, 2, 3]));
    world.driver.reload();
    assert_eq!(
        world.alive(joined.generation_id, &joined.member_id),
        ErrorCode::None
    );
}

#[test]
fn what_the_last_consumer_member_had_is_shared_out_after_a_crash_too() {
    let mut world = World::new();
    let classic = world.classic(gives(&[0, 1, 2, 3], None));
    world.beat(joining("new", &["t"]));
    world.join(join(&classic).saying(&wants(&[0, 1])));
    world.beat(quiet("new", -1));
    world.driver.reload();
    assert_eq!(world.listed(), ["classic", "PreparingRebalance"]);
    assert_eq!(world.alive(2, &classic), ErrorCode::RebalanceInProgress);
    let joined = world.join(join(&classic).saying(&wants(&[0, 1])));
    assert_eq!((joined.generation_id, &*joined.leader), (3, &*classic));
}

#[test]
fn a_static_member_that_went_back_is_not_given_what_another_one_still_reads_after_a_crash() {
    let mut world = World::new();
    let classic = world.classic(gives(&[0, 1, 2, 3], None));
    world.beat(ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..joining("new", &["t"])
    });
    world.driver.ask(join("").instance("i").saying(&wants(&[])));
    world.driver.reload();
    let back = world.driver.ask(join("").instance("i").saying(&wants(&[])));
    assert!(world.driver.is_waiting(back), "it waits for the other one");
    world.driver.ask(join(&classic).saying(&wants(&[0, 1, 2, 3])));
    assert!(world.driver.joined(back).is_some());
}

#[test]
fn what_the_last_consumer_member_had_is_shared_out_when_the_group_does_not_go_over() {
    let mut world = World::new();
    world.driver.config.consumer_migration_policy = MigrationPolicy::Upgrade;
    world.beat(joining("new", &["t"]));
    let mut members = world.classic_beside("new", 2);
    assert_eq!(had(&members).len(), 3);
    world.beat(quiet("new", -1));
    assert_eq!(world.listed(), ["consumer", "Assigning"]);
    world.obey(&mut members, 3);
    assert_eq!(had(&members), [0, 1, 2, 3]);
    let written = world.driver.written();
    world.obey(&mut members, 1);
    assert_eq!(
        world.driver.written(),
        written,
        "nobody is told to join for nothing"
    );

    // Nobody else looks for new partitions.
    world.cluster.grow("t", 6);
    world.driver.change(world.cluster.image());
    world.obey(&mut members, 3);
    assert_eq!(had(&members), [0, 1, 2, 3, 4, 5]);
    world.driver.reload();
    let written = world.driver.written();
    world.obey(&mut members, 1);
    assert_eq!(world.driver.written(), written);
}

#[test]
fn the_last_consumer_member_goes_from_a_group_that_is_too_large_to_go_over() {
    let long = |name: &str, bytes: usize| {
        let subscription = ConsumerProtocolSubscription {
            topics: vec![name.into()],
            user_data: Some(vec![0; bytes].into()),
            ..Default::default()
        };
        embed(3, &subscription)
    };
    // (how much each member says, whether the last one comes back as a classic one, what the group is then)
    let table = [
        (100_000, false, "consumer"),
        (100_000, true, "consumer"),
        (10_000, false, "classic"),
        (10_000, true, "classic"),
    ];
    for (bytes, comes_back, kind) in table {
        let mut world = World::new();
        world.beat(ConsumerGroupHeartbeatRequest {
            instance_id: Some("i".into()),
            ..joining("new", &["t"])
        });
        for _ in 0..8 {
            world.join(join("").version(3).saying(&long("t", bytes)));
        }
        if comes_back {
            world.driver.ask(join("").instance("i").saying(&long("t", bytes)));
        } else {
            assert_eq!(world.beat(of_instance("new", -1, &[])).error_code, 0);
        }
        assert_eq!(world.listed()[0], kind, "{bytes} {comes_back}");
        if let Some(group) = world.driver.shard.groups["g"].consumer() {
            assert!(group.member("new").is_none());
        }
    }
}

#[test]
fn what_a_classic_member_had_is_shared_out_while_the_only_consumer_member_is_away() {
    let mut world = World::new();
    world.beat(ConsumerGroupHeartbeatRequest {
        instance_id: Some("i".into()),
        ..joining("new", &["t"])
    });
    let mut members = world.classic_beside("new", 2);
    world.beat(of_instance("new", -2, &[]));
    members.sort_by_key(|member| member.has.len());
    let gone = members.pop().unwrap();
    assert_eq!(gone.has.len(), 2);
    world.driver.at_once(leave(&[(&*gone.id, None)]));
    assert_eq!(world.listed(), ["consumer", "Assigning"]);
    world.driver.config.consumer_assignment_interval = std::time::Duration::from_secs(9);
    assert_eq!(
        world.alive(members[0].generation, &members[0].id),
        ErrorCode::None,
        "it may not be made yet"
    );
    world.driver.pass(8_000);
    world.obey(&mut members, 1);
    assert_eq!(had(&members).len(), 1);
    world.driver.pass(1_000);
    world.obey(&mut members, 3);
    assert_eq!(had(&members).len(), 2);
}

#[test]
fn a_classic_member_that_was_told_to_join_is_told_so_until_it_does() {
    let mut world = World::new();
    world.driver.config.consumer_migration_policy = MigrationPolicy::Upgrade;
    world.beat(joining("new", &["t"]));
    let mut members = world.classic_beside("new", 1);
    world.beat(quiet("new", -1));
    world.obey(&mut members, 2);
    assert_eq!(had(&members), [0, 1, 2, 3]);
    let (generation, id) = (members[0].generation, members[0].id.clone());
    assert_eq!(world.alive(generation, &id), ErrorCode::None);
    let before = world.cluster.image();
    world.cluster.grow("t", 5);
    world.driver.change(world.cluster.image());
    assert_eq!(world.alive(generation, &id), ErrorCode::RebalanceInProgress);
    // The topics are again what they were; the member has its time to join all the same.
    world.driver.change(before);
    assert_eq!(world.alive(generation, &id), ErrorCode::RebalanceInProgress);
    world.obey(&mut members, 1);
    let (generation, id) = (members[0].generation, members[0].id.clone());
    assert_eq!(world.alive(generation, &id), ErrorCode::None, "it has joined");
}

#[test]
fn the_last_consumer_member_goes_however_it_goes() {
    for how in 0..3 {
        let mut world = World::new();
        let classic = world.classic(gives(&[0, 1, 2, 3], None));
        world.beat(joining("new", &["t"]));
        match how {
            0 => {
                world.beat(quiet("new", -1));
            }
            1 => {
                world.driver.at_once(leave(&[("new", None)]));
            }
            _ => {
                for _ in 0..9 {
                    world.driver.pass(5_000);
                    world.alive(1, &classic);
                }
            }
        }
        assert_eq!(world.listed(), ["classic", "PreparingRebalance"], "{how}");
        // Without the policy it stays what it is.
        let mut world = World::new();
        world.classic(gives(&[0, 1, 2, 3], None));
        world.driver.config.consumer_migration_policy = MigrationPolicy::Upgrade;
        world.beat(joining("new", &["t"]));
        world.beat(quiet("new", -1));
        assert_eq!(world.listed()[0], "consumer");
    }
}
