//! From a frame to an answer: reads the header, finds the row of the API, has it handled, encodes.
//!
//! Always holds: an unknown API, a version that is not served and a malformed request end the connection with one logged
//! reason, except that ApiVersions is always answered (KIP-511). Decoding runs under the request's allowance and the
//! node's pool.

use std::sync::Arc;
use std::time::Duration;

use klamm_net::{Connection, ConnectionInfo, Frame, Outcome, Output, Overlap, Piece, Service};
use klamm_protocol::{
    ApiKey, DecodeError, EncodeError, HoleContent, MemoryPool, Message, RequestHeader, RequestPrefix, Writer,
    encode_response,
};

use crate::answer_memory::AnswerMemory;
use crate::api_table::{self, Row};
use crate::body::Body;
use crate::broker::Broker;
use crate::context::RequestContext;
use crate::handlers::{api_versions, fetch, produce};
use crate::metrics::Phases;
use crate::pool::DecodePool;

/// What a connection keeps for encoding the next answer.
const KEPT_BYTES: usize = 64 * 1024;

/// Why a request ends its connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The number of the API is unknown, or it is not served.
    #[error("request with API key {0}, which is not served")]
    NotServed(i16),
    /// The API has no such version.
    #[error("{api} request of version {version}; served are {min} to {max}")]
    Version {
        api: &'static str,
        version: i16,
        min: i16,
        max: i16,
    },
    /// The bytes are not a request.
    #[error("malformed {api} request: {error}")]
    Malformed { api: &'static str, error: DecodeError },
    /// The answer does not fit its version: a mistake of ours.
    #[error("{api} response could not be encoded: {error}")]
    Encode { api: &'static str, error: EncodeError },
    /// The header is cut.
    #[error("malformed request header: {0}")]
    Header(DecodeError),
    /// The request may not be answered, by the rules of its API.
    #[error("{0}")]
    Refused(String),
}

/// The connections of clients.
#[derive(Clone)]
pub(crate) struct ClientService {
    pub(crate) broker: Arc<Broker>,
}

impl Service for ClientService {
    type Connection = Client;

    fn connect(&self, info: ConnectionInfo) -> Client {
        Client {
            decode_pool: Arc::new(DecodePool::new(self.broker.request_memory.for_connection())),
            broker: self.broker.clone(),
            info,
            writer: Writer::new(),
            produce: None,
            fetch: None,
        }
    }

    fn panicked(&self, does: &str, why: &str) {
        self.broker.vitals.panicked(does, why);
    }

    fn metrics(&self) -> &dyn klamm_net::NetMetrics {
        &self.broker.metrics
    }
}

/// One client's connection.
pub(crate) struct Client {
    broker: Arc<Broker>,
    /// The node's memory, counted by this connection.
    decode_pool: Arc<dyn MemoryPool>,
    info: ConnectionInfo,
    /// Memory for encoding, used again by each answer.
    writer: Writer,
    /// Of a connection that produces.
    produce: Option<Box<produce::Reused>>,
    /// Of a connection that fetches.
    fetch: Option<Box<fetch::Reused>>,
}

/// What a serial handler's request is read from and its answer written to.
pub(crate) struct Serial<'a> {
    /// Kept until the answer is written.
    pub(crate) body: &'a mut Body,
    writer: &'a mut Writer,
}

impl<'a> Serial<'a> {
    pub(crate) fn new(body: &'a mut Body, writer: &'a mut Writer) -> Self {
        Self { body, writer }
    }

    pub(crate) async fn decode<M: Message>(&mut self, version: i16) -> Result<M, Fault> {
        let decoded = self.body.decode(|reader| M::decode(reader, version)).await;
        decoded.map_err(|error| Fault::Malformed { api: M::NAME, error })
    }

    pub(crate) fn encode<M: Message>(&mut self, header: &RequestHeader, response: &M) -> Result<(), Fault> {
        encode(
            self.writer,
            header.api_key,
            header.correlation_id,
            header.api_version,
            response,
        )
    }
}

/// A request that is decided on and waits for long.
pub(crate) struct Wait<'a> {
    body: &'a mut Body,
    phases: &'a mut Phases,
    context: &'a RequestContext<'a>,
}

impl<'a> Wait<'a> {
    pub(crate) fn new(body: &'a mut Body, phases: &'a mut Phases, context: &'a RequestContext<'a>) -> Self {
        Self {
            body,
            phases,
            context,
        }
    }

    /// From now on until the answer nothing of the request is kept, nor what it may overdraw.
    pub(crate) fn begin(self) {
        self.body.let_go();
        self.context.memory.begin(self.body.answer_charge());
        self.phases.wait(&self.context.broker.env);
    }
}

/// Encodes a response with its length and header.
pub(crate) fn encode<M: Message>(
    writer: &mut Writer,
    api: ApiKey,
    correlation_id: i32,
    version: i16,
    response: &M,
) -> Result<(), Fault> {
    encode_response(writer, api, correlation_id, version, response).map_err(|error| Fault::Encode {
        api: api.name(),
        error,
    })
}

/// What stands for a token of an answer.
pub(crate) enum External<'a> {
    /// Bytes that go out as they are.
    Piece(Piece),
    /// Bytes that are copied between the others.
    Copy(&'a [u8]),
}

/// Moves what was written, an answer of `api`, into `out`; `external` gives what stands for a token.
pub(crate) fn emit<'a>(
    writer: &mut Writer,
    api: ApiKey,
    out: &mut Output,
    mut external: impl FnMut(u32) -> Option<External<'a>>,
) {
    let mut from = 0;
    for hole in writer.holes() {
        out.buffer().extend_from_slice(&writer.buffer()[from..hole.at]);
        from = hole.at;
        let content = match &hole.content {
            HoleContent::Bytes(bytes) => Some(External::Piece(Piece::Bytes(bytes.clone()))),
            HoleContent::External { token, .. } => external(*token),
        };
        match content {
            Some(External::Piece(piece)) => {
                let at = out.buffer().len();
                out.insert(at, piece);
            }
            Some(External::Copy(bytes)) => out.buffer().extend_from_slice(bytes),
            None => {}
        }
    }
    out.buffer().extend_from_slice(&writer.buffer()[from..]);
    out.end_answer(api.to_i16());
    writer.clear();
    writer.trim(KEPT_BYTES);
}

/// Whether the request is one of `row`, the row of its API if there is one.
pub(crate) fn check_version(prefix: RequestPrefix, row: Option<&Row>) -> Result<(), Fault> {
    let row = row.ok_or(Fault::NotServed(prefix.api_key))?;
    let version = prefix.api_version;
    if row.versions.contains(&version) && api_table::has_schema(row.api, version) {
        return Ok(());
    }
    let (min, max) = (*row.versions.start(), *row.versions.end());
    Err(Fault::Version {
        api: row.api.name(),
        version,
        min,
        max,
    })
}

/// Charges the answer with what its handler reserved.
pub(crate) fn hold(
    context: &RequestContext<'_>,
    header: &RequestHeader,
    out: &mut Output,
) -> Result<(), Fault> {
    let reserved = context.memory.take();
    let charge = reserved.map_err(|why| Fault::Refused(format!("{}: {why}", header.api_key.name())))?;
    if let Some(charge) = charge {
        out.hold(charge);
    }
    Ok(())
}

/// Makes a header its own: a name of a few bytes, which is a slice of the frame, would keep all of it.
fn own(header: &mut RequestHeader) {
    header.client_id = header.client_id.take().map(|name| (&*name).into());
    header.unknown_tagged_fields = Vec::new();
}

impl Client {
    async fn serve(
        &mut self,
        body: &mut Body,
        (received, is_fresh): (Duration, bool),
        out: &mut Output,
    ) -> Result<Outcome<produce::Parked>, Fault> {
        let broker = &self.broker;
        let prefix = RequestPrefix::peek(body.rest()).map_err(Fault::Header)?;
        let row = api_table::row(prefix.api_key);
        if prefix.api_key == ApiKey::ApiVersions.to_i16() && check_version(prefix, row).is_err() {
            api_versions::answer_unsupported(&mut self.writer, prefix.correlation_id)?;
            emit(&mut self.writer, ApiKey::ApiVersions, out, |_| None);
            return Ok(Outcome::Answered);
        }
        check_version(prefix, row)?;
        let mut header = body.decode(RequestHeader::decode).await.map_err(Fault::Header)?;
        if api_table::is_waiting(header.api_key) {
            own(&mut header);
        }
        let mut phases = Phases::begin(&broker.env, received, is_fresh);
        let context = RequestContext {
            broker,
            connection: &self.info,
            version: header.api_version,
            client_id: header.client_id.as_ref(),
            memory: AnswerMemory::new(&broker.request_memory),
        };
        let outcome = match header.api_key {
            ApiKey::Produce => {
                produce::handle(
                    &context,
                    &header,
                    body,
                    self.produce.get_or_insert_default(),
                    &mut self.writer,
                    out,
                    &phases,
                )
                .await?
            }
            ApiKey::Fetch => {
                let (reused, writer) = (self.fetch.get_or_insert_default(), &mut self.writer);
                fetch::handle(&context, &header, body, reused, writer, out, &mut phases).await?;
                hold(&context, &header, out)?;
                broker
                    .metrics
                    .requests
                    .served(header.api_key, &broker.env, phases);
                Outcome::Answered
            }
            _ => {
                let mut serial = Serial::new(body, &mut self.writer);
                api_table::serve_serial(&context, &header, &mut serial, &mut phases).await?;
                hold(&context, &header, out)?;
                emit(&mut self.writer, header.api_key, out, |_| None);
                broker
                    .metrics
                    .requests
                    .served(header.api_key, &broker.env, phases);
                Outcome::Answered
            }
        };
        Ok(outcome)
    }
}

impl Connection for Client {
    type Pending = produce::Parked;

    fn overlap(frame: &[u8]) -> Overlap {
        let key = frame.first_chunk::<2>().map(|key| i16::from_be_bytes(*key));
        key.and_then(api_table::row)
            .map_or(Overlap::Serial, |row| row.overlap)
    }

    // The frame is taken apart before the future begins: its argument would have room in it beside what is made of it.
    fn handle<'a>(
        &'a mut self,
        frame: Frame,
        out: &'a mut Output,
    ) -> impl Future<Output = Outcome<produce::Parked>> + Send + 'a {
        let Frame {
            bytes,
            charge,
            received,
            is_fresh,
        } = frame;
        let api_key = bytes
            .first_chunk::<2>()
            .map_or(-1, |key| i16::from_be_bytes(*key));
        let mut body = Body::new(bytes, charge, self.decode_pool.clone());
        async move {
            match self.serve(&mut body, (received, is_fresh), out).await {
                Ok(outcome) => outcome,
                Err(fault) => {
                    self.broker.metrics.requests.faulted(api_key);
                    self.writer.clear();
                    out.clear();
                    Outcome::Close(fault.to_string())
                }
            }
        }
    }
}
