//! Who is told no, and in which words.

use klamm_model::ErrorCode;

use super::{Request, by_expression, of_instance, refused};
use crate::group::consumer::testing::{Driven, joining, owning, quiet};

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
