//! Readiness of sockets, and a timer: epoll and timerfd.
//!
//! By rustix, which the workspace has: mio 1 wraps the same calls, but waits in whole milliseconds and has no timer, and
//! a millisecond is fifty times what the schedule of a latency run may slip. An absolute timerfd is not subject to the
//! slack of 50 microseconds that the kernel adds to the timeout of a wait.
//!
//! Always holds: sockets are registered once, edge-triggered, for both directions, so a socket costs no further call.
//! So whoever is told must read until a read comes up short, and write until all is written or the socket is full.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::Result;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::clock::SECOND;

/// What the timer is known by among the sockets.
const TIMER: u64 = u64::MAX;
/// How many sockets one wait may report.
const EVENTS: usize = 256;

/// A set of sockets and a timer to wait for.
pub(crate) struct Poll {
    epoll: OwnedFd,
    timer: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    pub(crate) fn new() -> Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), flags)?;
        Ok(Self {
            epoll,
            timer,
            events: Vec::with_capacity(EVENTS),
        })
    }

    /// Watches a socket, which is reported as `number`.
    pub(crate) fn add(&self, socket: impl AsFd, number: usize) -> Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, socket, EventData::new_u64(number as u64), flags)?;
        Ok(())
    }

    /// Watches a socket no more.
    pub(crate) fn remove(&self, socket: impl AsFd) -> Result<()> {
        epoll::delete(&self.epoll, socket)?;
        Ok(())
    }

    /// Ends a later wait at `time` of the monotonic clock, in place of what was set before.
    pub(crate) fn wake_at(&self, time: u64) -> Result<()> {
        // A time of zero would stop the timer.
        let time = time.max(1);
        let it_value = Timespec {
            tv_sec: i64::try_from(time / SECOND)?,
            tv_nsec: i64::try_from(time % SECOND)?,
        };
        let it_interval = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let time = Itimerspec {
            it_interval,
            it_value,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &time)?;
        Ok(())
    }

    /// Puts the numbers of the sockets that are ready into `ready`; waits for one, or for the timer, when `patient`.
    pub(crate) fn wait(&mut self, ready: &mut Vec<usize>, patient: bool) -> Result<()> {
        const AT_ONCE: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        ready.clear();
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut self.events),
            if patient { None } else { Some(&AT_ONCE) },
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let numbers = self.events.iter().map(|event| event.data.u64());
        ready.extend(
            numbers
                .filter(|number| *number != TIMER)
                .map(|number| number as usize),
        );
        Ok(())
    }
}
