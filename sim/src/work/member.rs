//! A member of a group, in one of its protocols: it joins, keeps heartbeating, and knows which partitions are its own.
//!
//! Always holds: a member takes a partition for its own from the answer that gives it until it sends the request that gives it
//! back, until it is told to be out, or until its lease is over: that ends before the coordinator may give the partition to
//! somebody else. What it took for its own, and when, stands in the ledger.
//!
//! Next: `classic.rs` and `consumer.rs` for the protocols.

mod classic;
mod consumer;

use std::collections::BTreeMap;
use std::time::Duration;

use klamm_model::Uuid;

use super::ledger::{Claim, Ledger};
use super::line::{Line, Lost};

/// How long a member may be silent before the coordinator takes it for dead, in the classic protocol; the other is told by the
/// node's configuration and has the same.
const SESSION_MS: i32 = 2_000;
/// How long a member has to give back partitions.
const REBALANCE_MS: i32 = 1_500;
/// How long a member is sure of what it has after it has asked for the last time with success.
const LEASE: Duration = Duration::from_millis(REBALANCE_MS as u64);
/// How often it asks.
const HEARTBEAT: Duration = Duration::from_millis(300);

/// A topic whose partitions are shared out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    pub(crate) id: Uuid,
    pub(crate) partitions: i32,
}

/// How it is settled whose a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Not at all: this member takes the partitions whose number leaves this remainder, divided by that number.
    Alone(i32, i32),
    Classic,
    Consumer,
}

/// See the head of the file.
pub(crate) struct Member {
    ledger: Ledger,
    group: &'static str,
    topic: Topic,
    protocol: Protocol,
    id: String,
    /// The generation, or the epoch.
    epoch: i32,
    /// Since when.
    owned: BTreeMap<i32, Duration>,
    /// When the last request was sent that was answered well.
    heard: Duration,
    /// When the next one is due; `None` before the member is in the group.
    next: Option<Duration>,
}

impl Member {
    pub(crate) fn new(ledger: &Ledger, group: &'static str, topic: Topic, protocol: Protocol) -> Self {
        let mut member = Self {
            ledger: ledger.clone(),
            group,
            topic,
            protocol,
            id: String::new(),
            epoch: 0,
            owned: BTreeMap::new(),
            heard: Duration::ZERO,
            next: None,
        };
        if let Protocol::Alone(rest, of) = protocol {
            member.epoch = -1;
            let own = (0..topic.partitions).filter(|partition| partition % of == rest);
            member.owned = own.map(|partition| (partition, Duration::ZERO)).collect();
        }
        member
    }

    /// The partitions that it takes for its own, and since when.
    pub(crate) fn owned(&self) -> &BTreeMap<i32, Duration> {
        &self.owned
    }

    /// What its commits say of it: generation or epoch, and id.
    pub(crate) fn credentials(&self) -> (i32, &str) {
        (self.epoch, &self.id)
    }

    /// Joins, or says that it is there, when it is time.
    pub(crate) async fn poll(&mut self, line: &mut Line) -> Result<(), Lost> {
        let now = line.env.monotonic();
        if self.is_alone() {
            return Ok(());
        }
        if now >= self.heard + LEASE {
            self.release_all(now);
        }
        if self.next.is_some_and(|next| now < next) {
            return Ok(());
        }
        match (self.protocol, self.next) {
            (Protocol::Classic, None) => self.join(line).await,
            (Protocol::Classic, Some(_)) => self.beat(line).await,
            _ => self.consumer_heartbeat(line).await,
        }
    }

    /// What it asked with its credentials was refused: it has to find out what it is now.
    pub(crate) fn doubt(&mut self, line: &Line) {
        if self.next.is_some() {
            self.next = Some(line.env.monotonic());
        }
    }

    /// It says goodbye.
    pub(crate) async fn leave(&mut self, line: &mut Line) {
        self.release_all(line.env.monotonic());
        match self.protocol {
            Protocol::Classic if !self.id.is_empty() => self.leave_classic(line).await,
            Protocol::Consumer if self.next.is_some() => self.leave_consumer(line).await,
            _ => {}
        }
        self.forget();
    }

    /// It dies without a word, and somebody new comes in its place.
    pub(crate) fn die(&mut self, now: Duration) {
        self.release_all(now);
        self.forget();
    }

    fn is_alone(&self) -> bool {
        matches!(self.protocol, Protocol::Alone(..))
    }

    fn forget(&mut self) {
        if !self.is_alone() {
            self.id.clear();
            self.epoch = 0;
            self.next = None;
        }
    }

    /// It was told to be in the group; `asked` is when it sent that request.
    fn confirm(&mut self, asked: Duration, now: Duration) {
        self.heard = asked;
        self.next = Some(now + HEARTBEAT);
    }

    /// From now on it takes these for its own, and no others.
    fn take(&mut self, partitions: impl Iterator<Item = i32>, now: Duration) {
        let before = std::mem::take(&mut self.owned);
        for partition in partitions {
            let since = before.get(&partition).copied().unwrap_or(now);
            self.owned.insert(partition, since);
        }
        let given_up = before
            .into_iter()
            .filter(|(partition, _)| !self.owned.contains_key(partition));
        let given_up: Vec<_> = given_up.collect();
        self.note(given_up, now);
    }

    fn release_all(&mut self, now: Duration) {
        if !self.is_alone() {
            let owned: Vec<_> = std::mem::take(&mut self.owned).into_iter().collect();
            self.note(owned, now);
        }
    }

    fn note(&self, given_up: Vec<(i32, Duration)>, now: Duration) {
        let generation = (self.protocol == Protocol::Classic).then_some(self.epoch);
        let claims = given_up.into_iter().map(|(partition, from)| Claim {
            group: self.group,
            partition,
            member: self.id.clone(),
            generation,
            from,
            to: now.min(self.heard + LEASE).max(from),
        });
        self.ledger.write(|pages| pages.claims.extend(claims));
    }
}
