//! The producers of an open loop: a record leaves when it is due, unless five of its connection are on their way.
//!
//! Always holds: what is due is sent in order, and timed from when it was due.

use std::collections::VecDeque;

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;

use crate::open_loop::histogram;
use crate::poll::Poll;
use crate::produce_frame::ProduceFrame;
use crate::socket::Socket;
use crate::topics::Topics;
use crate::{clock, produce_answer};

/// Requests in flight on one connection, the limit of Kafka's own producer.
const IN_FLIGHT: usize = 5;

/// Connections that take turns, each over all partitions.
pub(crate) struct Producers {
    frames: Vec<ProduceFrame>,
    connections: Vec<Connection>,
    acks: i16,
    /// From due to acknowledged.
    times: Histogram<u64>,
    sent: u64,
}

struct Connection {
    socket: Socket,
    /// Due, but not sent: the number of the record and when it was due.
    waiting: VecDeque<(u64, u64)>,
    /// Sent, but not answered: the correlation id and when it was due.
    expected: VecDeque<(i32, u64)>,
    correlation_id: i32,
}

impl Producers {
    /// Connects, and has `poll` report connection i as number i.
    pub(crate) fn connect(
        poll: &Poll,
        topics: &Topics,
        frames: Vec<ProduceFrame>,
        connections: usize,
        acks: i16,
    ) -> Result<Self> {
        let connect = |number| {
            let socket = Socket::connect(topics.leader)?;
            poll.add(socket.stream(), number)?;
            Ok(Connection {
                socket,
                waiting: VecDeque::new(),
                expected: VecDeque::with_capacity(IN_FLIGHT),
                correlation_id: 0,
            })
        };
        Ok(Self {
            frames,
            connections: (0..connections).map(connect).collect::<Result<_>>()?,
            acks,
            times: histogram()?,
            sent: 0,
        })
    }

    /// How long acknowledgements took.
    pub(crate) fn times(&self) -> &Histogram<u64> {
        &self.times
    }

    /// How many records were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether all that was due is sent and acknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        let idle = |one: &Connection| one.waiting.is_empty() && one.expected.is_empty();
        self.connections.iter().all(idle)
    }

    /// Record `index` is due.
    pub(crate) fn due(&mut self, index: u64, due: u64) -> Result<()> {
        let number = usize::try_from(index % self.connections.len() as u64)?;
        self.connections[number].waiting.push_back((index, due));
        self.send(number)
    }

    /// Something happened on connection `number`.
    pub(crate) fn turn(&mut self, number: usize, buffer: &mut [u8]) -> Result<()> {
        let connection = &mut self.connections[number];
        let (expected, times) = (&mut connection.expected, &mut self.times);
        connection.socket.read(buffer, |bytes| {
            let now = clock::now();
            let mut used = 0;
            while let Some(length) = produce_answer::complete(&bytes[used..])? {
                let frame = &bytes[used + 4..used + 4 + length];
                let request = expected.pop_front();
                let (correlation_id, due) = request.ok_or_else(|| anyhow!("an answer to no request"))?;
                produce_answer::check(frame, correlation_id, 1)?;
                times.saturating_record((now - due) / 1000);
                used += 4 + length;
            }
            Ok(used)
        })?;
        self.send(number)
    }

    /// Sends what is due, as far as it may be in flight.
    fn send(&mut self, number: usize) -> Result<()> {
        let connection = &mut self.connections[number];
        while connection.expected.len() < IN_FLIGHT {
            let Some((index, due)) = connection.waiting.pop_front() else {
                break;
            };
            connection.correlation_id = connection.correlation_id.wrapping_add(1);
            let frame = &self.frames[usize::try_from(index % self.frames.len() as u64)?];
            frame.queue_stamped(connection.socket.out(), connection.correlation_id, due);
            self.sent += 1;
            if self.acks != 0 {
                connection.expected.push_back((connection.correlation_id, due));
            }
        }
        connection.socket.flush()
    }
}
