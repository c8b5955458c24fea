//! Random members against a group, and what must hold whatever they do.
//!
//! Each member keeps its own view, as a consumer does: what it was told to have, what it has taken up, and what it has let go. Now
//! and then an answer is lost, a member is silent until it is fenced, a topic grows, or the group is made anew of its records: of
//! all, or of those that were stored before the coordinator died, and what nobody was told of is gone.

use std::collections::{BTreeMap, BTreeSet};

use klamm_model::{ErrorCode, TopicId};
use klamm_protocol::messages::ConsumerGroupHeartbeatRequest;
use klamm_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

use super::testing::{Driven, joining, quiet, told};
use super::{ConsumerGroupState, LEAVE_EPOCH, STATIC_LEAVE_EPOCH};
use crate::group::offsets::commit::Committer;
use crate::seeds::{self, Choices, Model};

const TOPICS: [&str; 3] = ["t0", "t1", "t2"];

type Owned = BTreeSet<(TopicId, i32)>;

/// A consumer, as it sees itself.
#[derive(Clone, Debug, Default)]
struct Consumer {
    instance: Option<String>,
    subscription: Option<ConsumerGroupHeartbeatRequest>,
    epoch: i32,
    /// What it reads.
    owned: Owned,
    /// What it was told to have.
    told: Owned,
    /// Until when it is sure not to be fenced; then it stops reading, heard of or not.
    silent_since: i64,
    heard: bool,
}

struct World {
    seed: u64,
    /// What is chosen in the present step.
    rng: Choices,
    driven: Driven,
    consumers: BTreeMap<String, Consumer>,
    born: usize,
    highest: (i32, i32),
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Birth,
    Leave,
    Die,
    Grow,
    Reload,
    Crash,
    Pause,
    Subscribe,
    Heartbeat,
}

/// What happens, and how: the rest is chosen by a number.
#[derive(Clone, Copy, Debug)]
struct Step {
    what: What,
    how: u64,
}

impl Model for World {
    type Step = Step;

    fn new(seed: u64) -> Self {
        let mut driven = Driven::new(&[("t0", 3), ("t1", 5), ("t2", 1)]);
        if seed.is_multiple_of(2) {
            driven.config.consumer_assignment_interval = std::time::Duration::from_secs(1);
        }
        Self {
            seed,
            rng: Choices::new(seed),
            driven,
            consumers: BTreeMap::new(),
            born: 0,
            highest: (0, 0),
        }
    }

    fn draw(choices: &mut Choices) -> Step {
        let what = match choices.below(21) {
            0 | 1 => What::Birth,
            2 => What::Leave,
            3 if choices.one_in(3) => What::Die,
            4 if choices.one_in(4) => What::Grow,
            5 => What::Reload,
            6 => What::Pause,
            7 => What::Subscribe,
            8 => What::Crash,
            _ => What::Heartbeat,
        };
        Step {
            what,
            how: choices.next(),
        }
    }

    fn act(&mut self, step: Step) {
        self.rng = Choices::new(step.how);
        match step.what {
            What::Birth if self.consumers.len() < 6 => self.birth(),
            What::Leave => self.with_someone(Self::leave),
            What::Die => self.with_someone(Self::die),
            What::Grow => self.grow(),
            What::Reload => self.reload(),
            What::Crash => self.crash(),
            What::Pause => self.driven.now += self.rng.below(3000) as i64,
            What::Subscribe => self.with_someone(Self::subscribe_anew),
            What::Birth | What::Heartbeat => self.with_someone(|world, id| world.heartbeat(id, true)),
        }
        self.driven.now += self.rng.below(200) as i64;
        self.let_time_pass();
        self.check();
    }

    fn finish(&mut self) {
        self.settle();
        self.reload();
    }
}

impl World {
    fn grow(&mut self) {
        let grown = TOPICS[self.rng.below(3)];
        let image = self.driven.cluster.image();
        let partitions = image
            .topics()
            .by_name(grown)
            .map_or(0, |topic| topic.partitions.len());
        self.driven
            .change(|cluster| cluster.grow(grown, partitions as i32 + 1));
    }

    fn with_someone(&mut self, act: impl FnOnce(&mut Self, &str)) {
        if !self.consumers.is_empty() {
            let at = self.rng.below(self.consumers.len());
            let id = self.consumers.keys().nth(at).unwrap().clone();
            act(self, &id);
        }
    }

    /// Who is not heard of for too long stops reading before it is fenced.
    fn let_time_pass(&mut self) {
        for consumer in self.consumers.values_mut() {
            if self.driven.now - consumer.silent_since >= 30_000 {
                consumer.owned.clear();
                consumer.told.clear();
                consumer.epoch = 0;
            }
        }
        self.driven.ring();
    }

    fn subscription(&mut self, id: &str) -> ConsumerGroupHeartbeatRequest {
        let topics: Vec<&str> = TOPICS.into_iter().filter(|_| self.rng.below(3) > 0).collect();
        let mut request = joining(id, &topics);
        if self.rng.one_in(5) {
            request.subscribed_topic_names = None;
            request.subscribed_topic_regex = Some(["t.*", "t[01]", "none"][self.rng.below(3)].into());
        }
        if self.rng.one_in(6) {
            request.server_assignor = Some(["uniform", "range"][self.rng.below(2)].into());
        }
        request
    }

    fn birth(&mut self) {
        self.born += 1;
        let id = format!("m{}", self.born);
        let instances: Vec<String> = (0..2).map(|number| format!("i{number}")).collect();
        let taken = |instance: &String| {
            self.consumers
                .values()
                .any(|consumer| consumer.instance.as_ref() == Some(instance))
        };
        let free: Vec<String> = instances
            .into_iter()
            .filter(|instance| !taken(instance))
            .collect();
        let instance = if self.rng.one_in(2) {
            free.first().cloned()
        } else {
            None
        };
        let subscription = self.subscription(&id);
        let consumer = Consumer {
            instance,
            subscription: Some(subscription),
            silent_since: self.driven.now,
            ..Consumer::default()
        };
        self.consumers.insert(id.clone(), consumer);
        self.heartbeat(&id, true);
    }

    fn subscribe_anew(&mut self, id: &str) {
        let subscription = self.subscription(id);
        let consumer = self.consumers.get_mut(id).unwrap();
        // An assignor or an expression once named stays; leave neither behind.
        consumer.subscription = Some(ConsumerGroupHeartbeatRequest {
            subscribed_topic_regex: subscription.subscribed_topic_regex.or(Some("".into())),
            subscribed_topic_names: subscription.subscribed_topic_names.or(Some(Vec::new())),
            ..subscription
        });
        self.heartbeat(id, true);
    }

    fn request(&mut self, id: &str) -> ConsumerGroupHeartbeatRequest {
        let repeats_all = self.rng.one_in(4);
        let consumer = &self.consumers[id];
        let mut request = quiet(id, consumer.epoch);
        if consumer.epoch == 0 || !consumer.heard || repeats_all {
            request = consumer.subscription.clone().unwrap();
            request.member_epoch = consumer.epoch;
        }
        request.instance_id = consumer.instance.as_deref().map(Into::into);
        let mut owned: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &consumer.owned {
            owned.entry(*topic).or_default().push(*partition);
        }
        let topics = owned.into_iter().map(|(topic_id, partitions)| TopicPartitions {
            topic_id,
            partitions,
            ..Default::default()
        });
        request.topic_partitions = Some(topics.collect());
        request
    }

    fn heartbeat(&mut self, id: &str, may_lose: bool) {
        let request = self.request(id);
        let answer = self.driven.ask(&request);
        let lost = may_lose && self.rng.one_in(8);
        let now = self.driven.now;
        let takes_up_at_once = !may_lose || self.rng.one_in(2);
        let consumer = self.consumers.get_mut(id).unwrap();
        consumer.silent_since = now;
        if lost {
            consumer.heard = false;
            return;
        }
        match answer {
            Ok(answer) => {
                assert!(consumer.epoch == 0 || answer.member_epoch >= consumer.epoch);
                consumer.epoch = answer.member_epoch;
                consumer.heard = true;
                if let Some(topics) = told(&answer) {
                    let partitions = topics.into_iter();
                    consumer.told = partitions
                        .flat_map(|(topic, numbers)| numbers.into_iter().map(move |number| (topic, number)))
                        .collect();
                }
            }
            Err(refusal) => {
                let expected = [
                    ErrorCode::FencedMemberEpoch,
                    ErrorCode::UnknownMemberId,
                    ErrorCode::GroupIdNotFound,
                    ErrorCode::UnreleasedInstanceId,
                ];
                assert!(expected.contains(&refusal.code), "seed {}: {refusal}", self.seed);
                consumer.epoch = 0;
                consumer.owned.clear();
                consumer.told.clear();
            }
        }
        if takes_up_at_once {
            consumer.owned = consumer.told.clone();
        }
    }

    fn leave(&mut self, id: &str) {
        let consumer = self.consumers.remove(id).unwrap();
        let for_a_while = consumer.instance.is_some() && self.rng.one_in(2);
        let mut request = quiet(
            id,
            if for_a_while {
                STATIC_LEAVE_EPOCH
            } else {
                LEAVE_EPOCH
            },
        );
        request.instance_id = consumer.instance.as_deref().map(Into::into);
        let before = self.targets();
        let left = self.driven.ask(&request);
        if left.is_ok() && !for_a_while {
            let after = self.targets();
            assert!(
                before
                    .iter()
                    .all(|(owner, target)| owner == id || after[owner] == *target)
            );
        }
    }

    fn targets(&self) -> BTreeMap<String, super::Partitions> {
        let Some(group) = &self.driven.group else {
            return BTreeMap::new();
        };
        let targets = group
            .members()
            .filter_map(|(id, _)| Some((id.to_string(), group.target_of(id)?.clone())));
        targets.collect()
    }

    /// Without a word.
    fn die(&mut self, id: &str) {
        self.consumers.remove(id);
        if self.rng.one_in(2) {
            self.driven.now += 45_000;
        }
    }

    fn reload(&mut self) {
        let Some(group) = &self.driven.group else {
            return;
        };
        for compacted in [false, true] {
            let mut reloaded = self.driven.reloaded(compacted).unwrap();
            reloaded.seen = group.seen.clone();
            assert_eq!(reloaded, *group, "seed {}", self.seed);
        }
        self.load();
    }

    /// Some ask, the coordinator dies before anything of that is stored, and nobody is answered.
    fn crash(&mut self) {
        let stored = self.driven.log.len();
        for _ in 0..self.rng.below(4) {
            self.with_someone(|world, id| {
                let request = world.request(id);
                // Nobody hears of it.
                let _ = world.driven.ask(&request);
                world.consumers.get_mut(id).unwrap().heard = false;
            });
        }
        self.driven.log.truncate(stored);
        self.load();
    }

    /// The group is made of its records.
    fn load(&mut self) {
        self.driven.group = self.driven.reloaded(false);
        let timers = self.driven.group.as_ref().map_or_else(Vec::new, |group| {
            group.timers(klamm_model::TimestampMs(self.driven.now), &self.driven.config)
        });
        self.driven.timers = timers
            .into_iter()
            .map(|timer| match timer {
                crate::contract::TimerChange::At(timer, at) => (timer, at),
                other => panic!("{other:?} after a load"),
            })
            .collect();
    }

    fn check(&mut self) {
        let seed = self.seed;
        // No two members read a partition at a time, as they see it.
        let mut readers: BTreeMap<(TopicId, i32), &String> = BTreeMap::new();
        for (id, consumer) in &self.consumers {
            for partition in &consumer.owned {
                let other = readers.insert(*partition, id);
                assert_eq!(other, None, "seed {seed}: {partition:?} is read by {id}, too");
            }
        }
        let Some(group) = &self.driven.group else {
            return;
        };
        // Who has an old epoch does not commit for what somebody else reads.
        for (id, consumer) in &self.consumers {
            let by = Committer {
                member_id: id,
                instance_id: None,
                generation: consumer.epoch,
                transactional: false,
            };
            let is_current = group
                .member(id)
                .is_some_and(|member| member.current.epoch == consumer.epoch);
            if let Ok(check) = group.check_commit(&by, 9)
                && !is_current
            {
                let of_others = readers.iter().filter(|(_, reader)| **reader != id);
                for ((topic, partition), reader) in of_others {
                    let refused = check.partition(topic, *partition);
                    assert!(refused.is_err(), "seed {seed}: {id} commits for {reader}");
                }
            }
        }
        // Nor do two have it as the group sees it, what is to be let go included.
        let mut holders = BTreeMap::new();
        for (id, member) in group.members() {
            for holdings in [&member.current.assigned, &member.current.revoking] {
                for (topic, held) in holdings.iter() {
                    for held in held {
                        assert_eq!(holders.insert((*topic, held.partition), id), None, "seed {seed}");
                        assert!(held.since <= group.assignment_epoch().max(group.epoch()));
                    }
                }
            }
            assert!(member.current.epoch <= group.assignment_epoch(), "seed {seed}");
        }
        assert!(group.assignment_epoch() <= group.epoch(), "seed {seed}");
        let epochs = (group.epoch(), group.assignment_epoch());
        assert!(
            epochs.0 >= self.highest.0 && epochs.1 >= self.highest.1,
            "seed {seed}: {epochs:?}"
        );
        self.highest = epochs;
    }

    /// Everybody goes on for a while, and nothing else happens: then all is settled.
    fn settle(&mut self) {
        // Whoever died is noticed.
        for _ in 0..8 {
            self.driven.now += 11_000;
            let ids: Vec<String> = self.consumers.keys().cloned().collect();
            for id in &ids {
                self.heartbeat(id, false);
                self.check();
            }
            self.driven.ring();
        }
        for _ in 0..20 {
            self.driven.now += 1_100;
            let ids: Vec<String> = self.consumers.keys().cloned().collect();
            for id in &ids {
                self.heartbeat(id, false);
                self.check();
            }
        }
        let seed = self.seed;
        if self.consumers.is_empty() {
            return;
        }
        let group = self.driven.group.as_ref().unwrap();
        assert_eq!(
            group.state(),
            ConsumerGroupState::Stable,
            "seed {seed}: {group:#?}"
        );
        assert_eq!(group.members().len(), self.consumers.len());
        let image = self.driven.cluster.image();
        let wanted = image
            .topics()
            .iter()
            .filter(|topic| group.is_subscribed_to(&topic.name));
        let wanted: Owned = wanted
            .flat_map(|topic| (0..topic.partitions.len() as i32).map(|partition| (topic.id, partition)))
            .collect();
        let read: Owned = self
            .consumers
            .values()
            .flat_map(|consumer| consumer.owned.clone())
            .collect();
        assert_eq!(read, wanted, "seed {seed}");
        let written = self.driven.log.len();
        let ids: Vec<String> = self.consumers.keys().cloned().collect();
        for id in &ids {
            self.heartbeat(id, false);
        }
        assert_eq!(
            self.driven.log.len(),
            written,
            "seed {seed}: a settled group writes nothing"
        );
    }
}

#[test]
fn whatever_members_do_a_partition_has_one_reader_and_all_are_read_in_the_end() {
    let test = "whatever_members_do_a_partition_has_one_reader";
    seeds::run::<World>(test, 400, 240);
}
