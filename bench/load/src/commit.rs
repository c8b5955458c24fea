//! `commit`: a closed loop. Each connection commits the offsets of all partitions of a topic for a group, and sends the next request
//! when the answer is in. Where there are more groups than connections, a request is for the next of them all.
//!
//! Always holds: every answer belongs to the request in flight and is, but for its number, the first one, of which every
//! error code was looked at; at the end the broker tells all offsets of every group, or the run fails.

use anyhow::{Context, Result, anyhow, bail, ensure};
use klamm_protocol::messages::offset_commit_response::OffsetCommitResponse;
use klamm_protocol::{ApiKey, Message, Reader, ResponseHeader};

use crate::admin::{self, Admin};
use crate::groups::{self, DIGITS};
use crate::poll::Poll;
use crate::report::{self, Stopwatch};
use crate::socket::{Outgoing, Socket};
use crate::topics::{Topics, Where};
use crate::{clock, produce_answer};

/// Answers are short, so this is room for those of a whole round.
const READ_BYTES: usize = 64 << 10;
/// Where the correlation id of a request stands: behind the length, the API and the version.
const CORRELATION_ID: std::ops::Range<usize> = 8..12;

/// What to commit, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    /// Partitions of the topic, all of which a request commits.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Groups, which the connections share; as many as connections if it is not given.
    #[arg(long)]
    groups: Option<usize>,
    #[command(flatten)]
    until: Until,
}

/// When to stop.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Until {
    /// Stop after so many requests.
    #[arg(long)]
    requests: Option<u64>,
    /// Stop after so many seconds, and not before each group has committed.
    #[arg(long)]
    seconds: Option<f64>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let groups = args.groups.unwrap_or(args.connections);
    ensure!(
        args.partitions > 0 && args.connections > 0,
        "nobody commits nothing"
    );
    ensure!(groups >= args.connections, "a connection needs a group");
    ensure!(
        args.until
            .requests
            .is_none_or(|requests| requests >= groups as u64),
        "each group commits"
    );
    let topics = args.place.find(1, args.partitions)?;
    let mut admin = Admin::open(topics.leader)?;
    groups::begin(&topics, &mut admin)?;
    let mut work = Work {
        frame: Frame::encode(&topics)?,
        partitions: args.partitions,
        groups,
        connections: args.connections,
        answer: None,
        sent: 0,
        requests: args.until.requests.unwrap_or(u64::MAX),
        stop_at: u64::MAX,
    };
    let connections: Result<Vec<Connection>> = (0..args.connections)
        .map(|number| {
            Ok(Connection {
                socket: Socket::connect(topics.leader)?,
                number,
                correlation_id: 0,
                waits: false,
            })
        })
        .collect();
    let connections = connections?;
    report::gate("ready")?;

    let watch = Stopwatch::start();
    if let Some(seconds) = args.until.seconds {
        work.stop_at = clock::now() + (seconds * clock::SECOND as f64) as u64;
    }
    work.drive(connections)?;
    let mut done = watch.stop(work.sent);
    // Nothing was written to the topic itself.
    done.records = Some(0);
    report::say(&done)?;
    groups::expect(&topics, &mut admin, groups)
}

/// What all connections do.
struct Work {
    frame: Frame,
    partitions: i32,
    groups: usize,
    connections: usize,
    /// What the first answer was, behind its correlation id.
    answer: Option<Vec<u8>>,
    sent: u64,
    requests: u64,
    stop_at: u64,
}

struct Connection {
    socket: Socket,
    number: usize,
    correlation_id: i32,
    waits: bool,
}

impl Work {
    fn drive(&mut self, mut connections: Vec<Connection>) -> Result<()> {
        let mut poll = Poll::new()?;
        let mut buffer = vec![0; READ_BYTES];
        for (number, connection) in connections.iter().enumerate() {
            poll.add(connection.socket.stream(), number)?;
        }
        let mut ready: Vec<usize> = (0..connections.len()).collect();
        let mut waiting = 0;
        loop {
            let goes_on = self.goes_on();
            for number in ready.drain(..) {
                let connection = &mut connections[number];
                waiting -= usize::from(connection.waits);
                self.receive(connection, &mut buffer)?;
                if !connection.waits && goes_on && self.sent < self.requests {
                    self.send(connection)?;
                }
                connection.socket.flush()?;
                waiting += usize::from(connection.waits);
            }
            if waiting == 0 {
                return Ok(());
            }
            poll.wait(&mut ready, true)?;
        }
    }

    fn goes_on(&self) -> bool {
        self.sent < self.groups as u64 || clock::now() < self.stop_at
    }

    fn send(&mut self, connection: &mut Connection) -> Result<()> {
        connection.correlation_id = connection.correlation_id.wrapping_add(1);
        let group = if self.groups > self.connections {
            usize::try_from(self.sent)? % self.groups
        } else {
            connection.number
        };
        let id = connection.correlation_id;
        self.frame.queue(connection.socket.out(), id, group)?;
        connection.waits = true;
        self.sent += 1;
        Ok(())
    }

    fn receive(&mut self, connection: &mut Connection, buffer: &mut [u8]) -> Result<()> {
        let Connection {
            socket,
            correlation_id,
            waits,
            ..
        } = connection;
        socket.read(buffer, |bytes| {
            let mut used = 0;
            while let Some(length) = produce_answer::complete(&bytes[used..])? {
                let frame = &bytes[used + 4..used + 4 + length];
                if !std::mem::take(waits) {
                    bail!("an answer to no request");
                }
                self.check(frame, *correlation_id)?;
                used += 4 + length;
            }
            Ok(used)
        })
    }

    fn check(&mut self, frame: &[u8], correlation_id: i32) -> Result<()> {
        let (id, rest) = frame
            .split_first_chunk()
            .ok_or_else(|| anyhow!("an answer without a header"))?;
        ensure!(
            i32::from_be_bytes(*id) == correlation_id,
            "the answer to another request came"
        );
        if self.answer.as_deref() == Some(rest) {
            return Ok(());
        }
        let mut reader = Reader::new(frame.to_vec().into());
        ResponseHeader::decode(&mut reader, ApiKey::OffsetCommit, admin::OFFSET_COMMIT)?;
        let answer = OffsetCommitResponse::decode(&mut reader, admin::OFFSET_COMMIT)?;
        reader.finish()?;
        groups::check_commit(&answer, self.partitions)?;
        ensure!(self.answer.is_none(), "an answer that is not the first one");
        self.answer = Some(rest.to_vec());
        Ok(())
    }
}

/// A request as it is sent, in which the group is changed.
struct Frame {
    bytes: Vec<u8>,
    /// Where the digits of the group's number begin.
    digits: usize,
}

impl Frame {
    fn encode(topics: &Topics) -> Result<Self> {
        let name = groups::name(topics.name(), 0);
        let bytes = admin::frame(0, admin::OFFSET_COMMIT, &groups::commit(topics, &name))?.to_vec();
        let mut windows = bytes.windows(name.len());
        let at = windows.position(|window| window == name.as_bytes());
        let at = at.context("a request names its group")?;
        Ok(Self {
            bytes,
            digits: at + name.len() - DIGITS,
        })
    }

    fn queue(&self, to: &mut Outgoing, correlation_id: i32, group: usize) -> Result<()> {
        let bytes = to.copy(&self.bytes);
        bytes[CORRELATION_ID].copy_from_slice(&correlation_id.to_be_bytes());
        let mut rest = group;
        for digit in bytes[self.digits..self.digits + DIGITS].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10)?;
            rest /= 10;
        }
        Ok(())
    }
}
