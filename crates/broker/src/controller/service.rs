//! The connections of the controller's listener: brokers, and tools that were given a controller's address.
//!
//! Always holds: requests of a connection are answered one after the other; what is not a request of [`served`] ends the
//! connection with one logged reason, except that ApiVersions is always answered (KIP-511); what is read and decoded is
//! charged to a memory apart from the clients', because a client's request holds its own while the controller decides.

use std::sync::Arc;
use std::task::{Context, Poll};

use klamm_net::{
    Connection, ConnectionInfo, Frame, NetMetrics, Outcome, Output, Overlap, Pending, RequestMemory, Service,
};
use klamm_protocol::{ApiKey, MemoryPool, Reader, RequestHeader, RequestPrefix, Writer};

use super::Controller;
use super::served::{self, Serving};
use crate::answer_memory::AnswerMemory;
use crate::body::Body;
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::dispatch::{Fault, Serial, check_version, emit, hold};
use crate::handlers::api_versions;
use crate::metrics::Phases;

/// The connections of the controller's listener.
#[derive(Clone)]
pub(crate) struct ControllerService {
    pub(crate) controller: Arc<Controller>,
    /// The broker of the same node: its quorum, metadata and metrics are the controller's too.
    pub(crate) broker: Arc<Broker>,
    pub(crate) pool: Arc<dyn MemoryPool>,
    /// What `pool` takes from.
    pub(crate) memory: RequestMemory,
}

impl Service for ControllerService {
    type Connection = Peer;

    fn connect(&self, info: ConnectionInfo) -> Peer {
        Peer {
            service: self.clone(),
            info,
            writer: Writer::new(),
        }
    }

    fn panicked(&self, does: &str, why: &str) {
        self.broker.vitals.panicked(does, why);
    }

    fn metrics(&self) -> &dyn NetMetrics {
        &self.broker.metrics
    }
}

/// One connection.
pub(crate) struct Peer {
    service: ControllerService,
    info: ConnectionInfo,
    /// Memory for encoding, used again by each answer.
    writer: Writer,
}

/// Nothing is answered later.
pub(crate) enum Never {}

impl Pending for Never {
    fn poll_answer(&mut self, _cx: &mut Context<'_>, _out: &mut Output) -> Poll<Result<(), String>> {
        match *self {}
    }
}

impl Peer {
    async fn serve(&mut self, frame: Frame, out: &mut Output) -> Result<(), Fault> {
        let ControllerService {
            controller,
            broker,
            pool,
            memory,
        } = &self.service;
        let prefix = RequestPrefix::decode(&mut Reader::new(frame.bytes.clone())).map_err(Fault::Header)?;
        let row = served::row(prefix.api_key);
        let checked = check_version(prefix, row);
        if checked.is_err() && prefix.api_key == ApiKey::ApiVersions.to_i16() {
            api_versions::answer_unsupported(&mut self.writer, prefix.correlation_id)?;
            emit(&mut self.writer, ApiKey::ApiVersions, out, |_| None);
            return Ok(());
        }
        checked?;
        let mut body = Body::new(frame.bytes, frame.charge, pool.clone());
        let header = body.decode(RequestHeader::decode).await.map_err(Fault::Header)?;
        let phases = Phases::begin(&broker.env, frame.received, frame.is_fresh);
        let context = RequestContext {
            broker,
            connection: &self.info,
            version: header.api_version,
            client_id: header.client_id.as_ref(),
            memory: AnswerMemory::new(memory),
        };
        let serving = Serving {
            context: &context,
            controller,
        };
        let mut serial = Serial::new(&mut body, &mut self.writer);
        Box::pin(served::serve(&serving, &header, &mut serial)).await?;
        hold(&context, &header, out)?;
        emit(&mut self.writer, header.api_key, out, |_| None);
        broker
            .metrics
            .requests
            .served(header.api_key, &broker.env, phases);
        Ok(())
    }
}

impl Connection for Peer {
    type Pending = Never;

    fn overlap(_frame: &[u8]) -> Overlap {
        Overlap::Serial
    }

    async fn handle(&mut self, frame: Frame, out: &mut Output) -> Outcome<Never> {
        let api_key = frame
            .bytes
            .first_chunk::<2>()
            .map_or(-1, |key| i16::from_be_bytes(*key));
        match self.serve(frame, out).await {
            Ok(()) => Outcome::Answered,
            Err(fault) => {
                self.service.broker.metrics.requests.faulted(api_key);
                self.writer.clear();
                out.clear();
                Outcome::Close(fault.to_string())
            }
        }
    }
}
