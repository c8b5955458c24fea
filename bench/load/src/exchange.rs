//! A connection with one request in flight, of any API: for members of groups and for producers with transactions, whose
//! requests are few and differ from each other.
//!
//! Always holds: an answer belongs to the request in flight, or the run fails; what is asked leaves at once.

use std::net::{SocketAddr, TcpStream};

use anyhow::{Result, ensure};
use bytes::Bytes;
use klamm_protocol::{Message, Reader, Request, ResponseHeader};

use crate::socket::Socket;
use crate::{admin, clock, produce_answer};

/// What an answer may take: that of a leader names all members, that of a heartbeat all partitions.
pub(crate) const READ_BYTES: usize = 256 << 10;

/// The connection.
pub(crate) struct Exchange {
    socket: Socket,
    correlation_id: i32,
    waits: bool,
}

impl Exchange {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self {
            socket: Socket::connect(address)?,
            correlation_id: 0,
            waits: false,
        })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.socket.stream()
    }

    /// Whether there is a request in flight.
    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    /// Sends a request; says when.
    pub(crate) fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<u64> {
        ensure!(
            !self.waits,
            "{} is to be sent while another request is in flight",
            R::NAME
        );
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = admin::frame(self.correlation_id, version, request)?;
        self.socket.out().copy(&frame);
        self.waits = true;
        let now = clock::now();
        self.socket.flush()?;
        Ok(now)
    }

    /// Something happened: the answer, if it has come, for [`read`](Self::read).
    pub(crate) fn turn(&mut self, buffer: &mut [u8]) -> Result<Option<Bytes>> {
        let Self { socket, waits, .. } = self;
        let mut answer = None;
        socket.read(buffer, |bytes| {
            let Some(length) = produce_answer::complete(bytes)? else {
                return Ok(0);
            };
            ensure!(std::mem::take(waits), "an answer to no request");
            answer = Some(Bytes::copy_from_slice(&bytes[4..4 + length]));
            Ok(4 + length)
        })?;
        socket.flush()?;
        Ok(answer)
    }

    /// Reads the answer to the last request, which was an `R`.
    pub(crate) fn read<R: Request>(&self, version: i16, answer: Bytes) -> Result<R::Response> {
        let mut reader = Reader::new(answer);
        let header = ResponseHeader::decode(&mut reader, R::KEY, version)?;
        ensure!(
            header.correlation_id == self.correlation_id,
            "the answer to {} belongs to another request",
            R::NAME
        );
        let answer = R::Response::decode(&mut reader, version)?;
        reader.finish()?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use klamm_protocol::messages::heartbeat_request::HeartbeatRequest;
    use klamm_protocol::messages::heartbeat_response::HeartbeatResponse;
    use klamm_protocol::{ApiKey, Writer, encode_response};

    use super::*;
    use crate::poll::Poll;

    /// An exchange whose first request is answered by these bytes.
    fn answered_by(bytes: &[u8]) -> Result<HeartbeatResponse> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut exchange = Exchange::connect(listener.local_addr()?)?;
        let (mut broker, _) = listener.accept()?;
        exchange.ask(4, &HeartbeatRequest::default())?;
        assert!(exchange.waits() && exchange.ask(4, &HeartbeatRequest::default()).is_err());
        let mut length = [0; 4];
        broker.read_exact(&mut length)?;
        broker.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize])?;
        let mut poll = Poll::new()?;
        poll.add(exchange.stream(), 0)?;
        broker.write_all(bytes)?;
        let (mut ready, mut buffer) = (Vec::new(), vec![0; 1024]);
        loop {
            poll.wait(&mut ready, true)?;
            if let Some(answer) = exchange.turn(&mut buffer)? {
                assert!(!exchange.waits());
                return exchange.read::<HeartbeatRequest>(4, answer);
            }
        }
    }

    fn answer(correlation_id: i32) -> Vec<u8> {
        let mut writer = Writer::contiguous();
        let response = HeartbeatResponse::default();
        encode_response(&mut writer, ApiKey::Heartbeat, correlation_id, 4, &response).unwrap();
        writer.into_bytes().to_vec()
    }

    #[test]
    fn an_answer_is_that_of_the_request_in_flight() {
        assert_eq!(answered_by(&answer(1)).unwrap(), HeartbeatResponse::default());
        let error = answered_by(&answer(2)).unwrap_err().to_string();
        assert!(error.contains("another request"), "{error}");
    }
}
