//! The measured part of a run: what a process and the machine had used when it began, and what they have used since.
//!
//! Always holds: what others used of the machine is what neither the process nor its client did, up to the moment at which
//! it is asked.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    driver::{Done, Driver},
    measured::Measured,
    probe::{self, Machine, Memory},
};

impl Measured {
    /// Reads memory again, and how much has come since.
    pub(super) fn regard(&mut self, before: Memory, pid: u32) -> Result<()> {
        self.memory = Memory::of(pid)?;
        self.grown = self.memory.anonymous as i64 - before.anonymous as i64;
        Ok(())
    }
}

/// A process and the machine, from now on.
pub(super) struct Window {
    pid: u32,
    pub(super) memory: Memory,
    machine: Machine,
    cpu: Duration,
    begun: Instant,
}

impl Window {
    pub(super) fn open(pid: u32) -> Result<Self> {
        let memory = Memory::of(pid)?;
        Ok(Window {
            pid,
            memory,
            machine: Machine::now()?,
            cpu: probe::cpu(pid)?,
            begun: Instant::now(),
        })
    }

    /// Lets the load program work, and closes when it is done.
    pub(super) fn over(self, mut driver: Driver) -> Result<Measured> {
        driver.go()?;
        let done = driver.done()?;
        let measured = self.close(Some(done), 1)?;
        driver.end()?;
        Ok(measured)
    }

    pub(super) fn close(&self, done: Option<Done>, count: u32) -> Result<Measured> {
        let cpu_seconds = (probe::cpu(self.pid)? - self.cpu).as_secs_f64();
        let wall = self.begun.elapsed().as_secs_f64();
        let mut measured = Measured {
            seconds: done.as_ref().map_or(wall, |done| done.seconds),
            cpu_seconds,
            memory: self.memory,
            count,
            done,
            ..Measured::default()
        };
        if let Some(done) = &measured.done {
            measured.foreign = self.foreign(Duration::try_from_secs_f64(done.driver_cpu_seconds)?)?;
        }
        measured.regard(self.memory, self.pid)?;
        Ok(measured)
    }

    /// The share of the machine that others have used until now, beside the process and a client that used so much.
    pub(super) fn foreign(&self, client: Duration) -> Result<f64> {
        let ours = probe::cpu(self.pid)? - self.cpu + client;
        Ok(Machine::now()?.foreign_share(&self.machine, ours))
    }
}
