//! Clients that do anything at any time, against a group of the classic protocol: what always holds.
//!
//! - Generations grow, and each has one leader; what its leader gave to one member, no other member of it has.
//! - Nobody commits in a generation that is over, or in none of whose members it is.
//! - What a member, or somebody outside, has committed is what is found, and a transaction counts whole or not at all. What was
//!   answered is there after a crash.
//! - A shard that is loaded says the same of a group that was at rest.
//! - When everybody is silent, everybody who waited has been answered, the group is empty, and no timer is left of it.

use std::collections::BTreeMap;

use klamm_model::{ProducerEpoch, ProducerId};
use klamm_protocol::messages::TxnOffsetCommitRequest;
use klamm_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};

use super::answer::Answer;
use super::driver::{Driver, Join, commit, commit_codes, fetch_all, fetched, heartbeat, join, leave, sync};
use super::request::Request;
use super::shard::{Group, Timer};
use crate::contract::{Ticket, TransactionalProducer};
use crate::seeds::{self, Choices, Model};

const PARTITIONS: usize = 6;

/// What somebody does.
#[derive(Clone, Debug)]
enum Step {
    Join {
        client: usize,
        says: u8,
    },
    Sync {
        client: usize,
    },
    Heartbeat {
        client: usize,
    },
    Leave {
        client: usize,
    },
    /// The client is gone, and another one comes in its place.
    Die {
        client: usize,
    },
    Commit {
        client: usize,
        partition: i32,
    },
    CommitOutside {
        partition: i32,
        offset: i64,
    },
    CommitInTransaction {
        producer: i64,
        partition: i32,
        offset: i64,
    },
    End {
        producer: i64,
        committed: bool,
    },
    Pass {
        ms: i64,
    },
    /// From now on nothing is known to be stored, and nobody is answered.
    Hold,
    /// All is stored.
    Release,
    /// The shard is lost, and of what is not stored all but so many decisions.
    Crash {
        kept: usize,
    },
    DeleteGroup,
}

/// Something that may happen.
fn draw(choices: &mut Choices) -> Step {
    let client = choices.below(5);
    let partition = choices.below(PARTITIONS) as i32;
    let (producer, offset) = (choices.below(2) as i64, choices.below(100) as i64);
    match choices.below(47) {
        0..=7 => Step::Join {
            client,
            says: choices.below(2) as u8,
        },
        8..=15 => Step::Sync { client },
        16..=19 => Step::Heartbeat { client },
        20 => Step::Leave { client },
        21 => Step::Die { client },
        22..=25 => Step::Commit { client, partition },
        26..=27 => Step::CommitOutside { partition, offset },
        28..=30 => Step::CommitInTransaction {
            producer,
            partition,
            offset,
        },
        31..=32 => Step::End {
            producer,
            committed: choices.one_in(2),
        },
        33..=38 => Step::Pass {
            ms: choices.below(5_000) as i64,
        },
        39 => Step::Pass {
            ms: choices.below(70_000) as i64,
        },
        40..=41 => Step::Hold,
        42..=43 => Step::Release,
        44..=45 => Step::Crash {
            kept: choices.below(4),
        },
        _ => Step::DeleteGroup,
    }
}

#[derive(Clone, Debug, Default)]
struct Client {
    member: String,
    generation: i32,
    /// Whom it may share out to, if it leads.
    members: Vec<String>,
    waits: Option<Ticket>,
    next_offset: i64,
}

/// What was recorded about offsets.
#[derive(Clone, Copy, Debug)]
enum Recorded {
    Commit(i32, i64),
    /// Of this producer, in its transaction.
    Pending(i64, i32, i64),
    End(i64, bool),
    /// There is none any more.
    Deleted,
}

/// The offsets that there are after all of this: of two commits the later one counts, in a transaction or not.
fn offsets(recorded: &[(usize, Recorded)]) -> BTreeMap<i32, i64> {
    let mut offsets: BTreeMap<i32, (usize, i64)> = BTreeMap::new();
    let mut pending: BTreeMap<i64, BTreeMap<i32, (usize, i64)>> = BTreeMap::new();
    for (at, (_, recorded)) in recorded.iter().enumerate() {
        match *recorded {
            Recorded::Commit(partition, offset) => drop(offsets.insert(partition, (at, offset))),
            Recorded::Pending(producer, partition, offset) => {
                let pending = pending.entry(producer).or_default();
                pending.insert(partition, (at, offset));
            }
            Recorded::End(producer, committed) => {
                for (partition, new) in pending.remove(&producer).unwrap_or_default() {
                    let is_later = offsets.get(&partition).is_none_or(|(at, _)| *at < new.0);
                    if committed && is_later {
                        offsets.insert(partition, new);
                    }
                }
            }
            Recorded::Deleted => {
                offsets.clear();
                pending.clear();
            }
        }
    }
    let offsets = offsets.into_iter();
    offsets
        .map(|(partition, (_, offset))| (partition, offset))
        .collect()
}

struct World {
    driver: Driver,
    clients: Vec<Client>,
    newest: i32,
    leaders: BTreeMap<i32, String>,
    owners: BTreeMap<(i32, u8), String>,
    /// With the length of the log then.
    recorded: Vec<(usize, Recorded)>,
    /// Commits under way, and whether they were recorded.
    commits: BTreeMap<Ticket, bool>,
}

/// Two clients are static, and fight for one instance id.
fn instance(client: usize) -> Option<&'static str> {
    (client >= 3).then_some("i")
}

impl World {
    fn start() -> Self {
        Self {
            driver: Driver::new(),
            clients: vec![Client::default(); 5],
            newest: 0,
            leaders: BTreeMap::new(),
            owners: BTreeMap::new(),
            recorded: Vec::new(),
            commits: BTreeMap::new(),
        }
    }

    fn happen(&mut self, step: Step) {
        let releases = matches!(step, Step::Release);
        match step {
            Step::Join { client, says } => self.join(client, says),
            Step::Sync { client } => self.sync(client),
            Step::Heartbeat { client } => {
                let Client {
                    member, generation, ..
                } = &self.clients[client];
                self.driver.ask(heartbeat(*generation, member, instance(client)));
            }
            Step::Leave { client } => {
                let member = std::mem::take(&mut self.clients[client].member);
                self.driver.ask(leave(&[(&member, instance(client))]));
            }
            Step::Die { client } => self.clients[client] = Client::default(),
            Step::Commit { client, partition } => self.commit(client, partition),
            Step::CommitOutside { partition, offset } => {
                self.ask_commit(commit(-1, "", &[(partition, offset)]), partition, offset);
            }
            Step::CommitInTransaction {
                producer,
                partition,
                offset,
            } => {
                self.driver.ask(in_transaction(producer, partition, offset));
                self.record(Recorded::Pending(producer, partition, offset));
            }
            Step::End { producer, committed } => {
                let id = ProducerId(producer);
                let epoch = ProducerEpoch(0);
                self.driver.end(TransactionalProducer { id, epoch }, committed);
                self.record(Recorded::End(producer, committed));
            }
            Step::Pass { ms } => self.driver.pass(ms),
            Step::Hold if !self.driver.holds_answers() => self.driver.hold_answers(),
            Step::Hold => {}
            Step::Release => self.driver.release(),
            Step::Crash { kept } => self.crash(kept),
            Step::DeleteGroup => {
                let request = Request::DeleteGroups(vec!["g".into()]);
                let answer = self.driver.peek(request.clone());
                self.driver.ask(request);
                if matches!(&answer, Answer::DeleteGroups(results) if results[0].error_code == 0) {
                    self.record(Recorded::Deleted);
                }
            }
        }
        self.listen(releases);
        self.check();
    }

    fn join(&mut self, client: usize, says: u8) {
        let own = &mut self.clients[client];
        if own.waits.is_some() {
            return;
        }
        let how = Join {
            instance: instance(client),
            version: if client == 2 { 3 } else { 9 },
            ..join(&own.member).saying(&[says])
        };
        own.waits = Some(self.driver.ask(how));
    }

    fn sync(&mut self, client: usize) {
        let own = &mut self.clients[client];
        if own.waits.is_some() {
            return;
        }
        let mut given: BTreeMap<&str, String> = BTreeMap::new();
        for (partition, member) in (0..PARTITIONS).zip(own.members.iter().cycle()) {
            given
                .entry(member)
                .or_default()
                .push(char::from(b'0' + partition as u8));
        }
        let given: Vec<_> = given
            .iter()
            .map(|(member, assignment)| (*member, &**assignment))
            .collect();
        own.waits = Some(self.driver.ask(sync(own.generation, &own.member, &given)));
    }

    fn commit(&mut self, client: usize, partition: i32) {
        let own = &mut self.clients[client];
        own.next_offset += 1;
        let (offset, generation) = (own.next_offset, own.generation);
        let request = commit(generation, &own.member, &[(partition, offset)]);
        let is_member = match self.driver.shard.groups.get("g") {
            Some(Group::Classic(group)) => {
                group.generation == generation && group.members.contains(&own.member)
            }
            _ => false,
        };
        let is_made = self.ask_commit(request, partition, offset);
        assert!(is_member || !is_made, "a commit of another generation is taken");
    }

    /// Whether it is recorded.
    fn ask_commit(&mut self, request: Request, partition: i32, offset: i64) -> bool {
        let before = self.driver.written();
        let ticket = self.driver.ask(request);
        let is_made = self.driver.written() > before;
        if is_made {
            self.record(Recorded::Commit(partition, offset));
        }
        self.commits.insert(ticket, is_made);
        is_made
    }

    fn record(&mut self, recorded: Recorded) {
        self.recorded.push((self.driver.written(), recorded));
    }

    fn crash(&mut self, kept: usize) {
        let before = self.at_rest().filter(|_| !self.driver.holds_answers());
        self.driver.crash(kept);
        let there = self.driver.written();
        self.recorded.retain(|(length, _)| *length <= there);
        self.commits.clear();
        for client in &mut self.clients {
            client.waits = None;
        }
        if before.is_some() {
            assert_eq!(self.at_rest(), before, "the loaded group is another one");
        }
        let group = self.driver.shard.groups.get("g");
        let generation = group.and_then(Group::classic).map(|group| group.generation);
        self.newest = generation.unwrap_or(0);
        self.leaders.retain(|of, _| *of <= self.newest);
    }

    /// What is told of the group, if there is nothing about it that is not recorded.
    fn at_rest(&mut self) -> Option<Answer> {
        let groups = vec!["g".into()];
        let answer = self.driver.peek(Request::DescribeGroups { version: 6, groups });
        let Answer::DescribeGroups(described) = &answer else {
            panic!("{answer:?}")
        };
        matches!(&*described[0].group_state, "Stable" | "Empty" | "Dead").then_some(answer)
    }

    /// Everybody hears what was answered. What was answered `all_at_once` is not heard in the order in which it was decided.
    fn listen(&mut self, all_at_once: bool) {
        let driver = &mut self.driver;
        self.commits.retain(|ticket, is_made| match driver.told(*ticket) {
            Some(answer) => {
                assert_eq!(commit_codes(&answer) == [0], *is_made, "{answer:?}");
                false
            }
            None => true,
        });
        for client in 0..self.clients.len() {
            let Some(ticket) = self.clients[client].waits else {
                continue;
            };
            let Some(answer) = self.driver.told(ticket) else {
                continue;
            };
            self.clients[client].waits = None;
            match answer {
                Answer::JoinGroup(answer) if answer.error_code == 0 => {
                    let name = answer.leader.to_string();
                    assert!(
                        all_at_once || answer.generation_id >= self.newest,
                        "an old generation"
                    );
                    self.newest = self.newest.max(answer.generation_id);
                    let leads = answer.leader == answer.member_id;
                    let leader = self
                        .leaders
                        .entry(answer.generation_id)
                        .or_insert_with(|| name.clone());
                    if leads && !answer.skip_assignment {
                        assert_eq!(*leader, name, "two leaders of one generation");
                    }
                    let own = &mut self.clients[client];
                    own.member = answer.member_id.to_string();
                    own.generation = answer.generation_id;
                    let members = answer.members.iter().filter(|_| !answer.skip_assignment);
                    own.members = members.map(|member| member.member_id.to_string()).collect();
                }
                Answer::JoinGroup(answer) => self.clients[client].member = answer.member_id.to_string(),
                Answer::SyncGroup(answer) if answer.error_code == 0 => {
                    let own = &self.clients[client];
                    let name = instance(client).map_or_else(|| own.member.clone(), Into::into);
                    for partition in &answer.assignment {
                        let owner = self
                            .owners
                            .entry((own.generation, *partition))
                            .or_insert_with(|| name.clone());
                        assert_eq!(*owner, name, "partition {partition} has two owners");
                    }
                }
                Answer::SyncGroup(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn check(&mut self) {
        let expected: Vec<_> = offsets(&self.recorded).into_iter().collect();
        let found = fetched(&self.driver.peek(fetch_all(false)));
        let found: Vec<_> = found
            .into_iter()
            .map(|(_, partition, offset, _)| (partition, offset))
            .collect();
        assert_eq!(found, expected);
        match self.driver.shard.groups.get("g") {
            Some(Group::Classic(group)) => {
                let joining = group
                    .members
                    .iter()
                    .filter(|member| member.join.is_some())
                    .count();
                assert_eq!(group.members.awaiting_join(), joining);
                let owing = group.members.iter().filter(|member| member.owes_sync).count();
                assert_eq!(group.members.owing_sync(), owing);
                assert_eq!(
                    group.is_empty(),
                    group.members.is_empty() && !group.is_preparing()
                );
            }
            Some(Group::Consumer(_)) => panic!("nobody speaks the consumer protocol"),
            None => {
                // The next group of this name begins anew.
                self.newest = 0;
                self.leaders.clear();
                self.owners.clear();
            }
        }
    }

    /// Everybody is silent.
    fn rest(&mut self) {
        self.driver.release();
        self.driver.pass(3_600_000);
        self.listen(true);
        assert_eq!(self.driver.waiting(), 0, "somebody still waits");
        if let Some(Group::Classic(group)) = self.driver.shard.groups.get("g") {
            assert!(group.is_empty() && group.pending.is_empty(), "{group:?}");
        }
        let timers: Vec<_> = self.driver.timers.keys().collect();
        assert_eq!(timers, [&Timer::ExpireOffsets]);
        self.check();
    }
}

fn in_transaction(producer: i64, partition: i32, offset: i64) -> Request {
    let partition = TxnOffsetCommitRequestPartition {
        partition_index: partition,
        committed_offset: offset,
        ..Default::default()
    };
    let topic = TxnOffsetCommitRequestTopic {
        name: "t".into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = TxnOffsetCommitRequest {
        group_id: "g".into(),
        producer_id: producer,
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    Request::TxnOffsetCommit {
        version: 5,
        request: request.into(),
    }
}

impl Model for World {
    type Step = Step;

    fn new(_seed: u64) -> Self {
        Self::start()
    }

    fn draw(choices: &mut Choices) -> Step {
        draw(choices)
    }

    fn act(&mut self, step: Step) {
        self.happen(step);
    }

    fn finish(&mut self) {
        self.rest();
    }
}

#[test]
fn a_group_keeps_its_promises_whatever_its_clients_do() {
    seeds::run::<World>("a_group_keeps_its_promises_whatever_its_clients_do", 2_000, 150);
}
