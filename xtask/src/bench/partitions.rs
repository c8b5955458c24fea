//! Partitions: made, written, at rest.
//!
//! Always holds: partitions count as made when all of them answer for themselves.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    measured::Measured,
    offsets,
    scenario::{Amount, Load, Partitions, Process},
    window::Window,
    work::Worker,
};

/// How long new partitions may take to be served.
const SERVED_LIMIT: Duration = Duration::from_secs(120);
/// Short beside that, and long beside what a look costs.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

impl Worker<'_> {
    pub(super) fn partitions(&mut self, partitions: Partitions) -> Result<Measured> {
        let Partitions {
            before,
            count,
            process,
            watched,
        } = partitions;
        // What is paged in and allocated once is not what a partition costs.
        let small = self.subject.new_topic();
        self.subject.create(&small, 1, before)?;
        self.write_each(&small, before)?;
        self.rest(process);
        let topic = self.subject.new_topic();
        let partitions = count.to_string();
        let arguments = [
            "create",
            "--impatient",
            "--topics",
            "1",
            "--partitions",
            &partitions,
        ]
        .map(str::to_owned);
        let mut driver = self.subject.drive(&topic, &arguments)?;
        driver.reach("ready")?;
        let window = Window::open(self.subject.pid()?)?;
        let before = window.memory;
        driver.go()?;
        let done = driver.done()?;
        self.wait_until_served(&topic, count)?;
        let mut measured = window.close(None, u32::from(count))?;
        measured.foreign = window.foreign(Duration::try_from_secs_f64(done.driver_cpu_seconds)?)?;
        measured.done = Some(done);
        driver.end()?;
        self.write_each(&topic, count)?;
        self.rest(Process::Fresh);
        measured.regard(before, self.subject.pid()?)?;
        if let Some(watched) = watched.filter(|_| !self.is_warming) {
            let idle = Window::open(self.subject.pid()?)?;
            thread::sleep(watched);
            let idle = idle.close(None, 0)?;
            measured.idle = Some(idle.cpu_seconds / idle.seconds);
        }
        if process == Process::Warm {
            self.subject.delete(&topic, 1)?;
            self.subject.delete(&small, 1)?;
        }
        Ok(measured)
    }

    /// Waits until each partition answers for itself: Kafka shows leaders before there are logs.
    pub(super) fn wait_until_served(&self, topic: &str, partitions: u16) -> Result<()> {
        let begun = Instant::now();
        let mut looking = offsets::Looking::new(self.subject.address(), topic, partitions)?;
        loop {
            let Err(error) = looking.look() else {
                return Ok(());
            };
            if begun.elapsed() > SERVED_LIMIT {
                return Err(error);
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// One record of an idempotent producer to each partition.
    fn write_each(&self, topic: &str, partitions: u16) -> Result<()> {
        let load = Load {
            traced: None,
            topics: 1,
            partitions,
            fill: None,
            command: "produce --connections 1 --in-flight 1 --record-bytes 100 --batch-records 1 --codec none \
                      --idempotent",
            amount: Amount::Megabytes(u64::from(partitions).div_ceil(1_000)),
        };
        let done = self.subject.drive(topic, &load.arguments())?.complete()?;
        self.compare_counts(&load, topic, &done)
    }
}
