//! How members come together, and agree on what they speak.

use klamm_model::ErrorCode;
use klamm_protocol::messages::join_group_request::JoinGroupRequestProtocol;

use super::{INCONSISTENT, REBALANCE, UNKNOWN, code, members};
use crate::group::Answer;
use crate::group::driver::{Driver, Join, commit, heartbeat, join, sync};
use crate::group::request::Request;

#[test]
fn an_assignment_that_cannot_be_written_is_told_to_all_who_wait_for_it() {
    let mut driver = Driver::new();
    let entered = [join(""), join("")].map(|how| driver.enter(how));
    driver.wait(entered[0].1);
    let joined = entered
        .each_ref()
        .map(|(_, ticket)| driver.joined(*ticket).unwrap());
    let (leader, generation) = (joined[0].leader.to_string(), joined[0].generation_id);
    let (follower, _) = entered.iter().find(|(member, _)| *member != leader).unwrap();
    let waiting = driver.ask(sync(generation, follower, &[]));
    assert!(driver.is_waiting(waiting));
    let why = ErrorCode::UnknownServerError;
    driver.ask_in_vain(sync(generation, &leader, &[(follower, "all")]), why);
    assert_eq!(driver.synced(waiting).unwrap().error_code, why.code());
    for member in [&leader, follower] {
        assert_eq!(
            code(&driver.at_once(heartbeat(generation, member, None))),
            REBALANCE
        );
    }
}

#[test]
fn a_first_rebalance_waits_for_more_members_as_long_as_they_come() {
    let mut driver = Driver::new();
    let (first, at) = driver.enter(join(""));
    driver.pass(2_900);
    let (second, other) = driver.enter(join(""));
    driver.pass(200);
    assert!(driver.is_waiting(at), "somebody came: it waits once more");
    driver.pass(2_899);
    assert!(driver.is_waiting(at));
    driver.pass(1);
    let (told, other) = (driver.joined(at).unwrap(), driver.joined(other).unwrap());
    assert_eq!(
        (told.generation_id, &*told.leader, members(&told)),
        (1, &*first, vec![&*first, &*second])
    );
    assert_eq!(
        (other.generation_id, &*other.leader, members(&other)),
        (1, &*first, vec![])
    );
    assert_eq!(told.protocol_name.as_deref(), Some("range"));
}

#[test]
fn a_first_rebalance_does_not_wait_longer_than_the_rebalance_timeout() {
    let mut driver = Driver::new();
    let quick = |name: &'static str| Join {
        rebalance_ms: 8_000,
        ..join("").version(3).speaking(&[name])
    };
    let first = driver.ask(quick("range"));
    for _ in 0..7 {
        driver.pass(1_000);
        driver.ask(quick("range"));
    }
    driver.pass(999);
    assert!(driver.is_waiting(first));
    driver.pass(1);
    assert_eq!(driver.joined(first).unwrap().members.len(), 8);
}

#[test]
fn a_member_that_joins_makes_the_others_join_again() {
    let mut driver = Driver::new();
    let (all, generation) = driver.stable(&[join("")]);
    let (second, waits) = driver.enter(join(""));
    assert_eq!(
        code(&driver.at_once(heartbeat(generation, &all[0], None))),
        REBALANCE
    );
    assert_eq!(code(&driver.at_once(sync(generation, &all[0], &[]))), REBALANCE);
    assert_eq!(
        code(&driver.at_once(commit(generation, &all[0], &[(0, 5)]))),
        0,
        "it may commit before it joins"
    );
    let again = driver.ask(join(&all[0]));
    let (told, waits) = (driver.joined(again).unwrap(), driver.joined(waits).unwrap());
    assert_eq!(
        (told.generation_id, waits.generation_id),
        (generation + 1, generation + 1)
    );
    assert_eq!(
        (&*told.leader, told.members.len(), waits.members.len()),
        (&*all[0], 2, 0)
    );
    assert_eq!(
        code(&driver.at_once(commit(generation + 1, &second, &[(0, 5)]))),
        REBALANCE,
        "a member that has no assignment yet"
    );
    assert_eq!(code(&driver.at_once(heartbeat(generation + 1, &second, None))), 0);
    driver.settle(generation + 1, &all[0], [&*all[0], &*second].into_iter());
}

#[test]
fn who_does_not_join_again_is_gone_after_the_rebalance_timeout() {
    let mut driver = Driver::new();
    let (all, generation) = driver.stable(&[join(""), join("")]);
    let again = driver.ask(join(&all[0]));
    for _ in 0..11 {
        driver.pass(5_000);
        assert_eq!(
            code(&driver.at_once(heartbeat(generation, &all[1], None))),
            REBALANCE
        );
    }
    assert!(driver.is_waiting(again));
    driver.pass(5_000);
    let told = driver.joined(again).unwrap();
    assert_eq!(
        (told.generation_id, members(&told)),
        (generation + 1, vec![&*all[0]])
    );
    assert_eq!(
        code(&driver.at_once(heartbeat(generation + 1, &all[1], None))),
        UNKNOWN
    );
}

#[test]
fn a_new_leader_is_found_where_the_old_one_does_not_come() {
    let mut driver = Driver::new();
    let (all, generation) = driver.stable(&[join("").instance("i"), join("").instance("j")]);
    // The leader is static, so it stays a member; but it cannot share out.
    let follower = driver.ask(join(&all[1]).instance("j").saying(b"other topics"));
    for _ in 0..12 {
        driver.pass(5_000);
        driver.at_once(heartbeat(generation, &all[0], Some("i")));
    }
    let told = driver.joined(follower).unwrap();
    assert_eq!((&*told.leader, members(&told).len()), (&*all[1], 2));
}

#[test]
fn members_vote_for_what_all_can_speak() {
    let cases: &[(&[&[&'static str]], &str)] = &[
        (
            &[&["range", "sticky"], &["sticky", "range"], &["sticky", "range"]],
            "sticky",
        ),
        (&[&["range", "sticky"], &["sticky"]], "sticky"),
        (&[&["b", "a"], &["a", "b"]], "a"),
        (&[&["a", "b"]], "a"),
    ];
    for (all, expected) in cases {
        let mut driver = Driver::new();
        let entered: Vec<_> = all
            .iter()
            .map(|names| driver.enter(join("").speaking(names)).1)
            .collect();
        driver.pass(60_000);
        for ticket in entered {
            assert_eq!(
                driver.joined(ticket).unwrap().protocol_name.as_deref(),
                Some(*expected),
                "{all:?}"
            );
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // a bound on the work, which nothing else shows
fn members_that_name_very_many_protocols_are_placed_in_no_time() {
    let naming = |names: &mut dyn Iterator<Item = String>| {
        let mut request = Request::from(join("").version(3));
        if let Request::JoinGroup { request, .. } = &mut request {
            let protocols = names.map(|name| JoinGroupRequestProtocol {
                name: name.as_str().into(),
                ..Default::default()
            });
            request.protocols = protocols.collect();
        }
        request
    };
    let mut driver = Driver::new();
    let first = driver.ask(naming(&mut (0..50_000).rev().map(|n| format!("{n:05}"))));
    let other = driver.at_once(naming(&mut (50_000..99_999).map(|n| format!("{n:05}"))));
    assert_eq!(code(&other), INCONSISTENT);
    driver.ask(naming(&mut (0..50_000).map(|n| format!("{:05}", n + 49_999))));
    driver.wait(first);
    let told = driver.joined(first).unwrap();
    assert_eq!(
        (told.members.len(), told.protocol_name.as_deref()),
        (2, Some("49999"))
    );
}

#[test]
fn a_follower_that_says_the_same_is_answered_and_the_leader_rebalances() {
    let mut driver = Driver::new();
    let (all, generation) = driver.stable(&[join(""), join("")]);
    let told = driver.at_once(join(&all[1]));
    let Answer::JoinGroup(told) = told else { panic!() };
    assert_eq!(
        (told.error_code, told.generation_id, told.members.len()),
        (0, generation, 0)
    );
    assert_eq!(driver.state(), "Stable");
    driver.ask(join(&all[0]));
    assert_eq!(driver.state(), "PreparingRebalance");
}

#[test]
fn a_request_that_comes_again_takes_the_place_of_the_earlier_one() {
    let mut driver = Driver::new();
    let (first, ticket) = driver.enter(join(""));
    let again = driver.ask(join(&first));
    assert_eq!(driver.joined(ticket).unwrap().error_code, REBALANCE);
    let (second, other) = driver.enter(join(""));
    driver.wait(again);
    assert!(driver.joined(again).is_some() && driver.joined(other).is_some());
    let waits = driver.ask(sync(1, &second, &[]));
    let again = driver.ask(sync(1, &second, &[]));
    assert_eq!(driver.synced(waits).unwrap().error_code, REBALANCE);
    driver.at_once(sync(1, &first, &[(&second, "work")]));
    assert_eq!(driver.synced(again).unwrap().assignment, "work");
}

#[test]
fn a_rebalance_ends_the_waits_for_an_assignment() {
    let mut driver = Driver::new();
    let (all, _) = driver.stable(&[join(""), join("")]);
    let (leader, follower) = (
        driver.ask(join(&all[0])),
        driver.ask(join(&all[1]).saying(b"other")),
    );
    assert!(driver.joined(leader).is_some() && driver.joined(follower).is_some());
    let waits = driver.ask(sync(2, &all[1], &[]));
    assert!(driver.is_waiting(waits));
    driver.enter(join(""));
    assert_eq!(driver.synced(waits).unwrap().error_code, REBALANCE);
}
