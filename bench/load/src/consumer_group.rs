//! `consumer-group`: a group of the consumer protocol, in which one member joins and leaves again, over and over.
//!
//! Each member is driven by ConsumerGroupHeartbeat, as a client that takes its assignment over at once: it asks at the interval
//! that it was told, and at once when what it holds has changed. What is timed is from the request that joins until all
//! members hold their part at the same epoch, and what they gave up or took is acknowledged.
//!
//! Members learn of a change when they ask. So before one joins, the requests of the others are laid out evenly over the
//! interval, and the one that joins asks in the middle between two of them: against every broker the same, and what differs
//! is the broker's doing.
//!
//! Next: [`crate::membership`] for what a member knows, and who holds what.

use anyhow::{Result, bail, ensure};
use klamm_protocol::messages::consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;

use crate::admin::{self, Admin};
use crate::exchange::{Exchange, READ_BYTES};
use crate::membership::{Group, Membership};
use crate::poll::Poll;
use crate::report::Rounds;
use crate::topics::{Topics, Where};
use crate::{clock, groups};

const MILLISECOND: u64 = clock::SECOND / 1000;
/// How long a group may take to settle.
const LIMIT: u64 = 60 * clock::SECOND;
/// How long before a member joins whoever measures is told: what they do then is over when it joins, and no request is
/// due meanwhile.
const NOTICE: u64 = 15 * MILLISECOND;
/// Beside the interval in which requests are laid out.
const SLACK: u64 = 60 * MILLISECOND;

/// How large a group, and how often a member comes and goes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    /// Partitions of the topic.
    #[arg(long)]
    partitions: i32,
    /// Members that stay.
    #[arg(long)]
    members: usize,
    /// How often one more joins, and leaves.
    #[arg(long)]
    rounds: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        args.partitions > 0 && args.members > 0 && args.rounds > 0,
        "there is nobody to join"
    );
    let topics = args.place.find(1, args.partitions)?;
    let mut admin = Admin::open(topics.leader)?;
    let name = groups::fresh(&mut admin, &topics)?;
    let mut work = Work::new(topics, admin, &name)?;
    for _ in 0..args.members {
        work.join()?;
    }
    work.settle()?;
    let mut rounds = Rounds::default();
    for _ in 0..args.rounds {
        let start = work.lay_out();
        work.go_on(start - NOTICE)?;
        rounds.ready()?;
        work.go_on(start)?;
        let begun = work.join()?;
        // At another moment between two requests, the members would learn of it earlier or later.
        rounds.began_late(begun.saturating_sub(start));
        rounds.settled(work.settle()? - begun)?;
        work.leave()?;
        work.settle()?;
    }
    rounds.done(work.requests)?;
    while !work.members.is_empty() {
        work.leave()?;
    }
    Ok(())
}

/// The group and all its members.
struct Work {
    topics: Topics,
    admin: Admin,
    group: Group,
    members: Vec<Member>,
    /// Members that ever were, who get different ids.
    joined: usize,
    poll: Poll,
    buffer: Vec<u8>,
    requests: u64,
    /// When the last answer came.
    heard: u64,
}

/// A member and its connection.
struct Member {
    exchange: Exchange,
    membership: Membership,
    /// When the last request left.
    sent: u64,
    /// When the next one does.
    due: u64,
    /// A time at which one does besides.
    slot: Option<u64>,
}

impl Member {
    /// When it is to ask, unless it waits for an answer.
    fn next(&self) -> Option<u64> {
        let next = self.slot.map_or(self.due, |slot| slot.min(self.due));
        (!self.exchange.waits()).then_some(next)
    }
}

impl Work {
    fn new(topics: Topics, admin: Admin, name: &str) -> Result<Self> {
        Ok(Self {
            group: Group::new(name, topics.name(), topics.ids[0], topics.partitions),
            topics,
            admin,
            members: Vec::new(),
            joined: 0,
            poll: Poll::new()?,
            buffer: vec![0; READ_BYTES],
            requests: 0,
            heard: 0,
        })
    }

    /// One more member asks to be let in; says when.
    fn join(&mut self) -> Result<u64> {
        let exchange = Exchange::connect(self.topics.leader)?;
        self.poll.add(exchange.stream(), self.members.len())?;
        self.joined += 1;
        let membership = Membership::new(format!("{}-member-{}", self.group.name(), self.joined));
        self.members.push(Member {
            exchange,
            membership,
            sent: 0,
            due: 0,
            slot: None,
        });
        self.ask(self.members.len() - 1)
    }

    /// The member that came last goes, and is heard of no more.
    fn leave(&mut self) -> Result<()> {
        let Some(member) = self.members.pop() else {
            return Ok(());
        };
        let request = member.membership.leave(&self.group);
        let answer = self.admin.call(admin::CONSUMER_GROUP_HEARTBEAT, &request)?;
        self.requests += 1;
        admin::check(answer.error_code, || "a member cannot leave".to_owned())?;
        self.group.forget(self.members.len());
        Ok(())
    }

    /// Lays the requests of all members out evenly over the interval before a time, and says that time.
    fn lay_out(&mut self) -> u64 {
        let interval = self.group.interval();
        let start = clock::now() + interval + SLACK;
        let count = self.members.len() as u64;
        for (number, member) in (0_u64..).zip(&mut self.members) {
            member.slot = Some(start - interval + interval * (2 * number + 1) / (2 * count));
        }
        start
    }

    /// Lets the members go on until `time`.
    fn go_on(&mut self, time: u64) -> Result<()> {
        while clock::now() < time {
            self.turn(time)?;
        }
        Ok(())
    }

    /// Lets the members go on until all have what they shall; says when that was.
    fn settle(&mut self) -> Result<u64> {
        let deadline = clock::now() + LIMIT;
        while !self.is_settled() {
            if clock::now() > deadline {
                let all: Vec<_> = self.members.iter().map(|member| &member.membership).collect();
                bail!("the group does not settle: {all:?}");
            }
            self.turn(deadline)?;
        }
        Ok(self.heard)
    }

    fn is_settled(&self) -> bool {
        let memberships = self.members.iter().map(|member| &member.membership);
        self.group.is_settled(memberships)
    }

    /// Asks for whom it is time, and hears what has come; waits for something to happen, until `limit`.
    fn turn(&mut self, limit: u64) -> Result<()> {
        let now = clock::now();
        for number in 0..self.members.len() {
            if self.members[number].next().is_some_and(|next| next <= now) {
                self.ask(number)?;
            }
        }
        let next = self.members.iter().filter_map(Member::next).min();
        self.poll.wake_at(next.map_or(limit, |next| next.min(limit)))?;
        let mut ready = Vec::new();
        self.poll.wait(&mut ready, true)?;
        ready.into_iter().try_for_each(|number| self.hear(number))
    }

    fn ask(&mut self, number: usize) -> Result<u64> {
        let member = &mut self.members[number];
        let request = member.membership.request(&self.group);
        let sent = member.exchange.ask(admin::CONSUMER_GROUP_HEARTBEAT, &request)?;
        member.sent = sent;
        member.slot = member.slot.filter(|slot| *slot > sent);
        self.requests += 1;
        Ok(sent)
    }

    fn hear(&mut self, number: usize) -> Result<()> {
        let member = &mut self.members[number];
        let Some(answer) = member.exchange.turn(&mut self.buffer)? else {
            return Ok(());
        };
        self.heard = clock::now();
        let answer = member
            .exchange
            .read::<ConsumerGroupHeartbeatRequest>(admin::CONSUMER_GROUP_HEARTBEAT, answer)?;
        let has_changed = self.group.answered(number, &mut member.membership, &answer)?;
        // The interval runs from the request, as in Kafka's own consumer.
        member.due = if has_changed {
            0
        } else {
            member.sent + self.group.interval()
        };
        Ok(())
    }
}
