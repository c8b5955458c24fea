//! The answer to a fetch request, read as it comes in: headers are parsed, record bytes are passed over.
//!
//! ```text
//! front   length, correlation id, throttle time, error, session id, count of topics
//!   topic   id, count of partitions
//!     partition   index, error, offsets, aborted transactions, length of records
//!       batches     whole ones; the last may be cut, and is asked for again
//!     tags
//!   tags
//! tags
//! ```
//!
//! Always holds: an answer ends where its length says, or the run fails; of a batch only the header is looked at, and
//! bytes are never kept.

use anyhow::{Context, Result, bail, ensure};
use klamm_model::Uuid;
use klamm_records::{BatchHeader, HEADER_BYTES};

use crate::admin;
use crate::walk::Walk;

/// The largest answer that is believed.
const LARGEST: usize = 1 << 30;

/// Who is told what an answer holds.
pub(crate) trait Visitor {
    /// A partition without an error; its batches come next.
    fn partition(&mut self, topic: Uuid, partition: i32, high_watermark: i64) -> Result<()>;

    /// A batch of it.
    fn batch(&mut self, header: &BatchHeader) -> Result<()>;
}

/// Reads one answer after the other.
pub(crate) struct FetchAnswer {
    state: State,
    /// The correlation id of the answer that comes next.
    pub(crate) expected: i32,
    /// The session that the last answer belongs to.
    pub(crate) session_id: i32,
    topic: Uuid,
    topics_left: usize,
    partitions_left: usize,
    /// Bytes of records of the partition that are still to come, without those to pass over.
    records_left: usize,
    /// Bytes to pass over.
    skip: usize,
    /// Bytes of the answer that are still to come.
    frame_left: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Front,
    Topic,
    Partition,
    Records,
    EndOfPartition,
    EndOfTopic,
    End,
}

impl FetchAnswer {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Front,
            expected: 0,
            session_id: 0,
            topic: Uuid::ZERO,
            topics_left: 0,
            partitions_left: 0,
            records_left: 0,
            skip: 0,
            frame_left: 0,
        }
    }

    /// Reads what has come. Says how many bytes are done with, and whether they end an answer.
    pub(crate) fn feed(&mut self, bytes: &[u8], visitor: &mut impl Visitor) -> Result<(usize, bool)> {
        let mut used = 0;
        loop {
            let skipped = self.skip.min(bytes.len() - used);
            self.pass(skipped)?;
            self.skip -= skipped;
            used += skipped;
            if self.skip > 0 {
                return Ok((used, false));
            }
            let rest = &bytes[used..];
            let before = self.state;
            let Some(step) = self.step(rest, visitor)? else {
                let all_there = before != State::Front && rest.len() >= self.frame_left;
                ensure!(!all_there, "an answer to Fetch ends within {before:?}");
                return Ok((used, false));
            };
            if before != State::Front {
                self.pass(step)?;
            }
            used += step;
            if before == State::End {
                ensure!(
                    self.frame_left == 0,
                    "an answer to Fetch has {} bytes too many",
                    self.frame_left
                );
                return Ok((used, true));
            }
        }
    }

    fn pass(&mut self, count: usize) -> Result<()> {
        let left = self.frame_left.checked_sub(count);
        self.frame_left = left.context("an answer to Fetch is longer than its length")?;
        Ok(())
    }

    /// Reads the next part: how many bytes it takes, or `None` when it is not all there.
    fn step(&mut self, bytes: &[u8], visitor: &mut impl Visitor) -> Result<Option<usize>> {
        let mut walk = Walk::new(bytes);
        let read = match self.state {
            State::Front => return self.front(&mut walk),
            State::Partition => return self.partition(&mut walk, visitor),
            State::Records => return self.records(bytes, visitor),
            State::Topic => self.topic(&mut walk),
            State::EndOfPartition => walk.tags().map(|()| {
                self.partitions_left -= 1;
                self.state = self.next_partition();
            }),
            State::EndOfTopic => walk.tags().map(|()| {
                self.topics_left -= 1;
                self.state = self.next_topic();
            }),
            State::End => walk.tags().map(|()| self.state = State::Front),
        };
        Ok(read.map(|()| walk.at()))
    }

    fn next_topic(&self) -> State {
        if self.topics_left > 0 {
            State::Topic
        } else {
            State::End
        }
    }

    fn next_partition(&self) -> State {
        if self.partitions_left > 0 {
            State::Partition
        } else {
            State::EndOfTopic
        }
    }

    fn front(&mut self, walk: &mut Walk<'_>) -> Result<Option<usize>> {
        let mut fields = || {
            let length = walk.i32()?;
            let correlation_id = walk.i32()?;
            walk.tags()?;
            let _throttle_time = walk.i32()?;
            Some((length, correlation_id, walk.i16()?, walk.i32()?, walk.length()?))
        };
        let Some((length, correlation_id, error, session_id, topics)) = fields() else {
            return Ok(None);
        };
        let length = usize::try_from(length).ok().filter(|length| *length <= LARGEST);
        let length = length.context("an answer of no possible length")?;
        if correlation_id != self.expected {
            bail!(
                "the answer to request {correlation_id} came, that to {} was next",
                self.expected
            );
        }
        admin::check(error, || "a fetch was refused".to_owned())?;
        let after_length = walk.at() - 4;
        let left = length.checked_sub(after_length);
        self.frame_left = left.context("an answer to Fetch that is too short")?;
        self.session_id = session_id;
        self.topics_left = topics;
        self.state = self.next_topic();
        Ok(Some(walk.at()))
    }

    fn topic(&mut self, walk: &mut Walk<'_>) -> Option<()> {
        let topic = walk.uuid()?;
        self.partitions_left = walk.length()?;
        self.topic = topic;
        self.state = self.next_partition();
        Some(())
    }

    fn partition(&mut self, walk: &mut Walk<'_>, visitor: &mut impl Visitor) -> Result<Option<usize>> {
        let mut fields = || {
            let partition = walk.i32()?;
            let error = walk.i16()?;
            let high_watermark = walk.i64()?;
            let _last_stable_offset = walk.i64()?;
            let _log_start_offset = walk.i64()?;
            for _ in 0..walk.length()? {
                let _aborted = (walk.i64()?, walk.i64()?);
                walk.tags()?;
            }
            let _preferred_read_replica = walk.i32()?;
            Some((partition, error, high_watermark, walk.length()?))
        };
        let Some((partition, error, high_watermark, records)) = fields() else {
            return Ok(None);
        };
        admin::check(error, || format!("cannot fetch from partition {partition}"))?;
        visitor.partition(self.topic, partition, high_watermark)?;
        self.records_left = records;
        self.state = State::Records;
        Ok(Some(walk.at()))
    }

    fn records(&mut self, bytes: &[u8], visitor: &mut impl Visitor) -> Result<Option<usize>> {
        if self.records_left == 0 {
            self.state = State::EndOfPartition;
            return Ok(Some(0));
        }
        if self.records_left < HEADER_BYTES {
            self.skip = self.records_left;
            self.records_left = 0;
            return Ok(Some(0));
        }
        if bytes.len() < HEADER_BYTES {
            return Ok(None);
        }
        let header = BatchHeader::parse(bytes)?;
        let size = header.size_in_bytes();
        if size > self.records_left {
            // A broker cuts its answer at the limit, not at the end of a batch.
            self.skip = self.records_left;
            self.records_left = 0;
            return Ok(Some(0));
        }
        visitor.batch(&header)?;
        self.records_left -= size;
        self.skip = size - HEADER_BYTES;
        Ok(Some(HEADER_BYTES))
    }
}
