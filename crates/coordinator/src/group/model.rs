//! Clients that do anything at any time, against a group of the classic protocol: what always holds.
//!
//! - Generations grow, and each has one leader; what its leader gave to one member, no other member of it has.
//! - What a member, or somebody outside, has committed is what is found, and a transaction counts whole or not at all.
//! - A shard that is loaded says the same of a group that was at rest.
//! - When everybody is silent, everybody who waited has been answered, the group is empty, and no timer is left of it.

use std::collections::BTreeMap;

use klamm_model::{ProducerEpoch, ProducerId};
use klamm_protocol::messages::TxnOffsetCommitRequest;
use klamm_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use proptest::prelude::*;

use super::answer::Answer;
use super::driver::{Driver, Join, commit, commit_codes, fetch_all, fetched, heartbeat, join, leave, sync};
use super::request::Request;
use super::shard::{Group, Timer};
use crate::contract::{Ticket, TransactionalProducer};

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
    Reload,
    DeleteGroup,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..5_usize;
    let partition = 0..PARTITIONS as i32;
    prop_oneof![
        8 => (client.clone(), 0..2_u8).prop_map(|(client, says)| Step::Join { client, says }),
        8 => client.clone().prop_map(|client| Step::Sync { client }),
        4 => client.clone().prop_map(|client| Step::Heartbeat { client }),
        1 => client.clone().prop_map(|client| Step::Leave { client }),
        1 => client.clone().prop_map(|client| Step::Die { client }),
        3 => (client, partition.clone()).prop_map(|(client, partition)| Step::Commit { client, partition }),
        1 => (partition.clone(), 0..100_i64)
            .prop_map(|(partition, offset)| Step::CommitOutside { partition, offset }),
        2 => (0..2_i64, partition, 0..100_i64)
            .prop_map(|(producer, partition, offset)| Step::CommitInTransaction { producer, partition, offset }),
        1 => (0..2_i64, any::<bool>()).prop_map(|(producer, committed)| Step::End { producer, committed }),
        4 => (0..5_000_i64).prop_map(|ms| Step::Pass { ms }),
        1 => (0..70_000_i64).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Reload),
        1 => Just(Step::DeleteGroup),
    ]
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

/// An offset, and the number of its commit.
type Committed = (i64, u64);

struct World {
    driver: Driver,
    clients: Vec<Client>,
    newest: i32,
    leaders: BTreeMap<i32, String>,
    owners: BTreeMap<(i32, u8), String>,
    commits: u64,
    offsets: BTreeMap<i32, Committed>,
    pending: BTreeMap<i64, BTreeMap<i32, Committed>>,
}

/// Two clients are static, and fight for one instance id.
fn instance(client: usize) -> Option<&'static str> {
    (client >= 3).then_some("i")
}

impl World {
    fn new() -> Self {
        Self {
            driver: Driver::new(),
            clients: vec![Client::default(); 5],
            newest: 0,
            leaders: BTreeMap::new(),
            owners: BTreeMap::new(),
            commits: 0,
            offsets: BTreeMap::new(),
            pending: BTreeMap::new(),
        }
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Join { client, says } => self.join(client, says),
            Step::Sync { client } => self.sync(client),
            Step::Heartbeat { client } => {
                let Client {
                    member, generation, ..
                } = &self.clients[client];
                self.driver
                    .at_once(heartbeat(*generation, member, instance(client)));
            }
            Step::Leave { client } => {
                let member = std::mem::take(&mut self.clients[client].member);
                self.driver.at_once(leave(&[(&member, instance(client))]));
            }
            Step::Die { client } => self.clients[client] = Client::default(),
            Step::Commit { client, partition } => self.commit(client, partition),
            Step::CommitOutside { partition, offset } => {
                let answer = self.driver.at_once(commit(-1, "", &[(partition, offset)]));
                self.note_commit(&answer, partition, offset);
            }
            Step::CommitInTransaction {
                producer,
                partition,
                offset,
            } => {
                self.driver.at_once(in_transaction(producer, partition, offset));
                self.commits += 1;
                let pending = self.pending.entry(producer).or_default();
                pending.insert(partition, (offset, self.commits));
            }
            Step::End { producer, committed } => self.end(producer, committed),
            Step::Pass { ms } => self.driver.pass(ms),
            Step::Reload => self.reload(),
            Step::DeleteGroup => {
                let answer = self.driver.at_once(Request::DeleteGroups(vec!["g".into()]));
                if matches!(&answer, Answer::DeleteGroups(results) if results[0].error_code == 0) {
                    self.offsets.clear();
                    self.pending.clear();
                }
            }
        }
        self.listen();
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
        let answer = self
            .driver
            .at_once(commit(generation, &own.member, &[(partition, offset)]));
        self.note_commit(&answer, partition, offset);
    }

    fn note_commit(&mut self, answer: &Answer, partition: i32, offset: i64) {
        self.commits += 1;
        if commit_codes(answer) == [0] {
            self.offsets.insert(partition, (offset, self.commits));
        }
    }

    fn end(&mut self, producer: i64, committed: bool) {
        let who = TransactionalProducer {
            id: ProducerId(producer),
            epoch: ProducerEpoch(0),
        };
        self.driver.end(who, committed);
        for (partition, pending) in self.pending.remove(&producer).unwrap_or_default() {
            let earlier = self.offsets.get(&partition).is_none_or(|(_, at)| *at < pending.1);
            if committed && earlier {
                self.offsets.insert(partition, pending);
            }
        }
    }

    fn reload(&mut self) {
        let before = self.at_rest();
        self.driver.reload();
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
        let answer = self
            .driver
            .at_once(Request::DescribeGroups { version: 6, groups });
        let Answer::DescribeGroups(described) = &answer else {
            panic!("{answer:?}")
        };
        matches!(&*described[0].group_state, "Stable" | "Empty" | "Dead").then_some(answer)
    }

    /// Everybody hears what was answered.
    fn listen(&mut self) {
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
                    assert!(answer.generation_id >= self.newest, "an old generation");
                    self.newest = answer.generation_id;
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
        let expected: Vec<_> = self
            .offsets
            .iter()
            .map(|(partition, (offset, _))| (*partition, *offset))
            .collect();
        let found = fetched(&self.driver.at_once(fetch_all(false)));
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
        self.driver.pass(3_600_000);
        self.listen();
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_group_keeps_its_promises_whatever_its_clients_do(steps in proptest::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        for step in steps {
            world.act(step);
        }
        world.rest();
    }
}
