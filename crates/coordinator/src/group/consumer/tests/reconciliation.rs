//! How members come to their partitions, and lose them.

use klamm_model::ErrorCode;

use super::{Request, by_expression, of_instance, refused};
use crate::group::consumer::testing::{Driven, joining, names, owning, quiet, told};
use crate::group::consumer::{ConsumerGroupState, MemberState, MemberTimer};

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

/// Comes again and again with the epoch that it has heard of last; nothing is recorded after the first time.
fn lose_answers(driven: &mut Driven, request: &Request, epoch: i32) {
    let mut written = None;
    for round in 0..4 {
        match driven.ask(request) {
            Ok(answer) => assert_eq!(answer.member_epoch, epoch, "{round}"),
            Err(refusal) => panic!("{round}: {refusal}"),
        }
        let now = driven.log.len();
        assert_eq!(*written.get_or_insert(now), now, "{round}");
    }
}

#[test]
fn a_member_that_waits_for_partitions_may_lose_any_number_of_answers() {
    let mut driven = Driven::new(&[("t", 4)]);
    let topic = driven.topic_id("t");
    driven.ask(&joining("a", &["t"])).unwrap();
    let heard = driven.ask(&joining("b", &[])).unwrap().member_epoch;
    let wants = Request {
        subscribed_topic_names: Some(names(&["t"])),
        ..owning("b", heard, topic, &[])
    };
    lose_answers(&mut driven, &wants, heard + 1);
    assert_eq!(
        driven.member("b").current.state,
        MemberState::UnreleasedPartitions
    );
}

#[test]
fn a_member_that_is_to_let_go_may_lose_any_number_of_answers() {
    let mut driven = Driven::new(&[("t", 4)]);
    let topic = driven.topic_id("t");
    driven.ask(&joining("a", &["t"])).unwrap();
    driven.ask(&joining("b", &["t"])).unwrap();
    driven.ask(&owning("a", 2, topic, &[0, 1])).unwrap();
    let had = driven.ask(&owning("b", 3, topic, &[])).unwrap();
    assert_eq!(told(&had), Some(vec![(topic, vec![2, 3])]));
    // Epoch 4 changes nothing for it, and it does not hear of it; then it is to let go.
    driven.ask(&joining("c", &["none"])).unwrap();
    let owns = owning("b", 3, topic, &[2, 3]);
    assert_eq!(driven.ask(&owns).unwrap().member_epoch, 4);
    driven.ask(&joining("d", &["t"])).unwrap();
    driven.ask(&joining("e", &["t"])).unwrap();
    lose_answers(&mut driven, &owns, 4);
    assert_eq!(driven.member("b").current.state, MemberState::UnrevokedPartitions);
}

#[test]
fn a_member_may_lose_any_number_of_answers_while_others_join() {
    let mut driven = Driven::new(&[("t", 4)]);
    let topic = driven.topic_id("t");
    let heard = driven.ask(&joining("a", &["t"])).unwrap().member_epoch;
    let owns = owning("a", heard, topic, &[0, 1, 2, 3]);
    // The epoch grows with each of these, and nothing changes for it.
    let mut told_last = heard;
    for other in ["b", "c", "d", "e"] {
        driven.ask(&joining(other, &["none"])).unwrap();
        let answer = driven.ask(&Request {
            member_epoch: heard,
            ..owns.clone()
        });
        told_last = answer
            .unwrap_or_else(|refusal| panic!("{other}: {refusal}"))
            .member_epoch;
        assert_eq!(told_last, heard + 1, "{other}");
    }
    // It hears at last, and comes to the target's epoch with the next one; what it is to let go it lets go then, too.
    driven.ask(&joining("f", &["t"])).unwrap();
    let answer = driven
        .ask(&Request {
            member_epoch: told_last,
            ..owns.clone()
        })
        .unwrap();
    assert_eq!(told(&answer), Some(vec![(topic, vec![0, 1])]));
    let answer = driven
        .ask(&owning("a", answer.member_epoch, topic, &[0, 1]))
        .unwrap();
    assert_eq!(answer.member_epoch, driven.epochs().1);
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
