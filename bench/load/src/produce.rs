//! `produce`: a closed loop. Each connection keeps so many requests in flight, and sends the next one when an answer is in.
//!
//! Always holds: every answer belongs to the oldest request in flight and takes all its batches, or the run fails; at the
//! end the offsets of the topic have grown by what was acknowledged. Without acknowledgements (`--acks 0`) a last request
//! on each connection is answered when the broker has handled all before it, and only then the clock stops.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use klamm_model::TimestampMs;
use klamm_records::Compression;

use crate::open_loop::histogram;
use crate::produce_frame::{ProduceFrame, Producer, Shape};
use crate::report::{self, Quantiles, Stopwatch};
use crate::socket::Socket;
use crate::topics::{Topics, Where};
use crate::{admin, clock, poll::Poll, produce_answer};

/// Answers are short, so this is room for those of a whole round.
const READ_BYTES: usize = 64 << 10;

/// What to send, and how much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// Connections; the first one begins at partition 0, the next one at partition 1.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 5)]
    in_flight: usize,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 100)]
    record_bytes: usize,
    /// Records of a batch.
    #[arg(long, default_value_t = 1)]
    batch_records: usize,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(long, default_value = "none")]
    codec: Compression,
    /// 0, 1 or -1 (all).
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_parser = clap::value_parser!(i16).range(-1..=1))]
    acks: i16,
    #[command(flatten)]
    until: Until,
    /// Batches of a request, each for another partition.
    #[arg(long, default_value_t = 1)]
    batches_per_request: usize,
    /// Threads, which share the connections.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Each connection is an idempotent producer.
    #[arg(long)]
    idempotent: bool,
    /// Records have keys, so many different ones in turn; without, they have none. A batch has each key once.
    #[arg(long)]
    keys: Option<u64>,
    /// Time each request from when it is sent until its answer is in.
    #[arg(long)]
    timed: bool,
}

/// When to stop.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Until {
    /// Stop after so many bytes of values, before compression.
    #[arg(long)]
    bytes: Option<i64>,
    /// Stop after so many seconds.
    #[arg(long)]
    seconds: Option<f64>,
}

/// What all threads send.
struct Work {
    frames: Vec<ProduceFrame>,
    acks: i16,
    in_flight: usize,
    /// Bytes of values that may still be sent.
    left: AtomicI64,
    /// Nothing is sent after this time.
    stop_at: u64,
    timed: bool,
    barrier: Bytes,
}

/// What was acknowledged.
#[derive(Default)]
struct Tally {
    requests: u64,
    records: u64,
    batch_bytes: u64,
    payload_bytes: u64,
    /// From sent to acknowledged, where it is asked for.
    times: Option<Histogram<u64>>,
    /// CPU time of the thread.
    cpu: u64,
}

impl Args {
    fn validate(&self) -> Result<()> {
        ensure!(self.partitions > 0 && self.connections > 0 && self.in_flight > 0);
        ensure!(
            (1..=self.connections).contains(&self.threads),
            "a thread needs a connection"
        );
        ensure!(self.batches_per_request > 0, "a request has a batch");
        let even = usize::try_from(self.partitions)?.is_multiple_of(self.batches_per_request);
        ensure!(even, "the batches of a request must divide the partitions");
        ensure!(
            !self.idempotent || self.acks == -1,
            "an idempotent producer needs --acks -1"
        );
        ensure!(
            !self.idempotent || self.in_flight <= 5,
            "brokers remember five batches of an idempotent producer"
        );
        if let Some(keys) = self.keys {
            ensure!(
                self.batches_per_request == 1,
                "requests with keys have one batch each"
            );
            let even = keys > 0 && keys.is_multiple_of(self.batch_records as u64);
            ensure!(even, "the records of a batch must divide the keys");
        }
        ensure!(
            !self.timed || self.acks != 0,
            "what is not answered cannot be timed"
        );
        Ok(())
    }

    /// A request for each group of partitions; with keys, one for each batch of them, which take turns at the partitions.
    fn frames(&self, topics: &Topics) -> Result<Vec<ProduceFrame>> {
        let shape = Shape {
            record_bytes: self.record_bytes,
            records: self.batch_records,
            codec: self.codec,
            acks: self.acks,
            first_key: None,
        };
        let now = TimestampMs(clock::wall_ms());
        if let Some(keys) = self.keys {
            let partitions = (0..self.partitions).cycle();
            let firsts = (0..keys).step_by(self.batch_records);
            return partitions
                .zip(firsts)
                .map(|(partition, first)| {
                    let first_key = Some(first);
                    ProduceFrame::encode(topics.ids[0], &[partition], Shape { first_key, ..shape }, now)
                })
                .collect();
        }
        let partitions: Vec<i32> = (0..self.partitions).collect();
        let groups = partitions.chunks(self.batches_per_request);
        groups
            .map(|group| ProduceFrame::encode(topics.ids[0], group, shape, now))
            .collect()
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.validate()?;
    let mut topics = args.place.find(1, args.partitions)?;
    let mut work = Work {
        frames: args.frames(&topics)?,
        acks: args.acks,
        in_flight: args.in_flight,
        left: AtomicI64::new(args.until.bytes.unwrap_or(i64::MAX)),
        stop_at: u64::MAX,
        timed: args.timed,
        barrier: admin::frame(0, admin::API_VERSIONS, &admin::api_versions())?,
    };
    let mut shares: Vec<Vec<Connection>> = (0..args.threads).map(|_| Vec::new()).collect();
    for index in 0..args.connections {
        let producer = if args.idempotent {
            Some(topics.producer()?)
        } else {
            None
        };
        let connection = Connection {
            socket: Socket::connect(topics.leader)?,
            producer,
            next: index % work.frames.len(),
            correlation_id: 0,
            expected: VecDeque::with_capacity(args.in_flight),
            stopped: false,
        };
        shares[index % args.threads].push(connection);
    }
    let before = topics.records()?;
    report::gate("ready")?;

    let watch = Stopwatch::start();
    if let Some(seconds) = args.until.seconds {
        work.stop_at = clock::now() + (seconds * clock::SECOND as f64) as u64;
    }
    let tallies = drive(shares, &work)?;
    let sum = |field: fn(&Tally) -> u64| tallies.iter().map(field).sum::<u64>();
    let busiest = tallies.iter().map(|tally| tally.cpu).max().unwrap_or_default();
    let mut done = watch.stop_with(sum(|tally| tally.requests), busiest);
    let records = sum(|tally| tally.records);
    done.records = Some(records);
    done.bytes = Some(sum(|tally| tally.batch_bytes));
    done.payload_bytes = Some(sum(|tally| tally.payload_bytes));
    done.ack_us = times(&tallies)?;
    report::say(&done)?;
    topics.expect(before, records)
}

/// What all threads have timed, if they did.
fn times(tallies: &[Tally]) -> Result<Option<Quantiles>> {
    let mut all = tallies.iter().filter_map(|tally| tally.times.as_ref());
    let Some(mut sum) = all.next().cloned() else {
        return Ok(None);
    };
    for times in all {
        sum.add(times)?;
    }
    Ok(Some(Quantiles::from(&sum)))
}

fn drive(shares: Vec<Vec<Connection>>, work: &Work) -> Result<Vec<Tally>> {
    thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || round(share, work)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
            .collect()
    })
}

/// Drives the connections of one thread to their end.
fn round(mut connections: Vec<Connection>, work: &Work) -> Result<Tally> {
    let mut tally = Tally::default();
    if work.timed {
        tally.times = Some(histogram()?);
    }
    let mut poll = Poll::new()?;
    let mut buffer = vec![0; READ_BYTES];
    let mut ready: Vec<usize> = (0..connections.len()).collect();
    let mut again = Vec::new();
    for (number, connection) in connections.iter().enumerate() {
        poll.add(connection.socket.stream(), number)?;
    }
    if work.stop_at != u64::MAX {
        poll.wake_at(work.stop_at)?;
    }
    let mut open = connections.len();
    let mut over = false;
    while open > 0 {
        for number in ready.drain(..) {
            let connection = &mut connections[number];
            if connection.is_done() {
                continue;
            }
            connection.receive(&mut buffer, work, &mut tally)?;
            if connection.send(work, over, &mut tally)? {
                again.push(number);
            }
            open -= usize::from(connection.is_done());
        }
        if open > 0 {
            poll.wait(&mut ready, again.is_empty())?;
            ready.append(&mut again);
        }
        if !over && work.stop_at != u64::MAX && clock::now() >= work.stop_at {
            over = true;
            // A connection without acknowledgements may have nothing to wait for.
            ready = (0..connections.len()).collect();
        }
    }
    tally.cpu = clock::thread_cpu();
    Ok(tally)
}

/// A connection and what is in flight on it.
struct Connection {
    socket: Socket,
    producer: Option<Producer>,
    /// The frame to send next.
    next: usize,
    correlation_id: i32,
    /// The requests in flight, oldest first.
    expected: VecDeque<Expected>,
    /// Nothing more will be sent.
    stopped: bool,
}

struct Expected {
    correlation_id: i32,
    /// The frame that was sent; `None` for the last request, which only asks whether all others are done.
    frame: Option<usize>,
    /// When it was sent, where that is asked for.
    sent: u64,
}

impl Connection {
    fn is_done(&self) -> bool {
        self.stopped && self.expected.is_empty()
    }

    fn receive(&mut self, buffer: &mut [u8], work: &Work, tally: &mut Tally) -> Result<()> {
        let expected = &mut self.expected;
        self.socket.read(buffer, |bytes| {
            let now = if work.timed { clock::now() } else { 0 };
            let mut used = 0;
            while let Some(length) = produce_answer::complete(&bytes[used..])? {
                let frame = &bytes[used + 4..used + 4 + length];
                let request = expected
                    .pop_front()
                    .ok_or_else(|| anyhow!("an answer to no request"))?;
                match request.frame {
                    Some(index) => {
                        let sent = &work.frames[index];
                        produce_answer::check(frame, request.correlation_id, sent.batches())?;
                        tally.count(sent);
                        if let Some(times) = &mut tally.times {
                            times.saturating_record((now - request.sent) / 1000);
                        }
                    }
                    None => produce_answer::check_barrier(frame, request.correlation_id)?,
                }
                used += 4 + length;
            }
            Ok(used)
        })
    }

    /// Sends what may be in flight; true when more could be sent without waiting.
    fn send(&mut self, work: &Work, over: bool, tally: &mut Tally) -> Result<bool> {
        let unanswered = work.acks == 0;
        // What is on its way has to leave before more of the unanswered is queued, or memory would grow.
        let room = match (self.stopped, unanswered) {
            (true, _) => 0,
            (false, true) if !self.socket.out().is_empty() => 0,
            (false, true) => work.in_flight,
            (false, false) => work.in_flight - self.expected.len(),
        };
        let sent = if work.timed { clock::now() } else { 0 };
        for _ in 0..room {
            let frame = &work.frames[self.next];
            if over || !work.claim(frame) {
                self.stop(work);
                break;
            }
            self.correlation_id = self.correlation_id.wrapping_add(1);
            let producer = self.producer.as_mut();
            frame.queue(self.socket.out(), self.correlation_id, producer);
            if unanswered {
                tally.count(frame);
            } else {
                self.expected.push_back(Expected {
                    correlation_id: self.correlation_id,
                    frame: Some(self.next),
                    sent,
                });
            }
            self.next = (self.next + 1) % work.frames.len();
        }
        self.socket.flush()?;
        Ok(unanswered && !self.stopped && self.socket.out().is_empty())
    }

    fn stop(&mut self, work: &Work) {
        self.stopped = true;
        if work.acks == 0 {
            // Its correlation id is zero, as encoded.
            self.socket.out().share(work.barrier.clone());
            self.expected.push_back(Expected {
                correlation_id: 0,
                frame: None,
                sent: 0,
            });
        }
    }
}

impl Work {
    /// Takes the bytes of a frame off what is left to send.
    fn claim(&self, frame: &ProduceFrame) -> bool {
        let bytes = i64::try_from(frame.payload_bytes()).expect("a frame is below 2 GiB");
        self.left.fetch_sub(bytes, Ordering::Relaxed) > 0
    }
}

impl Tally {
    fn count(&mut self, frame: &ProduceFrame) {
        self.requests += 1;
        self.records += frame.records();
        self.batch_bytes += frame.batch_bytes();
        self.payload_bytes += frame.payload_bytes();
    }
}
