//! How long members may be silent.

use super::{REBALANCE, UNKNOWN, code};
use crate::group::driver::{Driver, commit, heartbeat, join, leave, sync};
use crate::group::request::Request;
use crate::group::{Answer, Timer};

#[test]
fn who_never_asks_for_its_assignment_is_removed() {
    let mut driver = Driver::new();
    let (first, ticket) = driver.enter(join(""));
    let (second, other) = driver.enter(join(""));
    driver.wait(ticket);
    assert!(driver.joined(ticket).is_some() && driver.joined(other).is_some());
    let waits = driver.ask(sync(1, &first, &[(&first, "a"), (&second, "b")]));
    assert_eq!(driver.synced(waits).unwrap().assignment, "a");
    for _ in 0..14 {
        driver.pass(4_000);
        assert_eq!(code(&driver.at_once(heartbeat(1, &first, None))), 0);
        assert_eq!(code(&driver.at_once(heartbeat(1, &second, None))), 0);
    }
    driver.pass(4_000);
    assert_eq!(code(&driver.at_once(heartbeat(1, &second, None))), UNKNOWN);
    assert_eq!(code(&driver.at_once(heartbeat(1, &first, None))), REBALANCE);
}

#[test]
fn who_is_silent_is_removed_and_the_group_ends_empty() {
    let mut driver = Driver::new();
    let (all, generation) = driver.stable(&[join(""), join("")]);
    driver.pass(9_999);
    assert_eq!(code(&driver.at_once(heartbeat(generation, &all[0], None))), 0);
    driver.pass(1);
    assert_eq!(driver.state(), "PreparingRebalance");
    assert_eq!(
        code(&driver.at_once(heartbeat(generation, &all[1], None))),
        UNKNOWN
    );
    driver.pass(10_000);
    assert_eq!(driver.state(), "Empty");
    assert_eq!(driver.describe(5).protocol_type, "consumer");
}

#[test]
fn a_commit_shows_that_its_member_lives() {
    let mut driver = Driver::new();
    let (all, generation) = driver.stable(&[join("")]);
    for _ in 0..5 {
        driver.pass(9_000);
        assert_eq!(code(&driver.at_once(commit(generation, &all[0], &[(0, 1)]))), 0);
    }
}

#[test]
fn who_is_told_late_is_not_taken_for_silent() {
    let mut driver = Driver::new();
    let held_up = |driver: &mut Driver, requests: &[Request]| -> Vec<Answer> {
        driver.hold_answers();
        let tickets: Vec<_> = requests
            .iter()
            .map(|request| driver.ask(request.clone()))
            .collect();
        driver.pass(120_000);
        driver.release();
        let told = tickets
            .into_iter()
            .map(|ticket| driver.told(ticket).expect("an answer"));
        told.collect()
    };
    let told = held_up(&mut driver, &[join("").into(), join("").into()]);
    let all: Vec<_> = told
        .into_iter()
        .map(|answer| match answer {
            Answer::JoinGroup(answer) => answer.member_id,
            other => panic!("{other:?}"),
        })
        .collect();
    let codes = |answers: Vec<Answer>| answers.iter().map(code).collect::<Vec<_>>();
    let joins: Vec<Request> = all.iter().map(|member| join(member).into()).collect();
    assert_eq!(
        codes(held_up(&mut driver, &joins)),
        [0, 0],
        "the ids were given late"
    );
    let syncs: Vec<_> = all.iter().map(|member| sync(1, member, &[])).collect();
    assert_eq!(
        codes(held_up(&mut driver, &syncs)),
        [0, 0],
        "the generation began late"
    );
    let beats: Vec<_> = all.iter().map(|member| heartbeat(1, member, None)).collect();
    assert_eq!(codes(held_up(&mut driver, &beats)), [0, 0], "the work came late");
    let commits: Vec<_> = all.iter().map(|member| commit(1, member, &[(0, 1)])).collect();
    assert_eq!(
        codes(held_up(&mut driver, &commits)),
        [0, 0],
        "heartbeats came late"
    );
    let again = [sync(1, &all[0], &[]), join(&all[1]).into()];
    assert_eq!(codes(held_up(&mut driver, &again)), [0, 0], "commits came late");
    assert_eq!(
        codes(held_up(&mut driver, &beats)),
        [0, 0],
        "what was asked again came late"
    );
    // From the answer on, they are to be heard of.
    driver.pass(9_999);
    assert_eq!(driver.state(), "Stable");
    driver.pass(1);
    assert_eq!(driver.state(), "Empty");
}

#[test]
fn who_is_taken_out_before_it_is_told_leaves_no_timer() {
    let mut driver = Driver::new();
    let (all, generation) = driver.stable(&[join("").instance("i")]);
    driver.hold_answers();
    driver.ask(heartbeat(generation, &all[0], Some("i")));
    driver.ask(leave(&[("", Some("i"))]));
    driver.release();
    let timers: Vec<_> = driver.timers.keys().collect();
    assert_eq!(timers, [&Timer::ExpireOffsets]);
}

#[test]
fn an_id_that_nobody_uses_does_not_hold_up_the_others() {
    let mut driver = Driver::new();
    let (all, _) = driver.stable(&[join("")]);
    let given = driver.ask(join(""));
    let given = driver.joined(given).unwrap().member_id;
    let again = driver.ask(join(&all[0]));
    assert!(driver.is_waiting(again), "somebody is to come");
    driver.pass(10_000);
    assert!(driver.joined(again).is_some());
    assert_eq!(code(&driver.at_once(join(&given))), UNKNOWN);
}
