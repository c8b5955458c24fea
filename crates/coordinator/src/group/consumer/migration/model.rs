//! Random consumers of both protocols in one group, and what must hold whatever they do.
//!
//! Each keeps its own view, as a client does: what it was told, and what it reads. Those of the classic protocol are eager in one world
//! and cooperative in another, and their leader shares out; static ones change sides. Now and then an answer is lost, a poll loop is
//! busy, somebody dies without a word, a topic grows, or the shard is loaded anew.
//!
//! - No two consumers read a partition at a time, as they see it.
//! - Nobody is told what ends a client: that its protocol is not the group's, or, but for what a lost shard has forgotten, that somebody
//!   else has its instance.
//! - When all go on for a while, everything that they subscribe to is read; also what a topic grows by then.
//!
//! Next: `model/classic.rs` for what a consumer of the classic protocol does.

mod classic;
mod held;

use std::collections::{BTreeMap, BTreeSet};

use klamm_model::{ErrorCode, TopicId, Uuid};
use klamm_protocol::messages::ConsumerGroupHeartbeatRequest;
use klamm_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

use crate::group::answer::Answer;
use crate::group::config::MigrationPolicy;
use crate::group::consumer::testing::{Cluster, joining, quiet, told};
use crate::group::consumer::{LEAVE_EPOCH, STATIC_LEAVE_EPOCH};
use crate::group::driver::{Driver, leave};
use crate::group::request::{Client as Peer, Request};
use crate::seeds::{self, Choices, Model};
use classic::Classic;

const TOPICS: [(&str, TopicId); 2] = [("t0", Uuid([1; 16])), ("t1", Uuid([2; 16]))];
const INSTANCES: [&str; 2] = ["i0", "i1"];
/// How long a client is silent until it is sure that it may be out of its group: less than the session.
const CLASSIC_SILENCE_MS: i64 = 9_000;
const CONSUMER_SILENCE_MS: i64 = 40_000;

type Partition = (&'static str, i32);

#[derive(Debug)]
struct Client {
    instance: Option<&'static str>,
    topics: Vec<&'static str>,
    reads: BTreeSet<Partition>,
    /// When it was last answered.
    heard_at: i64,
    /// Until when it does not come to poll.
    busy_until: i64,
    side: Side,
}

#[derive(Debug)]
enum Side {
    Classic(Classic),
    Consumer(Consumer),
}

/// What a consumer of the consumer protocol knows.
#[derive(Debug)]
struct Consumer {
    id: String,
    epoch: i32,
    told: BTreeSet<Partition>,
    told_at: i64,
    /// Whether its last request was answered.
    heard: bool,
}

struct World {
    rng: Choices,
    driver: Driver,
    cluster: Cluster,
    /// By their number.
    clients: BTreeMap<usize, Client>,
    born: usize,
    /// What the last client of each instance wanted.
    wanted: BTreeMap<&'static str, Vec<&'static str>>,
    is_cooperative: bool,
    /// Nothing goes wrong any more.
    is_calm: bool,
}

/// What happens, and what is chosen in it: also who comes to its turn then, and what is lost.
#[derive(Clone, Debug)]
struct Step {
    what: What,
    how: u64,
}

#[derive(Clone, Debug)]
enum What {
    Birth,
    Leave,
    Die,
    ChangeSides,
    Grow,
    Reload,
    /// Somebody's poll loop is busy for so long.
    Busy {
        ms: i64,
    },
    /// Nobody comes to its turn for so long.
    Pause {
        ms: i64,
    },
    /// Only the turns.
    Turns,
}

impl Model for World {
    type Step = Step;

    fn new(seed: u64) -> Self {
        let mut cluster = Cluster::default();
        for ((name, id), partitions) in TOPICS.into_iter().zip([4, 3]) {
            cluster.topic_with_id(name, id, partitions, &["r"]);
        }
        let mut driver = Driver::new();
        driver.change(cluster.image());
        // Drawn, each for itself: all of them meet.
        let mut rng = Choices::new(!seed);
        if rng.one_in(3) {
            driver.config.consumer_migration_policy = MigrationPolicy::Upgrade;
        }
        if rng.one_in(3) {
            driver.config.consumer_assignment_interval = std::time::Duration::ZERO;
        }
        let is_cooperative = rng.one_in(2);
        Self {
            rng,
            driver,
            cluster,
            clients: BTreeMap::new(),
            born: 0,
            wanted: BTreeMap::new(),
            is_cooperative,
            is_calm: false,
        }
    }

    fn draw(choices: &mut Choices) -> Step {
        let what = match choices.below(24) {
            0 | 1 => What::Birth,
            2 => What::Leave,
            3 if choices.one_in(3) => What::Die,
            4 | 5 => What::ChangeSides,
            6 if choices.one_in(5) => What::Grow,
            7 if choices.one_in(2) => What::Reload,
            8 => What::Busy {
                ms: choices.below(20_000) as i64,
            },
            9 => What::Pause {
                ms: choices.below(3_000) as i64,
            },
            _ => What::Turns,
        };
        let how = choices.next();
        Step { what, how }
    }

    fn act(&mut self, step: Step) {
        self.rng = Choices::new(step.how);
        match step.what {
            What::Birth if self.clients.len() < 5 => {
                let instance = self.free_instance().filter(|_| self.rng.one_in(2));
                let is_classic = self.rng.one_in(2);
                self.birth(instance, is_classic);
            }
            What::Leave => self.with_someone(Self::leave),
            What::Die => self.with_someone(|world, number| {
                world.clients.remove(&number);
            }),
            What::ChangeSides => self.with_someone(Self::change_sides),
            What::Grow => self.grow(),
            What::Reload => self.reload(),
            What::Busy { ms } => self.with_someone(|world, number| {
                let until = world.driver.now.0 + ms;
                world.clients.get_mut(&number).unwrap().busy_until = until;
            }),
            What::Pause { ms } => self.pass(ms),
            What::Birth | What::Turns => {}
        }
        for number in self.numbers() {
            if self.rng.one_in(2) {
                self.turn(number);
            }
        }
        let ms = self.rng.below(700) as i64;
        self.pass(ms);
    }

    fn finish(&mut self) {
        // Whatever the last step was.
        self.rng = Choices::new(0);
        self.settle(150);
        self.grow();
        self.settle(30);
    }
}

fn named(id: &TopicId) -> &'static str {
    let (name, _) = TOPICS.iter().find(|(_, topic)| topic == id).unwrap();
    name
}

impl World {
    fn numbers(&self) -> Vec<usize> {
        self.clients.keys().copied().collect()
    }

    fn with_someone(&mut self, act: impl FnOnce(&mut Self, usize)) {
        if !self.clients.is_empty() {
            let at = self.rng.below(self.clients.len());
            act(self, self.numbers()[at]);
        }
    }

    fn free_instance(&self) -> Option<&'static str> {
        let taken = |instance: &&str| {
            let mut clients = self.clients.values();
            clients.any(|client| client.instance == Some(*instance))
        };
        INSTANCES.into_iter().find(|instance| !taken(instance))
    }

    fn birth(&mut self, instance: Option<&'static str>, is_classic: bool) {
        self.born += 1;
        let mut topics: Vec<&'static str> = TOPICS.map(|(name, _)| name).to_vec();
        if self.rng.one_in(3) {
            topics.remove(self.rng.below(2));
        }
        let group = self.driver.shard.groups.get("g");
        let is_quiet =
            instance.is_some() && is_classic && group.is_some_and(|group| group.classic().is_some());
        if let Some(instance) = instance {
            // A classic group that is at rest is not told when a static member wants something else, as in Kafka.
            match self.wanted.get(instance) {
                Some(wanted) if is_quiet => topics.clone_from(wanted),
                _ => drop(self.wanted.insert(instance, topics.clone())),
            }
        }
        let side = if is_classic {
            let mut classic = Classic::new(&mut self.rng);
            if is_quiet {
                // An older one that takes the leader's place there is not told that it leads, and sees no topic grow.
                classic.version = 9;
            }
            Side::Classic(classic)
        } else {
            Side::Consumer(Consumer {
                id: format!("m{}", self.born),
                epoch: 0,
                told: BTreeSet::new(),
                told_at: 0,
                heard: false,
            })
        };
        let client = Client {
            instance,
            topics,
            reads: BTreeSet::new(),
            heard_at: self.driver.now.0,
            busy_until: 0,
            side,
        };
        self.clients.insert(self.born, client);
        self.turn(self.born);
    }

    /// It says that it goes.
    fn leave(&mut self, number: usize) {
        let client = self.clients.remove(&number).unwrap();
        match client.side {
            Side::Classic(classic) if client.instance.is_none() && !classic.id.is_empty() => {
                self.driver.at_once(leave(&[(&*classic.id, None)]));
                self.pump();
            }
            // A static member only goes.
            Side::Classic(_) => {}
            Side::Consumer(consumer) => {
                let is_back_soon = client.instance.is_some() && self.rng.one_in(2);
                let epoch = if is_back_soon {
                    STATIC_LEAVE_EPOCH
                } else {
                    LEAVE_EPOCH
                };
                // It may be unknown by now; it goes all the same.
                let _ = self.beat(ConsumerGroupHeartbeatRequest {
                    instance_id: client.instance.map(Into::into),
                    ..quiet(&consumer.id, epoch)
                });
                self.pump();
            }
        }
    }

    /// A static member is started again with the other protocol.
    fn change_sides(&mut self, number: usize) {
        let Some(instance) = self.clients[&number].instance else {
            return;
        };
        let is_classic = matches!(self.clients[&number].side, Side::Classic(_));
        if self.rng.one_in(4) {
            self.clients.remove(&number);
        } else {
            self.leave(number);
        }
        self.birth(Some(instance), !is_classic);
    }

    fn grow(&mut self) {
        let (name, _) = TOPICS[self.rng.below(2)];
        let partitions = self.partitions_of(name);
        if partitions < 9 {
            self.cluster.grow(name, partitions + 1);
            self.driver.change(self.cluster.image());
        }
    }

    fn partitions_of(&self, name: &str) -> i32 {
        let image = self.cluster.image();
        image.topics().by_name(name).unwrap().partitions.len() as i32
    }

    fn reload(&mut self) {
        self.driver.reload();
        for client in self.clients.values_mut() {
            if let Side::Classic(classic) = &mut client.side {
                classic.lose(&self.driver);
            }
        }
    }

    /// Time passes. Who is not heard of for too long stops reading before it is fenced.
    fn pass(&mut self, ms: i64) {
        let until = self.driver.now.0 + ms;
        while self.driver.now.0 < until {
            let slice = (until - self.driver.now.0).min(500);
            for client in self.clients.values_mut() {
                client.fall_silent(self.driver.now.0 + slice);
            }
            self.driver.pass(slice);
            self.pump();
        }
    }

    fn turn(&mut self, number: usize) {
        match self.clients[&number].side {
            Side::Classic(_) => self.classic_turn(number),
            Side::Consumer(_) => self.consumer_turn(number),
        }
        self.pump();
        self.check();
    }

    fn beat(
        &mut self,
        request: ConsumerGroupHeartbeatRequest,
    ) -> Result<(i32, Option<BTreeSet<Partition>>), ErrorCode> {
        let request = Request::ConsumerGroupHeartbeat {
            client: Peer::default(),
            version: 1,
            request: Box::new(request),
        };
        let Answer::ConsumerGroupHeartbeat(answer) = self.driver.at_once(request) else {
            panic!("it answers something else");
        };
        match ErrorCode::from_code(answer.error_code).unwrap() {
            ErrorCode::None => {
                let topics = told(&answer).map(|topics| {
                    let topics = topics.into_iter();
                    let all = topics.flat_map(|(id, partitions)| {
                        partitions
                            .into_iter()
                            .map(move |partition| (named(&id), partition))
                    });
                    all.collect()
                });
                Ok((answer.member_epoch, topics))
            }
            code => Err(code),
        }
    }

    fn consumer_turn(&mut self, number: usize) {
        let request = self.heartbeat_of(number);
        let answer = self.beat(request);
        let now = self.driver.now.0;
        let is_lost = !self.is_calm && self.rng.one_in(8);
        let takes_up = self.is_calm || self.rng.one_in(2);
        let client = self.clients.get_mut(&number).unwrap();
        client.heard_at = now;
        let Side::Consumer(consumer) = &mut client.side else {
            panic!("it was one");
        };
        consumer.heard = !is_lost;
        if is_lost {
            return;
        }
        match answer {
            Ok((epoch, assignment)) => {
                consumer.epoch = epoch;
                if let Some(assignment) = assignment {
                    consumer.told = assignment;
                    consumer.told_at = now;
                }
            }
            Err(
                ErrorCode::FencedMemberEpoch
                | ErrorCode::UnknownMemberId
                | ErrorCode::GroupIdNotFound
                | ErrorCode::UnreleasedInstanceId,
            ) => {
                consumer.epoch = 0;
                consumer.told.clear();
                client.reads.clear();
            }
            Err(code) => panic!("it is told {code:?}"),
        }
        if takes_up || now - consumer.told_at > 15_000 {
            client.reads.clone_from(&consumer.told);
        }
    }

    fn heartbeat_of(&mut self, number: usize) -> ConsumerGroupHeartbeatRequest {
        let repeats_all = self.rng.one_in(4);
        let client = &self.clients[&number];
        let Side::Consumer(consumer) = &client.side else {
            panic!("it was one");
        };
        let mut request = quiet(&consumer.id, consumer.epoch);
        if consumer.epoch == 0 || !consumer.heard || repeats_all {
            request = joining(&consumer.id, &client.topics);
            request.member_epoch = consumer.epoch;
        }
        request.instance_id = client.instance.map(Into::into);
        let owned = TOPICS.into_iter().filter_map(|(name, topic_id)| {
            let partitions = client.reads_of(name);
            (!partitions.is_empty()).then_some(TopicPartitions {
                topic_id,
                partitions,
                ..Default::default()
            })
        });
        request.topic_partitions = Some(owned.collect());
        request
    }
}

impl Client {
    fn reads_of(&self, topic: &str) -> Vec<i32> {
        let of_topic = self.reads.iter().filter(|(name, _)| *name == topic);
        of_topic.map(|(_, partition)| *partition).collect()
    }

    /// By `now` it has not been heard of for too long, and takes itself to be out of its group.
    fn fall_silent(&mut self, now: i64) {
        let silence = now - self.heard_at;
        match &mut self.side {
            Side::Classic(classic) if classic.is_waiting() => {}
            Side::Classic(classic) if silence >= CLASSIC_SILENCE_MS => {
                classic.is_out();
                self.reads.clear();
            }
            Side::Consumer(consumer) if silence >= CONSUMER_SILENCE_MS => {
                consumer.epoch = 0;
                consumer.told.clear();
                self.reads.clear();
            }
            Side::Classic(_) | Side::Consumer(_) => {}
        }
    }
}

#[test]
fn whatever_members_of_both_protocols_do_a_partition_has_one_reader_and_all_are_read_in_the_end() {
    let test = "whatever_members_of_both_protocols_do";
    seeds::run::<World>(test, 600, 300);
}
