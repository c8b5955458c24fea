//! The target assignment: what all members of a group are to have.
//!
//! Always holds: it is made for one epoch of the group out of all subscriptions of that epoch, and recorded as far as it differs
//! from the one before.
//!
//! Next: `assignor.rs` for the rules, `reconcile.rs` for how members come to it.

use std::collections::{BTreeMap, BTreeSet};

use klamm_metadata::Image;
use klamm_model::TopicId;
use klamm_protocol::ByteString;

use super::assignor::{Assignor, Demand, Subscriber, Topic};
use super::subscribers::Subscribers;
use super::{ConsumerGroup, Partitions, Resolved, Subscription};
use crate::group::record::GroupRecord;

static NOTHING: Partitions = Partitions::NONE;

/// The expressions of a group as they are after what this decision changes.
pub(super) struct Expressions<'a> {
    pub(super) group: &'a ConsumerGroup,
    /// `None` for one that is gone.
    pub(super) changes: BTreeMap<ByteString, Option<Resolved>>,
}

impl<'a> Expressions<'a> {
    pub(super) fn unchanged(group: &'a ConsumerGroup) -> Self {
        Self {
            group,
            changes: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, text: &str) -> Option<&Resolved> {
        match self.changes.get(text) {
            Some(changed) => changed.as_ref(),
            None => self.group.expressions.get(text),
        }
    }

    /// Whether one that somebody subscribes to stands for other topics than before.
    pub(super) fn other_topics(&self) -> bool {
        self.changes.iter().any(|(text, after)| {
            let before = self.group.expressions.get(text).map(|before| &before.topics);
            let after = after.as_ref().map(|after| &after.topics);
            self.group.subscribers.of_expression(text) > 0 && before != after
        })
    }

    /// Counts the topics that they stand for, in the place of those that they stood for.
    pub(super) fn change(&self, subscribers: &mut Subscribers) {
        for (text, after) in &self.changes {
            let before = self.group.expressions.get(text);
            let before = before.map_or(&[][..], |before| &before.topics);
            let after = after.as_ref().map_or(&[][..], |after| &after.topics);
            subscribers.change_expression(before, after);
        }
    }

    /// Whether a member subscribes to a topic that exists, by name or by expression.
    pub(super) fn subscribes(&self, subscription: &Subscription, image: &Image, topic: &TopicId) -> bool {
        let is_in = |names: &[ByteString], topic: &str| {
            let found = names.binary_search_by(|name| (**name).cmp(topic));
            found.is_ok()
        };
        let resolved = || subscription.expression().and_then(|text| self.get(text));
        image.topics().by_id(topic).is_some_and(|topic| {
            is_in(&subscription.topics, &topic.name)
                || resolved().is_some_and(|resolved| is_in(&resolved.topics, &topic.name))
        })
    }

    /// The topics that a member subscribes to by name or by expression, as far as they exist.
    pub(super) fn topics_of(&self, subscription: &Subscription, image: &Image) -> BTreeSet<TopicId> {
        let resolved = subscription.expression().and_then(|text| self.get(text));
        let by_expression = resolved.into_iter().flat_map(|resolved| &resolved.topics);
        let topics = subscription.topics.iter().chain(by_expression);
        topics
            .filter_map(|topic| Some(image.topics().by_name(topic)?.id))
            .collect()
    }
}

/// The members of a group as they are after what this decision changes: one of them has said something new, or has come, perhaps
/// in the place of another.
pub(super) struct Members<'a> {
    pub(super) group: &'a ConsumerGroup,
    pub(super) changed: &'a ByteString,
    pub(super) subscription: &'a Subscription,
    /// The member whose place it takes.
    pub(super) replaced: Option<&'a ByteString>,
}

impl<'a> Members<'a> {
    /// By id: what each has said, and what it was to have.
    fn all(&self) -> BTreeMap<&'a ByteString, (&'a Subscription, Option<&'a Partitions>)> {
        let others = self
            .group
            .members
            .iter()
            .filter(|(id, _)| Some(*id) != self.replaced);
        let mut all: BTreeMap<_, _> = others
            .map(|(id, member)| (id, (&member.subscription, self.group.target_of(id))))
            .collect();
        all.insert(self.changed, (self.subscription, self.target()));
        all
    }

    /// What the changed member was to have.
    fn target(&self) -> Option<&'a Partitions> {
        self.group.target_of(self.replaced.unwrap_or(self.changed))
    }
}

/// A target assignment that was made anew.
pub(super) struct NewTarget {
    pub(super) records: Vec<GroupRecord>,
    /// What the changed member is to have.
    pub(super) changed: Partitions,
}

/// Makes the target assignment of `epoch`.
pub(super) fn make(
    members: &Members<'_>,
    expressions: &Expressions<'_>,
    assignor: Assignor,
    image: &Image,
    epoch: i32,
    now: i64,
) -> NewTarget {
    let all = members.all();
    // Members with the same subscription share the work of finding its topics.
    let mut found: BTreeMap<(&[ByteString], Option<&ByteString>), usize> = BTreeMap::new();
    let mut numbers: BTreeMap<BTreeSet<TopicId>, usize> = BTreeMap::new();
    let mut subscribers = Vec::with_capacity(all.len());
    for (id, (subscription, target)) in &all {
        let key = (subscription.topics.as_slice(), subscription.expression());
        let subscription_index = *found.entry(key).or_insert_with(|| {
            let topics = expressions.topics_of(subscription, image);
            let next = numbers.len();
            *numbers.entry(topics).or_insert(next)
        });
        subscribers.push(Subscriber {
            member_id: id,
            instance_id: subscription.instance_id.as_deref(),
            subscription: subscription_index,
            target: target.unwrap_or(&NOTHING),
        });
    }
    let mut subscribed: Vec<_> = numbers.into_iter().collect();
    subscribed.sort_unstable_by_key(|(_, number)| *number);
    let subscribed = subscribed.into_iter().map(|(topics, _)| topics).collect();
    let demand = demand(subscribed, subscribers, image);
    let targets = assignor.assign(&demand);

    let recorder = members.group.recorder();
    let mut new = NewTarget {
        records: Vec::new(),
        changed: Partitions::default(),
    };
    for ((id, (_, before)), target) in all.into_iter().zip(targets) {
        if before != Some(&target) {
            new.records.push(recorder.target(id, Some(&target)));
        }
        if id == members.changed {
            new.changed = target;
        }
    }
    new.records.push(recorder.target_epoch(epoch, now));
    new
}

fn demand<'a>(subscribed: Vec<BTreeSet<TopicId>>, members: Vec<Subscriber<'a>>, image: &Image) -> Demand<'a> {
    let ids: BTreeSet<TopicId> = subscribed.iter().flatten().copied().collect();
    let topics = ids.into_iter().map(|id| Topic {
        id,
        partitions: image
            .topics()
            .by_id(&id)
            .map_or(0, |topic| topic.partitions.len()),
    });
    let topics: Vec<Topic> = topics.collect();
    let number = |id: &TopicId| {
        topics
            .binary_search_by_key(id, |topic| topic.id)
            .expect("made of the same subscriptions")
    };
    let subscriptions = subscribed
        .iter()
        .map(|topics| topics.iter().map(number).collect());
    Demand {
        subscriptions: subscriptions.collect(),
        topics,
        members,
    }
}
