//! Those who wait for the markers of a transaction, in the order in which they came.
//!
//! Always holds: nobody overtakes anybody. Who adds partitions has the producer's next epoch, so all of them are one producer:
//! a request for each broker that it writes to, several at a time, and each once more when a connection breaks. Those that follow
//! each other are one addition with several askers. Nobody but the producer's own instances asks anything else.

use super::request::RequestKind;
use super::shard::Waiting;
use super::state::merge;
use crate::contract::Ticket;

/// Requests that add partitions: five under way to each of two hundred brokers.
const ADDING_AT_MOST: usize = 1000;
/// All others. An instance has one under way.
const OTHERS_AT_MOST: usize = 64;

/// See the head of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Queue {
    requests: Vec<(Vec<Ticket>, Waiting)>,
}

impl Queue {
    pub(super) fn push(&mut self, tickets: Vec<Ticket>, request: Waiting) {
        if let (Some((before, Waiting::AddPartitions(last))), Waiting::AddPartitions(added)) =
            (self.requests.last_mut(), &request)
            && (last.producer, last.version) == (added.producer, added.version)
        {
            before.extend(tickets);
            merge(&mut last.partitions, &added.partitions);
            return;
        }
        self.requests.push((tickets, request));
    }

    pub(super) fn requests(&self) -> &[(Vec<Ticket>, Waiting)] {
        &self.requests
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Everybody who waits, and for what.
    pub(super) fn askers(&self) -> impl Iterator<Item = (Ticket, RequestKind)> {
        let requests = self.requests.iter();
        requests.flat_map(|(tickets, request)| tickets.iter().map(|ticket| (*ticket, request.kind())))
    }

    pub(super) fn occupancy(&self) -> Occupancy {
        let mut occupancy = Occupancy::default();
        for (tickets, request) in &self.requests {
            *occupancy.of(request).0 += tickets.len();
        }
        occupancy
    }
}

/// How many wait.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Occupancy {
    adding: usize,
    others: usize,
}

impl Occupancy {
    /// How many of the kind there are, and how many there may be.
    fn of(&mut self, request: &Waiting) -> (&mut usize, usize) {
        match request {
            Waiting::AddPartitions(_) => (&mut self.adding, ADDING_AT_MOST),
            Waiting::InitProducerId(_) | Waiting::EndTransaction(_) => (&mut self.others, OTHERS_AT_MOST),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.adding + self.others == 0
    }

    /// Counts so many in; without room for them, nobody.
    pub(super) fn admit(&mut self, request: &Waiting, askers: usize) -> bool {
        let (count, limit) = self.of(request);
        let has_room = *count + askers <= limit;
        if has_room {
            *count += askers;
        }
        has_room
    }
}
