//! A worker: it takes events in, writes one out for each, and commits both in one transaction (read, process, write).
//!
//! Always holds: it does what KIP-98 and KIP-447 ask of an application that is to be exactly once, and nothing more; between any
//! two requests it may die. Two workers may have one transactional id, and then fight for it.

use std::collections::BTreeMap;
use std::time::Duration;

use klamm_env::Env;

use super::ledger::{Attempt, AttemptId, Input, Ledger};
use super::line::{Line, Lost};
use super::member::{Member, Protocol, Topic};
use super::positions::Positions;
use super::reader;
use super::reading;
use super::transaction::{Broken, Producer, Version};

/// The group that the workers share their work in.
pub(crate) const GROUP: &str = "workers";
const PARTITION_BYTES: i32 = 2_048;
/// Of each partition so many events are taken at once, at most.
const EVENTS: u64 = 4;

/// What a worker is.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) host: String,
    pub(crate) transactional_id: String,
    pub(crate) version: Version,
    pub(crate) protocol: Protocol,
    pub(crate) input: Topic,
    pub(crate) output: Topic,
    /// How long it waits before it begins, and after it was shut out; at most.
    pub(crate) pause_ms: u64,
}

struct Worker {
    line: Line,
    plan: Plan,
    member: Member,
    positions: Positions,
}

/// Works until the work is over.
pub(crate) async fn run(env: Env, ledger: Ledger, plan: Plan) {
    let mut worker = Worker {
        line: Line::new(&env, &ledger, &plan.host),
        member: Member::new(&ledger, GROUP, plan.input, plan.protocol),
        plan,
        positions: Positions::default(),
    };
    while !ledger.is_over() {
        worker.line.idle(worker.plan.pause_ms).await;
        worker.instance().await;
    }
    worker.member.leave(&mut worker.line).await;
}

/// Shuts out whoever has one of these ids, so that nothing stays open.
pub(crate) async fn close(env: Env, ledger: Ledger, ids: Vec<(String, Version)>) {
    let mut line = Line::new(&env, &ledger, "closer");
    for (id, version) in ids {
        // What is wrong is noted there.
        let _ = Producer::begin(&mut line, &id, version).await;
    }
}

/// Commits so many transactions without a pause: events of a single partition, of which each has an offset.
pub(crate) async fn in_a_row(env: Env, ledger: Ledger, (input, output): (Topic, Topic), transactions: i64) {
    let mut line = Line::new(&env, &ledger, "worker");
    let Ok(mut producer) = Producer::begin(&mut line, "work-0", Version::Two).await else {
        return;
    };
    for number in 0..transactions {
        let event = (0, number);
        let what = format!("event {number}");
        let offsets = BTreeMap::from([(0, number + 1)]);
        let attempt = ledger.write(|pages| {
            pages.held.insert(event, what.clone());
            pages.attempts.push(Attempt {
                transactional_id: "work-0".to_owned(),
                instance: producer.instance,
                inputs: vec![event],
                offsets: offsets.clone(),
                ..Default::default()
            });
            pages.attempts.len() as AttemptId - 1
        });
        let partition = (number % i64::from(output.partitions)) as i32;
        let records = BTreeMap::from([(partition, vec![reader::record(attempt, event, &what)])]);
        let done = async {
            producer.write(&mut line, output, &records).await?;
            producer
                .commit_offsets(&mut line, (GROUP, input), (-1, ""), &offsets)
                .await?;
            producer.end(&mut line, attempt, true).await
        };
        if let Err(why) = done.await {
            return line.fault(format_args!("transaction {number}: {why:?}"));
        }
    }
}

/// What a transaction is about.
struct Work {
    records: BTreeMap<i32, Vec<(String, String)>>,
    offsets: BTreeMap<i32, i64>,
}

impl Worker {
    /// From the moment that it takes over its transactional id until it is shut out, or dies.
    async fn instance(&mut self) {
        let (id, version) = (&self.plan.transactional_id, self.plan.version);
        let Ok(mut producer) = Producer::begin(&mut self.line, id, version).await else {
            return;
        };
        self.positions.clear();
        while !self.line.ledger.is_over() {
            if self.dies(500) {
                return;
            }
            if self.member.poll(&mut self.line).await.is_err() {
                continue;
            }
            match self.round(&mut producer).await {
                Ok(true) => {}
                Ok(false) => self.line.idle(60).await,
                Err(_) => return,
            }
        }
    }

    /// Once in `n` times it is gone without a word, and another one begins in its place.
    fn dies(&mut self, n: u64) -> bool {
        let dies = self.line.one_in(n);
        if dies {
            self.member.die(self.line.env.monotonic());
            self.line.cut();
        }
        dies
    }

    /// Whether there was anything to do.
    async fn round(&mut self, producer: &mut Producer) -> Result<bool, Broken> {
        let Ok(work) = self.take_in(producer).await else {
            return Ok(false);
        };
        let Some((attempt, work)) = work else {
            return Ok(false);
        };
        let commits = !self.line.one_in(7);
        match self.carry_out(producer, attempt, &work, commits).await {
            Ok(()) if commits => self.positions.advance(&work.offsets),
            Ok(()) => {}
            Err(Broken::Over) => return Err(Broken::Over),
            Err(why) => {
                if why == Broken::NoMember {
                    self.member.doubt(&self.line);
                    self.positions.clear();
                }
                producer.end(&mut self.line, attempt, false).await?;
            }
        }
        Ok(true)
    }

    /// Reads events, if there are any.
    async fn take_in(&mut self, producer: &Producer) -> Result<Option<(AttemptId, Work)>, Lost> {
        let group = (GROUP, self.plan.input);
        self.positions.locate(&mut self.line, group, &self.member).await?;
        let positions = self.positions.all();
        if positions.is_empty() {
            return Ok(None);
        }
        let how = (true, PARTITION_BYTES);
        let reads = reading::fetch(&mut self.line, self.plan.input, &positions, how).await?;
        let most = 1 + self.line.env.random_u64() % EVENTS;
        let mut events: BTreeMap<Input, String> = BTreeMap::new();
        for read in reads {
            for record in read.records.iter().take(most as usize) {
                let key = record.key.as_deref().unwrap_or_default();
                let input = (read.partition, record.offset.0);
                events.insert(input, String::from_utf8_lossy(key).into_owned());
            }
        }
        Ok((!events.is_empty()).then(|| self.plan_work(producer, &events)))
    }

    fn plan_work(&self, producer: &Producer, events: &BTreeMap<Input, String>) -> (AttemptId, Work) {
        let inputs: Vec<Input> = events.keys().copied().collect();
        let offsets: BTreeMap<i32, i64> = inputs
            .iter()
            .map(|(partition, offset)| (*partition, offset + 1))
            .collect();
        let attempt = self.line.ledger.write(|pages| {
            for (input, what) in events {
                let known = pages.held.entry(*input).or_insert_with(|| what.clone());
                if known != what {
                    let fault = format!("event {input:?} is {what}, and was {known}");
                    pages.faults.push(fault);
                }
            }
            pages.attempts.push(Attempt {
                transactional_id: self.plan.transactional_id.clone(),
                instance: producer.instance,
                inputs,
                offsets: offsets.clone(),
                ..Default::default()
            });
            pages.attempts.len() as AttemptId - 1
        });
        let mut records: BTreeMap<i32, Vec<(String, String)>> = BTreeMap::new();
        for (input, what) in events {
            let partition = (i64::from(input.0) + input.1) % i64::from(self.plan.output.partitions);
            let record = reader::record(attempt, *input, what);
            records.entry(partition as i32).or_default().push(record);
        }
        (attempt, Work { records, offsets })
    }

    async fn carry_out(
        &mut self,
        producer: &mut Producer,
        attempt: AttemptId,
        work: &Work,
        commits: bool,
    ) -> Result<(), Broken> {
        let offsets_first = self.line.one_in(4);
        for step in [offsets_first, !offsets_first] {
            if step {
                let credentials = self.member.credentials();
                let group = (GROUP, self.plan.input);
                producer
                    .commit_offsets(&mut self.line, group, credentials, &work.offsets)
                    .await?;
            } else {
                let output = self.plan.output;
                producer.write(&mut self.line, output, &work.records).await?;
            }
            if self.dies(80) {
                return Err(Broken::Over);
            }
            if self.line.one_in(40) {
                self.line.env.sleep(Duration::from_millis(250)).await;
            }
        }
        producer.end(&mut self.line, attempt, commits).await
    }
}
