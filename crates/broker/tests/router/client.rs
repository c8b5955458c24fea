//! A client that says exactly what it is told to.

use std::net::SocketAddr;

use bytes::Bytes;
use klamm_protocol::{Message, Reader, Request, ResponseHeader, Writer, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
}

/// A request with its header and without its length.
pub(crate) fn content<R: Request>(version: i16, request: &R) -> Bytes {
    let mut writer = Writer::contiguous();
    encode_request(&mut writer, 1, None, version, request).unwrap();
    writer.into_bytes().slice(4..)
}

/// Reads an answer behind its header.
pub(crate) fn response<R: Request>(version: i16, bytes: Bytes) -> R::Response {
    let mut reader = Reader::new(bytes);
    ResponseHeader::decode(&mut reader, R::KEY, version).unwrap();
    let response = R::Response::decode(&mut reader, version).unwrap();
    reader.finish().unwrap();
    response
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
        }
    }

    /// Asks and returns the answer.
    pub(crate) async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let answer = self.exchange(&content(version, request)).await;
        response::<R>(version, answer.expect("the connection is served"))
    }

    /// Sends a frame and returns the answer; `None` when the connection was closed instead.
    pub(crate) async fn exchange(&mut self, content: &[u8]) -> Option<Bytes> {
        let len = u32::try_from(content.len()).unwrap();
        self.send(&[&len.to_be_bytes(), content].concat()).await
    }

    /// Sends bytes and returns the answer; `None` when the connection was closed instead.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Option<Bytes> {
        self.stream.write_all(bytes).await.ok()?;
        let len = self.stream.read_u32().await.ok()?;
        let mut bytes = vec![0; len as usize];
        self.stream.read_exact(&mut bytes).await.ok()?;
        Some(bytes.into())
    }
}
