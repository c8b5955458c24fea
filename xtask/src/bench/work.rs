//! Does what a row says, once, with one side, and reads off what it took.
//!
//! Always holds: CPU, memory and the machine are read at the moment at which the load program says *ready* and at the one
//! at which it says *done*; making and removing topics is outside. What the load program counted is compared with what
//! the broker says it holds, after every run.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    driver::{Done, Driver},
    librdkafka::{self, Kcat, Writing},
    measured::Measured,
    offsets,
    programs::Programs,
    scenario::{Amount, Load, Process, Scenario, Work},
    subject::{Side, Subject},
    syncs::{Counted, Counting, Durability, Shown},
    window::Window,
};

/// What comes late (a flush behind, a close) has come by then.
const REST: Duration = Duration::from_secs(2);
/// The same where only time is measured, and memory is not.
const SHORT_REST: Duration = Duration::from_secs(1);
/// Connections that are opened at once while warming.
const WARMING_CONNECTIONS: u32 = 1_000;
/// The machine counts its time in ticks of 10 ms: a shorter stretch says too little about who else used it.
pub(super) const JUDGED: Duration = Duration::from_millis(500);

/// A side, with what it keeps between runs.
pub(super) struct Worker<'a> {
    pub(super) subject: Subject<'a>,
    durability: Durability,
    /// Where files go that several sides use.
    place: PathBuf,
    pub(super) filled: Option<Filled>,
    /// The topic of groups whose members come and go.
    pub(super) shared: Option<String>,
    /// Nothing is measured, and nobody waits for what is measured at rest.
    pub(super) is_warming: bool,
}

/// A topic that is read again and again.
#[derive(Clone)]
pub(super) struct Filled {
    pub(super) topic: String,
    /// What was written to it; nothing is, to the limit program.
    pub(super) written: Option<Done>,
}

impl<'a> Worker<'a> {
    pub(super) fn start(
        side: Side,
        scenario: &Scenario,
        programs: &'a Programs,
        place: &Path,
    ) -> Result<Self> {
        Ok(Worker {
            subject: Subject::start(side, scenario, programs, place)?,
            durability: scenario.durability_of(side),
            place: place.to_owned(),
            filled: None,
            shared: None,
            is_warming: false,
        })
    }

    /// One run.
    pub(super) fn once(&mut self, work: &Work, programs: &Programs) -> Result<Measured> {
        match *work {
            Work::Load(load) => self.load(&load),
            Work::Connections { count, process } => self.connections(count, process),
            Work::Partitions(partitions) => self.partitions(partitions),
            Work::Start => self.begin(&programs.waiting),
            Work::StartOn { partitions } => self.begin_on(partitions, &programs.waiting),
            Work::StartKilled(filling) => self.begin_killed(&filling, &programs.waiting),
            Work::Through(load, pieces) => self.through(&load, pieces),
            Work::Librdkafka { records, codec } => self.librdkafka(records, codec),
            Work::Groups { count } => self.groups(count),
            Work::GroupLoad { groups, records } => self.group_load(groups, records),
            Work::Rebalance(rebalance) => self.rebalance(&rebalance),
            Work::Written(load) => self.written(&load),
            Work::Cold(cold) => self.cold(&cold),
            Work::Compact(compaction) => self.compact(&compaction),
            Work::Stored(load) => self.stored(&load),
        }
        .with_context(|| format!("{}\n{}", self.subject.side.name(), self.subject.tail()))
    }

    /// The same work, without measuring it, for at least this long.
    pub(super) fn warm(&mut self, work: &Work, programs: &Programs, time: Duration) -> Result<()> {
        let mut worked = Duration::ZERO;
        self.is_warming = true;
        while worked < time {
            let begun = Instant::now();
            let run = self.once(work, programs)?;
            // What is done besides, topics that come and go, programs that start, is no load. Partitions are work from
            // when they are made until they are removed.
            worked += match work {
                Work::Load(_)
                | Work::Librdkafka { .. }
                | Work::Connections { .. }
                | Work::Written(_)
                | Work::Cold(_)
                | Work::Stored(_) => Duration::try_from_secs_f64(run.seconds)?,
                Work::Partitions(_)
                | Work::Start
                | Work::Through(..)
                | Work::Groups { .. }
                | Work::GroupLoad { .. }
                | Work::Rebalance(_)
                | Work::StartOn { .. }
                | Work::StartKilled(_)
                | Work::Compact(_) => begun.elapsed(),
            };
        }
        self.is_warming = false;
        Ok(())
    }

    pub(super) fn rest(&self, process: Process) {
        if !self.is_warming {
            thread::sleep(match process {
                Process::Warm => SHORT_REST,
                Process::Fresh => REST,
            });
        }
    }

    /// A short run, in which the calls are counted that wait for the device; none of work that is no load of its own.
    pub(super) fn count_syncs(&mut self, work: &Work) -> Result<Option<Counted>> {
        let (Work::Load(load) | Work::Written(load)) = work else {
            return Ok(None);
        };
        let (topic, driver) = self.ready(&load.short())?;
        let counting = Counting::begin(self.subject.pid()?)?;
        let done = Window::open(self.subject.pid()?)?.over(driver)?;
        let calls = counting.end()?;
        self.finish(&load.short(), &topic, done.done.as_ref())?;
        let done = done.done.context("a load says what it did")?;
        let counted = Counted {
            calls,
            requests: done.requests.context("a load counts its requests")?,
            seconds: done.seconds,
            records: done.records.context("a load counts its records")?,
            shown: done.shown().map(|shown| Shown {
                count: shown.count,
                within: Duration::from_secs_f64(shown.p50 / 1e6),
            }),
            one_by_one: self.subject.side == Side::Kafka,
        };
        self.durability
            .check(&counted)
            .with_context(|| self.subject.side.name())?;
        Ok(Some(counted))
    }

    fn load(&mut self, load: &Load) -> Result<Measured> {
        let (topic, driver) = self.ready(load)?;
        let measured = Window::open(self.subject.pid()?)?.over(driver)?;
        self.finish(load, &topic, measured.done.as_ref())?;
        Ok(measured)
    }

    /// The topic, and the load program, set up and waiting.
    pub(super) fn ready(&mut self, load: &Load) -> Result<(String, Driver)> {
        let topic = match load.fill_arguments() {
            Some(arguments) => self.filled(load, &arguments)?.topic,
            None => {
                let topic = self.subject.new_topic();
                self.subject.create(&topic, load.topics, load.partitions)?;
                topic
            }
        };
        if !self.subject.is_broker() {
            // It is new, since it knows no topics to remove; a broker has warmed.
            self.subject
                .drive(&topic, &load.brief().arguments())?
                .complete()?;
            self.subject.settle_disk()?;
        }
        let mut driver = self.subject.drive(&topic, &load.arguments())?;
        driver.reach("ready")?;
        Ok((topic, driver))
    }

    /// The topic that is read, written when it is not there yet.
    pub(super) fn filled(&mut self, load: &Load, arguments: &[String]) -> Result<Filled> {
        if let Some(filled) = &self.filled {
            return Ok(filled.clone());
        }
        let topic = self.subject.new_topic();
        let written = if self.subject.is_broker() {
            self.subject.create(&topic, load.topics, load.partitions)?;
            let done = self.subject.drive(&topic, arguments)?.complete()?;
            self.compare_counts(load, &topic, &done)?;
            Some(done)
        } else {
            None
        };
        let filled = Filled { topic, written };
        self.filled = Some(filled.clone());
        Ok(filled)
    }

    /// Compares counts, and removes what was written.
    pub(super) fn finish(&mut self, load: &Load, topic: &str, done: Option<&Done>) -> Result<()> {
        let done = done.context("a load says what it did")?;
        if load.fill.is_some() {
            if let Some(written) = self.filled.as_ref().and_then(|filled| filled.written.as_ref()) {
                read_what_was_written(done, written, load.amount)?;
            }
            return Ok(());
        }
        self.compare_counts(load, topic, done)?;
        self.subject.delete(topic, load.topics)
    }

    /// An error when the broker does not hold what the load program had acknowledged.
    pub(super) fn compare_counts(&self, load: &Load, topic: &str, done: &Done) -> Result<()> {
        if !self.subject.is_broker() {
            return Ok(());
        }
        let mut held = 0;
        for name in names(topic, load.topics) {
            held += offsets::records(self.subject.address(), &name, load.partitions)?;
        }
        let written = done.records.context("a producer counts its records")?;
        ensure!(
            held == written,
            "the broker holds {held} records, the load program wrote {written}"
        );
        all_were_seen(done, written)
    }

    fn connections(&mut self, count: u32, process: Process) -> Result<Measured> {
        let count = if self.is_warming {
            WARMING_CONNECTIONS
        } else {
            count
        };
        let few = ["idle", "--connections", "10"].map(str::to_owned);
        let mut first = self.subject.drive("none", &few)?;
        first.reach("begin")?;
        first.go()?;
        first.complete()?;
        let arguments = ["idle", "--connections", &count.to_string()].map(str::to_owned);
        let mut driver = self.subject.drive("none", &arguments)?;
        driver.reach("begin")?;
        let started = driver.cpu()?;
        let window = Window::open(self.subject.pid()?)?;
        driver.go()?;
        driver.reach("ready")?;
        let mut measured = window.close(None, count)?;
        let at_ready = window.foreign(driver.cpu()? - started)?;
        self.rest(process);
        // Too short a run is judged with the rest behind it.
        let with_rest = window.foreign(driver.cpu()? - started)?;
        let is_long = measured.seconds >= JUDGED.as_secs_f64();
        measured.foreign = if is_long { at_ready } else { with_rest };
        measured.regard(window.memory, self.subject.pid()?)?;
        driver.go()?;
        measured.done = Some(driver.done()?);
        driver.end()?;
        // The broker notices that they are closed.
        self.rest(process);
        Ok(measured)
    }

    fn librdkafka(&mut self, count: u64, codec: &str) -> Result<Measured> {
        if let Some(reason) = librdkafka::missing() {
            bail!("{reason}");
        }
        let lines = librdkafka::lines(&self.place, count)?;
        let load = Load {
            traced: None,
            topics: 1,
            partitions: 6,
            fill: None,
            command: "",
            amount: Amount::Megabytes(0),
        };
        let topic = self.subject.new_topic();
        self.subject.create(&topic, load.topics, load.partitions)?;
        let window = Window::open(self.subject.pid()?)?;
        let done = Kcat::start(&Writing {
            address: self.subject.address(),
            topic: &topic,
            codec,
            lines: &lines,
            count,
        })?
        .done()?;
        let measured = window.close(Some(done), 1)?;
        self.finish(&load, &topic, measured.done.as_ref())?;
        Ok(measured)
    }

    fn through(&mut self, load: &Load, pieces: u32) -> Result<Measured> {
        let mut all = self.load(load)?;
        for _ in 1..pieces {
            let piece = self.load(load)?;
            all.seconds += piece.seconds;
            all.cpu_seconds += piece.cpu_seconds;
            all.foreign = all.foreign.max(piece.foreign);
            all.memory = piece.memory;
        }
        Ok(all)
    }
}

/// The names of the topics that the load program makes under one.
fn names(topic: &str, topics: u16) -> Vec<String> {
    if topics == 1 {
        return vec![topic.to_owned()];
    }
    (0..topics).map(|index| format!("{topic}-{index}")).collect()
}

/// An error when a consumer beside the producers, if there is one, saw another number of records than were written.
fn all_were_seen(done: &Done, written: u64) -> Result<()> {
    if let Some(seen) = done.end_to_end_us {
        ensure!(
            seen.count == written,
            "of {written} records {} were seen by a consumer",
            seen.count
        );
    }
    Ok(())
}

/// An error when a reader did not get as much as it wanted, or batches that hold another number of records.
pub(super) fn read_what_was_written(read: &Done, written: &Done, amount: Amount) -> Result<()> {
    let of = |done: &Done| Some((done.records? as f64, done.bytes? as f64));
    let (read_records, read_bytes) = of(read).context("a reader counts records and bytes")?;
    let (records, bytes) = of(written).context("a producer counts records and bytes")?;
    if let Amount::Megabytes(wanted) = amount {
        ensure!(
            read_bytes >= wanted as f64 * 1e6,
            "{read_bytes} bytes were read, {wanted} MB were wanted"
        );
    }
    let ratio = (read_records / read_bytes) / (records / bytes);
    ensure!(
        (0.99..1.01).contains(&ratio),
        "{read_records} records in {read_bytes} bytes were read, {records} in {bytes} were written"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::driver::Quantiles;

    fn counts(records: u64, bytes: u64) -> Done {
        Done {
            records: Some(records),
            bytes: Some(bytes),
            ..Done::default()
        }
    }

    #[test]
    fn a_reader_gets_what_was_written_as_often_as_it_likes() {
        let written = counts(1_000, 1_000_000);
        let wanted = Amount::Megabytes(2);
        assert!(read_what_was_written(&counts(2_000, 2_000_000), &written, wanted).is_ok());
        for (records, bytes) in [(1_000, 1_000_000), (1_900, 2_000_000), (0, 2_000_000)] {
            let read = counts(records, bytes);
            assert!(
                read_what_was_written(&read, &written, wanted).is_err(),
                "{records} {bytes}"
            );
        }
        assert!(read_what_was_written(&Done::default(), &written, wanted).is_err());
    }

    #[test]
    fn a_consumer_beside_the_producers_sees_every_record_once() {
        let seen = |count| Done {
            end_to_end_us: Some(Quantiles {
                count,
                ..Quantiles::default()
            }),
            ..Done::default()
        };
        assert!(all_were_seen(&seen(10), 10).is_ok());
        assert!(all_were_seen(&Done::default(), 10).is_ok());
        for count in [9, 11] {
            let error = all_were_seen(&seen(count), 10).unwrap_err().to_string();
            assert!(error.contains(&count.to_string()), "{error}");
        }
    }

    #[test]
    fn several_topics_are_numbered() {
        assert_eq!(names("t", 1), ["t"]);
        assert_eq!(names("t", 2), ["t-0", "t-1"]);
    }
}
