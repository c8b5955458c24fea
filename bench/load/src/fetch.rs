//! `fetch`: reads partitions from the beginning, and again from there at the end, until enough bytes have come in.
//!
//! Each connection has one request in flight, as consumers do, which names all its partitions; the request is encoded
//! once, and only the correlation id, the order of the partitions and their offsets change. A partition that gave
//! records goes to the end of the order, as in a fetch session: small answers come from all partitions in turn.
//!
//! With `--places` each request asks for another place of a partition, at offsets that lie equally far apart, and nothing is read on.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use klamm_model::Uuid;
use klamm_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use klamm_records::BatchHeader;

use crate::admin;
use crate::fetch_answer::{Batches, FetchAnswer, Visitor};
use crate::poll::Poll;
use crate::report::{self, Stopwatch};
use crate::socket::Socket;
use crate::topics::Where;

/// What one read takes at most. Larger reads fall out of the processor's cache.
const READ_BYTES: usize = 256 << 10;
/// How long the broker may wait for records.
const MAX_WAIT_MS: i32 = 500;
/// Stands for an offset in the encoded request, each partition's with its number added.
const PLACEHOLDER: i64 = 0x6b6c_616d_0000_0000;

/// What to read, and how much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// Connections; connection i reads the partitions i, i + connections, ...
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Bytes of an answer.
    #[arg(long, default_value_t = 50 << 20)]
    max_bytes: i32,
    /// Bytes of one partition in an answer.
    #[arg(long, default_value_t = 1 << 20)]
    partition_max_bytes: i32,
    /// Stop when so many bytes of batches have come in.
    #[arg(long)]
    bytes: u64,
    /// Every connection reads all partitions.
    #[arg(long)]
    shared: bool,
    /// Ask for so many places in turn, the first of which is at offset 0.
    #[arg(long, requires = "stride", value_parser = clap::value_parser!(i64).range(1..))]
    places: Option<i64>,
    /// Offsets from one place to the next.
    #[arg(long, requires = "places", value_parser = clap::value_parser!(i64).range(1..))]
    stride: Option<i64>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.partitions > 0 && args.connections > 0 && args.bytes > 0);
    let mut topics = args.place.find(1, args.partitions)?;
    if let Some(records) = topics.records()? {
        ensure!(records > 0, "the topic is empty");
    }
    let mut connections = Vec::new();
    for index in 0..args.connections {
        let step = if args.shared { 1 } else { args.connections };
        let first = if args.shared { 0 } else { index };
        let partitions: Vec<i32> = (0..args.partitions).skip(first).step_by(step).collect();
        ensure!(
            !partitions.is_empty(),
            "a connection has no partition: use fewer, or --shared"
        );
        let mut reading = Reading::new(args, topics.ids[0], &partitions)?;
        if let Some(places) = &mut reading.stops {
            // Connections do not follow each other from place to place.
            places.next = places.count * index as i64 / args.connections as i64;
        }
        connections.push(Connection {
            socket: Socket::connect(topics.leader)?,
            answer: FetchAnswer::new(Batches::Headers),
            reading,
            waits: false,
        });
    }
    report::gate("ready")?;

    let watch = Stopwatch::start();
    let requests = drive(&mut connections, args.bytes)?;
    let mut done = watch.stop(requests);
    let sum = |field: fn(&Reading) -> u64| connections.iter().map(|one| field(&one.reading)).sum();
    done.records = Some(sum(|reading| reading.records));
    done.bytes = Some(sum(|reading| reading.bytes));
    report::say(&done)
}

/// Fetches until `enough` bytes have come in, and what was asked for by then; says how many requests it took.
fn drive(connections: &mut [Connection], enough: u64) -> Result<u64> {
    let mut poll = Poll::new()?;
    let mut buffer = vec![0; READ_BYTES];
    let mut ready = Vec::new();
    let came = Cell::new(0);
    let mut requests = 0;
    let mut waiting = connections.len();
    for (number, connection) in connections.iter_mut().enumerate() {
        poll.add(connection.socket.stream(), number)?;
        connection.ask()?;
    }
    while waiting > 0 {
        poll.wait(&mut ready, true)?;
        for number in &ready {
            let connection = &mut connections[*number];
            connection.socket.flush()?;
            requests += connection.receive(&mut buffer, &came)?;
            if connection.waits {
                continue;
            }
            if came.get() < enough {
                connection.ask()?;
            } else {
                waiting -= 1;
                // It is told no more of this connection.
                connection.waits = true;
                poll.remove(connection.socket.stream())?;
            }
        }
    }
    Ok(requests)
}

struct Connection {
    socket: Socket,
    answer: FetchAnswer,
    reading: Reading,
    /// An answer is on its way.
    waits: bool,
}

impl Connection {
    fn ask(&mut self) -> Result<()> {
        self.answer.expected = self.answer.expected.wrapping_add(1);
        let request = self.reading.request(self.answer.expected);
        self.socket.out().copy(request);
        self.waits = true;
        self.socket.flush()
    }

    /// Reads what has come in; says how many answers ended.
    fn receive(&mut self, buffer: &mut [u8], came: &Cell<u64>) -> Result<u64> {
        let before = self.reading.bytes;
        let (answer, reading, waits) = (&mut self.answer, &mut self.reading, &mut self.waits);
        let mut ended = 0;
        self.socket.read(buffer, |bytes| {
            let (used, end) = answer.feed(bytes, reading)?;
            if end {
                ensure!(*waits && used == bytes.len(), "an answer to no request");
                *waits = false;
                ended += 1;
            }
            Ok(used)
        })?;
        came.set(came.get() + self.reading.bytes - before);
        Ok(ended)
    }
}

/// The partitions of a connection: the request for them, and what came.
struct Reading {
    frame: Vec<u8>,
    /// Where the offset of each entry stands in the frame.
    entries: Vec<Range<usize>>,
    partitions: Vec<Partition>,
    /// Their places in `partitions`, in the order in which they are asked for.
    order: VecDeque<usize>,
    /// Whatever comes is counted, and not compared with what was asked for.
    blind: bool,
    /// The place in `partitions` of those numbers that are read here.
    places: Vec<Option<usize>>,
    /// Where to read, when not on and on.
    stops: Option<Stops>,
    current: usize,
    records: u64,
    bytes: u64,
}

/// Offsets that are asked for in turn.
struct Stops {
    count: i64,
    stride: i64,
    /// The number of the next one.
    next: i64,
}

impl Stops {
    fn of(args: &Args) -> Option<Self> {
        Some(Self {
            count: args.places?,
            stride: args.stride?,
            next: 0,
        })
    }

    fn take(&mut self) -> i64 {
        let offset = self.next * self.stride;
        self.next = (self.next + 1) % self.count;
        offset
    }
}

struct Partition {
    number: i32,
    next_offset: i64,
    high_watermark: i64,
}

impl Reading {
    fn new(args: &Args, topic: Uuid, partitions: &[i32]) -> Result<Self> {
        let request = FetchRequest {
            max_wait_ms: MAX_WAIT_MS,
            min_bytes: 1,
            max_bytes: args.max_bytes,
            // No session: the request names everything, and is encoded already.
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic_id: topic,
                partitions: partitions
                    .iter()
                    .map(|partition| FetchPartition {
                        partition: *partition,
                        fetch_offset: PLACEHOLDER + i64::from(*partition),
                        partition_max_bytes: args.partition_max_bytes,
                        ..FetchPartition::default()
                    })
                    .collect(),
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        let frame = admin::frame(0, admin::FETCH, &request)?.to_vec();
        let mut places = vec![None; usize::try_from(args.partitions)?];
        let mut from = 0;
        let (mut entries, mut found) = (Vec::new(), Vec::new());
        for (place, partition) in partitions.iter().enumerate() {
            let placeholder = (PLACEHOLDER + i64::from(*partition)).to_be_bytes();
            let after = frame[from..].windows(8).position(|bytes| bytes == placeholder);
            let start = from + after.context("the request does not hold its offsets")?;
            from = start + 8;
            places[usize::try_from(*partition)?] = Some(place);
            entries.push(start..from);
            found.push(Partition {
                number: *partition,
                next_offset: 0,
                high_watermark: 0,
            });
        }
        Ok(Self {
            frame,
            entries,
            order: (0..found.len()).collect(),
            blind: args.place.blind,
            partitions: found,
            places,
            stops: Stops::of(args),
            current: 0,
            records: 0,
            bytes: 0,
        })
    }

    /// The next request.
    fn request(&mut self, correlation_id: i32) -> &[u8] {
        self.frame[8..12].copy_from_slice(&correlation_id.to_be_bytes());
        for (entry, place) in self.entries.iter().zip(&self.order) {
            let partition = &mut self.partitions[*place];
            if let Some(stops) = &mut self.stops {
                partition.next_offset = stops.take();
            } else if partition.next_offset >= partition.high_watermark {
                partition.next_offset = 0;
            }
            self.frame[entry.clone()].copy_from_slice(&partition.next_offset.to_be_bytes());
            // The number stands before the offset, with the leader epoch in between.
            let number = entry.start - 8..entry.start - 4;
            self.frame[number].copy_from_slice(&partition.number.to_be_bytes());
        }
        &self.frame
    }
}

impl Visitor for Reading {
    fn partition(&mut self, _: Uuid, partition: i32, high_watermark: i64) -> Result<()> {
        let place = usize::try_from(partition)
            .ok()
            .and_then(|partition| *self.places.get(partition)?);
        if self.blind {
            return Ok(());
        }
        self.current = place.with_context(|| format!("nobody asked for partition {partition}"))?;
        self.partitions[self.current].high_watermark = high_watermark;
        Ok(())
    }

    fn batch(&mut self, header: &BatchHeader, _: &[u8]) -> Result<()> {
        self.records += u64::try_from(header.record_count).context("a batch of fewer than no records")?;
        self.bytes += header.size_in_bytes() as u64;
        if self.blind {
            return Ok(());
        }
        let partition = &mut self.partitions[self.current];
        ensure!(
            header.last_offset().0 >= partition.next_offset,
            "a batch up to offset {} came, {} was asked for",
            header.last_offset().0,
            partition.next_offset
        );
        partition.next_offset = header.next_offset().0;
        if self.order.back() != Some(&self.current) {
            self.order.retain(|place| *place != self.current);
            self.order.push_back(self.current);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use clap::Parser;
    use klamm_model::{Offset, TimestampMs};
    use klamm_protocol::{Message, Reader, RequestHeader};
    use klamm_records::BatchBuilder;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn reading(more: &[&str], partitions: &[i32]) -> Reading {
        let words = ["x", "--bootstrap", "x:1", "--bytes", "1", "--partitions", "9"];
        let cli = Cli::parse_from(words.iter().chain(more));
        Reading::new(&cli.args, Uuid([4; 16]), partitions).unwrap()
    }

    /// Partitions and offsets of the next request, as a broker sees them.
    fn asked(reading: &mut Reading, correlation_id: i32) -> Vec<(i32, i64)> {
        let frame = Bytes::copy_from_slice(reading.request(correlation_id));
        let mut reader = Reader::new(frame.slice(4..));
        let header = RequestHeader::decode(&mut reader).unwrap();
        assert_eq!(header.correlation_id, correlation_id);
        let request = FetchRequest::decode(&mut reader, header.api_version).unwrap();
        reader.finish().unwrap();
        assert_eq!((request.session_id, request.session_epoch), (0, -1));
        assert_eq!(request.topics[0].topic_id, Uuid([4; 16]));
        let partitions = request.topics[0].partitions.iter();
        partitions.map(|one| (one.partition, one.fetch_offset)).collect()
    }

    fn batch(base_offset: i64, records: usize) -> BatchHeader {
        let mut builder = BatchBuilder::default();
        for _ in 0..records {
            builder.append(TimestampMs(1), None, Some(b"v"), &[]);
        }
        BatchHeader::parse(&builder.build(Offset(base_offset)).unwrap()).unwrap()
    }

    #[test]
    fn partitions_take_turns_and_begin_again_at_their_end() {
        let mut reading = reading(&[], &[1, 4, 7]);
        assert_eq!(asked(&mut reading, 1), [(1, 0), (4, 0), (7, 0)]);
        reading.partition(Uuid::ZERO, 1, 20).unwrap();
        reading.batch(&batch(0, 5), &[]).unwrap();
        reading.batch(&batch(5, 5), &[]).unwrap();
        reading.partition(Uuid::ZERO, 4, 3).unwrap();
        assert_eq!(asked(&mut reading, 2), [(4, 0), (7, 0), (1, 10)]);
        reading.partition(Uuid::ZERO, 4, 3).unwrap();
        reading.batch(&batch(0, 3), &[]).unwrap();
        assert_eq!(
            asked(&mut reading, 3),
            [(7, 0), (1, 10), (4, 0)],
            "4 is at its end"
        );
        assert_eq!(reading.records, 13);
    }

    #[test]
    fn places_are_asked_for_in_turn_whatever_came() {
        let mut reading = reading(&["--places", "3", "--stride", "1000"], &[1]);
        for expected in [0, 1000, 2000, 0] {
            assert_eq!(asked(&mut reading, 1), [(1, expected)]);
            reading.partition(Uuid::ZERO, 1, 5000).unwrap();
            reading.batch(&batch(expected, 5), &[]).unwrap();
        }
    }

    #[test]
    fn what_nobody_asked_for_is_refused_unless_blind() {
        let mut seeing = reading(&[], &[1]);
        for partition in [-1, 0, 9, i32::MAX] {
            assert!(seeing.partition(Uuid::ZERO, partition, 20).is_err());
        }
        seeing.partition(Uuid::ZERO, 1, 20).unwrap();
        seeing.batch(&batch(0, 5), &[]).unwrap();
        assert!(seeing.batch(&batch(0, 5), &[]).is_err(), "the same again");
        let mut blind = reading(&["--blind"], &[1]);
        blind.partition(Uuid::ZERO, 0, 20).unwrap();
        for _ in 0..2 {
            blind.batch(&batch(0, 5), &[]).unwrap();
        }
        assert_eq!((blind.records, asked(&mut blind, 1)), (10, vec![(1, 0)]));
    }
}
