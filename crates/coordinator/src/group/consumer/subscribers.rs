//! How many members stand behind each topic, expression, assignor and classic protocol of a group.
//!
//! Always holds: nothing is counted that nobody stands behind. A topic is counted once for each member that names it and once for
//! each expression that stands for it.

use std::collections::{BTreeMap, BTreeSet};

use klamm_protocol::ByteString;

use super::member::{ClassicMember, Subscription};

type Counts = BTreeMap<ByteString, u32>;

/// See the head of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Subscribers {
    pub(super) topics: Counts,
    pub(super) expressions: Counts,
    pub(super) assignors: Counts,
}

impl Subscribers {
    /// A member that had subscribed with `before` now does with `after`.
    pub(super) fn change_member(&mut self, before: Option<&Subscription>, after: Option<&Subscription>) {
        if let Some(after) = after {
            after.topics.iter().for_each(|topic| up(&mut self.topics, topic));
            after
                .expression()
                .iter()
                .for_each(|text| up(&mut self.expressions, text));
            after
                .assignor
                .iter()
                .for_each(|name| up(&mut self.assignors, name));
        }
        if let Some(before) = before {
            before
                .topics
                .iter()
                .for_each(|topic| down(&mut self.topics, topic));
            before
                .expression()
                .iter()
                .for_each(|text| down(&mut self.expressions, text));
            before
                .assignor
                .iter()
                .for_each(|name| down(&mut self.assignors, name));
        }
    }

    /// An expression that stood for the topics `before` now stands for `after`.
    pub(super) fn change_expression(&mut self, before: &[ByteString], after: &[ByteString]) {
        after.iter().for_each(|topic| up(&mut self.topics, topic));
        before.iter().for_each(|topic| down(&mut self.topics, topic));
    }

    /// How many members have subscribed to an expression.
    pub(super) fn of_expression(&self, expression: &str) -> u32 {
        self.expressions.get(expression).copied().unwrap_or(0)
    }

    /// The assignor that most members would like; of two with as many, the later name, as Kafka happens to choose.
    pub(super) fn preferred_assignor(&self) -> Option<&ByteString> {
        self.assignors
            .iter()
            .max_by_key(|(_, count)| **count)
            .map(|(name, _)| name)
    }
}

/// Members that speak the classic protocol, and how many of them can speak each of its protocols. Only a JoinGroup asks, so it
/// stands apart from what other decisions work on copies of.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Speakers {
    members: u32,
    protocols: Counts,
}

impl Speakers {
    /// A member that had subscribed with `before` now does with `after`.
    pub(super) fn change_member(&mut self, before: Option<&Subscription>, after: Option<&Subscription>) {
        if let Some(after) = after.and_then(|after| after.classic.as_ref()) {
            self.members += 1;
            names(after).for_each(|name| up(&mut self.protocols, name));
        }
        if let Some(before) = before.and_then(|before| before.classic.as_ref()) {
            self.members -= 1;
            names(before).for_each(|name| down(&mut self.protocols, name));
        }
    }

    /// Whether every member of the classic protocol can speak this; of no members, all can.
    pub(super) fn all_speak(&self, protocol: &str) -> bool {
        self.protocols.get(protocol).copied().unwrap_or(0) == self.members
    }
}

/// Each once, whatever a record says.
fn names(classic: &ClassicMember) -> impl Iterator<Item = &ByteString> {
    let names: BTreeSet<&ByteString> = classic.protocols.iter().map(|(name, _)| name).collect();
    names.into_iter()
}

fn up(counts: &mut Counts, name: &ByteString) {
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
    } else {
        counts.insert(name.clone(), 1);
    }
}

fn down(counts: &mut Counts, name: &ByteString) {
    match counts.get_mut(name) {
        Some(count) if *count > 1 => *count -= 1,
        _ => {
            counts.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(topics: &[&str], expression: &str, assignor: &str) -> Subscription {
        Subscription {
            topics: topics.iter().map(|topic| (*topic).into()).collect(),
            expression: Some(expression.into()),
            assignor: (!assignor.is_empty()).then(|| assignor.into()),
            ..Subscription::default()
        }
    }

    #[test]
    fn what_nobody_stands_behind_is_gone() {
        let mut subscribers = Subscribers::default();
        let one = subscription(&["a", "b"], "x", "range");
        let other = subscription(&["b"], "", "uniform");
        subscribers.change_member(None, Some(&one));
        subscribers.change_member(None, Some(&other));
        subscribers.change_expression(&[], &["b".into(), "c".into()]);
        let topics: Vec<_> = subscribers
            .topics
            .iter()
            .map(|(name, count)| (&**name, *count))
            .collect();
        assert_eq!(topics, [("a", 1), ("b", 3), ("c", 1)]);
        assert_eq!(
            (subscribers.of_expression("x"), subscribers.of_expression("")),
            (1, 0)
        );

        subscribers.change_member(Some(&one), Some(&one));
        subscribers.change_expression(&["b".into(), "c".into()], &["c".into()]);
        subscribers.change_member(Some(&one), None);
        subscribers.change_member(Some(&other), None);
        subscribers.change_expression(&["c".into()], &[]);
        assert_eq!(subscribers, Subscribers::default());
    }

    #[test]
    fn the_assignor_of_most_members_is_taken() {
        let mut subscribers = Subscribers::default();
        assert_eq!(subscribers.preferred_assignor(), None);
        for (assignor, expected) in [("range", "range"), ("uniform", "uniform"), ("range", "range")] {
            subscribers.change_member(None, Some(&subscription(&[], "", assignor)));
            assert_eq!(subscribers.preferred_assignor().unwrap(), expected);
        }
    }

    #[test]
    fn a_protocol_that_a_member_names_twice_is_spoken_once() {
        let speaking = |names: &[&str]| {
            let protocols = names.iter().map(|name| ((*name).into(), bytes::Bytes::new()));
            Subscription {
                classic: Some(ClassicMember {
                    session_timeout_ms: 0,
                    protocols: protocols.collect(),
                }),
                ..Subscription::default()
            }
        };
        let (one, other) = (speaking(&["a", "b", "b"]), speaking(&["a"]));
        let mut speakers = Speakers::default();
        assert!(speakers.all_speak("anything"));
        speakers.change_member(None, Some(&one));
        speakers.change_member(Some(&subscription(&["t"], "", "")), Some(&other));
        for (protocol, expected) in [("a", true), ("b", false), ("c", false)] {
            assert_eq!(speakers.all_speak(protocol), expected, "{protocol}");
        }
        speakers.change_member(Some(&other), None);
        assert!(speakers.all_speak("b") && !speakers.all_speak("c"));
        speakers.change_member(Some(&one), Some(&subscription(&["t"], "", "")));
        assert_eq!(speakers, Speakers::default());
    }
}
