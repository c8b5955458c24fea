//! Conversations with a group of the classic protocol.

use bytes::Bytes;
use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::describe_groups_response::DescribedGroup;
use klamm_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use klamm_protocol::messages::{JoinGroupResponse, ListGroupsRequest, OffsetCommitRequest};

use crate::contract::{Shard, Ticket};
use crate::group::driver::{Driver, Join, commit, commit_codes, commit_of, heartbeat, join, leave, sync};
use crate::group::record::GroupRecord;
use crate::group::request::Request;
use crate::group::{Answer, Timer};

const UNKNOWN: i16 = ErrorCode::UnknownMemberId.code();
const ILLEGAL: i16 = ErrorCode::IllegalGeneration.code();
const FENCED: i16 = ErrorCode::FencedInstanceId.code();
const REBALANCE: i16 = ErrorCode::RebalanceInProgress.code();
const INCONSISTENT: i16 = ErrorCode::InconsistentGroupProtocol.code();

fn code(answer: &Answer) -> i16 {
    match answer {
        Answer::JoinGroup(answer) => answer.error_code,
        Answer::SyncGroup(answer) => answer.error_code,
        Answer::Heartbeat(answer) => answer.error_code,
        Answer::LeaveGroup(answer) if answer.error_code != 0 => answer.error_code,
        Answer::LeaveGroup(answer) => answer.members.first().map_or(0, |member| member.error_code),
        Answer::OffsetCommit(_) => commit_codes(answer)[0],
        other => panic!("{other:?}"),
    }
}

fn members(answer: &JoinGroupResponse) -> Vec<&str> {
    answer.members.iter().map(|member| &*member.member_id).collect()
}

impl Driver {
    /// A member gets its id, and joins with it.
    fn enter(&mut self, how: Join) -> (String, Ticket) {
        let ticket = self.ask(how.clone());
        if self.is_waiting(ticket) {
            let (member, _) = self.last_member();
            return (member, ticket);
        }
        let told = self.joined(ticket).unwrap();
        assert_eq!(told.error_code, ErrorCode::MemberIdRequired.code());
        let member = told.member_id.to_string();
        let again = Join {
            member: told.member_id,
            ..how
        };
        (member, self.ask(again))
    }

    /// The member that came last, and whether it leads.
    fn last_member(&self) -> (String, bool) {
        let group = self
            .shard
            .groups
            .get("g")
            .and_then(crate::group::Group::classic)
            .unwrap();
        let last = group
            .members
            .iter()
            .max_by_key(|member| member.id[member.id.len() - 12..].to_owned())
            .unwrap();
        (last.id.to_string(), group.is_leader(&last.id))
    }

    /// A stable group of these members; the first leads. Gives their ids and the generation.
    fn stable(&mut self, all: &[Join]) -> (Vec<String>, i32) {
        let entered: Vec<_> = all.iter().map(|how| self.enter(how.clone())).collect();
        self.wait(entered[0].1);
        let mut generation = 0;
        let mut leader = String::new();
        for (_, ticket) in &entered {
            let told = self.joined(*ticket).expect("the generation has begun");
            assert_eq!(told.error_code, 0);
            generation = told.generation_id;
            leader = told.leader.to_string();
        }
        self.settle(generation, &leader, entered.iter().map(|(member, _)| &**member));
        (
            entered.into_iter().map(|(member, _)| member).collect(),
            generation,
        )
    }

    /// Time passes until this is answered.
    fn wait(&mut self, ticket: Ticket) {
        while self.is_waiting(ticket) {
            self.pass(500);
        }
    }

    /// The leader gives each member its own id to work on; all are told.
    fn settle<'a>(&mut self, generation: i32, leader: &str, all: impl Iterator<Item = &'a str> + Clone) {
        let given: Vec<_> = all.clone().map(|member| (member, member)).collect();
        let tickets: Vec<_> = all
            .map(|member| {
                let given = if member == leader { &*given } else { &[] };
                (member, self.ask(sync(generation, member, given)))
            })
            .collect();
        for (member, ticket) in tickets {
            let told = self.synced(ticket).expect("the leader has synced");
            assert_eq!(
                (told.error_code, &told.assignment),
                (0, &Bytes::copy_from_slice(member.as_bytes()))
            );
        }
    }

    fn describe(&mut self, version: i16) -> DescribedGroup {
        let groups = vec!["g".into()];
        match self.at_once(Request::DescribeGroups { version, groups }) {
            Answer::DescribeGroups(mut groups) => groups.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn state(&mut self) -> String {
        self.describe(5).group_state.to_string()
    }
}

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
fn a_group_is_recorded_when_it_is_made_when_it_is_stable_and_when_it_is_empty() {
    let mut driver = Driver::new();
    let (all, generation) = driver.stable(&[join("")]);
    assert_eq!(code(&driver.at_once(leave(&[(&*all[0], None)]))), 0);
    let records: Vec<_> = driver
        .written_since(0)
        .into_iter()
        .map(|record| match record {
            GroupRecord::ClassicGroup(_, Some(value)) => (
                value.generation,
                value.protocol_type.to_string(),
                value.protocol.map(|text| text.to_string()),
                value.leader.map(|text| text.to_string()),
                value.members.len(),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    let (range, leader) = (Some("range".to_owned()), Some(all[0].clone()));
    let expected = vec![
        (0, String::new(), None, None, 0),
        (generation, "consumer".to_owned(), range, leader, 1),
        (generation + 1, "consumer".to_owned(), None, None, 0),
    ];
    assert_eq!(records, expected);
    assert!(
        !driver
            .timers
            .keys()
            .any(|timer| matches!(timer, Timer::ClassicSession { .. }))
    );
}

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
fn a_group_is_not_built_again_from_what_it_records() {
    let mut driver = Driver::new();
    driver.stable(&[join("").instance("i"), join("")]);
    let back = Request::from(join("").instance("i"));
    let result = driver.decide(|shard, around, config| shard.decide(around, config, Ticket(u64::MAX), back));
    assert_eq!((result.records.len(), result.needs_replay()), (1, false));
    // With something else that is recorded, all of it is replayed.
    let mut both = result;
    both.append(driver.decide(|shard, around, config| {
        shard.decide(
            around,
            config,
            Ticket(u64::MAX),
            Request::DeleteGroups(vec!["h".into()]),
        )
    }));
    assert!(!both.needs_replay(), "nothing is recorded of this");
    driver.at_once(Request::OffsetCommit {
        version: 9,
        request: OffsetCommitRequest {
            group_id: "h".into(),
            ..commit_of(-1, "", &[(0, 1)])
        }
        .into(),
    });
    both.append(driver.decide(|shard, around, config| {
        shard.decide(
            around,
            config,
            Ticket(u64::MAX),
            Request::DeleteGroups(vec!["h".into()]),
        )
    }));
    assert!(both.needs_replay());
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

#[test]
fn a_loaded_group_goes_on_where_it_was_recorded() {
    let mut driver = Driver::new();
    let (all, generation) = driver.stable(&[join(""), join("").instance("i")]);
    let before = driver.describe(6);
    driver.reload();
    assert_eq!(driver.describe(6), before);
    driver.pass(9_999);
    for (member, instance) in [(&*all[0], None), (&*all[1], Some("i"))] {
        assert_eq!(code(&driver.at_once(heartbeat(generation, member, instance))), 0);
    }
    // A rebalance that nobody has recorded did not happen.
    driver.ask(join(&all[0]));
    driver.reload();
    assert_eq!(code(&driver.at_once(heartbeat(generation, &all[0], None))), 0);
    driver.pass(10_000);
    assert_eq!(driver.state(), "Empty");
    driver.reload();
    assert_eq!(driver.state(), "Empty");
}

#[test]
fn groups_are_described_listed_and_deleted() {
    let mut driver = Driver::new();
    driver.at_once(commit(-1, "", &[(0, 1)]));
    let list = |driver: &mut Driver, states: &[&str], types: &[&str]| {
        let texts = |all: &[&str]| all.iter().map(|text| ByteString::from(*text)).collect();
        let asked = ListGroupsRequest {
            states_filter: texts(states),
            types_filter: texts(types),
            ..Default::default()
        };
        let Answer::ListGroups(answer) = driver.at_once(Request::ListGroups(asked)) else {
            panic!()
        };
        let listed = answer.groups.iter().map(|group| {
            format!(
                "{} {} {} {}",
                group.group_id, group.protocol_type, group.group_state, group.group_type
            )
        });
        listed.collect::<Vec<_>>()
    };
    assert_eq!(list(&mut driver, &[], &[]), ["g  Empty classic"]);
    assert_eq!(driver.state(), "Empty");
    let (_, _) = driver.stable(&[join("").version(3)]);
    assert_eq!(list(&mut driver, &[], &[]), ["g consumer Stable classic"]);
    for (states, types, found) in [
        (vec!["stable", "Empty"], vec![], 1),
        (vec!["STABLE "], vec!["Classic"], 1),
        (vec!["Empty"], vec![], 0),
        (vec!["nonsense"], vec![], 0),
        (vec![], vec!["consumer"], 0),
        (vec![], vec!["nonsense"], 0),
    ] {
        assert_eq!(
            list(&mut driver, &states, &types).len(),
            found,
            "{states:?} {types:?}"
        );
    }
    let described = driver.describe(6);
    assert_eq!(
        (&*described.protocol_data, &*described.members[0].client_host),
        ("range", "/127.0.0.1")
    );
    assert_eq!(described.members[0].member_metadata, "topics");
    let delete = |driver: &mut Driver| {
        let Answer::DeleteGroups(results) =
            driver.at_once(Request::DeleteGroups(vec!["g".into(), "g".into(), "h".into()]))
        else {
            panic!()
        };
        results.iter().map(|result| result.error_code).collect::<Vec<_>>()
    };
    let missing = ErrorCode::GroupIdNotFound.code();
    assert_eq!(delete(&mut driver), [ErrorCode::NonEmptyGroup.code(), missing]);
    driver.pass(70_000);
    assert_eq!(delete(&mut driver), [0, missing]);
    assert_eq!(delete(&mut driver), [missing, missing]);
    for (version, expected) in [(5, 0), (6, missing)] {
        let described = driver.describe(version);
        assert_eq!(
            (described.error_code, &*described.group_state),
            (expected, "Dead")
        );
        assert_eq!(described.error_message.is_some(), version >= 6);
    }
    driver.reload();
    assert!(driver.shard.groups.is_empty() && !driver.shard.offsets.has("g"));
}

#[test]
fn what_a_member_says_may_be_as_large_as_it_likes_and_is_copied() {
    let mut driver = Driver::new();
    let frame = Bytes::from(vec![b'x'; 1 << 20]);
    let mut request = Request::from(join("").version(3));
    if let Request::JoinGroup { request, .. } = &mut request {
        request.protocols[0].metadata = frame.slice(10..20);
    }
    driver.ask(request);
    let own = frame.as_ptr_range();
    let group = driver.shard.groups["g"].classic().unwrap();
    let kept = group.members.iter().next().unwrap().metadata("range");
    assert!(!own.contains(&kept.as_ptr()), "it would keep the frame");
}
