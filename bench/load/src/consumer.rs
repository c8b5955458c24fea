//! A consumer that follows partitions from their end, with a fetch session (KIP-227), as Kafka's own does.
//!
//! Always holds: each record is counted once: offsets come without a gap and without a repetition, or the run fails.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use klamm_model::Uuid;
use klamm_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use klamm_records::BatchHeader;

use crate::fetch_answer::{Batches, FetchAnswer, Visitor};
use crate::open_loop::histogram;
use crate::poll::Poll;
use crate::produce_frame;
use crate::socket::Socket;
use crate::topics::Topics;
use crate::{admin, clock};

/// How long the broker may wait for records: Kafka's default.
const MAX_WAIT_MS: i32 = 500;
const MAX_BYTES: i32 = 50 << 20;
const PARTITION_MAX_BYTES: i32 = 1 << 20;

/// One connection that follows all partitions of some topics.
pub(crate) struct Consumer {
    socket: Socket,
    answer: FetchAnswer,
    following: Following,
    number: usize,
    session_epoch: i32,
    waits: bool,
    requests: u64,
}

impl Consumer {
    /// Connects, has `poll` report the connection as `number`, and opens the session.
    pub(crate) fn connect(
        poll: &mut Poll,
        topics: &mut Topics,
        number: usize,
        record_bytes: usize,
        buffer: &mut [u8],
    ) -> Result<Self> {
        let socket = Socket::connect(topics.leader)?;
        poll.add(socket.stream(), number)?;
        let mut consumer = Self {
            socket,
            answer: FetchAnswer::new(Batches::Whole),
            following: Following::new(topics, record_bytes)?,
            number,
            session_epoch: 0,
            waits: false,
            requests: 0,
        };
        consumer.ask()?;
        let mut ready = Vec::new();
        while consumer.requests == 1 {
            poll.wait(&mut ready, true)?;
            if ready.contains(&number) {
                consumer.turn(buffer)?;
            }
        }
        Ok(consumer)
    }

    /// What `poll` reports the connection as.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// From due to received.
    pub(crate) fn times(&self) -> &Histogram<u64> {
        &self.following.times
    }

    /// Bytes of batches that came.
    pub(crate) fn bytes(&self) -> u64 {
        self.following.bytes
    }

    /// How many times it asked.
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// Takes what came, and asks for more.
    pub(crate) fn turn(&mut self, buffer: &mut [u8]) -> Result<()> {
        let (answer, following, waits) = (&mut self.answer, &mut self.following, &mut self.waits);
        self.socket.read(buffer, |bytes| {
            let (used, end) = answer.feed(bytes, following)?;
            if end {
                ensure!(*waits && used == bytes.len(), "an answer to no request");
                *waits = false;
            }
            Ok(used)
        })?;
        if self.waits {
            return self.socket.flush();
        }
        ensure!(self.answer.session_id != 0, "the broker opened no fetch session");
        self.ask()
    }

    fn ask(&mut self) -> Result<()> {
        let request = FetchRequest {
            max_wait_ms: MAX_WAIT_MS,
            min_bytes: 1,
            max_bytes: MAX_BYTES,
            session_id: self.answer.session_id,
            session_epoch: self.session_epoch,
            topics: self.following.changed_topics(),
            ..FetchRequest::default()
        };
        self.session_epoch = self.session_epoch.checked_add(1).unwrap_or(1);
        self.answer.expected = self.answer.expected.wrapping_add(1);
        let frame = admin::frame(self.answer.expected, admin::FETCH, &request)?;
        self.socket.out().share(frame);
        self.waits = true;
        self.requests += 1;
        self.socket.flush()
    }
}

/// Where the consumer is in each partition.
struct Following {
    topics: Vec<Uuid>,
    /// The places of the topics in `topics`.
    places: BTreeMap<Uuid, usize>,
    partitions: usize,
    /// The next offset of each partition, topic by topic.
    next_offsets: Vec<i64>,
    /// The partitions that the session has to be told of, in the order of the last answer.
    changed: Vec<usize>,
    current: usize,
    record_bytes: usize,
    times: Histogram<u64>,
    bytes: u64,
}

impl Following {
    fn new(topics: &mut Topics, record_bytes: usize) -> Result<Self> {
        let next_offsets = topics.ends()?;
        let places = topics.ids.iter().enumerate().map(|(place, id)| (*id, place));
        Ok(Self {
            places: places.collect(),
            topics: topics.ids.clone(),
            partitions: usize::try_from(topics.partitions)?,
            changed: (0..next_offsets.len()).collect(),
            next_offsets,
            current: 0,
            record_bytes,
            times: histogram()?,
            bytes: 0,
        })
    }

    /// The partitions whose offsets changed, by topic.
    fn changed_topics(&mut self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for place in self.changed.drain(..) {
            let topic_id = self.topics[place / self.partitions];
            if topics.last().is_none_or(|last| last.topic_id != topic_id) {
                topics.push(FetchTopic {
                    topic_id,
                    ..FetchTopic::default()
                });
            }
            let last = topics.last_mut().expect("pushed above");
            last.partitions.push(FetchPartition {
                partition: i32::try_from(place % self.partitions).expect("came from one"),
                fetch_offset: self.next_offsets[place],
                partition_max_bytes: PARTITION_MAX_BYTES,
                ..FetchPartition::default()
            });
        }
        topics
    }
}

impl Visitor for Following {
    fn partition(&mut self, topic: Uuid, partition: i32, _: i64) -> Result<()> {
        let place = self.places.get(&topic).context("nobody asked for the topic")?;
        let partition = usize::try_from(partition)
            .ok()
            .filter(|index| *index < self.partitions);
        let partition = partition.context("nobody asked for the partition")?;
        self.current = place * self.partitions + partition;
        Ok(())
    }

    fn batch(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<()> {
        let next_offset = &mut self.next_offsets[self.current];
        ensure!(
            header.base_offset.0 == *next_offset,
            "offset {} came, {next_offset} was next",
            header.base_offset.0
        );
        *next_offset = header.next_offset().0;
        if self.changed.last() != Some(&self.current) {
            self.changed.push(self.current);
        }
        let due = produce_frame::stamp(header, bytes, self.record_bytes)?;
        let took = clock::now().checked_sub(due);
        let took = took.context("a record came before it was due")?;
        self.times.saturating_record(took / 1000);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}
