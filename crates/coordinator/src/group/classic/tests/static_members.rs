//! Members with names of their own, and how members leave.

use super::{FENCED, REBALANCE, UNKNOWN, code};
use crate::group::Answer;
use crate::group::driver::{Driver, heartbeat, join, leave, sync};
use crate::group::request::Request;

#[test]
fn a_static_member_comes_back_unnoticed() {
    for (version, leads) in [(9, true), (9, false), (7, true), (7, false), (5, true)] {
        let mut driver = Driver::new();
        let (all, generation) = driver.stable(&[join("").instance("i"), join("").instance("j")]);
        let written = driver.written();
        let (index, instance) = if leads { (0, "i") } else { (1, "j") };
        let back = driver.ask(join("").instance(instance).version(version));
        let told = driver.joined(back).unwrap_or_else(|| panic!("version {version}"));
        assert_ne!(told.member_id, all[index]);
        assert_eq!((told.error_code, told.generation_id), (0, generation));
        assert_eq!(told.skip_assignment, version >= 9 && leads);
        let leader = match (version, leads) {
            (9, true) => told.member_id.to_string(),
            _ => all[0].clone(),
        };
        assert_eq!(&*told.leader, &*leader, "version {version}");
        assert_eq!(told.members.len(), if version >= 9 && leads { 2 } else { 0 });
        assert_eq!(driver.written_since(written).len(), 1);
        let answer = driver.at_once(sync(generation, &told.member_id, &[]));
        let Answer::SyncGroup(answer) = answer else {
            panic!()
        };
        assert_eq!(
            answer.assignment,
            all[index].as_bytes(),
            "it has what the earlier one had"
        );
        assert_eq!(
            code(&driver.at_once(heartbeat(generation, &all[index], Some(instance)))),
            FENCED
        );
        assert_eq!(
            code(&driver.at_once(heartbeat(generation, &told.member_id, Some(instance)))),
            0
        );
        driver.reload();
        assert_eq!(
            code(&driver.at_once(heartbeat(generation, &told.member_id, Some(instance)))),
            0
        );
    }
}

#[test]
fn a_static_member_that_waits_is_fenced_by_the_next_one() {
    let mut driver = Driver::new();
    let (_, waits) = driver.enter(join("").instance("i"));
    let (_, next) = driver.enter(join("").instance("i"));
    let told = driver.joined(waits).unwrap();
    assert_eq!((told.error_code, told.generation_id), (FENCED, -1));
    driver.pass(3_000);
    let told = driver.joined(next).unwrap();
    assert_eq!((told.error_code, told.members.len()), (0, 1));
}

#[test]
fn a_static_member_that_speaks_something_else_is_noticed() {
    let mut driver = Driver::new();
    let both = |instance: &'static str| join("").instance(instance).speaking(&["range", "sticky"]);
    let (all, generation) = driver.stable(&[both("i"), both("j")]);
    let back = driver.ask(join("").instance("j").speaking(&["sticky"]));
    assert!(driver.is_waiting(back));
    assert_eq!(
        code(&driver.at_once(heartbeat(generation, &all[0], Some("i")))),
        REBALANCE
    );
    driver.ask(both("i"));
    assert_eq!(
        driver.joined(back).unwrap().protocol_name.as_deref(),
        Some("sticky")
    );
}

#[test]
fn static_members_leave_by_their_instance_id_alone() {
    let mut driver = Driver::new();
    let (all, generation) = driver.stable(&[join("").instance("i"), join("").instance("j"), join("")]);
    let answer = driver.at_once(leave(&[("", Some("i")), (&all[1], Some("j")), ("", Some("i"))]));
    let Answer::LeaveGroup(answer) = answer else {
        panic!()
    };
    let codes: Vec<_> = answer.members.iter().map(|member| member.error_code).collect();
    assert_eq!((answer.error_code, codes), (0, vec![0, 0, UNKNOWN]));
    assert_eq!(
        code(&driver.at_once(heartbeat(generation, &all[2], None))),
        REBALANCE
    );
}

#[test]
fn the_first_versions_leave_alone_and_are_told_in_one_code() {
    for (member, expected) in [("x", UNKNOWN), ("", 0)] {
        let mut driver = Driver::new();
        let (all, _) = driver.stable(&[join("").version(3)]);
        let member_id = if member.is_empty() { &*all[0] } else { member };
        let answer = driver.at_once(Request::LeaveGroup {
            version: 2,
            request: klamm_protocol::messages::LeaveGroupRequest {
                group_id: "g".into(),
                member_id: member_id.into(),
                ..Default::default()
            },
        });
        let Answer::LeaveGroup(answer) = answer else {
            panic!()
        };
        assert_eq!((answer.error_code, answer.members.len()), (expected, 0));
    }
}
