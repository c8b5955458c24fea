//! Classic members in a group of the consumer protocol.

use crate::group::answer::Answer;
use crate::group::config::MigrationPolicy;
use crate::group::consumer::testing::{joining, owning, quiet, told};
use crate::group::driver::{Join, join};
use crate::group::request::Request;
use klamm_model::ErrorCode;
use klamm_protocol::messages::{ConsumerGroupHeartbeatRequest, join_group_request::JoinGroupRequestProtocol};

use super::{TOPIC, World, had, of_instance, wants};

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
