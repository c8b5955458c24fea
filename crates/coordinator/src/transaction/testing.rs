//! What the tests of transactions share: a shard with a runtime around it that needs nothing, and a language for what happens.
//!
//! ```text
//! init [TIMEOUT] [as PRODUCER]   InitProducerId of the id t
//! add PRODUCER PARTITION...      AddPartitionsToTxn in version 2; add1 in version 1
//! verify PRODUCER PARTITION...   the same, to verify only
//! commit PRODUCER, abort ...     EndTxn in version 2; commit1 and abort1 in version 1
//! written [PARTITION...]         the markers (all, or some) are written; failed and gone likewise
//! pass MS                        time passes
//! load                           the shard is lost and loaded again
//! delete TOPIC                   a topic is deleted
//! state                          what is known of the id
//! ```
//!
//! A producer is `1000@0` (id and epoch), a partition `a-0`. What a step says are the answers that leave because of it.

mod words;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use klamm_metadata::{Image, MetadataRecord, Position};
use klamm_model::{ErrorCode, Offset, ProducerEpoch, ProducerId, TimestampMs, TopicPartition, Uuid};
use klamm_protocol::metadata_records::{FeatureLevelRecord, PartitionRecord, RemoveTopicRecord, TopicRecord};

use self::words::{name, partitions};
pub(super) use self::words::{partition, producer, say};
use super::record::TransactionRecord;
use super::request::*;
use super::shard::{TransactionShard, TransactionTimer};
use crate::contract::{
    CoordinatorRecord, CoordinatorResult, Shard, Surroundings, Ticket, TimerChange, TransactionalProducer,
};

pub(super) const ID: &str = "t";
pub(super) const START: TimestampMs = TimestampMs(1_700_000_000_000);

/// A cluster with the topics a, b and c, of four partitions each.
pub(super) fn image(version: i16) -> Image {
    let mut records = vec![MetadataRecord::FeatureLevel(FeatureLevelRecord {
        name: "transaction.version".into(),
        feature_level: version,
        ..Default::default()
    })];
    for (number, name) in (1..).zip(["a", "b", "c"]) {
        let topic_id = Uuid([number; 16]);
        records.push(MetadataRecord::Topic(TopicRecord {
            name: name.into(),
            topic_id,
            ..Default::default()
        }));
        for partition_id in 0..4 {
            records.push(MetadataRecord::Partition(PartitionRecord {
                partition_id,
                topic_id,
                replicas: vec![1],
                isr: vec![1],
                leader: 1,
                ..Default::default()
            }));
        }
    }
    Image::default().apply(Position::default(), &records).unwrap().0
}

/// See [`Driver::parked`].
type Parked = (usize, Vec<(Ticket, TransactionAnswer)>, Vec<TransactionEffect>);

/// A shard, and all that a runtime keeps.
#[derive(Clone)]
pub(super) struct Driver {
    pub(super) shard: TransactionShard,
    pub(super) config: TransactionConfig,
    pub(super) image: Image,
    pub(super) now: TimestampMs,
    /// Everything that was recorded, as bytes.
    pub(super) log: Vec<TransactionRecord>,
    pub(super) timers: BTreeMap<TransactionTimer, TimestampMs>,
    /// Markers to be written.
    pub(super) markers: VecDeque<Markers>,
    /// Answers that nobody has looked at.
    pub(super) answers: Vec<(Ticket, TransactionAnswer)>,
    /// How much of the log is stored for good; `None` when all of it is, always.
    stored: Option<usize>,
    /// What is told, and done outside, once so much is stored.
    parked: VecDeque<Parked>,
    /// InitProducerId under way: whose, and whether of a new instance.
    inits: BTreeMap<Ticket, (Arc<str>, bool)>,
    /// What InitProducerId has given, and whether to a new instance.
    pub(super) given: BTreeMap<(Arc<str>, TransactionalProducer), bool>,
    /// Whether the last records are to stand in one batch.
    pub(super) atomic: bool,
    /// How many timers rang.
    pub(super) rung: usize,
    /// How large a record may be.
    pub(super) max_bytes: usize,
    /// What could not be recorded when a timer rang.
    pub(super) unwritten: Vec<TransactionTimer>,
    tickets: u64,
    ids: i64,
}

impl Driver {
    pub(super) fn new(version: i16) -> Self {
        Self {
            shard: TransactionShard::new(),
            config: TransactionConfig::default(),
            image: image(version),
            now: START,
            log: Vec::new(),
            timers: BTreeMap::new(),
            markers: VecDeque::new(),
            answers: Vec::new(),
            stored: None,
            parked: VecDeque::new(),
            inits: BTreeMap::new(),
            given: BTreeMap::new(),
            atomic: false,
            rung: 0,
            max_bytes: usize::MAX,
            unwritten: Vec::new(),
            tickets: 0,
            ids: 999,
        }
    }

    fn draw(&mut self) -> ProducerId {
        self.ids += 1;
        ProducerId(self.ids)
    }

    fn with<R>(&self, run: impl FnOnce(&TransactionShard, &mut Surroundings<'_>) -> R) -> R {
        let mut around = Surroundings {
            now: self.now,
            image: &self.image,
            draw_uuid: &mut || unreachable!("transactions draw none"),
        };
        run(&self.shard, &mut around)
    }

    /// Asks, and takes over what was decided.
    pub(super) fn ask(&mut self, request: TransactionRequest) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        if let TransactionRequest::InitProducerId(init) = &request {
            let whose = (init.transactional_id.clone(), init.expected.is_none());
            self.inits.insert(ticket, whose);
        }
        let result = self.with(|shard, around| shard.decide(around, &self.config, ticket, request));
        self.take(result);
        ticket
    }

    fn take(&mut self, result: CoordinatorResult<TransactionShard>) {
        assert_eq!(result.producer, None);
        self.atomic = result.atomic;
        for record in result.records {
            let bytes = record.encode().unwrap();
            let record = TransactionRecord::decode(&bytes.key, bytes.value.as_ref()).unwrap();
            self.log.push(record.clone());
            self.shard.replay(Offset(self.log.len() as i64), None, record);
        }
        result
            .volatile
            .into_iter()
            .for_each(|change| self.shard.note(change));
        for timer in result.timers {
            match timer {
                TimerChange::At(timer, at) => drop(self.timers.insert(timer, at)),
                TimerChange::Cancel(timer) => drop(self.timers.remove(&timer)),
                TimerChange::AfterAnswers(timer, _) => panic!("nobody is timed by answers: {timer:?}"),
            }
        }
        // Whoever is to ask again learns nothing that is not stored.
        let (again, answers) = result
            .answers
            .into_iter()
            .partition(|(_, answer)| *answer == TransactionAnswer::NeedsProducerId);
        self.answers.extend::<Vec<_>>(again);
        self.parked.push_back((self.log.len(), answers, result.effects));
        self.deliver();
        self.check();
    }

    /// What waits for nothing any more is told and done.
    fn deliver(&mut self) {
        let stored = self.stored.unwrap_or(usize::MAX);
        while let Some((_, answers, effects)) = self.parked.pop_front_if(|(needs, ..)| *needs <= stored) {
            for (ticket, answer) in &answers {
                self.check_given(*ticket, answer);
            }
            self.answers.extend(answers);
            for effect in effects {
                self.carry_out(effect);
            }
        }
    }

    fn carry_out(&mut self, effect: TransactionEffect) {
        match effect {
            TransactionEffect::WriteMarkers(markers) => self.markers.push_back(markers),
            TransactionEffect::DrawProducerId {
                transactional_id,
                producer,
            } => {
                let fresh = Some(self.draw());
                self.ask(TransactionRequest::AbortTimedOut(AbortTimedOut {
                    transactional_id,
                    producer,
                    fresh,
                }));
            }
        }
    }

    /// From now on nothing is stored before [`store`](Self::store) says so.
    pub(super) fn store_by_hand(&mut self) {
        self.stored = Some(self.log.len());
    }

    /// What the next so many decisions recorded is stored.
    pub(super) fn store(&mut self, decisions: usize) {
        self.store_up_to(decisions);
        self.deliver();
    }

    /// All is stored, now and always.
    pub(super) fn store_all(&mut self) {
        self.stored = None;
        self.deliver();
    }

    /// The shard is lost, and with it what was recorded and not stored, but for the first so many decisions; another one is loaded.
    pub(super) fn crash(&mut self, kept: usize) {
        self.store_up_to(kept);
        if let Some(stored) = self.stored {
            self.log.truncate(stored);
        }
        self.parked.clear();
        self.load();
    }

    fn store_up_to(&mut self, decisions: usize) {
        let last = self.parked.len().min(decisions).checked_sub(1);
        if let (Some(stored), Some(last)) = (&mut self.stored, last) {
            *stored = self.parked[last].0;
        }
    }

    /// No two instances are the same producer.
    fn check_given(&mut self, ticket: Ticket, answer: &TransactionAnswer) {
        let TransactionAnswer::Initialized(Ok(producer)) = answer else {
            return;
        };
        let (id, is_new) = self.inits.remove(&ticket).unwrap();
        let before = self.given.insert((id, *producer), is_new);
        let is_shared = before.is_some_and(|was_new| is_new || was_new);
        assert!(!is_shared, "{} was given to another instance", name(*producer));
    }

    /// What always holds between two decisions.
    fn check(&self) {
        let open = self.shard.open_count() > 0;
        let ends = |timer: &TransactionTimer| {
            matches!(timer, TransactionTimer::Timeouts | TransactionTimer::Timeout(_))
        };
        assert!(!open || self.timers.keys().any(ends));
        let expires = |timer: &TransactionTimer| {
            matches!(
                timer,
                TransactionTimer::Expiration | TransactionTimer::ExpirationBehind(_)
            )
        };
        assert!(self.shard.is_empty() || self.timers.keys().any(expires));
        for (id, entry) in self.shard.entries_behind(None) {
            let transaction = &entry.known.transaction;
            assert_eq!(entry.ending.is_some(), transaction.status.is_prepared());
            let ending = entry.ending.as_ref();
            let somebody_waits = ending.is_some_and(|ending| !ending.waiting.is_empty());
            let patience = TransactionTimer::Patience(id.clone());
            assert_eq!(somebody_waits, self.timers.contains_key(&patience));
            assert!(transaction.producer.epoch < ProducerEpoch(i16::MAX) || transaction.status.is_prepared());
        }
    }

    /// A shard that is loaded by what was recorded.
    pub(super) fn loaded(&self) -> TransactionShard {
        let mut shard = TransactionShard::new();
        for (offset, record) in (0..).zip(&self.log) {
            shard.replay(Offset(offset), None, record.clone());
        }
        shard
    }

    fn load(&mut self) {
        self.shard = self.loaded();
        (self.timers, self.markers) = Default::default();
        let result = self.with(|shard, around| shard.on_loaded(around, &self.config));
        self.take(result);
    }

    /// Time passes, and timers ring.
    pub(super) fn pass(&mut self, ms: i64) {
        let until = self.now.plus_ms(ms);
        while let Some((timer, at)) = self
            .timers
            .iter()
            .map(|(timer, at)| (timer.clone(), *at))
            .min_by_key(|(_, at)| *at)
            .filter(|(_, at)| *at <= until)
        {
            self.now = self.now.max(at);
            self.timers.remove(&timer);
            self.rung += 1;
            let result = self.with(|shard, around| shard.on_timer(around, &self.config, timer));
            let result = match self.is_taken(&result) {
                true => result,
                false => self.without(result),
            };
            self.take(result);
        }
        self.now = until;
    }

    /// Whether the topic takes what was decided.
    fn is_taken(&self, result: &CoordinatorResult<TransactionShard>) -> bool {
        let mut records = result.records.iter().map(|record| record.encode().unwrap());
        records.all(|bytes| bytes.value.is_none_or(|value| value.len() <= self.max_bytes))
    }

    /// What is decided in the place of what the topic does not take.
    fn without(
        &mut self,
        result: CoordinatorResult<TransactionShard>,
    ) -> CoordinatorResult<TransactionShard> {
        let about = result.unwritten.expect("or it is tried again and again");
        self.unwritten.push(about.clone());
        let code = ErrorCode::UnknownServerError;
        self.with(|shard, around| shard.on_unwritten(around, &self.config, about, code))
    }

    /// What became of the markers in these partitions; of all if none is named.
    pub(super) fn report(&mut self, outcome: MarkerOutcome, only: &[TopicPartition]) {
        for markers in std::mem::take(&mut self.markers) {
            let (told, left): (Vec<_>, Vec<_>) = markers
                .partitions
                .iter()
                .cloned()
                .partition(|partition| only.is_empty() || only.contains(partition));
            if !left.is_empty() {
                self.markers.push_back(Markers {
                    partitions: left,
                    ..markers.clone()
                });
            }
            if !told.is_empty() {
                self.ask(TransactionRequest::Markers(MarkersReport {
                    transactional_id: markers.transactional_id,
                    producer: markers.producer,
                    outcomes: told.into_iter().map(|partition| (partition, outcome)).collect(),
                }));
            }
        }
    }

    /// Asks as a handler does: again with a producer id if one is needed.
    pub(super) fn request(&mut self, request: impl Fn(Option<ProducerId>) -> TransactionRequest) -> Ticket {
        let ticket = self.ask(request(None));
        let needs = |(told, answer): &(Ticket, TransactionAnswer)| {
            *told == ticket && *answer == TransactionAnswer::NeedsProducerId
        };
        if !self.answers.iter().any(needs) {
            return ticket;
        }
        self.answers.retain(|answer| !needs(answer));
        let fresh = self.draw();
        self.ask(request(Some(fresh)))
    }

    fn init(&mut self, mut words: std::str::SplitWhitespace<'_>) {
        let mut timeout_ms = 60_000;
        let mut expected = None;
        while let Some(word) = words.next() {
            match word {
                "as" => expected = Some(producer(words.next().unwrap())),
                timeout => timeout_ms = timeout.parse().unwrap(),
            }
        }
        self.request(|fresh| {
            TransactionRequest::InitProducerId(InitProducerId {
                transactional_id: ID.into(),
                timeout_ms,
                two_phase_commit: false,
                keep_prepared: false,
                expected,
                fresh,
            })
        });
    }

    fn end(&mut self, mut words: std::str::SplitWhitespace<'_>, commit: bool, version: i16) {
        let producer = producer(words.next().unwrap());
        self.request(|fresh| {
            TransactionRequest::EndTransaction(EndTransaction {
                transactional_id: ID.into(),
                producer,
                commit,
                version,
                fresh,
            })
        });
    }

    /// Runs one step of the language.
    pub(super) fn run(&mut self, step: &str) -> String {
        let mut words = step.split_whitespace();
        let transactional_id: Arc<str> = ID.into();
        match words.next().unwrap() {
            "init" => self.init(words),
            word @ ("add" | "add1") => drop(self.ask(TransactionRequest::AddPartitions(AddPartitions {
                transactional_id,
                producer: producer(words.next().unwrap()),
                partitions: partitions(words),
                version: if word == "add" { VERSION_2 } else { VERSION_1 },
            }))),
            "verify" => drop(self.ask(TransactionRequest::VerifyPartitions(VerifyPartitions {
                transactional_id,
                producer: producer(words.next().unwrap()),
                partitions: partitions(words),
            }))),
            "commit" => self.end(words, true, VERSION_2),
            "abort" => self.end(words, false, VERSION_2),
            "commit1" => self.end(words, true, VERSION_1),
            "abort1" => self.end(words, false, VERSION_1),
            "written" => self.report(MarkerOutcome::Written, &partitions(words)),
            "failed" => self.report(MarkerOutcome::Failed, &partitions(words)),
            "gone" => self.report(MarkerOutcome::Gone, &partitions(words)),
            "pass" => self.pass(words.next().unwrap().parse().unwrap()),
            "load" => self.load(),
            "delete" => self.delete(words.next().unwrap()),
            "state" => return self.state(),
            "markers" => return self.described_markers(),
            other => panic!("{other}"),
        }
        let said = std::mem::take(&mut self.answers);
        let said = said
            .iter()
            .filter(|(_, answer)| *answer != TransactionAnswer::Reported);
        said.map(|(_, answer)| say(answer)).collect::<Vec<_>>().join("; ")
    }

    fn delete(&mut self, topic: &str) {
        let topic_id = self.image.topics().by_name(topic).unwrap().id;
        let record = MetadataRecord::RemoveTopic(RemoveTopicRecord {
            topic_id,
            ..Default::default()
        });
        self.image = self.image.apply(Position::default(), &[record]).unwrap().0;
    }

    fn state(&self) -> String {
        let Some(entry) = self.shard.entry(ID) else {
            return "none".to_owned();
        };
        let transaction = &entry.known.transaction;
        let mut text = format!("{} {}", transaction.status, name(transaction.producer));
        for partition in entry.unmarked() {
            text += &format!(" {partition}");
        }
        text
    }

    fn described_markers(&self) -> String {
        let described = self.markers.iter().map(|markers| {
            let mut text = format!(
                "{} {} v{}{}",
                if markers.commit { "commit" } else { "abort" },
                name(markers.producer),
                markers.version,
                if markers.failures > 0 { " again" } else { "" }
            );
            for partition in &markers.partitions {
                text += &format!(" {partition}");
            }
            text
        });
        described.collect::<Vec<_>>().join("; ")
    }
}

/// Runs the steps and compares what each says.
pub(super) fn play(version: i16, steps: &[(&str, &str)]) {
    let mut driver = Driver::new(version);
    for (at, (step, expected)) in steps.iter().enumerate() {
        assert_eq!(driver.run(step), *expected, "step {at}, {step}, of {steps:?}");
    }
}
