//! How long a process takes from its start until it acknowledges a record: on one partition, on many after an orderly end, on much
//! data after a kill.
//!
//! Always holds: a client tries without a pause from before the process is started, with one record, acks=all, for a topic that
//! is there; what the earlier life of the process wrote is on the device, and still in the page cache.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    disk, here,
    measured::Measured,
    probe::{self, Machine, Memory},
    restart::Waiting,
    scenario::{Amount, Filling, Load},
    work::{JUDGED, Worker},
};
use crate::process;

/// Partitions of one topic at most: a decision of Kafka's controller has 10,000 records.
const OF_ONE_TOPIC: u16 = 9_000;
/// What a broker takes beside its data: a journal, indexes.
const BESIDE_DATA: u64 = 2_000_000_000;

impl Worker<'_> {
    /// From the start of the process to the first acknowledged record. A topic is there from an earlier life that
    /// ended in order.
    pub(super) fn begin(&mut self, waiting: &Path) -> Result<Measured> {
        self.one_record(waiting)?;
        self.subject.broker()?.terminate()?;
        self.first_ack(waiting, &[])
    }

    /// The same, with so many more partitions, each of which holds 10 KB; and how long it takes until all of them answer.
    pub(super) fn begin_on(&mut self, partitions: u16, waiting: &Path) -> Result<Measured> {
        self.one_record(waiting)?;
        let mut topics = Vec::new();
        for count in in_topics(partitions) {
            let topic = self.subject.new_topic();
            self.subject.create(&topic, 1, count)?;
            let load = ten_kilobytes_each(count);
            let done = self.subject.drive(&topic, &load.arguments())?.complete()?;
            self.compare_counts(&load, &topic, &done)?;
            topics.push((topic, count));
        }
        self.subject.broker()?.terminate()?;
        disk::settle(&self.subject.log_dir()?)?;
        self.first_ack(waiting, &topics)
    }

    /// A process is killed when it holds little, and once more when it holds much.
    pub(super) fn begin_killed(&mut self, filling: &Filling, waiting: &Path) -> Result<Measured> {
        let folder = self.subject.log_dir()?;
        here::has_room(&folder, filling.much_mb * 1_000_000 + BESIDE_DATA)?;
        self.one_record(waiting)?;
        let topic = self.subject.new_topic();
        self.subject.create(&topic, 1, filling.partitions)?;
        let little = self.fill_and_kill(filling, &topic, filling.little_mb, waiting)?;
        let more = filling.much_mb - filling.little_mb;
        let much = self.fill_and_kill(filling, &topic, more, waiting)?;
        Ok(Measured {
            earlier_seconds: Some(little.seconds),
            foreign: little.foreign.max(much.foreign),
            ..much
        })
    }

    fn fill_and_kill(
        &mut self,
        filling: &Filling,
        topic: &str,
        megabytes: u64,
        waiting: &Path,
    ) -> Result<Measured> {
        let load = Load {
            traced: None,
            topics: 1,
            partitions: filling.partitions,
            fill: None,
            command: filling.command,
            amount: Amount::Megabytes(megabytes),
        };
        // It compares what was acknowledged with what has come.
        self.subject.drive(topic, &load.arguments())?.complete()?;
        self.subject.broker()?.kill()?;
        disk::settle(&self.subject.log_dir()?)?;
        self.first_ack(waiting, &[])
    }

    /// The topic that the waiting client writes to, with a record.
    fn one_record(&mut self, waiting: &Path) -> Result<()> {
        let mut fill = std::process::Command::new(waiting);
        fill.args(["--bootstrap", self.subject.address(), "fill"]);
        fill.args(["--records", "1", "--bytes", "100", "--partitions", "1"]);
        process::quietly(&mut fill)
    }

    /// Starts the process, which does not run, and waits for its first acknowledgement, and for all partitions of `topics`.
    fn first_ack(&mut self, waiting: &Path, topics: &[(String, u16)]) -> Result<Measured> {
        let broker = self.subject.broker()?;
        let mut client = Waiting::start(waiting, broker.address())?;
        let (tried, machine) = (client.cpu()?, Machine::now()?);
        let begun = Instant::now();
        broker.restart()?;
        let acknowledged = client.acknowledged()?;
        let pid = broker.pid().context("the broker does not run")?;
        let cpu = probe::cpu(pid)?;
        for (topic, partitions) in topics {
            self.wait_until_served(topic, *partitions)?;
        }
        let served = begun.elapsed();
        // Too short a start is judged with what comes behind it.
        thread::sleep(JUDGED.saturating_sub(begun.elapsed()));
        let ours = probe::cpu(pid)? + client.cpu()?.saturating_sub(tried);
        let foreign = Machine::now()?.foreign_share(&machine, ours);
        Ok(Measured {
            seconds: (acknowledged - begun).as_secs_f64(),
            cpu_seconds: cpu.as_secs_f64(),
            memory: Memory::of(pid)?,
            count: 1,
            foreign,
            served_seconds: (!topics.is_empty())
                .then_some(served)
                .as_ref()
                .map(Duration::as_secs_f64),
            ..Measured::default()
        })
    }
}

/// So many partitions, divided among topics.
fn in_topics(partitions: u16) -> Vec<u16> {
    let full = usize::from(partitions / OF_ONE_TOPIC);
    let rest = partitions % OF_ONE_TOPIC;
    let full = std::iter::repeat_n(OF_ONE_TOPIC, full);
    full.chain((rest > 0).then_some(rest)).collect()
}

/// A batch of a hundred records to each partition. Their number is one that hundreds divide.
fn ten_kilobytes_each(partitions: u16) -> Load {
    Load {
        traced: None,
        topics: 1,
        partitions,
        fill: None,
        command: "produce --connections 1 --in-flight 5 --record-bytes 100 --batch-records 100 --batches-per-request 10 \
                  --codec none",
        amount: Amount::Megabytes(u64::from(partitions) / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_topic_has_more_partitions_than_a_controller_decides_at_once() {
        for (partitions, expected) in [
            (1_000, &[1_000][..]),
            (9_000, &[9_000]),
            (10_000, &[9_000, 1_000]),
        ] {
            assert_eq!(in_topics(partitions), expected);
        }
    }

    #[test]
    fn each_partition_has_a_batch() {
        let line = ten_kilobytes_each(1_000).arguments().join(" ");
        assert!(line.ends_with("--partitions 1000 --bytes 10000000"), "{line}");
    }
}
