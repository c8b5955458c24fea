//! `latency` and `follow`: records are sent at a fixed rate, whatever the broker does, and their way is timed.
//!
//! A record's time is counted from the moment at which it was to be sent, not from when it was sent: what waits behind a
//! slow answer counts as slow, so the measurement does not take a break when the broker does (coordinated omission). The
//! value carries that moment; a consumer that follows all partitions takes the difference.
//!
//! Producers and consumer share one thread. The clock is then one, and beside the broker there is one busy thread, not
//! two, for two cores; a second thread would let the broker wait for a core exactly when a record is due. What it costs
//! is that a record due while an answer is read leaves some microseconds late, and `slip_us` shows how late: from the
//! schedule to when the driver got to it, waiting for the broker not included. The thread sleeps on a timer between
//! records and polls for the last stretch only, at most 60 microseconds and a tenth of the time: a processor takes some
//! 40 microseconds to wake here, which would be a third of a record's way at 1,000 a second, while a thread that always
//! polls would take its core from the broker. (1,000 a second: slip 43 us and 6 % of a core asleep, 0 us and 8 % so.)
//!
//! With `--alone` nobody consumes, and acknowledgements alone are timed, from the same moment.

use anyhow::{Result, bail, ensure};
use hdrhistogram::Histogram;
use klamm_model::TimestampMs;
use klamm_records::Compression;

use crate::clock;
use crate::consumer::Consumer;
use crate::paced::Producers;
use crate::poll::Poll;
use crate::produce_frame::{ProduceFrame, STAMP_BYTES, Shape};
use crate::report::{self, Quantiles, Stopwatch};
use crate::topics::{Topics, Where};

/// What one read takes at most, and with it the largest batch.
const READ_BYTES: usize = 4 << 20;
/// What a processor that sleeps takes to wake, which is most on a virtual machine.
const LONGEST_AWAKE: u64 = 60_000;
/// How long the last records may take to arrive.
pub(crate) const PATIENCE: u64 = 30 * clock::SECOND;
/// Latencies up to two minutes, in microseconds.
const LONGEST_US: u64 = 120_000_000;

/// What `latency` and `follow` have in common.
#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    place: Where,
    /// Partitions of each topic.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// Records a second, evenly spread over time and partitions.
    #[arg(long)]
    rate: u64,
    /// For how many seconds.
    #[arg(long)]
    seconds: f64,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 100)]
    record_bytes: usize,
    /// 0, 1 or -1 (all).
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_parser = clap::value_parser!(i16).range(-1..=1))]
    acks: i16,
}

/// One topic, one or more producing connections.
#[derive(Debug, clap::Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    common: Common,
    /// Connections that produce, in turn.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Nobody consumes.
    #[arg(long)]
    alone: bool,
}

/// Many partitions that one consumer follows.
#[derive(Debug, clap::Args)]
pub(crate) struct Follow {
    #[command(flatten)]
    common: Common,
    /// Topics; with more than one, `-0`, `-1`, ... is put behind the name.
    #[arg(long, default_value_t = 1)]
    topics: usize,
}

pub(crate) fn latency(args: &Latency) -> Result<()> {
    ensure!(args.connections > 0);
    ensure!(
        !args.alone || args.common.acks != 0,
        "without acknowledgements and consumers nothing is timed"
    );
    run(&args.common, 1, args.connections, !args.alone)
}

pub(crate) fn follow(args: &Follow) -> Result<()> {
    ensure!(args.topics > 0);
    run(&args.common, args.topics, 1, true)
}

/// When each record is due.
#[derive(Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) start: u64,
    pub(crate) rate: u64,
    pub(crate) count: u64,
}

impl Schedule {
    /// When record `index` is due; `None` after the last one.
    pub(crate) fn due(&self, index: u64) -> Option<u64> {
        let nanos = u128::from(index) * u128::from(clock::SECOND) / u128::from(self.rate);
        (index < self.count).then(|| self.start + u64::try_from(nanos).expect("within the run"))
    }

    /// How long before a record is due the driver no longer sleeps.
    pub(crate) fn awake(&self) -> u64 {
        LONGEST_AWAKE.min(clock::SECOND / self.rate / 10)
    }
}

fn run(args: &Common, topic_count: usize, connections: usize, with_consumer: bool) -> Result<()> {
    ensure!(args.rate > 0 && args.partitions > 0);
    let count = (args.rate as f64 * args.seconds) as u64;
    ensure!(count > 0, "no record is due");
    ensure!(
        args.record_bytes >= STAMP_BYTES,
        "a value has room for a time of {STAMP_BYTES} bytes"
    );
    let mut topics = args.place.find(topic_count, args.partitions)?;
    let before = topics.records()?;
    let mut poll = Poll::new()?;
    let mut buffer = vec![0; READ_BYTES];
    let mut producers = Producers::connect(&poll, &topics, frames(args, &topics)?, connections, args.acks)?;
    let mut consumer = None;
    if with_consumer {
        consumer = Some(Consumer::connect(
            &mut poll,
            &mut topics,
            connections,
            args.record_bytes,
            &mut buffer,
        )?);
    }
    report::gate("ready")?;

    let watch = Stopwatch::start();
    let schedule = Schedule {
        start: clock::now(),
        rate: args.rate,
        count,
    };
    let slip = drive(
        &mut poll,
        schedule,
        &mut producers,
        consumer.as_mut(),
        &mut buffer,
    )?;
    let fetches = consumer.as_ref().map_or(0, Consumer::requests);
    let mut done = watch.stop(producers.sent() + fetches);
    // What the consumer saw is in the histogram; whoever compares the two must get two counts.
    done.records = Some(producers.sent());
    done.bytes = consumer.as_ref().map(Consumer::bytes);
    done.payload_bytes = Some(producers.sent() * args.record_bytes as u64);
    if args.acks != 0 {
        done.ack_us = Some(Quantiles::from(producers.times()));
    }
    done.end_to_end_us = consumer
        .as_ref()
        .map(|consumer| Quantiles::from(consumer.times()));
    done.slip_us = Some(Quantiles::from(&slip));
    report::say(&done)?;
    topics.expect(before, schedule.count)
}

/// A request of one record for each partition.
fn frames(args: &Common, topics: &Topics) -> Result<Vec<ProduceFrame>> {
    let shape = Shape {
        record_bytes: args.record_bytes,
        records: 1,
        codec: Compression::None,
        acks: args.acks,
        first_key: None,
    };
    let now = TimestampMs(clock::wall_ms());
    let partitions = topics
        .ids
        .iter()
        .flat_map(|id| (0..args.partitions).map(move |partition| (*id, partition)));
    partitions
        .map(|(id, partition)| ProduceFrame::encode(id, &[partition], shape, now))
        .collect()
}

/// Sends what is due and takes what comes, until all has come; says how late the driver was.
fn drive(
    poll: &mut Poll,
    schedule: Schedule,
    producers: &mut Producers,
    mut consumer: Option<&mut Consumer>,
    buffer: &mut [u8],
) -> Result<Histogram<u64>> {
    let mut slip = histogram()?;
    let mut ready = Vec::new();
    let mut next = 0;
    let mut armed = None;
    let last = schedule.due(schedule.count - 1).unwrap_or(schedule.start);
    loop {
        let now = clock::now();
        while let Some(due) = schedule.due(next).filter(|due| *due <= now) {
            slip.saturating_record((clock::now() - due) / 1000);
            producers.due(next, due)?;
            next += 1;
        }
        let all_sent = next == schedule.count;
        let came = consumer
            .as_ref()
            .map_or(producers.times().len(), |consumer| consumer.times().len());
        if all_sent && producers.is_idle() && came >= schedule.count {
            return Ok(slip);
        }
        if now > last + PATIENCE {
            bail!(
                "{came} of {} records came, 30 s after the last was due",
                schedule.count
            );
        }
        let due = schedule.due(next).unwrap_or(last + PATIENCE + 1);
        let wake = due - schedule.awake();
        if armed != Some(wake) {
            poll.wake_at(wake)?;
            armed = Some(wake);
        }
        poll.wait(&mut ready, now < wake)?;
        for number in &ready {
            match &mut consumer {
                Some(consumer) if *number == consumer.number() => consumer.turn(buffer)?,
                _ => producers.turn(*number, buffer)?,
            }
        }
    }
}

/// An empty histogram of microseconds, exact to three digits.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST_US, 3)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_due_evenly_without_drift() {
        let schedule = Schedule {
            start: 1000,
            rate: 3,
            count: 3_000_001,
        };
        for (index, due) in [
            (0, Some(1000)),
            (1, Some(333_334_333)),
            (3, Some(1_000_001_000)),
            (3_000_000, Some(1_000_000_000_001_000)),
            (3_000_001, None),
        ] {
            assert_eq!(schedule.due(index), due, "{index}");
        }
    }
}
