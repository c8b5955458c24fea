//! A classic group goes over to the consumer protocol.

use crate::group::config::MigrationPolicy;
use crate::group::consumer::testing::{joining, owning, quiet, told};
use crate::group::driver::{commit, commit_codes, join};
use crate::group::shard::{Group, Timer};
use klamm_model::ErrorCode;

use super::{TOPIC, World, gives, wants};

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
