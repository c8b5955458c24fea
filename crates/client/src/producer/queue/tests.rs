use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use klamm_model::{Offset, ProducerEpoch, ProducerId};
use klamm_records::Compression;
use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::*;
use crate::testing::{Log, only_batch};

const STEP: Duration = Duration::from_millis(10);

/// What became of each record: its offset, where the leader said it.
type Results = BTreeMap<u32, Result<Option<Offset>, ProduceError>>;

/// One queue, one leader, and the batches on their way between them.
struct World {
    queue: Queue,
    leader: Log,
    identity: Identity,
    is_renewing: bool,
    on_the_way: VecDeque<(u64, Bytes)>,
    now: Duration,
    deliveries: BTreeMap<u32, Delivery>,
    sent: u32,
    memory: Arc<Semaphore>,
}

impl World {
    fn new(config: ProducerConfig) -> Self {
        Self {
            queue: Queue::new(TopicPartition::new("t", 0), config, false),
            leader: Log::default(),
            identity: Identity {
                id: ProducerId(1),
                epoch: ProducerEpoch(0),
            },
            is_renewing: false,
            on_the_way: VecDeque::new(),
            now: Duration::ZERO,
            deliveries: BTreeMap::new(),
            sent: 0,
            memory: Arc::new(Semaphore::new(1_000_000)),
        }
    }

    fn append(&mut self) {
        let value = self.sent.to_string();
        let memory = self.memory.clone().try_acquire_owned().unwrap();
        let record = NewRecord {
            timestamp: TimestampMs(1),
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
            bytes: 20,
            memory,
        };
        let appended = self.queue.append(record, self.now);
        self.deliveries.insert(self.sent, appended.delivery);
        self.sent += 1;
    }

    fn send(&mut self) {
        if self.is_renewing {
            if !self.queue.is_settled() {
                return;
            }
            self.queue.renew();
            self.identity.id.0 += 1;
            self.is_renewing = false;
        }
        if self.queue.can_send(self.now, true)
            && let Some(sent) = self.queue.send(self.identity)
        {
            self.on_the_way.push_back(sent);
            assert!(self.on_the_way.len() <= IN_FLIGHT);
        }
    }

    fn answer(&mut self, id: u64, answer: Answer) {
        let effect = self.queue.answer(id, answer, self.now, STEP);
        self.is_renewing |= effect.renew;
    }

    /// The leader takes the oldest batch; its answer arrives, or is `unknown`.
    fn deliver(&mut self, unknown: Option<&str>) {
        let Some((id, bytes)) = self.on_the_way.pop_front() else {
            return;
        };
        let answer = match self.leader.append(only_batch(&bytes)) {
            Ok(base) => Answer::Stored(Place {
                base_offset: Some(Offset(base)),
                append_time: None,
            }),
            Err(code) => Answer::of(Refusal::new(code)),
        };
        self.answer(id, unknown.map_or(answer, |why| Answer::Unknown(why.to_owned())));
    }

    /// The leader answers the oldest batch with `code` without looking at it. A real one looks at the sequence first.
    fn refuse(&mut self, code: ErrorCode) {
        let Some((id, bytes)) = self.on_the_way.front().cloned() else {
            return;
        };
        let batch = only_batch(&bytes);
        if self.leader.would_take(&batch) {
            self.on_the_way.pop_front();
            self.answer(id, Answer::of(Refusal::new(code)));
        } else {
            self.deliver(None);
        }
    }

    /// The connection ends after the leader took `taken` of what is on the way.
    fn disconnect(&mut self, taken: usize) {
        for _ in 0..taken {
            self.deliver(Some("closed"));
        }
        while let Some((id, _)) = self.on_the_way.pop_front() {
            self.answer(id, Answer::Unknown("closed".into()));
        }
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.queue.is_idle() {
                return;
            }
            self.now += STEP;
            self.send();
            self.deliver(None);
        }
        panic!("the queue does not come to an end");
    }

    fn results(self) -> (Vec<u32>, Results) {
        let values = self.leader.records().into_iter();
        let stored = values.map(|record| {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            value.parse().unwrap()
        });
        let stored = stored.collect();
        let results = self
            .deliveries
            .into_iter()
            .map(|(value, delivery)| (value, at_once(delivery.stored()).map(|stored| stored.offset)));
        (stored, results.collect())
    }
}

fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the record has no answer"),
    }
}

fn config() -> ProducerConfig {
    ProducerConfig {
        batch_bytes: 61 + 45,
        delivery_timeout: Duration::from_secs(1_000_000),
        ..ProducerConfig::default()
    }
}

/// Records are stored in order, once, where they are said to be; the refused are not stored.
fn check(world: World) -> Result<(), TestCaseError> {
    let (stored, results) = world.results();
    prop_assert!(
        stored.windows(2).all(|pair| pair[0] < pair[1]),
        "not in order, or twice: {stored:?}"
    );
    for (value, result) in results {
        let place = stored.iter().position(|stored| *stored == value);
        match result {
            Ok(Some(offset)) => prop_assert_eq!(Some(offset.0 as usize), place, "{}", value),
            Ok(None) => prop_assert!(place.is_some(), "{} is lost", value),
            Err(ProduceError::Refused { refusal, .. }) if refusal.code != ErrorCode::UnknownServerError => {
                prop_assert!(place.is_none(), "{} is refused and stored", value);
            }
            Err(ProduceError::Refused { .. } | ProduceError::OutcomeUnknown { .. }) => {}
            Err(error) => prop_assert!(false, "{value}: {error}"),
        }
    }
    Ok(())
}

#[derive(Debug, Clone)]
enum Step {
    Append,
    Send,
    Deliver,
    Refuse(ErrorCode),
    Disconnect(usize),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Append),
        6 => Just(Step::Send),
        4 => Just(Step::Deliver),
        1 => prop::sample::select(vec![
            ErrorCode::NotEnoughReplicas,
            ErrorCode::MessageTooLarge,
            ErrorCode::InvalidRecord,
            ErrorCode::UnknownServerError,
        ]).prop_map(Step::Refuse),
        1 => (0usize..6).prop_map(Step::Disconnect),
        2 => Just(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn order_and_once_hold_whatever_happens(steps in prop::collection::vec(step(), 1..300)) {
        let mut world = World::new(config());
        for step in steps {
            match step {
                Step::Append => world.append(),
                Step::Send => world.send(),
                Step::Deliver => world.deliver(None),
                Step::Refuse(code) => world.refuse(code),
                Step::Disconnect(taken) => world.disconnect(taken),
                Step::Wait => world.now += STEP,
            }
        }
        world.settle();
        check(world)?;
    }
}

#[test]
fn five_batches_are_in_flight_once_the_first_is_acknowledged() {
    let mut world = World::new(config());
    for _ in 0..20 {
        world.append();
        world.send();
    }
    assert_eq!(world.on_the_way.len(), 1);
    world.deliver(None);
    for _ in 0..10 {
        world.send();
    }
    assert_eq!(world.on_the_way.len(), IN_FLIGHT);
    world.settle();
    check(world).unwrap();
}

#[test]
fn a_leader_that_forgot_the_producer_is_answered_with_a_new_name() {
    let mut world = World::new(config());
    world.append();
    world.settle();
    world.leader.forget();
    // It expects another sequence than the one that comes.
    let mut stray =
        klamm_records::BatchBuilder::default().producer(ProducerId(1), ProducerEpoch(0), Some(70));
    stray.append(TimestampMs(1), None, Some(b"1000"), &[]);
    world
        .leader
        .append(only_batch(&stray.build(Offset(0)).unwrap()))
        .unwrap();
    world.sent = 2000;
    world.append();
    world.settle();
    assert_eq!(world.identity.id, ProducerId(2));
    let (stored, _) = world.results();
    assert_eq!(stored, [0, 1000, 2000]);
}

#[test]
fn a_batch_that_is_too_large_is_cut_until_it_is_taken() {
    for compression in Compression::ALL {
        let mut world = World::new(ProducerConfig {
            codec: compression.into(),
            batch_bytes: 100_000,
            ..config()
        });
        for _ in 0..100 {
            world.append();
        }
        world.send();
        for _ in 0..3 {
            world.refuse(ErrorCode::MessageTooLarge);
            world.send();
        }
        world.settle();
        assert!(world.leader.batches.len() >= 3, "{compression}");
        check(world).unwrap();
    }
}

#[test]
fn what_waits_too_long_expires_and_says_whether_it_may_be_stored() {
    let timeout = Duration::from_secs(1);
    for lost in [false, true] {
        let mut world = World::new(ProducerConfig {
            delivery_timeout: timeout,
            ..config()
        });
        world.append();
        if lost {
            world.send();
            world.disconnect(0);
        }
        assert_eq!(world.queue.expire(world.now), Effect::default());
        world.now += timeout;
        let effect = world.queue.expire(world.now);
        assert_eq!((effect.done, effect.renew), (1, lost));
        let delivery = world.deliveries.remove(&0).unwrap();
        let Err(ProduceError::Expired { may_be_stored, .. }) = at_once(delivery.stored()) else {
            panic!("it should have expired")
        };
        assert_eq!(may_be_stored, lost);
    }
}

#[test]
fn batches_linger_unless_flushed() {
    let mut world = World::new(ProducerConfig {
        linger: STEP,
        ..config()
    });
    world.append();
    assert!(!world.queue.can_send(world.now, false));
    assert_eq!(world.queue.next_due(world.now), Some(STEP));
    assert!(world.queue.can_send(world.now, true));
    assert!(world.queue.can_send(STEP, false));
}
