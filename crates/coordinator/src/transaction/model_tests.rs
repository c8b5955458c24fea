//! A model of the whole: producers, some of them zombies, the coordinator, and partitions, with everything between them late, lost or
//! in another order. The coordinator dies now and then, and what it had not stored is gone.
//!
//! One of the partitions is that of a group's offsets, and a real shard of the group coordinator follows it.
//!
//! What must hold: a transaction is wholly visible or wholly not, in all partitions, and the group's offset is the last that counts;
//! and as its producer was told; the last stable offset is not above the high watermark and never goes back; a producer that was
//! shut out writes nothing that counts; in the end nothing hangs.

use std::collections::{BTreeMap, BTreeSet};

use klamm_model::{ErrorCode, ProducerId, TopicPartition};
use klamm_protocol::messages::TxnOffsetCommitRequest;
use klamm_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};

use super::request::*;
use super::testing::{Driver, partition};
use crate::contract::{Ticket, TransactionalProducer};
use crate::group::Request;
use crate::group::driver::{self, fetch_all, fetched};
use crate::seeds::{self, Choices, Model};

/// Which transaction a record is of: the producer's instance, and how many it had before.
type Tag = (usize, u32);

#[derive(Clone, Copy, Debug)]
enum Item {
    Data(ProducerId, Tag),
    Marker(ProducerId, bool),
}

/// A partition with the rules of its leader (KIP-98, KIP-890).
#[derive(Default)]
struct Partition {
    log: Vec<Item>,
    /// The epoch, and where the open transaction began.
    producers: BTreeMap<ProducerId, (i16, Option<usize>)>,
    /// The guard, the epoch that is verified, and whether epochs rise with each transaction.
    verifying: BTreeMap<ProducerId, (u64, i16, bool)>,
    guards: u64,
    high_watermark: usize,
    last_stable_offset: usize,
    /// Transactions that ended, with their markers.
    ended: Vec<(usize, usize)>,
    /// What is written here commits an offset of this group: how many items there are then.
    group: Option<Box<driver::Driver>>,
}

impl Partition {
    /// The guard; `None` if the transaction is open. An error if the producer was shut out.
    fn verify(&mut self, producer: TransactionalProducer, rises: bool) -> Result<Option<u64>, ()> {
        let (epoch, first) = self.producers.get(&producer.id).copied().unwrap_or((-1, None));
        if producer.epoch.0 < epoch {
            return Err(());
        }
        if first.is_some() && epoch == producer.epoch.0 {
            return Ok(None);
        }
        self.guards += 1;
        let new = (self.guards, producer.epoch.0, rises);
        let verifying = self.verifying.entry(producer.id).or_insert(new);
        verifying.1 = verifying.1.max(producer.epoch.0);
        Ok(Some(verifying.0))
    }

    fn append(&mut self, producer: TransactionalProducer, guard: Option<u64>, tag: Tag) -> bool {
        let (epoch, first) = self.producers.get(&producer.id).copied().unwrap_or((-1, None));
        let is_open = first.is_some() && epoch == producer.epoch.0;
        let verifying = self.verifying.get(&producer.id).map(|verifying| verifying.0);
        if producer.epoch.0 < epoch || !(is_open || (guard.is_some() && guard == verifying)) {
            return false;
        }
        let first = first.unwrap_or(self.log.len());
        self.producers
            .insert(producer.id, (producer.epoch.0, Some(first)));
        self.verifying.remove(&producer.id);
        self.log.push(Item::Data(producer.id, tag));
        if let Some(group) = &mut self.group {
            group.at_once(offset_commit(producer, self.log.len() as i64));
        }
        true
    }

    fn mark(&mut self, markers: &Markers) -> MarkerOutcome {
        let producer = markers.producer;
        let (epoch, first) = self.producers.get(&producer.id).copied().unwrap_or((-1, None));
        let is_late = if markers.version >= VERSION_2 {
            let is_again = producer.epoch.0 == epoch && (first.is_none() || epoch == i16::MAX);
            producer.epoch.0 <= epoch && !is_again
        } else {
            producer.epoch.0 < epoch
        };
        if is_late {
            return MarkerOutcome::Superseded;
        }
        self.producers.insert(producer.id, (producer.epoch.0, None));
        let is_of_next = |(_, epoch, rises): &(u64, i16, bool)| *rises && *epoch == producer.epoch.0;
        if !self.verifying.get(&producer.id).is_some_and(is_of_next) {
            self.verifying.remove(&producer.id);
        }
        self.ended.extend(first.map(|first| (first, self.log.len())));
        self.log.push(Item::Marker(producer.id, markers.commit));
        if let Some(group) = &mut self.group {
            group.end(producer, markers.commit);
        }
        MarkerOutcome::Written
    }

    fn advance(&mut self, to: usize) {
        self.high_watermark = self.high_watermark.max(to.min(self.log.len()));
        let high_watermark = self.high_watermark;
        self.ended.retain(|(_, marker)| *marker >= high_watermark);
        let open = self.producers.values().filter_map(|(_, first)| *first);
        let first = open.chain(self.ended.iter().map(|(first, _)| *first)).min();
        let stable = first.map_or(high_watermark, |first| first.min(high_watermark));
        assert!(
            stable >= self.last_stable_offset,
            "the last stable offset went back"
        );
        self.last_stable_offset = stable;
    }

    fn reload_group(&mut self) {
        if let Some(group) = &mut self.group {
            group.reload();
        }
    }

    /// The group is where the last commit took it that counts, and says that there may be more while one is undecided.
    fn check_group(&mut self) {
        let fates = self.fates();
        let data = self
            .log
            .iter()
            .enumerate()
            .filter(|(_, item)| matches!(item, Item::Data(..)));
        let lengths = data.map(|(at, _)| at as i64 + 1);
        let committed = lengths.zip(&fates).filter(|(_, (_, fate))| *fate == Some(true));
        let expected = committed.map(|(length, _)| length).last();
        let is_open = fates.iter().any(|(_, fate)| fate.is_none());
        let Some(group) = &mut self.group else { return };
        let found = fetched(&group.peek(fetch_all(false)));
        let found: Vec<i64> = found.into_iter().map(|(_, _, offset, _)| offset).collect();
        assert_eq!(found, Vec::from_iter(expected), "the group's offset");
        let stable = fetched(&group.peek(fetch_all(true)));
        let unstable = ErrorCode::UnstableOffsetCommit.code();
        let told = stable.iter().any(|(_, _, _, code)| *code == unstable);
        assert!(
            told == is_open || found.is_empty(),
            "{stable:?}, undecided: {is_open}"
        );
    }

    /// What became of each record; `None` where nothing did.
    fn fates(&self) -> Vec<(Tag, Option<bool>)> {
        let mut fates = Vec::new();
        for (at, item) in self.log.iter().enumerate() {
            let Item::Data(id, tag) = item else { continue };
            let fate = self.log[at..].iter().find_map(|later| match later {
                Item::Marker(marked, committed) if marked == id => Some(*committed),
                _ => None,
            });
            fates.push((*tag, fate));
        }
        fates
    }
}

/// The group has read so much, in the producer's transaction.
fn offset_commit(producer: TransactionalProducer, committed_offset: i64) -> Request {
    let partition = TxnOffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset,
        ..Default::default()
    };
    let request = TxnOffsetCommitRequest {
        group_id: "g".into(),
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        generation_id_or_member_epoch: -1,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    Request::TxnOffsetCommit {
        version: 5,
        request: request.into(),
    }
}

/// An instance of a producer.
struct Instance {
    id: usize,
    version: i16,
    producer: Option<TransactionalProducer>,
    transaction: u32,
    added: BTreeSet<usize>,
    /// Records that were sent and not answered.
    in_flight: u32,
    /// How it was asked to end, and whether a request for that is under way.
    ending: Option<(bool, bool)>,
    /// It was told something that it cannot go on after.
    broken: bool,
}

/// What an answer of the coordinator is for.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Init(usize),
    Add(usize, usize, u32),
    Produce {
        instance: usize,
        partition: usize,
        producer: TransactionalProducer,
        guard: Option<u64>,
        tag: Tag,
    },
    End(usize),
}

impl Pending {
    fn instance(self) -> usize {
        match self {
            Self::Init(instance)
            | Self::Add(instance, ..)
            | Self::Produce { instance, .. }
            | Self::End(instance) => instance,
        }
    }
}

struct World {
    driver: Driver,
    names: Vec<TopicPartition>,
    partitions: Vec<Partition>,
    instances: Vec<Instance>,
    /// The newest instance of each transactional id.
    newest: [Option<usize>; 3],
    pending: BTreeMap<Ticket, Pending>,
    answered: Vec<(Ticket, TransactionAnswer)>,
    /// Markers that a coordinator sent which is no more.
    late: Vec<Markers>,
    told: BTreeMap<Tag, bool>,
}

impl World {
    fn start() -> Self {
        let names: Vec<_> = ["a-0", "a-1", "b-0", "c-0"].map(partition).into();
        let mut driver = Driver::new(2);
        driver.store_by_hand();
        let mut partitions: Vec<Partition> = names.iter().map(|_| Partition::default()).collect();
        partitions[3].group = Some(Box::new(driver::Driver::new()));
        Self {
            driver,
            partitions,
            names,
            instances: Vec::new(),
            newest: [None; 3],
            pending: BTreeMap::new(),
            answered: Vec::new(),
            late: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    fn name(id: usize) -> std::sync::Arc<str> {
        format!("t{id}").into()
    }

    /// The answers that left go on their way.
    fn collect(&mut self) {
        self.answered.append(&mut self.driver.answers);
    }

    fn begin(&mut self, id: usize, version: i16) {
        let instance = self.instances.len();
        self.instances.push(Instance {
            id,
            version,
            producer: None,
            transaction: 0,
            added: BTreeSet::new(),
            in_flight: 0,
            ending: None,
            broken: false,
        });
        self.newest[id] = Some(instance);
        let ticket = Self::initialize(&mut self.driver, id, None);
        self.pending.insert(ticket, Pending::Init(instance));
    }

    /// After an error, a producer that says who it is may begin its next transaction. Who was shut out may try, too.
    fn go_on(&mut self, instance: usize) {
        let is_busy = self
            .pending
            .values()
            .any(|pending| pending.instance() == instance);
        let of = &self.instances[instance];
        let Some(producer) = of.producer.filter(|_| of.broken && !is_busy) else {
            return;
        };
        let ticket = Self::initialize(&mut self.driver, of.id, Some(producer));
        self.pending.insert(ticket, Pending::Init(instance));
    }

    fn initialize(driver: &mut Driver, id: usize, expected: Option<TransactionalProducer>) -> Ticket {
        driver.request(|fresh| {
            TransactionRequest::InitProducerId(InitProducerId {
                transactional_id: Self::name(id),
                timeout_ms: 60_000,
                two_phase_commit: false,
                keep_prepared: false,
                expected,
                fresh,
            })
        })
    }

    /// A producer of version 1 adds the partition before it writes.
    fn add(&mut self, instance: usize, partition: usize) {
        let of = &self.instances[instance];
        let Some(producer) = of.producer.filter(|_| of.can_write()) else {
            return;
        };
        if of.version == VERSION_2 || of.added.contains(&partition) {
            return;
        }
        let ticket = self.driver.ask(TransactionRequest::AddPartitions(AddPartitions {
            transactional_id: Self::name(of.id),
            producer,
            partitions: vec![self.names[partition].clone()],
            version: VERSION_1,
        }));
        let pending = Pending::Add(instance, partition, of.transaction);
        self.pending.insert(ticket, pending);
    }

    fn produce(&mut self, instance: usize, partition: usize) {
        let of = &mut self.instances[instance];
        let Some(producer) = of.producer.filter(|_| of.can_write()) else {
            return;
        };
        let rises = of.version == VERSION_2;
        if !rises && !of.added.contains(&partition) {
            return;
        }
        let tag = (instance, of.transaction);
        let Ok(guard) = self.partitions[partition].verify(producer, rises) else {
            of.broken = true;
            return;
        };
        if guard.is_none() {
            of.broken |= !self.partitions[partition].append(producer, guard, tag);
            return;
        }
        of.in_flight += 1;
        of.added.insert(partition);
        let transactional_id = Self::name(of.id);
        let partitions = vec![self.names[partition].clone()];
        let ticket = self.driver.ask(if rises {
            TransactionRequest::AddPartitions(AddPartitions {
                transactional_id,
                producer,
                partitions,
                version: VERSION_2,
            })
        } else {
            TransactionRequest::VerifyPartitions(VerifyPartitions {
                transactional_id,
                producer,
                partitions,
            })
        });
        let pending = Pending::Produce {
            instance,
            partition,
            producer,
            guard,
            tag,
        };
        self.pending.insert(ticket, pending);
    }

    fn end(&mut self, instance: usize, commit: bool) {
        let of = &mut self.instances[instance];
        let Some(producer) = of.producer.filter(|_| !of.broken) else {
            return;
        };
        let commit = match of.ending {
            // Asked before: the same again.
            Some((before, false)) => before,
            Some((_, true)) => return,
            // A commit is for what is there; nobody ends what they have not begun.
            None if of.added.is_empty() || (commit && of.in_flight > 0) => return,
            None => commit,
        };
        of.ending = Some((commit, true));
        let (transactional_id, version) = (Self::name(of.id), of.version);
        let ticket = self.driver.request(|fresh| {
            TransactionRequest::EndTransaction(EndTransaction {
                transactional_id: transactional_id.clone(),
                producer,
                commit,
                version,
                fresh,
            })
        });
        self.pending.insert(ticket, Pending::End(instance));
    }

    /// An answer arrives.
    fn arrive(&mut self, at: usize) {
        let (ticket, answer) = self.answered.remove(at);
        let Some(pending) = self.pending.remove(&ticket) else {
            return;
        };
        match (pending, answer) {
            (Pending::Init(instance), TransactionAnswer::Initialized(result)) => {
                self.instances[instance].initialized(result.ok());
            }
            (Pending::Add(instance, partition, transaction), TransactionAnswer::Added(code)) => {
                let of = &mut self.instances[instance];
                if code == ErrorCode::None && of.transaction == transaction {
                    of.added.insert(partition);
                }
                of.broken |= !matches!(code, ErrorCode::None | ErrorCode::ConcurrentTransactions);
            }
            (
                Pending::Produce {
                    instance,
                    partition,
                    producer,
                    guard,
                    tag,
                },
                answer,
            ) => {
                let is_in = match answer {
                    TransactionAnswer::Added(code) => code == ErrorCode::None,
                    TransactionAnswer::Verified(Ok(verdicts)) => verdicts[0].1 == ErrorCode::None,
                    _ => false,
                };
                // What was not written must not be committed.
                let written = is_in && self.partitions[partition].append(producer, guard, tag);
                self.instances[instance].in_flight -= 1;
                self.instances[instance].broken |= !written;
            }
            (Pending::End(instance), TransactionAnswer::Ended(result)) => self.ended(instance, result),
            (pending, answer) => panic!("{pending:?}: {answer:?}"),
        }
    }

    fn ended(&mut self, instance: usize, result: Result<Option<TransactionalProducer>, ErrorCode>) {
        let of = &mut self.instances[instance];
        let (commit, _) = of.ending.take().expect("it was asked for");
        match result {
            Ok(producer) => {
                self.told.insert((instance, of.transaction), commit);
                of.producer = producer.or(of.producer);
                of.transaction += 1;
                of.added.clear();
            }
            Err(ErrorCode::ConcurrentTransactions) => of.ending = Some((commit, false)),
            Err(_) => of.broken = true,
        }
    }

    /// A marker arrives in a partition, and the coordinator hears of it; without `luck` of 2 or more one of the two is lost.
    fn mark(&mut self, choice: usize, luck: usize) {
        let markers = &mut self.driver.markers;
        let from = if markers.is_empty() {
            None
        } else {
            Some(choice % markers.len())
        };
        let one = |markers: &mut Markers| {
            let partition = markers.partitions.remove(choice % markers.partitions.len());
            Markers {
                partitions: vec![partition],
                ..markers.clone()
            }
        };
        let sent = match from {
            Some(at) => {
                let sent = one(&mut markers[at]);
                if markers[at].partitions.is_empty() {
                    markers.remove(at);
                }
                sent
            }
            None if !self.late.is_empty() => {
                let at = choice % self.late.len();
                let sent = one(&mut self.late[at]);
                if self.late[at].partitions.is_empty() {
                    self.late.remove(at);
                }
                sent
            }
            None => return,
        };
        let place = self.names.iter().position(|name| *name == sent.partitions[0]);
        let partition = &mut self.partitions[place.expect("a partition of the model")];
        let outcome = match luck {
            0 => MarkerOutcome::Failed,
            1 => {
                partition.mark(&sent);
                MarkerOutcome::Failed
            }
            _ => partition.mark(&sent),
        };
        self.driver.ask(TransactionRequest::Markers(MarkersReport {
            transactional_id: sent.transactional_id.clone(),
            producer: sent.producer,
            outcomes: vec![(sent.partitions[0].clone(), outcome)],
        }));
    }

    /// The coordinator dies and is loaded; who waited for it is told so, and its markers may still arrive.
    fn crash(&mut self, kept: usize) {
        self.late.extend(self.driver.markers.drain(..));
        self.driver.crash(kept);
        self.collect();
        let answered: BTreeSet<Ticket> = self.answered.iter().map(|(ticket, _)| *ticket).collect();
        let lost: Vec<Ticket> = self
            .pending
            .keys()
            .filter(|ticket| !answered.contains(ticket))
            .copied()
            .collect();
        for ticket in lost {
            match self.pending.remove(&ticket) {
                Some(Pending::Init(instance)) => self.instances[instance].broken = true,
                Some(Pending::Produce { instance, .. }) => {
                    self.instances[instance].in_flight -= 1;
                    self.instances[instance].broken = true;
                }
                Some(Pending::End(instance)) => {
                    let of = &mut self.instances[instance];
                    of.ending = of.ending.map(|(commit, _)| (commit, false));
                }
                Some(Pending::Add(..)) | None => {}
            }
        }
    }

    fn step(&mut self, Step { what, one, two }: Step) {
        let instance = |world: &Self| match one % 8 {
            // A zombie, perhaps.
            7 if !world.instances.is_empty() => Some(two % world.instances.len()),
            id => world.newest[id % 3],
        };
        match what {
            0..=1 => self.begin(one % 3, if one % 3 == 0 { VERSION_1 } else { VERSION_2 }),
            2..=4 => drop(instance(self).map(|instance| self.add(instance, two % 4))),
            5..=11 => drop(instance(self).map(|instance| self.produce(instance, two % 4))),
            12..=15 => drop(instance(self).map(|instance| self.end(instance, two % 4 > 0))),
            16..=21 if !self.answered.is_empty() => self.arrive(one % self.answered.len()),
            22..=26 => self.mark(one, two % 16),
            27..=28 => {
                let to = self.partitions[one % 4].high_watermark + two % 8;
                self.partitions[one % 4].advance(to);
            }
            29 => {
                self.crash(two % 4);
                self.partitions[3].reload_group();
            }
            30 => self.driver.pass(two as i64 * 500),
            31 => drop(instance(self).map(|instance| self.go_on(instance))),
            32..=35 => self.driver.store(1 + one % 4),
            _ => {}
        }
        self.partitions[3].check_group();
        self.collect();
    }

    /// Nothing new happens, and everything under way arrives.
    fn settle(&mut self) {
        self.driver.store_all();
        self.collect();
        for _ in 0..4 {
            while !(self.answered.is_empty() && self.driver.markers.is_empty() && self.late.is_empty()) {
                while !self.answered.is_empty() {
                    self.arrive(0);
                }
                self.mark(0, 2);
                self.collect();
            }
            self.driver.pass(100_000);
            self.collect();
        }
        assert!(self.pending.is_empty(), "never answered: {:?}", self.pending);
        for partition in &mut self.partitions {
            partition.advance(usize::MAX);
            assert_eq!(
                partition.last_stable_offset,
                partition.log.len(),
                "a transaction hangs"
            );
        }
    }

    fn check(&self) {
        let mut fates: BTreeMap<Tag, bool> = BTreeMap::new();
        for (tag, fate) in self.partitions.iter().flat_map(Partition::fates) {
            let fate = fate.expect("nothing hangs");
            let others = *fates.entry(tag).or_insert(fate);
            assert_eq!(fate, others, "{tag:?} is visible in part");
        }
        for (tag, committed) in &self.told {
            let fate = fates.get(tag).unwrap_or(committed);
            assert_eq!(fate, committed, "{tag:?} is not what its producer was told");
        }
    }
}

impl Instance {
    fn initialized(&mut self, producer: Option<TransactionalProducer>) {
        self.broken = producer.is_none();
        let Some(producer) = producer else { return };
        if self.producer.replace(producer).is_some() {
            self.transaction += 1;
            self.added.clear();
            self.ending = None;
        }
    }

    fn can_write(&self) -> bool {
        !self.broken && self.ending.is_none()
    }
}

/// What happens, and two numbers that say to whom and how.
#[derive(Clone, Copy, Debug)]
struct Step {
    what: usize,
    one: usize,
    two: usize,
}

impl Model for World {
    type Step = Step;

    fn new(_seed: u64) -> Self {
        Self::start()
    }

    fn draw(choices: &mut Choices) -> Step {
        Step {
            what: choices.below(36),
            one: choices.below(256),
            two: choices.below(256),
        }
    }

    fn act(&mut self, step: Step) {
        self.step(step);
    }

    fn finish(&mut self) {
        self.settle();
        self.partitions[3].check_group();
        self.check();
    }
}

#[test]
fn a_transaction_is_wholly_visible_or_wholly_not() {
    seeds::run::<World>("a_transaction_is_wholly_visible_or_wholly_not", 4_000, 150);
}
