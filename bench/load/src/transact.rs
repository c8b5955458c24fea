//! `transact`: transactions at a fixed rate, as producers of the second version make them (KIP-890): records for some
//! partitions, the offsets of a group, EndTxn. None is announced: the broker adds a partition with its first batch.
//!
//! The rate is fixed, so that every broker does the same work and a fast one is not measured under a higher load. Producers take
//! turns and are several, so that transactions overlap when they are slow; one that is due while its producer is
//! busy waits, and its time begins when it was due. Two times are taken: that of EndTxn, in which a producer that has sent
//! all waits for its commit, and that of the whole.
//!
//! Always holds: an answer takes all that was sent, or asks to send it again, which is counted; at the end the topic holds
//! the records and a marker for each transaction and partition, and the group has the offsets of the last ones, or the run fails.
//!
//! Next: [`crate::transaction`] for the requests of one.

use std::collections::VecDeque;

use anyhow::{Result, bail, ensure};
use hdrhistogram::Histogram;
use klamm_protocol::messages::init_producer_id_request::InitProducerIdRequest;

use crate::admin::{self, Admin};
use crate::exchange::{Exchange, READ_BYTES};
use crate::groups::{self, Coordinated};
use crate::open_loop::{PATIENCE, Schedule, histogram};
use crate::poll::Poll;
use crate::report::{self, Quantiles, Stopwatch};
use crate::topics::{Topics, Where};
use crate::transaction::{Answered, Identity, Shape, Step, Transaction};
use crate::{clock, payload::Text};

/// How long a producer waits before it sends again, as Kafka's own does after CONCURRENT_TRANSACTIONS.
const BACKOFF: u64 = 20 * clock::SECOND / 1000;
/// Longer than any transaction takes here.
const TIMEOUT_MS: i32 = 60_000;

/// Which transactions, and how many.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 6)]
    partitions: i32,
    /// Partitions of a transaction, which go round from one to the next.
    #[arg(long, default_value_t = 3)]
    span: i32,
    /// Producers, each with a transactional id and a connection.
    #[arg(long, default_value_t = 1)]
    producers: usize,
    /// Transactions a second, evenly spread over time.
    #[arg(long)]
    rate: u64,
    /// For how many seconds.
    #[arg(long)]
    seconds: f64,
    /// Bytes of a record's value; there is one for each partition of a transaction.
    #[arg(long, default_value_t = 100)]
    record_bytes: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.producers > 0 && args.rate > 0, "nobody sends nothing");
    ensure!(
        (1..=args.partitions).contains(&args.span),
        "a transaction has some of the partitions"
    );
    // The offsets that a producer commits are of the partition with its number.
    ensure!(
        args.producers <= usize::try_from(args.partitions)?,
        "a producer needs a partition"
    );
    let count = (args.rate as f64 * args.seconds) as u64;
    ensure!(count > 0, "no transaction is due");
    let mut topics = args.place.find(1, args.partitions)?;
    let mut admin = Admin::open(topics.leader)?;
    let group = format!("{}-group", topics.name());
    groups::served(&mut admin, &group)?;
    let poll = Poll::new()?;
    let producers: Result<Vec<Producer>> = (0..args.producers)
        .map(|number| Producer::open(&topics, &mut admin, &poll, number))
        .collect();
    let mut work = Work {
        shape: Shape {
            topic: topics.ids[0],
            partitions: args.partitions,
            span: args.span,
            group: group.as_str().into(),
            value: Text::new(0).take(args.record_bytes).into(),
        },
        producers: producers?,
        poll,
        buffer: vec![0; READ_BYTES],
        commits: histogram()?,
        transactions: histogram()?,
        slip: histogram()?,
        requests: 0,
        retries: 0,
    };
    let before = topics.records()?;
    report::gate("ready")?;

    let watch = Stopwatch::start();
    work.drive(Schedule {
        start: clock::now(),
        rate: args.rate,
        count,
    })?;
    let mut done = watch.stop(work.requests);
    let sent = count * u64::try_from(args.span)?;
    // A marker stands behind each record.
    let records = 2 * sent;
    done.records = Some(records);
    done.payload_bytes = Some(sent * args.record_bytes as u64);
    done.commit_us = Some(Quantiles::from(&work.commits));
    done.transaction_us = Some(Quantiles::from(&work.transactions));
    done.slip_us = Some(Quantiles::from(&work.slip));
    done.retries = Some(work.retries);
    report::say(&done)?;
    // Markers may come after the answers.
    topics.expect(before, records)?;
    let committed: Result<Vec<i64>, _> = work
        .producers
        .iter()
        .map(|producer| i64::try_from(producer.committed))
        .collect();
    groups::expect_offsets(&mut admin, &group, &committed?)
}

/// A producer and its connection.
struct Producer {
    exchange: Exchange,
    identity: Identity,
    number: i32,
    /// Due, but not begun: the number of the transaction, and when it was due.
    waiting: VecDeque<(u64, u64)>,
    current: Option<Current>,
    /// When it sends again what was not taken.
    again: Option<u64>,
    /// Its transactions until now.
    committed: u64,
}

/// The transaction of a producer.
struct Current {
    transaction: Transaction,
    due: u64,
    /// When EndTxn was sent for the first time.
    ended: Option<u64>,
}

impl Producer {
    fn open(topics: &Topics, admin: &mut Admin, poll: &Poll, number: usize) -> Result<Self> {
        let transactional_id = format!("{}-{number}", topics.name());
        groups::coordinated(admin, Coordinated::Transaction, &transactional_id)?;
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id.as_str().into()),
            transaction_timeout_ms: TIMEOUT_MS,
            ..InitProducerIdRequest::default()
        };
        let (mut id, mut epoch) = (0, 0);
        groups::patiently(|| {
            let answer = admin.call(admin::INIT_PRODUCER_ID, &request)?;
            (id, epoch) = (answer.producer_id, answer.producer_epoch);
            Ok(admin::check(answer.error_code, || "InitProducerId".to_owned()))
        })?;
        let exchange = Exchange::connect(topics.leader)?;
        poll.add(exchange.stream(), number)?;
        Ok(Self {
            exchange,
            identity: Identity {
                transactional_id: transactional_id.into(),
                id,
                epoch,
            },
            number: i32::try_from(number)?,
            waiting: VecDeque::new(),
            current: None,
            again: None,
            committed: 0,
        })
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.current.is_none()
    }

    /// Begins the next transaction that is due, if none is under way.
    fn begin(&mut self, shape: &Shape) -> Result<bool> {
        if self.current.is_some() {
            return Ok(false);
        }
        let Some((number, due)) = self.waiting.pop_front() else {
            return Ok(false);
        };
        let offset = i64::try_from(self.committed + 1)?;
        self.current = Some(Current {
            transaction: Transaction::new(shape, number, (self.number, offset)),
            due,
            ended: None,
        });
        self.send(shape)?;
        Ok(true)
    }

    /// Sends the next request of the transaction.
    fn send(&mut self, shape: &Shape) -> Result<()> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let sent = current
            .transaction
            .ask(shape, &self.identity, &mut self.exchange)?;
        if current.transaction.step() == Step::End {
            current.ended.get_or_insert(sent);
        }
        Ok(())
    }
}

struct Work {
    shape: Shape,
    producers: Vec<Producer>,
    poll: Poll,
    buffer: Vec<u8>,
    commits: Histogram<u64>,
    transactions: Histogram<u64>,
    slip: Histogram<u64>,
    requests: u64,
    retries: u64,
}

impl Work {
    /// Begins what is due until all is done.
    fn drive(&mut self, schedule: Schedule) -> Result<()> {
        let last = schedule.due(schedule.count - 1).unwrap_or(schedule.start);
        let mut ready = Vec::new();
        let mut next = 0;
        loop {
            let now = clock::now();
            while let Some(due) = schedule.due(next).filter(|due| *due <= now) {
                self.slip.saturating_record((clock::now() - due) / 1000);
                self.due(next, due)?;
                next += 1;
            }
            self.again(now)?;
            if next == schedule.count && self.producers.iter().all(Producer::is_idle) {
                return Ok(());
            }
            if now > last + PATIENCE {
                let done = self.transactions.len();
                bail!(
                    "{done} of {} transactions are committed, 30 s after the last was due",
                    schedule.count
                );
            }
            let due = schedule.due(next).unwrap_or(last + PATIENCE + 1);
            let again = self.producers.iter().filter_map(|producer| producer.again).min();
            let wake = again.map_or(due, |again| again.min(due)) - schedule.awake();
            self.poll.wake_at(wake)?;
            self.poll.wait(&mut ready, now < wake)?;
            for number in &ready {
                self.turn(*number)?;
            }
        }
    }

    fn due(&mut self, number: u64, due: u64) -> Result<()> {
        let index = usize::try_from(number % self.producers.len() as u64)?;
        let producer = &mut self.producers[index];
        producer.waiting.push_back((number, due));
        self.requests += u64::from(producer.begin(&self.shape)?);
        Ok(())
    }

    /// Sends again what is to be sent again by now.
    fn again(&mut self, now: u64) -> Result<()> {
        for producer in &mut self.producers {
            if producer.again.is_some_and(|again| again <= now) {
                producer.again = None;
                producer.send(&self.shape)?;
                self.requests += 1;
                self.retries += 1;
            }
        }
        Ok(())
    }

    fn turn(&mut self, number: usize) -> Result<()> {
        let producer = &mut self.producers[number];
        let Some(answer) = producer.exchange.turn(&mut self.buffer)? else {
            return Ok(());
        };
        let now = clock::now();
        let Some(current) = &mut producer.current else {
            bail!("an answer to no transaction");
        };
        match current.transaction.answered(&producer.exchange, answer)? {
            Answered::GoesOn => {
                producer.send(&self.shape)?;
                self.requests += 1;
            }
            Answered::Again => producer.again = Some(now + BACKOFF),
            Answered::Committed { id, epoch } => {
                let ended = current.ended.unwrap_or(now);
                self.commits.saturating_record((now - ended) / 1000);
                self.transactions.saturating_record((now - current.due) / 1000);
                (producer.identity.id, producer.identity.epoch) = (id, epoch);
                producer.current = None;
                producer.committed += 1;
                self.requests += u64::from(producer.begin(&self.shape)?);
            }
        }
        Ok(())
    }
}
