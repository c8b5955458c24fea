//! What a leader knows of one follower.
//!
//! Always holds: the follower is as good as its last fetch said; a fetch that reaches the end which the log had at the fetch
//! before proves that it had everything *then*.

use std::time::Duration;

use klamm_model::{BrokerId, Offset};

use super::FollowerFetch;
use crate::assignment::LogEnds;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) id: BrokerId,
    /// -1 until it says.
    pub(super) broker_epoch: i64,
    pub(super) ends: LogEnds,
    pub(super) log_start: Option<Offset>,
    pub(super) eligible: bool,
    /// When it had all of the leader's log.
    caught_up: Duration,
    /// The leader's log end at its last fetch, and when that was.
    last_leader_end: Offset,
    last_fetch: Duration,
}

impl Progress {
    /// A follower of which nothing is known since `now`.
    pub(super) fn new(id: BrokerId, now: Duration) -> Self {
        Self {
            id,
            broker_epoch: -1,
            ends: LogEnds::default(),
            log_start: None,
            eligible: false,
            caught_up: now,
            last_leader_end: Offset(i64::MAX),
            last_fetch: now,
        }
    }

    pub(super) fn fetched(&mut self, fetch: &FollowerFetch, leader_end: Offset, now: Duration) {
        if fetch.ends.log_end >= leader_end {
            self.caught_up = self.caught_up.max(now);
        } else if fetch.ends.log_end >= self.last_leader_end {
            self.caught_up = self.caught_up.max(self.last_fetch);
        }
        self.broker_epoch = fetch.broker_epoch;
        self.ends = fetch.ends;
        self.log_start = Some(fetch.log_start);
        self.eligible = fetch.eligible;
        self.last_leader_end = leader_end;
        self.last_fetch = now;
    }

    /// Whether it has all of the log, or had it not longer than `max_lag` ago.
    pub(super) fn is_caught_up(&self, leader_end: Offset, now: Duration, max_lag: Duration) -> bool {
        let has_all = self.log_start.is_some() && self.ends.log_end >= leader_end;
        has_all || now.saturating_sub(self.caught_up) <= max_lag
    }
}
