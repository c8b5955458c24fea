//! What members ask, and what they are told, step by step. Codes, words and epochs are those of a 4.4 broker that was asked the
//! same.

use klamm_model::ErrorCode;
use klamm_protocol::messages::ConsumerGroupHeartbeatRequest;

use crate::contract::CoordinatorRecord;
use crate::group::offsets::commit::Committer;

use super::testing::{Driven, joining, names, owning, quiet, told};
use super::{ConsumerGroupState, MemberState, MemberTimer, Refusal};

type Request = ConsumerGroupHeartbeatRequest;

fn refused(driven: &mut Driven, version: i16, request: &Request) -> (ErrorCode, String) {
    let before = driven.group.clone();
    let Refusal { code, message } = driven.ask_as(request, version).unwrap_err();
    assert_eq!(driven.group, before, "a refusal changes nothing");
    (code, message)
}

fn of_instance(instance: &str, request: Request) -> Request {
    Request {
        instance_id: Some(instance.into()),
        ..request
    }
}

fn by_expression(member: &str, expression: &str) -> Request {
    Request {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(expression.into()),
        ..joining(member, &[])
    }
}

#[test]
fn a_request_that_cannot_be_understood_is_refused_with_kafkas_words() {
    let join = || joining("m", &["t"]);
    let long_gone = |epoch| quiet("m", epoch);
    let table: [(i16, Request, ErrorCode, &str); 22] = [
        (
            1,
            joining("", &["t"]),
            ErrorCode::InvalidRequest,
            "MemberId can't be empty.",
        ),
        (
            1,
            joining(" \t", &["t"]),
            ErrorCode::InvalidRequest,
            "MemberId can't be empty.",
        ),
        (
            0,
            quiet("", -1),
            ErrorCode::InvalidRequest,
            "MemberId can't be empty.",
        ),
        (
            0,
            quiet("", 1),
            ErrorCode::InvalidRequest,
            "MemberId can't be empty.",
        ),
        (
            1,
            Request {
                group_id: "".into(),
                ..join()
            },
            ErrorCode::InvalidRequest,
            "GroupId can't be empty.",
        ),
        (
            1,
            Request {
                group_id: "  ".into(),
                ..join()
            },
            ErrorCode::InvalidRequest,
            "GroupId can't be empty.",
        ),
        (
            1,
            of_instance("", join()),
            ErrorCode::InvalidRequest,
            "InstanceId can't be empty.",
        ),
        (
            1,
            Request {
                rack_id: Some(" ".into()),
                ..join()
            },
            ErrorCode::InvalidRequest,
            "RackId can't be empty.",
        ),
        (
            1,
            Request {
                rebalance_timeout_ms: -1,
                ..join()
            },
            ErrorCode::InvalidRequest,
            "RebalanceTimeoutMs must be provided in first request.",
        ),
        (
            1,
            Request {
                topic_partitions: None,
                ..join()
            },
            ErrorCode::InvalidRequest,
            "TopicPartitions must be empty when (re-)joining.",
        ),
        (
            1,
            Request {
                topic_partitions: owning("m", 0, klamm_model::Uuid::ONE, &[1]).topic_partitions,
                ..join()
            },
            ErrorCode::InvalidRequest,
            "TopicPartitions must be empty when (re-)joining.",
        ),
        (
            1,
            Request {
                subscribed_topic_names: None,
                ..join()
            },
            ErrorCode::InvalidRequest,
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        ),
        (
            1,
            long_gone(-2),
            ErrorCode::InvalidRequest,
            "InstanceId can't be null.",
        ),
        (
            1,
            long_gone(-3),
            ErrorCode::InvalidRequest,
            "MemberEpoch is invalid.",
        ),
        (
            1,
            long_gone(i32::MIN),
            ErrorCode::InvalidRequest,
            "MemberEpoch is invalid.",
        ),
        (
            1,
            Request {
                server_assignor: Some("x".into()),
                ..join()
            },
            ErrorCode::UnsupportedAssignor,
            "ServerAssignor x is not supported. Supported assignors: uniform, range.",
        ),
        (
            1,
            Request {
                server_assignor: Some("".into()),
                ..join()
            },
            ErrorCode::UnsupportedAssignor,
            "ServerAssignor  is not supported. Supported assignors: uniform, range.",
        ),
        (
            1,
            long_gone(1),
            ErrorCode::GroupIdNotFound,
            "Consumer group g not found.",
        ),
        (1, long_gone(-1), ErrorCode::GroupIdNotFound, "Group g not found."),
        (
            1,
            of_instance("i", long_gone(-2)),
            ErrorCode::GroupIdNotFound,
            "Group g not found.",
        ),
        (
            1,
            by_expression("m", "("),
            ErrorCode::InvalidRegularExpression,
            "SubscribedTopicRegex `(` is not a valid regular expression: missing closing ).",
        ),
        (
            1,
            by_expression("m", "((a{100}){100}){100}"),
            ErrorCode::InvalidRegularExpression,
            "SubscribedTopicRegex `((a{100}){100}){100}` is not a valid regular expression: expression too large.",
        ),
    ];
    for (version, request, code, message) in table {
        let mut driven = Driven::new(&[("t", 4)]);
        assert_eq!(
            refused(&mut driven, version, &request),
            (code, message.to_owned()),
            "{request:?}"
        );
    }
}

#[test]
fn a_member_that_is_not_who_it_says_is_refused() {
    let mut driven = Driven::new(&[("t", 4)]);
    driven.ask(&joining("m", &["t"])).unwrap();
    driven.ask(&of_instance("i", joining("s", &["t"]))).unwrap();
    let table = [
        (
            quiet("x", 3),
            ErrorCode::UnknownMemberId,
            "Member x is not a member of group g.",
        ),
        (
            quiet("x", -1),
            ErrorCode::UnknownMemberId,
            "Member x is not a member of group g.",
        ),
        (
            quiet("m", 99),
            ErrorCode::FencedMemberEpoch,
            "The consumer group member has a greater member epoch (99) than the one known by the group coordinator \
             (2). The member must abandon all its partitions and rejoin.",
        ),
        (
            quiet("m", 1),
            ErrorCode::FencedMemberEpoch,
            "The consumer group member has a smaller member epoch (1) than the one known by the group coordinator \
             (2). The member must abandon all its partitions and rejoin.",
        ),
        (
            of_instance("j", quiet("s", 3)),
            ErrorCode::UnknownMemberId,
            "Instance id j is unknown.",
        ),
        (
            of_instance("j", quiet("s", -1)),
            ErrorCode::UnknownMemberId,
            "Instance id j is unknown.",
        ),
        (
            of_instance("i", quiet("x", 3)),
            ErrorCode::FencedInstanceId,
            "Static member x with instance id i was fenced by member s.",
        ),
        (
            of_instance("i", quiet("x", -2)),
            ErrorCode::FencedInstanceId,
            "Static member x with instance id i was fenced by member s.",
        ),
        (
            of_instance("i", joining("x", &["t"])),
            ErrorCode::UnreleasedInstanceId,
            "Static member x with instance id i cannot join the group because the instance id is owned by s member.",
        ),
    ];
    for (request, code, message) in table {
        assert_eq!(refused(&mut driven, 1, &request), (code, message.to_owned()));
    }
}

#[test]
fn a_full_group_takes_nobody_in() {
    let mut driven = Driven::new(&[("t", 4)]);
    driven.config.consumer_max_size = 2;
    driven.ask(&joining("a", &["t"])).unwrap();
    driven.ask(&of_instance("i", joining("s", &["t"]))).unwrap();
    let (code, message) = refused(&mut driven, 1, &joining("b", &["t"]));
    assert_eq!(code, ErrorCode::GroupMaxSizeReached);
    assert_eq!(
        message,
        "The consumer group has reached its maximum capacity of 2 members."
    );
    assert!(driven.ask(&joining("a", &["t"])).is_ok());
    driven.ask(&of_instance("i", quiet("s", -2))).unwrap();
    assert!(driven.ask(&of_instance("i", joining("s2", &["t"]))).is_ok());
}

#[test]
fn a_member_joins_and_is_given_everything() {
    let mut driven = Driven::new(&[("t", 4)]);
    let answer = driven.ask_as(&joining("", &["t"]), 0).unwrap();
    let drawn = klamm_model::Uuid([9; 16]).to_string();
    assert_eq!(answer.member_id.as_deref(), Some(&*drawn));
    assert_eq!((answer.member_epoch, answer.heartbeat_interval_ms), (2, 5000));
    assert_eq!(told(&answer).unwrap(), [(driven.topic_id("t"), vec![0, 1, 2, 3])]);
    let written = driven.log.len();

    // Nothing new: nothing is written, and nothing told.
    let answer = driven.ask(&quiet(&drawn, 2)).unwrap();
    assert_eq!((answer.member_epoch, told(&answer)), (2, None));
    assert_eq!(driven.log.len(), written);
    // It asks for everything.
    let all = Request {
        member_epoch: 2,
        ..joining(&drawn, &["t"])
    };
    assert!(told(&driven.ask(&all).unwrap()).is_some());
    assert_eq!(driven.log.len(), written);
}

#[test]
fn a_group_without_topics_has_nothing_to_assign() {
    for (request, epoch) in [
        (by_expression("m", ""), 1),
        (joining("m", &[]), 1),
        (joining("m", &["none"]), 2),
    ] {
        let mut driven = Driven::new(&[("t", 4)]);
        let answer = driven.ask(&request).unwrap();
        assert_eq!((answer.member_epoch, told(&answer)), (epoch, Some(vec![])));
        assert_eq!(driven.epochs(), (epoch, epoch));
        assert_eq!(driven.group.as_ref().unwrap().state(), ConsumerGroupState::Stable);
    }
}

#[test]
fn a_partition_is_given_once_its_owner_has_let_go() {
    let mut driven = Driven::new(&[("t", 4)]);
    let topic = driven.topic_id("t");
    let state = |driven: &Driven| driven.group.as_ref().unwrap().state();
    driven.ask(&joining("a", &["t"])).unwrap();
    let answer = driven.ask(&joining("b", &["t"])).unwrap();
    assert_eq!((answer.member_epoch, told(&answer)), (3, Some(vec![])));
    assert_eq!(
        driven.member("b").current.state,
        MemberState::UnreleasedPartitions
    );
    assert_eq!(state(&driven), ConsumerGroupState::Reconciling);

    // The owner is told to let go, and stays in its epoch until it has.
    let answer = driven.ask(&quiet("a", 2)).unwrap();
    assert_eq!(
        (answer.member_epoch, told(&answer)),
        (2, Some(vec![(topic, vec![0, 1])]))
    );
    assert_eq!(driven.member("a").current.state, MemberState::UnrevokedPartitions);
    assert!(driven.timers.contains_key(&("a".into(), MemberTimer::Rebalance)));
    for still in [quiet("a", 2), owning("a", 2, topic, &[0, 1, 2])] {
        assert_eq!(told(&driven.ask(&still).unwrap()), None);
        assert_eq!(told(&driven.ask(&quiet("b", 3)).unwrap()), None);
    }
    let answer = driven.ask(&owning("a", 2, topic, &[0, 1])).unwrap();
    assert_eq!((answer.member_epoch, told(&answer)), (3, None));
    assert!(!driven.timers.contains_key(&("a".into(), MemberTimer::Rebalance)));
    let answer = driven.ask(&quiet("b", 3)).unwrap();
    assert_eq!(
        (answer.member_epoch, told(&answer)),
        (3, Some(vec![(topic, vec![2, 3])]))
    );
    assert_eq!(state(&driven), ConsumerGroupState::Stable);
}

#[test]
fn an_answer_that_was_lost_may_be_asked_for_again() {
    let mut driven = Driven::new(&[("t", 4)]);
    let topic = driven.topic_id("t");
    driven.ask(&joining("a", &["t"])).unwrap();
    driven.ask(&joining("b", &["t"])).unwrap();
    driven.ask(&quiet("a", 2)).unwrap();
    driven.ask(&owning("a", 2, topic, &[0, 1])).unwrap();
    assert_eq!(driven.member("a").current.epoch, 3);
    let (code, _) = refused(&mut driven, 1, &quiet("a", 2));
    assert_eq!(code, ErrorCode::FencedMemberEpoch, "it does not say what it has");
    let (code, _) = refused(&mut driven, 1, &owning("a", 2, topic, &[0, 1, 2]));
    assert_eq!(code, ErrorCode::FencedMemberEpoch, "it has what is not its own");
    assert_eq!(
        driven.ask(&owning("a", 2, topic, &[0, 1])).unwrap().member_epoch,
        3
    );
}

#[test]
fn a_member_that_leaves_moves_its_own_partitions() {
    let mut driven = Driven::new(&[("t", 5)]);
    let topic = driven.topic_id("t");
    driven.ask(&joining("a", &["t"])).unwrap();
    driven.ask(&joining("b", &["t"])).unwrap();
    driven.ask(&owning("a", 2, topic, &[0, 1, 2])).unwrap();
    driven.ask(&quiet("b", 3)).unwrap();
    let answer = driven.ask(&quiet("b", -1)).unwrap();
    assert_eq!((answer.member_epoch, answer.heartbeat_interval_ms), (-1, 0));
    assert_eq!(driven.epochs(), (4, 3));
    assert_eq!(
        driven.group.as_ref().unwrap().state(),
        ConsumerGroupState::Assigning
    );
    let answer = driven.ask(&quiet("a", 3)).unwrap();
    assert_eq!(
        (answer.member_epoch, told(&answer)),
        (4, Some(vec![(topic, vec![0, 1, 2, 3, 4])]))
    );
    // The last one: nothing is left to be assigned.
    driven.ask(&quiet("a", -1)).unwrap();
    assert_eq!(driven.epochs(), (5, 5));
    assert_eq!(driven.group.as_ref().unwrap().state(), ConsumerGroupState::Empty);
    assert!(driven.timers.is_empty());
}

#[test]
fn a_static_member_finds_again_what_it_had() {
    let mut driven = Driven::new(&[("t", 4)]);
    let topic = driven.topic_id("t");
    driven.ask(&of_instance("i", joining("s1", &["t"]))).unwrap();
    let answer = driven.ask(&of_instance("i", quiet("s1", -2))).unwrap();
    assert_eq!(
        (answer.member_id.as_deref(), answer.member_epoch),
        (Some("s1"), -2)
    );
    let current = &driven.member("s1").current;
    assert_eq!((current.epoch, current.assigned.since(&topic, 3)), (-2, Some(0)));

    let answer = driven.ask(&of_instance("i", joining("s2", &["t"]))).unwrap();
    assert_eq!(
        (answer.member_epoch, told(&answer)),
        (2, Some(vec![(topic, vec![0, 1, 2, 3])]))
    );
    assert_eq!(driven.epochs(), (2, 2), "nothing is assigned anew");
    let group = driven.group.as_ref().unwrap();
    assert_eq!(group.static_member("i").unwrap().0, "s2");
    assert!(group.member("s1").is_none());
    assert_eq!(
        driven.timers.keys().map(|(id, _)| &**id).collect::<Vec<_>>(),
        ["s2"]
    );
    let (code, _) = refused(&mut driven, 1, &of_instance("i", quiet("s1", 2)));
    assert_eq!(code, ErrorCode::FencedInstanceId);

    // For good.
    driven.ask(&of_instance("i", quiet("s2", -1))).unwrap();
    assert!(driven.group.as_ref().unwrap().is_empty());
}

#[test]
fn a_member_that_is_silent_or_holds_on_is_fenced() {
    let mut driven = Driven::new(&[("t", 4)]);
    driven.ask(&joining("a", &["t"])).unwrap();
    driven.ask(&joining("b", &["t"])).unwrap();
    driven.ask(&quiet("a", 2)).unwrap();
    // It is told to let go within 30 s, and never does, though it is heard of.
    driven.now += 29_999;
    driven.ring();
    driven.ask(&quiet("a", 2)).unwrap();
    driven.ask(&quiet("b", 3)).unwrap();
    driven.now += 1;
    driven.ring();
    assert!(driven.group.as_ref().unwrap().member("a").is_none());
    let answer = driven.ask(&quiet("b", 3)).unwrap();
    assert_eq!(told(&answer).unwrap(), [(driven.topic_id("t"), vec![0, 1, 2, 3])]);

    driven.now += 44_999;
    driven.ring();
    assert!(driven.group.as_ref().unwrap().member("b").is_some());
    driven.now += 1;
    driven.ring();
    assert!(driven.group.as_ref().unwrap().is_empty());
    let (code, _) = refused(&mut driven, 1, &quiet("b", 4));
    assert_eq!(code, ErrorCode::UnknownMemberId);
}

#[test]
fn a_group_may_have_times_of_its_own() {
    let mut driven = Driven::new(&[("t", 4)]);
    let seconds = |seconds| Some(std::time::Duration::from_secs(seconds));
    let own = crate::group::GroupOverrides {
        consumer_session_timeout: seconds(50),
        consumer_heartbeat_interval: seconds(7),
        consumer_assignment_interval: seconds(3),
    };
    driven.config.overrides.insert("g".into(), own);
    assert_eq!(
        driven.ask(&joining("a", &["t"])).unwrap().heartbeat_interval_ms,
        7000
    );
    assert_eq!(
        driven.timers[&("a".into(), MemberTimer::Session)].0,
        driven.now + 50_000
    );

    // The target assignment is not made again before three seconds are over.
    driven.now += 1;
    let answer = driven.ask(&joining("b", &["t"])).unwrap();
    assert_eq!((answer.member_epoch, driven.epochs()), (2, (3, 2)));
    driven.now += 2998;
    driven.ask(&quiet("b", 2)).unwrap();
    assert_eq!(driven.epochs(), (3, 2));
    driven.now += 1;
    driven.ask(&quiet("b", 2)).unwrap();
    assert_eq!(driven.epochs(), (3, 3));
}

#[test]
fn a_group_notices_topics_that_are_made_grow_and_go() {
    let mut driven = Driven::new(&[("t", 1)]);
    let topic = driven.topic_id("t");
    driven.ask(&joining("a", &["t", "u"])).unwrap();
    let written = driven.log.len();
    driven.change(|cluster| {
        cluster.topic("other", 1);
    });
    assert_eq!(told(&driven.ask(&quiet("a", 2)).unwrap()), None);
    assert_eq!(driven.log.len(), written, "other topics mean nothing");

    driven.change(|cluster| cluster.grow("t", 2));
    let answer = driven.ask(&quiet("a", 2)).unwrap();
    assert_eq!(
        (answer.member_epoch, told(&answer)),
        (3, Some(vec![(topic, vec![0, 1])]))
    );

    driven.change(|cluster| {
        cluster.topic("u", 1);
    });
    let answer = driven.ask(&quiet("a", 3)).unwrap();
    assert_eq!((answer.member_epoch, told(&answer).unwrap().len()), (4, 2));

    driven.change(|cluster| cluster.delete("t"));
    let other = driven.topic_id("u");
    let answer = driven.ask(&quiet("a", 4)).unwrap();
    assert_eq!(told(&answer), Some(vec![(other, vec![0])]));
    let answer = driven.ask(&owning("a", 4, other, &[0])).unwrap();
    assert_eq!((answer.member_epoch, driven.epochs()), (5, (5, 5)));
}

#[test]
fn an_expression_stands_for_topics_as_they_come_and_go() {
    let mut driven = Driven::new(&[("a1", 1), ("b1", 1)]);
    let answer = driven.ask(&by_expression("m", "a.*")).unwrap();
    assert_eq!(
        (answer.member_epoch, told(&answer)),
        (2, Some(vec![(driven.topic_id("a1"), vec![0])]))
    );
    let written = driven.log.len();
    driven.ask(&by_expression("m", "a.*")).unwrap();
    assert_eq!(driven.log.len(), written);

    driven.change(|cluster| {
        cluster.topic("a2", 1);
    });
    assert_eq!(
        told(&driven.ask(&quiet("m", 2)).unwrap()),
        None,
        "it was looked at a moment ago"
    );
    driven.now += 10_001;
    assert_eq!(
        told(&driven.ask(&quiet("m", 2)).unwrap()),
        None,
        "nobody waits for that"
    );
    let answer = driven.ask(&quiet("m", 2)).unwrap();
    assert_eq!((answer.member_epoch, told(&answer).unwrap().len()), (3, 2));

    // Another one takes its place, and the first is forgotten with its last member.
    let answer = driven
        .ask(&Request {
            member_epoch: 3,
            ..by_expression("m", "b.*")
        })
        .unwrap();
    assert_eq!(told(&answer), Some(vec![(driven.topic_id("b1"), vec![0])]));
    let group = driven.group.as_ref().unwrap();
    assert_eq!(group.expressions.keys().collect::<Vec<_>>(), ["b.*"]);
    assert!(group.is_subscribed_to("b1") && !group.is_subscribed_to("a1"));
    driven.ask(&quiet("m", -1)).unwrap();
    let group = driven.group.as_ref().unwrap();
    assert!(group.expressions.is_empty() && !group.is_subscribed_to("b1"));
}

#[test]
fn an_expression_is_looked_at_again_after_a_load_and_after_the_interval() {
    let mut driven = Driven::new(&[("a1", 1)]);
    driven.ask(&by_expression("m", "a.*")).unwrap();
    let looked_at = |driven: &Driven| driven.group.as_ref().unwrap().expressions["a.*"].at;
    // A topic was made while nobody coordinated the group.
    driven.cluster.topic("a2", 1);
    driven.group = driven.reloaded(false);
    driven.now += 10_001;
    driven.ask(&quiet("m", 2)).unwrap();
    let answer = driven.ask(&quiet("m", 2)).unwrap();
    assert_eq!(told(&answer).unwrap().len(), 2);
    assert_eq!(looked_at(&driven), driven.now);
    let then = driven.now;
    for (wait, expected) in [(600_000, then), (600_001, then + 600_001)] {
        driven.now = then + wait;
        driven.ask(&quiet("m", 3)).unwrap();
        assert_eq!(looked_at(&driven), expected);
    }
}

/// A heartbeat of a member that is in step with the group.
fn beat(driven: &mut Driven, member: &str) {
    let epoch = driven.member(member).current.epoch;
    driven.ask(&quiet(member, epoch)).unwrap();
}

/// Topics whose names take 250 bytes each.
fn long_names(numbers: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    numbers.map(|number| format!("{number:0>247}"))
}

#[test]
fn no_heartbeat_fails_with_what_expressions_have_come_to_stand_for() {
    let mut driven = Driven::new(&[]);
    driven.cluster.topics(long_names(0..600));
    for number in 0..9 {
        let member = format!("m{number}");
        driven
            .ask(&by_expression(&member, &format!(".*|{number}")))
            .unwrap();
    }
    driven.now += 10_001;
    driven.change(|cluster| cluster.topics(long_names(600..601)));
    (driven.most_recorded, driven.refreshed) = (0, 0);
    beat(&mut driven, "m0");
    assert_eq!(driven.refreshed, 9, "one expression at a time");
    assert!(driven.most_recorded < 512 * 1024, "{}", driven.most_recorded);
    let group = driven.group.as_ref().unwrap();
    assert!(
        group
            .expressions
            .values()
            .all(|resolved| resolved.topics.len() == 601)
    );
    assert!(group.seen.found.is_empty());
}

#[test]
fn many_expressions_with_a_new_topic_cost_one_epoch() {
    let mut driven = Driven::new(&[("t1", 1)]);
    for number in 0..20 {
        let member = format!("m{number}");
        driven
            .ask(&by_expression(&member, &format!("t.*|{number}")))
            .unwrap();
    }
    driven.now += 10_001;
    driven.change(|cluster| cluster.topics(["t2".to_owned()].into_iter()));
    let (epoch, _) = driven.epochs();
    beat(&mut driven, "m0");
    beat(&mut driven, "m0");
    assert_eq!((driven.refreshed, driven.epochs()), (20, (epoch + 1, epoch + 1)));
    assert!(driven.group.as_ref().unwrap().is_subscribed_to("t2"));
}

#[test]
fn an_expression_that_stands_for_too_many_topics_keeps_those_that_it_has() {
    let mut driven = Driven::new(&[]);
    driven.cluster.topics(long_names(0..2_000));
    driven.ask(&by_expression("m", ".*")).unwrap();
    driven.now += 10_001;
    driven.change(|cluster| cluster.topics(long_names(2_000..2_200)));
    driven.ask(&quiet("m", 2)).unwrap();
    driven.ask(&quiet("m", 2)).unwrap();
    let stands_for = |driven: &Driven| driven.group.as_ref().unwrap().expressions[".*"].topics.len();
    assert_eq!(
        (driven.refreshed, driven.epochs(), stands_for(&driven)),
        (1, (2, 2), 2_000)
    );
    let (code, _) = refused(&mut driven, 1, &by_expression("n", ".+"));
    assert_eq!(code, ErrorCode::InvalidRegularExpression);
}

#[test]
fn a_member_that_drops_a_topic_lets_go_of_it_at_once() {
    let mut driven = Driven::new(&[("t", 2), ("u", 2)]);
    // The target cannot follow yet.
    driven.config.consumer_assignment_interval = std::time::Duration::from_secs(60);
    driven.ask(&joining("a", &["t", "u"])).unwrap();
    let only_t = Request {
        member_epoch: 2,
        subscribed_topic_names: Some(names(&["t"])),
        topic_partitions: None,
        ..quiet("a", 2)
    };
    let answer = driven.ask(&only_t).unwrap();
    assert_eq!(told(&answer), Some(vec![(driven.topic_id("t"), vec![0, 1])]));
    assert_eq!(driven.member("a").current.state, MemberState::UnrevokedPartitions);
    assert_eq!(driven.epochs(), (3, 2));
}

#[test]
fn most_members_choose_the_assignor() {
    let mut driven = Driven::new(&[("t", 4)]);
    let with = |member: &str, assignor: &str| Request {
        server_assignor: Some(assignor.into()),
        ..joining(member, &["t"])
    };
    let described = |driven: &Driven| {
        let group = driven
            .group
            .as_ref()
            .unwrap()
            .describe(&driven.cluster.image(), &driven.config);
        group.assignor_name.to_string()
    };
    driven.ask(&joining("a", &["t"])).unwrap();
    assert_eq!(described(&driven), "uniform");
    driven
        .ask(&Request {
            member_epoch: 2,
            topic_partitions: None,
            ..with("a", "range")
        })
        .unwrap();
    assert_eq!(
        (described(&driven), driven.epochs()),
        ("range".to_owned(), (3, 3))
    );
    driven.ask(&with("b", "uniform")).unwrap();
    assert_eq!(described(&driven), "uniform", "of as many, the later name");
}

#[test]
fn offsets_are_committed_by_who_has_the_partition() {
    let mut driven = Driven::new(&[("t", 4)]);
    let topic = driven.topic_id("t");
    driven.ask(&joining("a", &["t"])).unwrap();
    driven.ask(&joining("b", &["t"])).unwrap();
    driven.ask(&quiet("a", 2)).unwrap();
    driven.ask(&owning("a", 2, topic, &[0, 1])).unwrap();
    driven.ask(&quiet("b", 3)).unwrap();
    let group = driven.group.as_ref().unwrap();
    let by = |member_id, generation, version: Option<i16>| {
        let transactional = version.is_none();
        let by = Committer {
            member_id,
            instance_id: None,
            generation,
            transactional,
        };
        (by, version.unwrap_or(6))
    };
    // (who, with which epoch, version, answer for partition 0)
    let table = [
        (by("a", 3, Some(9)), Ok(())),
        (by("a", 2, Some(9)), Ok(())),
        (by("a", 1, Some(9)), Err(ErrorCode::StaleMemberEpoch)),
        (by("a", 4, Some(9)), Err(ErrorCode::StaleMemberEpoch)),
        (by("a", 3, Some(8)), Err(ErrorCode::UnsupportedVersion)),
        (by("a", 3, None), Ok(())),
        (by("b", 2, Some(9)), Err(ErrorCode::StaleMemberEpoch)),
        (by("c", 3, Some(9)), Err(ErrorCode::UnknownMemberId)),
        (by("", -1, Some(9)), Err(ErrorCode::UnknownMemberId)),
        (by("", -1, None), Ok(())),
    ];
    for ((committer, version), expected) in table {
        let checked = group
            .check_commit(&committer, version)
            .and_then(|check| check.partition(&topic, 0));
        assert_eq!(checked, expected, "{committer:?}");
    }
    let older = group.check_commit(&by("a", 2, Some(9)).0, 9).unwrap();
    assert_eq!(
        older.partition(&topic, 2),
        Err(ErrorCode::StaleMemberEpoch),
        "it has let go"
    );
    assert_eq!(
        older.partition(&klamm_model::Uuid::ZERO, 0),
        Err(ErrorCode::StaleMemberEpoch)
    );

    let table = [
        (None, -1, Ok(())),
        (Some("a"), 3, Ok(())),
        (Some("a"), 2, Err(ErrorCode::StaleMemberEpoch)),
        (Some("c"), 3, Err(ErrorCode::UnknownMemberId)),
        (None, 3, Err(ErrorCode::UnknownMemberId)),
    ];
    for (member, epoch, expected) in table {
        assert_eq!(group.check_fetch(member, epoch), expected, "{member:?} {epoch}");
    }
}

#[test]
fn a_group_is_told_as_it_is() {
    let mut driven = Driven::new(&[("t", 4), ("gone", 1)]);
    driven.ask(&joining("a", &["t", "gone"])).unwrap();
    driven.ask(&of_instance("i", joining("b", &["t"]))).unwrap();
    driven.ask(&quiet("a", 2)).unwrap();
    driven.cluster.delete("gone");
    let group = driven
        .group
        .as_ref()
        .unwrap()
        .describe(&driven.cluster.image(), &driven.config);
    assert_eq!(
        (&*group.group_state, group.group_epoch, group.assignment_epoch),
        ("Reconciling", 3, 3)
    );
    let [a, b] = &group.members[..] else {
        panic!("{group:?}")
    };
    let partitions = |assignment: &klamm_protocol::messages::consumer_group_describe_response::Assignment| {
        let topics = assignment.topic_partitions.iter();
        topics
            .map(|topic| (topic.topic_name.to_string(), topic.partitions.clone()))
            .collect::<Vec<_>>()
    };
    // What it is still to let go is its own.
    let [(topic, held)] = &partitions(&a.assignment)[..] else {
        panic!("{a:?}")
    };
    assert_eq!((topic.as_str(), held.len()), ("t", 4));
    assert_eq!(partitions(&b.assignment), []);
    let targets = [&a.target_assignment, &b.target_assignment].map(|target| partitions(target)[0].1.len());
    assert_eq!(targets.iter().sum::<usize>(), 4);
    assert_eq!(
        (b.instance_id.as_deref(), b.member_epoch, b.member_type),
        (Some("i"), 3, 1)
    );
    assert_eq!((&*a.client_id, &*a.client_host), ("client", "/127.0.0.1"));
    assert_eq!(a.subscribed_topic_names, ["gone", "t"]);
    assert_eq!(a.subscribed_topic_regex.as_deref(), Some(""));
}

#[test]
fn a_state_from_the_future_is_left_by_joining_anew() {
    let mut driven = Driven::new(&[("t", 4)]);
    driven.ask(&joining("a", &["t"])).unwrap();
    let mut current = driven.member("a").current.clone();
    current.state = MemberState::Unknown;
    let record = driven
        .group
        .as_ref()
        .unwrap()
        .recorder()
        .current(&"a".into(), Some(&current));
    driven.group.as_mut().unwrap().replay(&record);
    let (code, message) = refused(&mut driven, 1, &quiet("a", 2));
    assert_eq!(code, ErrorCode::FencedMemberEpoch);
    assert!(message.contains("unknown state"), "{message}");
    let answer = driven.ask(&joining("a", &["t"])).unwrap();
    assert_eq!(
        told(&answer),
        Some(vec![(driven.topic_id("t"), vec![0, 1, 2, 3])])
    );
    assert_eq!(driven.member("a").current.state, MemberState::Stable);
}

#[test]
fn tombstones_leave_nothing() {
    let mut driven = Driven::new(&[("a1", 2)]);
    driven.ask(&by_expression("m", "a.*")).unwrap();
    driven.ask(&joining("n", &["a1"])).unwrap();
    for record in driven.group.as_ref().unwrap().tombstones() {
        let key = record.encode().unwrap().key;
        driven.log.push((record, key));
    }
    for compacted in [false, true] {
        assert_eq!(driven.reloaded(compacted), None);
    }
}
