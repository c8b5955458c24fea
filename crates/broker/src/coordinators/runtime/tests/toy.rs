//! A shard of counters, and a partition for it on a simulated disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use klamm_coordinator::{
    Answer, CoordinatorRecord, CoordinatorResult, InvalidRecord, RecordExtent, Shard, Surroundings, Ticket,
    TimerChange, TransactionalProducer,
};
use klamm_env::Env;
use klamm_env::sim::World;
use klamm_log::journal::Limits;
use klamm_log::{
    Durability, HandleCache, Log, LogConfig, LogDir, RecoveryState, Verification, VerificationGuard,
};
use klamm_metadata::{Image, MetadataRecord, Position};
use klamm_model::{BrokerId, ErrorCode, LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition, Uuid};
use klamm_protocol::metadata_records::{PartitionChangeRecord, PartitionRecord, TopicRecord};
use klamm_protocol::{DecodeError, EncodeError, Writer};
use klamm_records::{Batches, Codec, Compression, TimestampType};
use parking_lot::Mutex;

use super::super::{Asked, Coordinator, Key, Kind, Parts, Place, Runtime};
use crate::metadata_store::MetadataStore;
use crate::replicas::{Asking, Committer, Partition, Settings};
use crate::vitals::Vitals;

pub(super) const ME: BrokerId = BrokerId(1);
const TOPIC: TopicId = Uuid([7; 16]);
/// When there is a topic of this name, changes of the cluster are counted under it.
pub(super) const RECORDED: &str = "recorded";
/// When it is counted under this name, it is so with each load.
pub(super) const STARTS: &str = "starts";
/// A timer of this name records 2,000 bytes, and if it cannot, what stands for it.
pub(super) const LARGE: &str = "large";
pub(super) const INSTEAD: &str = "instead";
/// A record type that the toy does not know.
pub(super) const UNKNOWN: i16 = 9;

/// Counters by name.
#[derive(Debug, Default)]
pub(super) struct Toy {
    counters: BTreeMap<String, i64>,
    /// What transactions have added that have not ended.
    open: BTreeMap<i64, Vec<Added>>,
    joined: Vec<Ticket>,
    /// How often it was told of a change of the cluster.
    changes: i64,
}

/// What a toy was asked to decide on.
#[derive(Debug, Default)]
pub(super) struct Decided {
    pub(super) timers: AtomicU32,
    pub(super) changes: AtomicU32,
}

#[derive(Clone, Debug)]
pub(super) struct Added {
    name: String,
    by: i64,
}

#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// Adds to a counter, and tells those who have joined.
    Add(&'static str, i64),
    /// The same within a transaction.
    AddIn(TransactionalProducer, &'static str, i64),
    /// Adds 1 to counters with names of these lengths.
    Long(Vec<usize>, bool),
    Get(&'static str),
    /// Waits for the next addition.
    Join,
    /// Adds to a counter. If that cannot be recorded, those who have joined are told so.
    AddFor(&'static str),
    /// Adds 1 after so long.
    Remind(&'static str, i64),
    /// The same, so long after this is answered; with something to record, or without.
    RemindWhenTold(&'static str, u64, bool),
    Forget(&'static str),
    /// How often the cluster has changed, as far as it was told; and the topics there are.
    Changes,
    Panic,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Value(i64),
    Changes(i64, usize),
    Refused(ErrorCode),
}

impl Answer for Told {
    type Shape = ();

    fn refused((): &(), code: ErrorCode) -> Self {
        Self::Refused(code)
    }
}

impl CoordinatorRecord for Added {
    fn write(&self, w: &mut Writer) -> Result<RecordExtent, EncodeError> {
        w.i16(0);
        for byte in self.name.bytes() {
            w.i8(i8::from_be_bytes([byte]));
        }
        w.i64(self.by);
        Ok(RecordExtent {
            key_bytes: 2 + self.name.len(),
            value_bytes: Some(8),
        })
    }

    fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Self, InvalidRecord> {
        let (number, name) = key.split_first_chunk().unwrap();
        match i16::from_be_bytes(*number) {
            0 => Ok(Self {
                name: String::from_utf8(name.to_vec()).unwrap(),
                by: value
                    .and_then(|value| Some(i64::from_be_bytes(*value.first_chunk()?)))
                    .ok_or(InvalidRecord::Value(DecodeError::UnexpectedEnd {
                        needed: 8,
                        remaining: 0,
                    }))?,
            }),
            other => Err(InvalidRecord::UnknownType(other)),
        }
    }
}

impl Toy {
    fn value(&self, name: &str) -> i64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    fn add(&self, ticket: Option<Ticket>, name: &str, by: i64) -> CoordinatorResult<Self> {
        let value = Told::Value(self.value(name) + by);
        let told = ticket.into_iter().chain(self.joined.iter().copied());
        CoordinatorResult {
            records: vec![Added {
                name: name.to_owned(),
                by,
            }],
            answers: told.map(|ticket| (ticket, value.clone())).collect(),
            volatile: vec![Note::AllLeft],
            ..Default::default()
        }
    }
}

#[derive(Debug)]
pub(super) enum Note {
    Joined(Ticket),
    AllLeft,
    Changed,
    Panic,
}

impl Shard for Toy {
    type Config = Decided;
    type Request = Ask;
    type Answer = Told;
    type Record = Added;
    type Volatile = Note;
    type Timer = String;
    type Effect = i64;

    fn new() -> Self {
        Self::default()
    }

    fn decide(
        &self,
        around: &mut Surroundings<'_>,
        _: &Decided,
        ticket: Ticket,
        request: Ask,
    ) -> CoordinatorResult<Self> {
        match request {
            Ask::Add(name, by) => CoordinatorResult {
                effects: vec![by],
                ..self.add(Some(ticket), name, by)
            },
            Ask::AddIn(producer, name, by) => CoordinatorResult {
                producer: Some(producer),
                ..self.add(Some(ticket), name, by)
            },
            Ask::Long(lengths, atomic) => CoordinatorResult {
                records: lengths
                    .iter()
                    .map(|length| Added {
                        name: "x".repeat(*length),
                        by: 1,
                    })
                    .collect(),
                atomic,
                ..CoordinatorResult::answer(ticket, Told::Value(0))
            },
            Ask::Get(name) => CoordinatorResult::answer(ticket, Told::Value(self.value(name))),
            Ask::AddFor(name) => CoordinatorResult {
                unwritten: Some(name.to_owned()),
                ..self.add(Some(ticket), name, 1)
            },
            Ask::Join => CoordinatorResult {
                volatile: vec![Note::Joined(ticket)],
                ..Default::default()
            },
            Ask::Remind(name, ms) => CoordinatorResult {
                timers: vec![TimerChange::At(name.to_owned(), around.now.plus_ms(ms))],
                ..CoordinatorResult::answer(ticket, Told::Value(0))
            },
            Ask::RemindWhenTold(name, ms, records) => CoordinatorResult {
                timers: vec![TimerChange::AfterAnswers(
                    name.to_owned(),
                    Duration::from_millis(ms),
                )],
                ..match records {
                    true => self.add(Some(ticket), "told", 1),
                    false => CoordinatorResult::answer(ticket, Told::Value(0)),
                }
            },
            Ask::Forget(name) => CoordinatorResult {
                timers: vec![TimerChange::Cancel(name.to_owned())],
                ..CoordinatorResult::answer(ticket, Told::Value(0))
            },
            Ask::Changes => {
                CoordinatorResult::answer(ticket, Told::Changes(self.changes, around.image.topics().len()))
            }
            Ask::Panic => CoordinatorResult {
                volatile: vec![Note::Panic],
                ..self.add(Some(ticket), "half", 1)
            },
        }
    }

    fn on_timer(
        &self,
        _: &mut Surroundings<'_>,
        decided: &Decided,
        timer: String,
    ) -> CoordinatorResult<Self> {
        decided.timers.fetch_add(1, Ordering::Relaxed);
        let result = self.add(None, &timer, 1);
        match &*timer {
            LARGE => CoordinatorResult {
                unwritten: Some(INSTEAD.to_owned()),
                ..self.add(None, &"x".repeat(2_000), 1)
            },
            // Tells those who have joined, and records nothing.
            "nothing" => CoordinatorResult {
                records: Vec::new(),
                ..result
            },
            _ => result,
        }
    }

    fn on_unwritten(
        &self,
        _: &mut Surroundings<'_>,
        _: &Decided,
        about: String,
        code: ErrorCode,
    ) -> CoordinatorResult<Self> {
        if about == INSTEAD {
            return self.add(None, INSTEAD, 1);
        }
        assert_eq!(about, "told");
        let told = self.joined.iter();
        CoordinatorResult {
            answers: told.map(|ticket| (*ticket, Told::Refused(code))).collect(),
            volatile: vec![Note::AllLeft],
            ..Default::default()
        }
    }

    fn on_loaded(&self, _: &mut Surroundings<'_>, _: &Decided) -> CoordinatorResult<Self> {
        match self.counters.contains_key(STARTS) {
            true => self.add(None, STARTS, 1),
            false => CoordinatorResult::default(),
        }
    }

    fn on_metadata(
        &self,
        around: &mut Surroundings<'_>,
        decided: &Decided,
        before: &Image,
    ) -> CoordinatorResult<Self> {
        assert_ne!(before.position(), around.image.position());
        decided.changes.fetch_add(1, Ordering::Relaxed);
        let is_recorded = around.image.topics().by_name(RECORDED).is_some();
        CoordinatorResult {
            records: match is_recorded {
                true => self.add(None, RECORDED, 1).records,
                false => Vec::new(),
            },
            volatile: vec![Note::Changed],
            ..Default::default()
        }
    }

    fn replay(&mut self, _: Offset, producer: Option<TransactionalProducer>, record: Added) {
        match producer {
            None => *self.counters.entry(record.name).or_default() += record.by,
            Some(producer) => self.open.entry(producer.id.0).or_default().push(record),
        }
    }

    fn replay_end_transaction_marker(&mut self, producer: TransactionalProducer, committed: bool) {
        for record in self.open.remove(&producer.id.0).unwrap_or_default() {
            if committed {
                self.replay(Offset(0), None, record);
            }
        }
    }

    fn note(&mut self, change: Note) {
        match change {
            Note::Joined(ticket) => self.joined.push(ticket),
            Note::AllLeft => self.joined.clear(),
            Note::Changed => self.changes += 1,
            Note::Panic => panic!("half way"),
        }
    }
}

/// Coordinates counters, and keeps what it is asked to do outside.
#[derive(Default)]
pub(super) struct Toys {
    pub(super) effects: Arc<Mutex<Vec<i64>>>,
    /// Who asked for them.
    pub(super) places: Arc<Mutex<Vec<Place>>>,
}

impl Coordinator for Toys {
    type Shard = Toy;
    const KIND: Kind = Kind::Group;

    fn carry_out(&self, from: Place, effect: i64) {
        self.effects.lock().push(effect);
        self.places.lock().push(from);
    }
}

/// A runtime over one partition.
pub(super) struct Fixture<C: Coordinator = Toys> {
    pub(super) env: Env,
    pub(super) metadata: MetadataStoreRef,
    pub(super) partition: Arc<Partition>,
    pub(super) runtime: Arc<Runtime<C>>,
    pub(super) effects: Arc<Mutex<Vec<i64>>>,
    pub(super) places: Arc<Mutex<Vec<Place>>>,
    image: Mutex<Image>,
}

type MetadataStoreRef = Arc<MetadataStore>;

/// What a fixture is made with.
#[derive(Clone, Copy)]
pub(super) struct With {
    pub(super) durability: Durability,
    pub(super) codec: Compression,
    pub(super) max_message_bytes: u32,
    pub(super) min_insync_replicas: usize,
    pub(super) commit_timeout: Duration,
    /// Whether the shard is loaded at once.
    pub(super) begins: bool,
}

impl Default for With {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            codec: Compression::None,
            max_message_bytes: 1_000_000,
            min_insync_replicas: 1,
            commit_timeout: Duration::from_secs(5),
            begins: true,
        }
    }
}

fn settings(with: With) -> Arc<Settings> {
    Arc::new(Settings {
        compaction: klamm_log::CleanPolicy {
            min_dirty_ratio: 0.5,
            min_lag: Duration::ZERO,
            max_lag: None,
            tombstone_retention: Duration::ZERO,
        },
        log: Arc::new(LogConfig {
            durability: with.durability,
            max_message_bytes: with.max_message_bytes,
            segment_bytes: 10_000,
            ..LogConfig::default()
        }),
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compression: None,
        min_insync_replicas: with.min_insync_replicas,
        max_lag: Duration::from_secs(30),
        roll_jitter_max: Duration::ZERO,
        max_decompressed_record_bytes: u32::MAX,
    })
}

impl Fixture {
    pub(super) fn open(world: &World, with: With) -> Self {
        let coordinator = Toys::default();
        let effects = coordinator.effects.clone();
        let places = coordinator.places.clone();
        Self {
            effects,
            places,
            ..Self::open_as(world, with, coordinator, Decided::default())
        }
    }
}

impl<C: Coordinator> Fixture<C> {
    pub(super) fn open_as(
        world: &World,
        with: With,
        coordinator: C,
        config: <C::Shard as Shard>::Config,
    ) -> Self {
        let env = world.env("node");
        let vitals = Arc::new(Vitals::default());
        let handles = Arc::new(HandleCache::new(64));
        let dir = LogDir::open(env.files().clone(), Path::new("/data"), handles, "a test").unwrap();
        let name = TopicPartition::new(Kind::Group.topic(), 0);
        let recovery = RecoveryState {
            clean: dir.was_clean(),
            positions: dir.positions(&name),
        };
        let settings = settings(with);
        let log = Log::open(&dir, &name, TOPIC, settings.log.clone(), recovery, env.now()).unwrap();
        let committer = Committer::start(&env, &vitals, &dir, Limits::default());
        let metadata = Arc::new(MetadataStore::new());
        let parts = Parts {
            env: env.clone(),
            vitals,
            metadata: metadata.clone(),
            load_bytes: 3_000,
            codec: Codec::from(with.codec),
            commit_timeout: with.commit_timeout,
        };
        let fixture = Self {
            partition: Partition::new(env.clone(), committer, settings, log),
            runtime: Arc::new(Runtime::new(parts, coordinator, config)),
            env,
            metadata,
            effects: Arc::default(),
            places: Arc::default(),
            image: Mutex::default(),
        };
        fixture.change(&[
            TopicRecord {
                name: Kind::Group.topic().into(),
                topic_id: TOPIC,
                ..Default::default()
            }
            .into(),
            PartitionRecord {
                partition_id: 0,
                topic_id: TOPIC,
                replicas: vec![ME.0, 2],
                isr: vec![ME.0],
                leader: ME.0,
                leader_epoch: 1,
                ..Default::default()
            }
            .into(),
        ]);
        fixture.partition_follows();
        if with.begins {
            fixture.follow();
        }
        fixture
    }

    /// Decides this, and publishes it.
    pub(super) fn change(&self, records: &[MetadataRecord]) {
        let mut image = self.image.lock();
        let index = image.position().index + 1;
        *image = image.apply(Position { index, term: 1 }, records).unwrap().0;
        self.metadata.publish(image.clone());
    }

    /// Another broker leads, or this one again.
    pub(super) fn elect(&self, leader: BrokerId) {
        self.change(&[PartitionChangeRecord {
            partition_id: 0,
            topic_id: TOPIC,
            leader: leader.0,
            ..Default::default()
        }
        .into()]);
        self.partition_follows();
    }

    /// The topic takes batches of this size at most.
    pub(super) fn configure(&self, with: With) {
        self.partition.configure(settings(with));
    }

    fn partition_follows(&self) {
        let image = self.image.lock();
        self.partition.follow(ME, image.partition(&TOPIC, 0).unwrap());
    }

    /// The runtime carries out what was decided.
    pub(super) fn follow(&self) {
        let image = self.image.lock().clone();
        let find = |_: &_, index| (index == 0).then(|| self.partition.clone());
        self.runtime.follow(ME, &image, find);
        self.runtime.image_changed();
    }

    /// Asks for something outside of transactions.
    pub(super) fn begin_plain(&self, ask: <C::Shard as Shard>::Request) -> Result<Asked<C>, ErrorCode> {
        self.runtime.ask(&Key::Group("any"), ask)
    }
}

impl Fixture {
    /// One in a transaction is verified, as if the coordinator of the transaction had said yes.
    pub(super) fn begin(&self, ask: Ask) -> Result<Asked<Toys>, ErrorCode> {
        let Ask::AddIn(producer, ..) = ask else {
            return self.runtime.ask(&Key::Group("any"), ask);
        };
        let guard = self.verify(producer)?;
        self.runtime.ask_verified(0, ask, guard)
    }

    pub(super) fn verify(
        &self,
        producer: TransactionalProducer,
    ) -> Result<Option<VerificationGuard>, ErrorCode> {
        self.verify_by(producer, 1)
    }

    /// By a client of this transaction version.
    pub(super) fn verify_by(
        &self,
        producer: TransactionalProducer,
        version: u8,
    ) -> Result<Option<VerificationGuard>, ErrorCode> {
        let asked = Verification {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: None,
            bumps_epoch: version >= 2,
        };
        Ok(self.runtime.verify(0, &asked)?.map(Asking::go_on))
    }

    pub(super) async fn ask(&self, ask: Ask) -> Result<Told, ErrorCode> {
        self.begin(ask)?.answer().await
    }

    pub(super) async fn value(&self, name: &'static str) -> i64 {
        match self.ask(Ask::Get(name)).await {
            Ok(Told::Value(value)) => value,
            other => panic!("{other:?}"),
        }
    }

    /// Asks until the shard is loaded.
    pub(super) async fn loaded(&self) {
        let wait = Duration::from_millis(10);
        while let Err(code) = self.ask(Ask::Get("")).await {
            assert!(
                matches!(
                    code,
                    ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator
                ),
                "{code}"
            );
            self.env.sleep(wait).await;
        }
    }

    /// How many records each batch of the partition has.
    pub(super) fn batches(&self) -> Vec<i32> {
        let (mut at, end) = self.partition.bounds(LeaderEpoch(1)).unwrap();
        let mut counts = Vec::new();
        while at < end {
            let range = self.partition.read_all(at, end, 100_000).unwrap().unwrap();
            let mut bytes = vec![0; range.len];
            range.file.read_exact_at(&mut bytes, range.position).unwrap();
            for batch in Batches::new(bytes.into()) {
                let batch = batch.unwrap();
                counts.push(batch.header().record_count);
                at = batch.header().next_offset();
            }
        }
        counts
    }

    pub(super) fn now(&self) -> TimestampMs {
        self.env.now()
    }
}
