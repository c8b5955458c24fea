//! Requests that block, for what happens before and after a measurement: versions, topics, leaders, offsets.
//!
//! Versions are the newest that Klamm and Kafka 4.4 both serve; [`Admin::open`] asks the broker whether it does.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use klamm_model::ErrorCode;
use klamm_protocol::messages::api_versions_request::ApiVersionsRequest;
use klamm_protocol::{ApiKey, ByteString, Message, Reader, Request, ResponseHeader, Writer, encode_request};

/// The versions in which this program asks.
pub(crate) const PRODUCE: i16 = 13;
pub(crate) const FETCH: i16 = 18;
pub(crate) const LIST_OFFSETS: i16 = 10;
pub(crate) const METADATA: i16 = 13;
pub(crate) const CREATE_TOPICS: i16 = 7;
pub(crate) const DELETE_TOPICS: i16 = 6;
pub(crate) const INCREMENTAL_ALTER_CONFIGS: i16 = 1;
pub(crate) const DESCRIBE_LOG_DIRS: i16 = 4;
pub(crate) const INIT_PRODUCER_ID: i16 = 5;
pub(crate) const API_VERSIONS: i16 = 4;
pub(crate) const FIND_COORDINATOR: i16 = 6;
pub(crate) const OFFSET_COMMIT: i16 = 10;
pub(crate) const OFFSET_FETCH: i16 = 10;
pub(crate) const JOIN_GROUP: i16 = 9;
pub(crate) const SYNC_GROUP: i16 = 5;
pub(crate) const HEARTBEAT: i16 = 4;
pub(crate) const LEAVE_GROUP: i16 = 5;
pub(crate) const CONSUMER_GROUP_HEARTBEAT: i16 = 1;
pub(crate) const TXN_OFFSET_COMMIT: i16 = 6;
pub(crate) const END_TXN: i16 = 5;

const NEEDED: &[(ApiKey, i16)] = &[
    (ApiKey::Produce, PRODUCE),
    (ApiKey::Fetch, FETCH),
    (ApiKey::ListOffsets, LIST_OFFSETS),
    (ApiKey::Metadata, METADATA),
    (ApiKey::CreateTopics, CREATE_TOPICS),
    (ApiKey::DeleteTopics, DELETE_TOPICS),
    (ApiKey::InitProducerId, INIT_PRODUCER_ID),
];

/// The largest answer: that of Metadata for some ten thousands of partitions.
const LARGEST_ANSWER: i32 = 64 << 20;
/// How long an answer may take: some thousands of partitions are made in one request.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the program calls itself.
pub(crate) fn client_id() -> ByteString {
    ByteString::from_static("klamm-load")
}

/// The request that asks for nothing: it opens a connection, and shows that all before it was handled.
pub(crate) fn api_versions() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: client_id(),
        client_software_version: ByteString::from_static(env!("CARGO_PKG_VERSION")),
        ..ApiVersionsRequest::default()
    }
}

/// A request as it is sent.
pub(crate) fn frame<R: Request>(correlation_id: i32, version: i16, request: &R) -> Result<Bytes> {
    let mut writer = Writer::contiguous();
    encode_request(&mut writer, correlation_id, Some(&client_id()), version, request)?;
    Ok(writer.into_bytes())
}

/// Fails unless `code` says that all is well.
pub(crate) fn check(code: i16, what: impl FnOnce() -> String) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    let name = ErrorCode::from_code(code).map_or("an unknown error", ErrorCode::name);
    bail!("{}: {name} ({code})", what())
}

/// A connection that sends a request and waits for its answer.
pub(crate) struct Admin {
    stream: TcpStream,
    correlation_id: i32,
}

impl Admin {
    /// Connects, and makes sure that the broker serves the versions needed.
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let mut admin = Self::connect(address)?;
        let served = admin.call(API_VERSIONS, &api_versions())?;
        check(served.error_code, || "ApiVersions".to_owned())?;
        for (key, version) in NEEDED {
            let range = served.api_keys.iter().find(|api| api.api_key == key.to_i16());
            if !range.is_some_and(|api| (api.min_version..=api.max_version).contains(version)) {
                bail!("the broker does not serve {key:?} in version {version}");
            }
        }
        Ok(admin)
    }

    /// Connects, and asks nothing.
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            correlation_id: 0,
        })
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.correlation_id += 1;
        self.stream
            .write_all(&frame(self.correlation_id, version, request)?)?;
        let answer = self
            .receive()
            .with_context(|| format!("no answer to {}", R::NAME))?;
        let mut reader = Reader::new(answer);
        let header = ResponseHeader::decode(&mut reader, R::KEY, version)?;
        if header.correlation_id != self.correlation_id {
            bail!("the answer to {} belongs to another request", R::NAME);
        }
        let answer = R::Response::decode(&mut reader, version)?;
        reader.finish()?;
        Ok(answer)
    }

    /// Fails unless the connection is open and nothing has come that was not asked for.
    pub(crate) fn is_silent(&self) -> Result<()> {
        self.stream.set_nonblocking(true)?;
        match self.stream.peek(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
            Ok(0) => bail!("the broker closed an idle connection"),
            Ok(_) => bail!("the broker sent what nobody asked for"),
        }
    }

    fn receive(&mut self) -> Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = i32::from_be_bytes(length);
        if !(4..=LARGEST_ANSWER).contains(&length) {
            bail!("an answer of {length} bytes");
        }
        let mut answer = vec![0; usize::try_from(length)?];
        self.stream.read_exact(&mut answer)?;
        Ok(answer.into())
    }
}
