//! Which brokers are heard of: the only state of the controller that is not in the image.
//!
//! Always holds: a broker has a session from its registration or heartbeat with *this* controller on. One of which a new
//! controller has not heard yet is given the same time to show up, but it does not keep its own next incarnation from
//! registering: a lone node that was killed is back at once.
//!
//! Times are durations since any fixed moment.

use std::collections::BTreeMap;
use std::time::Duration;

use klamm_model::BrokerId;

use crate::image::Image;

/// Who was heard of, and when.
#[derive(Clone, Debug)]
pub struct Sessions {
    timeout: Duration,
    brokers: BTreeMap<BrokerId, Session>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    epoch: i64,
    heard: Duration,
    /// Whether `heard` is a real sign of life, and not the start of this controller.
    alive: bool,
    metadata_offset: i64,
    /// The metadata offset at which it began to stop.
    stops_since: Option<i64>,
}

impl Sessions {
    /// The sessions of a controller that begins at `now`.
    pub fn new(image: &Image, timeout: Duration, now: Duration) -> Self {
        let expected = |epoch| Session {
            epoch,
            heard: now,
            alive: false,
            metadata_offset: -1,
            stops_since: None,
        };
        let unfenced = image.cluster().brokers().filter(|broker| !broker.fenced);
        let brokers = unfenced
            .map(|broker| (broker.id, expected(broker.epoch)))
            .collect();
        Self { timeout, brokers }
    }

    /// Notes a sign of life of the broker's incarnation `epoch`, which has the metadata up to `metadata_offset`.
    pub fn heard(&mut self, broker: BrokerId, epoch: i64, metadata_offset: i64, now: Duration) {
        let earlier = self.brokers.get(&broker).filter(|earlier| earlier.epoch == epoch);
        let stops_since = earlier.and_then(|earlier| earlier.stops_since);
        let session = Session {
            epoch,
            heard: now,
            alive: true,
            metadata_offset,
            stops_since,
        };
        self.brokers.insert(broker, session);
    }

    /// Notes that the broker began to stop with the change at `metadata_offset`: the others have to know of it first.
    pub fn shutting_down(&mut self, broker: BrokerId, metadata_offset: i64) {
        if let Some(session) = self.brokers.get_mut(&broker) {
            session.stops_since.get_or_insert(metadata_offset);
        }
    }

    /// The metadata offset at which the broker began to stop, as far as this controller saw it.
    pub fn shutdown_begun(&self, broker: BrokerId) -> Option<i64> {
        self.brokers.get(&broker)?.stops_since
    }

    /// Forgets a broker that was fenced or has left.
    pub fn forget(&mut self, broker: BrokerId) {
        self.brokers.remove(&broker);
    }

    /// Whether the broker's incarnation `epoch` has shown itself to this controller, and not too long ago.
    pub fn is_alive(&self, broker: BrokerId, epoch: i64, now: Duration) -> bool {
        self.brokers.get(&broker).is_some_and(|session| {
            session.alive && session.epoch == epoch && now.saturating_sub(session.heard) < self.timeout
        })
    }

    /// The brokers that have been silent for too long.
    pub fn expired(&self, now: Duration) -> impl Iterator<Item = BrokerId> {
        let silent = move |session: &Session| now.saturating_sub(session.heard) >= self.timeout;
        self.brokers
            .iter()
            .filter(move |(_, session)| silent(session))
            .map(|(id, _)| *id)
    }

    /// When the next session ends, if nothing is heard until then.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.brokers
            .values()
            .map(|session| session.heard.saturating_add(self.timeout))
            .min()
    }

    /// The metadata offset that all brokers but `except` have reached, as far as they are heard of.
    pub fn lowest_metadata_offset(&self, except: BrokerId) -> Option<i64> {
        let others = self.brokers.iter().filter(|(id, _)| **id != except);
        others.map(|(_, session)| session.metadata_offset).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn silence_ends_a_session() {
        let mut sessions = Sessions::new(&Image::default(), at(9), at(0));
        assert_eq!(sessions.next_expiry(), None);
        sessions.heard(BrokerId(1), 5, 10, at(1));
        sessions.heard(BrokerId(2), 6, 20, at(3));
        assert_eq!(sessions.next_expiry(), Some(at(10)));
        assert_eq!(sessions.lowest_metadata_offset(BrokerId(1)), Some(20));
        for (now, expired) in [(9, vec![]), (10, vec![1]), (12, vec![1, 2])] {
            let ids: Vec<_> = sessions.expired(at(now)).map(|id| id.0).collect();
            assert_eq!(ids, expired, "at {now}");
        }
        for (epoch, now, alive) in [(5, 9, true), (5, 10, false), (4, 2, false)] {
            assert_eq!(sessions.is_alive(BrokerId(1), epoch, at(now)), alive);
        }
        sessions.forget(BrokerId(1));
        assert_eq!(sessions.next_expiry(), Some(at(12)));
    }
}
