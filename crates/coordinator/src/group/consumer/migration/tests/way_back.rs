//! A static member goes back to the classic protocol, and the group with it.

use crate::group::consumer::testing::{joining, quiet, told};
use crate::group::driver::{commit, commit_codes, join, leave};
use klamm_model::ErrorCode;
use klamm_protocol::messages::ConsumerGroupHeartbeatRequest;

use super::{TOPIC, World, gives, wants};

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
