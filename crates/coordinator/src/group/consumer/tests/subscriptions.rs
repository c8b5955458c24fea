//! Topics and expressions that members subscribe to, as the cluster changes.

use klamm_model::ErrorCode;

use super::{Request, by_expression, refused};
use crate::group::consumer::testing::{Driven, joining, owning, quiet, told};

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
