//! Who is told no, and in which words.

use klamm_model::ErrorCode;
use klamm_protocol::ByteString;

use super::{FENCED, ILLEGAL, INCONSISTENT, UNKNOWN, code, members};
use crate::group::driver::{Driver, Join, commit, heartbeat, join, leave, sync};
use crate::group::request::Request;

#[test]
fn who_is_not_known_is_told_so() {
    let mut driver = Driver::new();
    let (all, generation) = driver.stable(&[join("").instance("i"), join("")]);
    let (owner, other) = (&*all[0], &*all[1]);
    let with_instance = |request: Request, instance: &str| match request {
        Request::SyncGroup { version, mut request } => {
            request.group_instance_id = Some(instance.into());
            Request::SyncGroup { version, request }
        }
        other => other,
    };
    let in_protocol = |request: Request, name: &str| match request {
        Request::SyncGroup { version, mut request } => {
            request.protocol_name = Some(name.into());
            Request::SyncGroup { version, request }
        }
        other => other,
    };
    let cases: Vec<(&str, Request, i16)> = vec![
        ("nobody's sync", sync(generation, "x", &[]), UNKNOWN),
        ("a late sync", sync(generation - 1, other, &[]), ILLEGAL),
        (
            "a fenced sync",
            with_instance(sync(generation, other, &[]), "i"),
            FENCED,
        ),
        (
            "a sync of an unknown instance",
            with_instance(sync(generation, other, &[]), "j"),
            UNKNOWN,
        ),
        (
            "another protocol",
            in_protocol(sync(generation, other, &[]), "sticky"),
            INCONSISTENT,
        ),
        ("a sync again", sync(generation, other, &[]), 0),
        ("nobody's heartbeat", heartbeat(generation, "x", None), UNKNOWN),
        (
            "a late heartbeat",
            heartbeat(generation - 1, other, None),
            ILLEGAL,
        ),
        (
            "a fenced heartbeat",
            heartbeat(generation, other, Some("i")),
            FENCED,
        ),
        (
            "a heartbeat of an unknown instance",
            heartbeat(generation, owner, Some("j")),
            UNKNOWN,
        ),
        ("a heartbeat", heartbeat(generation, owner, Some("i")), 0),
        ("nobody leaves", leave(&[("x", None)]), UNKNOWN),
        ("a fenced one leaves", leave(&[(other, Some("i"))]), FENCED),
        ("an unknown instance leaves", leave(&[("", Some("j"))]), UNKNOWN),
        ("no name leaves", leave(&[("", None)]), UNKNOWN),
        ("nobody joins", join("x").into(), UNKNOWN),
        ("a fenced one joins", join(other).instance("i").into(), FENCED),
        (
            "one that speaks nothing joins",
            join(other).speaking(&[]).into(),
            INCONSISTENT,
        ),
        (
            "one that speaks something else joins",
            join("").speaking(&["sticky"]).into(),
            INCONSISTENT,
        ),
        (
            "one of another type joins",
            Join {
                protocol_type: "connect",
                ..join("")
            }
            .into(),
            INCONSISTENT,
        ),
        ("nobody commits", commit(generation, "x", &[(0, 1)]), UNKNOWN),
        ("a late commit", commit(generation - 1, other, &[(0, 1)]), ILLEGAL),
        ("a commit from outside", commit(-1, "", &[(0, 1)]), UNKNOWN),
        ("a commit", commit(generation, other, &[(0, 1)]), 0),
    ];
    for (name, request, expected) in cases {
        assert_eq!(code(&driver.at_once(request)), expected, "{name}");
    }
    assert_eq!(driver.state(), "Stable", "nothing of this has changed it");
}

#[test]
fn what_comes_to_no_group_is_told_so() {
    let mut driver = Driver::new();
    let cases: Vec<(&str, Request, i16)> = vec![
        ("a member joins", join("x").into(), UNKNOWN),
        ("sync", sync(1, "x", &[]), UNKNOWN),
        ("heartbeat", heartbeat(1, "x", None), UNKNOWN),
        ("leave", leave(&[("x", None)]), UNKNOWN),
        (
            "a member commits",
            commit(1, "x", &[(0, 1)]),
            ErrorCode::GroupIdNotFound.code(),
        ),
        ("no protocols", join("").speaking(&[]).into(), INCONSISTENT),
        (
            "too short a session",
            Join {
                session_ms: 5_999,
                ..join("")
            }
            .into(),
            ErrorCode::InvalidSessionTimeout.code(),
        ),
        (
            "too long a session",
            Join {
                session_ms: 1_800_001,
                ..join("")
            }
            .into(),
            ErrorCode::InvalidSessionTimeout.code(),
        ),
    ];
    for (name, request, expected) in cases {
        assert_eq!(code(&driver.at_once(request)), expected, "{name}");
    }
    assert_eq!(driver.written(), 0, "and nothing is made");
    let old = Request::OffsetCommit {
        version: 8,
        request: crate::group::driver::commit_of(1, "x", &[(0, 1)]).into(),
    };
    assert_eq!(code(&driver.at_once(old)), ILLEGAL);
}

#[test]
fn a_member_whose_id_nothing_could_hold_is_refused() {
    const MOST: usize = klamm_model::limits::MAX_STRING_BYTES - 37;
    for (length, expected) in [(MOST, 0), (MOST + 1, ErrorCode::InvalidRequest.code())] {
        for (version, is_static) in [(9, true), (3, true), (3, false)] {
            let mut driver = Driver::new();
            let mut request = Request::from(join("").version(version));
            if let Request::JoinGroup { client, request, .. } = &mut request {
                let name = ByteString::from("n".repeat(length).as_str());
                match is_static {
                    true => request.group_instance_id = Some(name),
                    false => client.client_id = name,
                }
            }
            let ticket = driver.ask(request);
            driver.wait(ticket);
            assert_eq!(driver.joined(ticket).unwrap().error_code, expected, "{version}");
            assert_eq!(driver.written(), usize::from(expected == 0), "nothing is made");
        }
    }
}

#[test]
fn a_group_has_no_more_members_than_it_may() {
    let mut driver = Driver::new();
    driver.config.max_size = 2;
    let (all, generation) = driver.stable(&[join(""), join("")]);
    let full = ErrorCode::GroupMaxSizeReached.code();
    assert_eq!(code(&driver.at_once(join(""))), full);
    assert_eq!(code(&driver.at_once(heartbeat(generation, &all[0], None))), 0);
    // The limit is lowered: whoever comes back last has to go, and does not hold up the other.
    driver.config.max_size = 1;
    driver.reload();
    assert_eq!(driver.state(), "PreparingRebalance");
    let first = driver.ask(join(&all[1]));
    assert!(driver.is_waiting(first));
    assert_eq!(code(&driver.at_once(join(&all[0]))), full);
    assert_eq!(members(&driver.joined(first).unwrap()), vec![&*all[1]]);
}
