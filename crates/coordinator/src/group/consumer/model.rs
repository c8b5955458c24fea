//! Random members against a group, and what must hold whatever they do.
//!
//! Each member keeps its own view, as a consumer does: what it was told to have, what it has taken up, and what it has let go. Now
//! and then an answer is lost, a member is silent until it is fenced, a topic grows, or the group is made anew of its records.

use std::collections::{BTreeMap, BTreeSet};

use klamm_model::{ErrorCode, TopicId};
use klamm_protocol::messages::ConsumerGroupHeartbeatRequest;
use klamm_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

use super::testing::{Driven, joining, quiet, told};
use super::{ConsumerGroupState, LEAVE_EPOCH, STATIC_LEAVE_EPOCH};

const TOPICS: [&str; 3] = ["t0", "t1", "t2"];

struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

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
    rng: Rng,
    driven: Driven,
    consumers: BTreeMap<String, Consumer>,
    born: usize,
    highest: (i32, i32),
}

impl World {
    fn new(seed: u64) -> Self {
        let mut driven = Driven::new(&[("t0", 3), ("t1", 5), ("t2", 1)]);
        if seed.is_multiple_of(2) {
            driven.config.consumer_assignment_interval = std::time::Duration::from_secs(1);
        }
        Self {
            seed,
            rng: Rng(seed),
            driven,
            consumers: BTreeMap::new(),
            born: 0,
            highest: (0, 0),
        }
    }

    fn step(&mut self) {
        match self.rng.below(20) {
            0 | 1 if self.consumers.len() < 6 => self.birth(),
            2 => self.with_someone(Self::leave),
            3 if self.rng.chance(3) => self.with_someone(Self::die),
            4 if self.rng.chance(4) => {
                let grown = TOPICS[self.rng.below(3)];
                let image = self.driven.cluster.image();
                let partitions = image
                    .topics()
                    .by_name(grown)
                    .map_or(0, |topic| topic.partitions.len());
                self.driven
                    .change(|cluster| cluster.grow(grown, partitions as i32 + 1));
            }
            5 => self.reload(),
            6 => self.driven.now += self.rng.below(3000) as i64,
            7 => self.with_someone(Self::subscribe_anew),
            _ => self.with_someone(|world, id| world.heartbeat(id, true)),
        }
        self.driven.now += self.rng.below(200) as i64;
        self.let_time_pass();
        self.check();
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
        if self.rng.chance(5) {
            request.subscribed_topic_names = None;
            request.subscribed_topic_regex = Some(["t.*", "t[01]", "none"][self.rng.below(3)].into());
        }
        if self.rng.chance(6) {
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
        let instance = if self.rng.chance(2) {
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
        let repeats_all = self.rng.chance(4);
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
        let lost = may_lose && self.rng.chance(8);
        let now = self.driven.now;
        let takes_up_at_once = !may_lose || self.rng.chance(2);
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
        let for_a_while = consumer.instance.is_some() && self.rng.chance(2);
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
        if self.rng.chance(2) {
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
        let timers = group.timers(klamm_model::TimestampMs(self.driven.now), &self.driven.config);
        self.driven.timers = timers
            .into_iter()
            .map(|timer| match timer {
                crate::contract::TimerChange::At(timer, at) => (timer, at),
                other => panic!("{other:?} after a load"),
            })
            .collect();
        self.driven.group = self.driven.reloaded(false);
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
        // Nor as the group sees it, what is to be let go included.
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
    for seed in 0..400 {
        let mut world = World::new(seed);
        for _ in 0..120 {
            world.step();
        }
        world.settle();
        world.reload();
    }
}
