//! Plays the runtime for tests: decides, stores and replays, notes, rings timers, and keeps what was answered.
//!
//! Answers can be held back, as they are while the high watermark stands.
//!
//! Always holds: nobody is answered twice, and nobody who is not waiting; every record can be stored, and comes back as it was.
//!
//! Next: `driver/requests.rs` for what is asked.

mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use klamm_metadata::Image;
use klamm_model::{ErrorCode, Offset, TimestampMs, Uuid};
use klamm_protocol::messages::{JoinGroupResponse, SyncGroupResponse};

pub(crate) use self::requests::{
    Join, commit, commit_codes, commit_of, fetch_all, fetched, heartbeat, join, leave, sync,
};
use super::answer::Answer;
use super::config::GroupConfig;
use super::record::GroupRecord;
use super::request::Request;
use super::shard::{GroupResult, GroupShard, Timer};
use crate::contract::{
    CoordinatorRecord, RecordBytes, Shard, Surroundings, Ticket, TimerChange, TransactionalProducer,
};

/// What stands in the log.
enum Stored {
    Record(Option<TransactionalProducer>, RecordBytes),
    Marker(TransactionalProducer, bool),
}

/// What waits for the records before it.
struct Parked {
    /// So many.
    needs: usize,
    answers: Vec<(Ticket, Answer)>,
    timers: Vec<(Timer, Duration, usize)>,
}

/// See the head of the file.
pub(crate) struct Driver {
    pub(crate) shard: GroupShard,
    pub(crate) config: GroupConfig,
    pub(crate) now: TimestampMs,
    pub(crate) image: Image,
    pub(crate) timers: BTreeMap<Timer, TimestampMs>,
    /// How many timers have rung.
    pub(crate) rung: usize,
    /// The most records of one decision.
    pub(crate) most_written: usize,
    log: Vec<Stored>,
    drawn: u64,
    tickets: u64,
    waiting: BTreeSet<Ticket>,
    told: BTreeMap<Ticket, Answer>,
    parked: Option<Vec<Parked>>,
    /// How much of the log was stored when answers began to be held back.
    stored: usize,
    /// Timers that begin with answers, and the how manieth of them each is.
    beginning: BTreeMap<Timer, usize>,
    begun: usize,
}

impl Driver {
    pub(crate) fn new() -> Self {
        let mut driver = Self {
            shard: GroupShard::new(),
            config: GroupConfig::default(),
            now: TimestampMs(1_000_000),
            image: Image::default(),
            timers: BTreeMap::new(),
            rung: 0,
            most_written: 0,
            log: Vec::new(),
            drawn: 0,
            tickets: 0,
            waiting: BTreeSet::new(),
            told: BTreeMap::new(),
            parked: None,
            stored: 0,
            beginning: BTreeMap::new(),
            begun: 0,
        };
        driver.reload();
        driver
    }

    /// Asks, and waits.
    pub(crate) fn ask(&mut self, request: impl Into<Request>) -> Ticket {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.waiting.insert(ticket);
        let request = request.into();
        let result = self.decide(|shard, around, config| shard.decide(around, config, ticket, request));
        self.apply(result);
        ticket
    }

    /// Asks for what cannot be written.
    pub(crate) fn ask_in_vain(&mut self, request: impl Into<Request>, code: ErrorCode) {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        let request = request.into();
        let result = self.decide(|shard, around, config| shard.decide(around, config, ticket, request));
        assert!(!result.records.is_empty());
        if let Some(about) = result.unwritten {
            let result = self.decide(|shard, around, config| shard.on_unwritten(around, config, about, code));
            assert!(result.records.is_empty());
            self.apply(result);
        }
    }

    /// Asks, and is answered at once.
    pub(crate) fn at_once(&mut self, request: impl Into<Request>) -> Answer {
        let ticket = self.ask(request);
        self.told(ticket).expect("an answer at once")
    }

    /// What was answered since.
    pub(crate) fn told(&mut self, ticket: Ticket) -> Option<Answer> {
        self.told.remove(&ticket)
    }

    pub(crate) fn joined(&mut self, ticket: Ticket) -> Option<JoinGroupResponse> {
        self.told(ticket).map(|answer| match answer {
            Answer::JoinGroup(answer) => answer,
            other => panic!("{other:?}"),
        })
    }

    pub(crate) fn synced(&mut self, ticket: Ticket) -> Option<SyncGroupResponse> {
        self.told(ticket).map(|answer| match answer {
            Answer::SyncGroup(answer) => answer,
            other => panic!("{other:?}"),
        })
    }

    /// What would be answered now, if nobody had to wait.
    pub(crate) fn peek(&mut self, request: impl Into<Request>) -> Answer {
        let (ticket, request) = (Ticket(u64::MAX), request.into());
        let result = self.decide(|shard, around, config| shard.decide(around, config, ticket, request));
        let (told, answer) = result.answers.into_iter().next().expect("an answer at once");
        assert_eq!(told, ticket);
        answer
    }

    /// No answer leaves until [`release`](Self::release).
    pub(crate) fn hold_answers(&mut self) {
        self.stored = self.log.len();
        self.parked = Some(Vec::new());
    }

    pub(crate) fn holds_answers(&self) -> bool {
        self.parked.is_some()
    }

    /// The shard is lost, and with it what was recorded since answers were held back, but for the first so many decisions.
    pub(crate) fn crash(&mut self, kept: usize) {
        if let Some(parked) = &self.parked {
            let kept = parked.len().min(kept).checked_sub(1);
            self.log
                .truncate(kept.map_or(self.stored, |last| parked[last].needs));
        }
        self.reload();
    }

    /// Answers leave.
    pub(crate) fn release(&mut self) {
        for parked in self.parked.take().into_iter().flatten() {
            self.deliver(parked);
        }
    }

    pub(crate) fn is_waiting(&self, ticket: Ticket) -> bool {
        self.waiting.contains(&ticket)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Time passes, and timers ring.
    pub(crate) fn pass(&mut self, ms: i64) {
        let until = self.now.plus_ms(ms);
        while let Some((timer, at)) = self.next_timer().filter(|(_, at)| *at <= until) {
            self.timers.remove(&timer);
            self.now = self.now.max(at);
            self.rung += 1;
            let result = self.decide(|shard, around, config| shard.on_timer(around, config, timer));
            self.apply(result);
        }
        self.now = until;
    }

    fn next_timer(&self) -> Option<(Timer, TimestampMs)> {
        let next = self.timers.iter().min_by_key(|(_, at)| **at);
        next.map(|(timer, at)| (timer.clone(), *at))
    }

    /// A transaction ends.
    pub(crate) fn end(&mut self, producer: TransactionalProducer, committed: bool) {
        self.log.push(Stored::Marker(producer, committed));
        self.shard.replay_end_transaction_marker(producer, committed);
    }

    /// The cluster changes.
    pub(crate) fn change(&mut self, image: Image) {
        let before = std::mem::replace(&mut self.image, image);
        let result = self.decide(|shard, around, config| shard.on_metadata(around, config, &before));
        self.apply(result);
    }

    /// The shard is lost, with all that nobody recorded; another one is loaded.
    pub(crate) fn reload(&mut self) {
        self.shard = GroupShard::new();
        self.timers.clear();
        self.beginning.clear();
        self.parked = None;
        self.waiting.clear();
        for (offset, stored) in self.log.iter().enumerate() {
            match stored {
                Stored::Record(producer, bytes) => {
                    let record = GroupRecord::decode(&bytes.key, bytes.value.as_ref()).unwrap();
                    self.shard.replay(Offset(offset as i64), *producer, record);
                }
                Stored::Marker(producer, committed) => {
                    self.shard.replay_end_transaction_marker(*producer, *committed);
                }
            }
        }
        let result = self.decide(|shard, around, config| shard.on_loaded(around, config));
        self.apply(result);
    }

    /// The records that were written since there were so many of them.
    pub(crate) fn written_since(&self, count: usize) -> Vec<GroupRecord> {
        let records = self.log[count..].iter().filter_map(|stored| match stored {
            Stored::Record(_, bytes) => Some(GroupRecord::decode(&bytes.key, bytes.value.as_ref()).unwrap()),
            Stored::Marker(..) => None,
        });
        records.collect()
    }

    pub(crate) fn written(&self) -> usize {
        self.log.len()
    }

    /// Stores a record that somebody else wrote.
    pub(crate) fn write(&mut self, producer: Option<TransactionalProducer>, record: GroupRecord) {
        let (offset, record) = self.store(producer, record);
        self.shard.replay(offset, producer, record);
    }

    fn store(
        &mut self,
        producer: Option<TransactionalProducer>,
        record: GroupRecord,
    ) -> (Offset, GroupRecord) {
        let offset = Offset(self.log.len() as i64);
        let bytes = record.encode().unwrap();
        let back = GroupRecord::decode(&bytes.key, bytes.value.as_ref()).unwrap();
        assert_eq!(back, record, "what is loaded is not what was decided");
        self.log.push(Stored::Record(producer, bytes));
        (offset, back)
    }

    pub(crate) fn decide(
        &mut self,
        decide: impl FnOnce(&GroupShard, &mut Surroundings<'_>, &GroupConfig) -> GroupResult,
    ) -> GroupResult {
        let drawn = &mut self.drawn;
        let mut around = Surroundings {
            now: self.now,
            image: &self.image,
            draw_uuid: &mut || {
                *drawn += 1;
                Uuid(u128::from(*drawn).to_be_bytes())
            },
        };
        decide(&self.shard, &mut around, &self.config)
    }

    fn apply(&mut self, result: GroupResult) {
        self.most_written = self.most_written.max(result.records.len());
        let needs_replay = result.needs_replay();
        for record in result.records {
            // Of what need not be replayed, every other one is not.
            if !needs_replay && self.log.len() % 2 == 1 {
                self.store(result.producer, record);
            } else {
                self.write(result.producer, record);
            }
        }
        for change in result.volatile {
            self.shard.note(change);
        }
        let mut timers = Vec::new();
        for change in result.timers {
            let (TimerChange::At(timer, _)
            | TimerChange::AfterAnswers(timer, _)
            | TimerChange::Cancel(timer)) = &change;
            self.timers.remove(timer);
            self.beginning.remove(timer);
            match change {
                TimerChange::At(timer, at) => {
                    self.timers.insert(timer, at);
                }
                TimerChange::AfterAnswers(timer, wait) => {
                    self.begun += 1;
                    self.beginning.insert(timer.clone(), self.begun);
                    timers.push((timer, wait, self.begun));
                }
                TimerChange::Cancel(_) => {}
            }
        }
        let parked = Parked {
            needs: self.log.len(),
            answers: result.answers,
            timers,
        };
        match &mut self.parked {
            Some(all) => all.push(parked),
            None => self.deliver(parked),
        }
    }

    fn deliver(&mut self, parked: Parked) {
        for (timer, wait, which) in parked.timers {
            if self.beginning.get(&timer) == Some(&which) {
                self.beginning.remove(&timer);
                self.timers
                    .insert(timer, self.now.plus_ms(wait.as_millis() as i64));
            }
        }
        for (ticket, answer) in parked.answers {
            assert!(
                self.waiting.remove(&ticket),
                "{ticket:?} does not wait for {answer:?}"
            );
            self.told.insert(ticket, answer);
        }
    }
}
