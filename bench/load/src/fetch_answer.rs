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
//! Always holds: an answer ends where its length says, or the run fails; of a batch only the header is looked at, unless
//! whole batches are asked for, and bytes are never kept.

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

    /// A batch of it: its header, and its bytes as far as they were asked for.
    fn batch(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<()>;
}

/// How much of each batch a visitor is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batches {
    Headers,
    Whole,
}

/// Reads one answer after the other.
pub(crate) struct FetchAnswer {
    batches: Batches,
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
    pub(crate) fn new(batches: Batches) -> Self {
        Self {
            batches,
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
        let needed = match self.batches {
            Batches::Headers => HEADER_BYTES,
            Batches::Whole => size,
        };
        let Some(needed) = bytes.get(..needed) else {
            return Ok(None);
        };
        visitor.batch(&header, needed)?;
        self.records_left -= size;
        self.skip = size - needed.len();
        Ok(Some(needed.len()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use klamm_model::{Offset, TimestampMs};
    use klamm_protocol::messages::fetch_response::{
        AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, NodeEndpoint,
        PartitionData,
    };
    use klamm_protocol::{ApiKey, Records, Writer, encode_response};
    use klamm_records::BatchBuilder;

    use super::*;

    /// Writes down what it is told.
    #[derive(Default)]
    struct Notes(Vec<String>);

    impl Visitor for Notes {
        fn partition(&mut self, topic: Uuid, partition: i32, high_watermark: i64) -> Result<()> {
            self.0
                .push(format!("{}/{partition} below {high_watermark}", topic.0[0]));
            Ok(())
        }

        fn batch(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<()> {
            self.0.push(format!(
                "{} at {}: {}",
                header.record_count,
                header.base_offset.0,
                bytes.len()
            ));
            Ok(())
        }
    }

    fn batch(base_offset: i64, records: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::default();
        for _ in 0..records {
            builder.append(TimestampMs(1), None, Some(&[9; 1000]), &[]);
        }
        builder.build(Offset(base_offset)).unwrap().to_vec()
    }

    fn partition(partition_index: i32, records: Option<Vec<u8>>) -> PartitionData {
        PartitionData {
            partition_index,
            high_watermark: 50,
            records: records.map_or(Records::Null, |records| Records::Bytes(Bytes::from(records))),
            ..PartitionData::default()
        }
    }

    fn encode(response: &FetchResponse) -> Vec<u8> {
        let mut writer = Writer::contiguous();
        encode_response(&mut writer, ApiKey::Fetch, 6, admin::FETCH, response).unwrap();
        writer.into_bytes().to_vec()
    }

    /// An answer with all that one can have.
    fn full() -> FetchResponse {
        let aborted = AbortedTransaction {
            producer_id: 1,
            first_offset: 2,
            ..AbortedTransaction::default()
        };
        let cut = [batch(7, 2), batch(9, 1)[..500].to_vec()].concat();
        let with_more = PartitionData {
            aborted_transactions: Some(vec![aborted; 2]),
            diverging_epoch: EpochEndOffset {
                epoch: 3,
                end_offset: 4,
                ..EpochEndOffset::default()
            },
            ..partition(1, Some(cut))
        };
        let topic = |id, partitions| FetchableTopicResponse {
            topic_id: Uuid([id; 16]),
            partitions,
            ..FetchableTopicResponse::default()
        };
        FetchResponse {
            session_id: 77,
            responses: vec![
                topic(
                    1,
                    vec![partition(0, Some([batch(3, 1), batch(4, 3)].concat())), with_more],
                ),
                topic(
                    2,
                    vec![partition(5, None), partition(6, Some(batch(0, 1)[..40].to_vec()))],
                ),
            ],
            node_endpoints: vec![NodeEndpoint::default()],
            ..FetchResponse::default()
        }
    }

    /// Feeds `bytes` in pieces of `step`, as a socket would.
    fn read(bytes: &[u8], step: usize, batches: Batches) -> Result<(Notes, i32, usize)> {
        let mut answer = FetchAnswer::new(batches);
        answer.expected = 6;
        let (mut notes, mut answers, mut used) = (Notes::default(), 0, 0);
        let mut filled = 0;
        while filled < bytes.len() {
            filled = (filled + step).min(bytes.len());
            loop {
                let (done, end) = answer.feed(&bytes[used..filled], &mut notes)?;
                used += done;
                answers += usize::from(end);
                if !end {
                    break;
                }
            }
        }
        ensure!(used == bytes.len(), "not all was used");
        Ok((notes, answer.session_id, answers))
    }

    #[test]
    fn answers_are_read_alike_in_pieces_of_any_size() {
        let bytes = [encode(&full()), encode(&full())].concat();
        let sizes = |kind| match kind {
            Batches::Headers => [61, 61, 61],
            Batches::Whole => [batch(0, 1).len(), batch(0, 3).len(), batch(0, 2).len()],
        };
        for batches in [Batches::Headers, Batches::Whole] {
            let [one, three, two] = sizes(batches);
            let once = [
                "1/0 below 50".to_owned(),
                format!("1 at 3: {one}"),
                format!("3 at 4: {three}"),
                "1/1 below 50".to_owned(),
                format!("2 at 7: {two}"),
                "2/5 below 50".to_owned(),
                "2/6 below 50".to_owned(),
            ];
            for step in [1, 3, 60, 61, 1000, usize::MAX / 2] {
                let (notes, session_id, answers) = read(&bytes, step, batches).unwrap();
                assert_eq!((session_id, answers), (77, 2), "{step}");
                assert_eq!(notes.0, [once.clone(), once.clone()].concat(), "{step}");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_an_answer_fails_the_run() {
        let refused = FetchResponse {
            error_code: 70,
            ..FetchResponse::default()
        };
        let mut without = full();
        without.responses[1].partitions[0].error_code = 3;
        let patched = |at: usize, by: u8| {
            let mut bytes = encode(&full());
            bytes[at] = bytes[at].wrapping_add(by);
            bytes
        };
        let mut unknown_format = encode(&full());
        let magic = unknown_format
            .windows(61)
            .position(|bytes| bytes == &batch(3, 1)[..61]);
        unknown_format[magic.unwrap() + 16] = 1;
        for (bytes, message) in [
            (
                encode(&refused),
                "a fetch was refused: FETCH_SESSION_ID_NOT_FOUND (70)",
            ),
            (
                encode(&without),
                "cannot fetch from partition 5: UNKNOWN_TOPIC_OR_PARTITION (3)",
            ),
            (patched(7, 1), "the answer to request 7 came, that to 6 was next"),
            (patched(0, 0x80), "an answer of no possible length"),
            (patched(3, 1), "an answer to Fetch has 1 bytes too many"),
            (patched(3, 0xff), "an answer to Fetch "),
            (unknown_format, "magic"),
        ] {
            for step in [1, 1000, usize::MAX / 2] {
                let error = read(&bytes, step, Batches::Headers).err().unwrap().to_string();
                assert!(error.contains(message), "{error}");
            }
        }
    }
}
