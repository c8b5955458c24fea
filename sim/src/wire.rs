//! A connection that carries requests and answers, and nothing else: no retries, no metadata, no balancing.
//!
//! Always holds: a connection that failed once, in whatever way, is not used again; waiting for an answer has an end.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use klamm_env::{Env, Stream};
use klamm_protocol::{
    ByteString, DecodeBudget, DecodeError, EncodeError, Message, Reader, Request, ResponseHeader, Writer,
    encode_request,
};

/// How long a connection or an answer may take. A link that was cut stays silent: this is what ends the silence.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// What decoding an answer may take.
const DECODE_BYTES: usize = 256 * 1024 * 1024;
/// Room for one read.
const READ_BYTES: usize = 64 * 1024;

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The network.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// An answer that cannot be read.
    #[error("an answer cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// A request that cannot be written.
    #[error("a request cannot be written: {0}")]
    Encode(#[from] EncodeError),
    /// An answer to another request than the first unanswered one.
    #[error("answer {got} in the place of {expected}")]
    Order {
        /// The correlation id that was due.
        expected: i32,
        /// The one that came.
        got: i32,
    },
}

impl WireError {
    /// Whether it is the broker's fault, not that of its end or of the network.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Decode(_) | Self::Encode(_) | Self::Order { .. })
    }
}

/// Where a broker listens.
#[derive(Clone, Debug)]
pub struct Address {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// A connection.
pub struct Wire {
    env: Env,
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    client_id: ByteString,
    sent: i32,
    answered: i32,
}

impl Wire {
    /// Connects.
    pub async fn open(env: &Env, address: &Address, client_id: &str) -> Result<Self, WireError> {
        let connecting = env.network().connect(&address.host, address.port);
        let stream = env
            .timeout(PATIENCE, connecting)
            .await
            .map_err(|_| WireError::TimedOut(PATIENCE))??;
        Ok(Self {
            env: env.clone(),
            stream,
            buffer: BytesMut::new(),
            client_id: client_id.into(),
            sent: 0,
            answered: 0,
        })
    }

    /// Sends a request; the answers come in the order of the requests.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<(), WireError> {
        let mut writer = Writer::contiguous();
        encode_request(&mut writer, self.sent, Some(&self.client_id), version, request)?;
        self.sent += 1;
        let mut frame = writer.into_bytes();
        let stream = &mut self.stream;
        let writing = async {
            while !frame.is_empty() {
                let n = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(&frame)])).await?;
                frame.advance(n);
            }
            Ok(())
        };
        self.env
            .timeout(PATIENCE, writing)
            .await
            .map_err(|_| WireError::TimedOut(PATIENCE))?
    }

    /// The answer to the first request, of kind `R`, that has none yet.
    pub async fn receive<R: Request>(&mut self, version: i16) -> Result<R::Response, WireError> {
        let env = self.env.clone();
        let frame = env
            .timeout(PATIENCE, self.frame())
            .await
            .map_err(|_| WireError::TimedOut(PATIENCE))??;
        let mut reader = Reader::with_budget(frame, DecodeBudget::new(DECODE_BYTES));
        let header = ResponseHeader::decode(&mut reader, R::KEY, version)?;
        if header.correlation_id != self.answered {
            return Err(WireError::Order {
                expected: self.answered,
                got: header.correlation_id,
            });
        }
        self.answered += 1;
        let answer = R::Response::decode(&mut reader, version)?;
        reader.finish()?;
        Ok(answer)
    }

    /// Sends a request and waits for its answer.
    pub async fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, WireError> {
        self.send(version, request).await?;
        self.receive::<R>(version).await
    }

    async fn frame(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(length) = self.buffer.first_chunk::<4>() {
                let whole = 4 + usize::try_from(i32::from_be_bytes(*length)).map_err(io::Error::other)?;
                if self.buffer.len() >= whole {
                    let mut frame = self.buffer.split_to(whole).freeze();
                    frame.advance(4);
                    return Ok(frame);
                }
            }
            self.buffer.reserve(READ_BYTES);
            if poll_fn(|cx| self.stream.poll_read(cx, &mut self.buffer)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
