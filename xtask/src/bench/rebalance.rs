//! Groups whose members come and go: how long it takes, and what it costs the broker.
//!
//! Always holds: the load program says before each time that it is ready and after it that all have settled, and the broker's
//! CPU time is read at these moments; how the group gets to the next time is not in it. The topic is made once, and each
//! run has a group of its own.

use anyhow::Result;

use super::{driver::Driver, measured::Measured, probe, scenario::Rebalance, window::Window, work::Worker};

impl Worker<'_> {
    pub(super) fn rebalance(&mut self, rebalance: &Rebalance) -> Result<Measured> {
        let topic = self.shared_topic(rebalance.partitions)?;
        let mut driver = self.subject.drive(&topic, &rebalance.arguments())?;
        let pid = self.subject.pid()?;
        // With what comes before the first time: to open it then would take longer than there is.
        let whole = Window::open(pid)?;
        let mut cpu = 0.0;
        for _ in 0..rebalance.rounds {
            driver.reach("ready")?;
            cpu += round(&mut driver, pid)?;
        }
        let done = driver.done()?;
        let mut measured = whole.close(Some(done), rebalance.rounds)?;
        measured.foreign = whole.foreign(driver.cpu()?)?;
        measured.cpu_seconds = cpu;
        driver.end()?;
        Ok(measured)
    }

    /// The topic that all groups of this side share.
    fn shared_topic(&mut self, partitions: u16) -> Result<String> {
        if let Some(topic) = &self.shared {
            return Ok(topic.clone());
        }
        let topic = self.subject.new_topic();
        self.subject.create(&topic, 1, partitions)?;
        self.shared = Some(topic.clone());
        Ok(topic)
    }
}

/// From *ready* to *settled*: what the process used in it, in seconds.
fn round(driver: &mut Driver, pid: u32) -> Result<f64> {
    let before = probe::cpu(pid)?;
    driver.go()?;
    driver.reach("settled")?;
    let used = probe::cpu(pid)? - before;
    driver.go()?;
    Ok(used.as_secs_f64())
}
