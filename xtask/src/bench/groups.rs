//! What is done with groups that have committed offsets: many of them at rest, and a broker that starts on them.
//!
//! Always holds: the load program has made sure that every group's offsets are there, after each run.

use std::{thread, time::Instant};

use anyhow::{Context, Result};

use super::{
    driver::Driver,
    measured::Measured,
    probe::{self, Machine, Memory},
    scenario::Process,
    subject::Side,
    window::Window,
    work::{JUDGED, Worker},
};

/// Partitions that a group commits in one request.
const PARTITIONS: u16 = 10;
/// Groups that commit before those that are measured.
const FIRST: u32 = 500;
const CONNECTIONS: u32 = 10;

impl Worker<'_> {
    /// A new topic, and groups that are about to commit to it.
    fn committing(&mut self, groups: u32, requests: u32) -> Result<(String, Driver)> {
        let topic = self.subject.new_topic();
        self.subject.create(&topic, 1, PARTITIONS)?;
        let mut driver = self.subject.drive(
            &topic,
            &arguments(
                "commit",
                &[
                    ("--partitions", PARTITIONS.into()),
                    ("--connections", CONNECTIONS.min(groups)),
                    ("--groups", groups),
                    ("--requests", requests),
                ],
            ),
        )?;
        driver.reach("ready")?;
        Ok((topic, driver))
    }

    /// Groups that commit once each, and the memory that they take at rest.
    pub(super) fn groups(&mut self, count: u32) -> Result<Measured> {
        // What is paged in and allocated once is not what a group costs.
        let (small, mut first) = self.committing(FIRST, FIRST)?;
        first.go()?;
        first.done()?;
        first.end()?;
        self.rest(Process::Fresh);
        let (topic, driver) = self.committing(count, count)?;
        let before = self.held()?;
        let mut measured = Window::open(self.subject.pid()?)?.over(driver)?;
        self.rest(Process::Fresh);
        measured.count = count;
        measured.grown = self.held()? - before;
        self.subject.delete(&topic, 1)?;
        self.subject.delete(&small, 1)?;
        Ok(measured)
    }

    /// What the process holds. A virtual machine keeps pages that it no longer needs: there it is the objects alone.
    fn held(&self) -> Result<i64> {
        let pid = self.subject.pid()?;
        let bytes = match self.subject.side {
            Side::Kafka => probe::live_objects(pid)?,
            _ => Memory::of(pid)?.anonymous,
        };
        Ok(i64::try_from(bytes)?)
    }

    /// A process starts on so many records of committed offsets. The time is that from its first answer to the one that tells the
    /// last group's offsets: the start itself is not in it.
    pub(super) fn group_load(&mut self, groups: u32, records: u32) -> Result<Measured> {
        let (topic, mut driver) = self.committing(groups, records / u32::from(PARTITIONS))?;
        driver.go()?;
        driver.done()?;
        driver.end()?;
        self.subject.broker()?.terminate()?;
        let waiting = [("--partitions", PARTITIONS.into()), ("--groups", groups)];
        let mut driver = self.subject.drive(&topic, &arguments("offsets", &waiting))?;
        driver.reach("ready")?;
        let (machine, tried, begun) = (Machine::now()?, driver.cpu()?, Instant::now());
        driver.go()?;
        let broker = self.subject.broker()?;
        broker.restart()?;
        let pid = broker.pid().context("the broker does not run")?;
        let done = driver.done()?;
        let cpu = probe::cpu(pid)?;
        // Too short a run is judged with what comes behind it.
        thread::sleep(JUDGED.saturating_sub(begun.elapsed()));
        let ours = probe::cpu(pid)? + driver.cpu()?.saturating_sub(tried);
        let foreign = Machine::now()?.foreign_share(&machine, ours);
        driver.end()?;
        let measured = Measured {
            seconds: done.seconds,
            cpu_seconds: cpu.as_secs_f64(),
            memory: Memory::of(pid)?,
            count: records,
            foreign,
            done: Some(done),
            ..Measured::default()
        };
        Ok(measured)
    }
}

fn arguments(command: &str, options: &[(&str, u32)]) -> Vec<String> {
    let options = options
        .iter()
        .flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]);
    [command.to_owned()].into_iter().chain(options).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_follow_the_command() {
        let all = arguments("commit", &[("--groups", 5), ("--requests", 7)]);
        assert_eq!(all.join(" "), "commit --groups 5 --requests 7");
    }
}
