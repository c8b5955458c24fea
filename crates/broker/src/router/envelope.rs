//! Envelope: a client's request on its way from broker to controller, with the principal and the host of the client
//! (KIP-590).
//!
//! The broker that the client asked stands in a tagged field of ours, because a broker's own configs may be changed
//! through that broker only:
//!
//! ```text
//! request_data: header and body of the request | request_principal | client_host_address: 4 or 16 bytes
//! tag 10000: broker id: i32
//! ```
//!
//! Always holds: an envelope in which anything is wrong is answered with what Apache Kafka 4.4 answers, judged in its
//! order: principal, host, header, body.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use klamm_model::{BrokerId, ErrorCode};
use klamm_protocol::messages::EnvelopeRequest;
use klamm_protocol::{
    EncodeError, Message, RawTaggedField, Request, RequestHeader, ResponseHeader, Writer, encode_request,
    encode_response,
};

use super::link::{Link, LinkError};
use super::newest;
use super::principal::{Caller, Principal};
use crate::body::Body;
use crate::controller::Asked;

/// The tag of the broker's id: far from those that Kafka gives out.
const BROKER_TAG: u32 = 10_000;
/// The bytes of the length before a frame, which an envelope's content has not.
const LENGTH_BYTES: usize = 4;

/// What was in an envelope.
pub(crate) struct Opened {
    pub(crate) header: RequestHeader,
    pub(crate) asked: Asked,
}

/// Has `request` decided at the other end of `link` in the name of `asked.caller`.
pub(crate) async fn forward<R: Request>(
    link: &Link,
    request: &R,
    asked: &Asked,
) -> Result<R::Response, ErrorCode> {
    let envelope = seal(request, asked).map_err(LinkError::from)?;
    let answer = link.ask(newest::<EnvelopeRequest>(), &envelope).await?;
    match (ErrorCode::from_code(answer.error_code), answer.response_data) {
        (Some(ErrorCode::None), Some(data)) => {
            let mut reader = link.reader(data);
            let header = ResponseHeader::decode(&mut reader, R::KEY, asked.version);
            header.map_err(LinkError::from)?;
            let response = R::Response::decode(&mut reader, asked.version);
            Ok(response.map_err(LinkError::from)?)
        }
        (Some(ErrorCode::None), None) | (None, _) => Err(ErrorCode::UnknownServerError),
        (Some(code), _) => Err(code),
    }
}

fn seal<R: Request>(request: &R, asked: &Asked) -> Result<EnvelopeRequest, EncodeError> {
    let mut writer = Writer::contiguous();
    encode_request(&mut writer, 0, None, asked.version, request)?;
    Ok(EnvelopeRequest {
        request_data: writer.into_bytes().slice(LENGTH_BYTES..),
        request_principal: Some(asked.caller.principal.to_bytes()?),
        // An envelope without a host is refused: the node itself asks from where it is.
        client_host_address: match asked.caller.host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)) {
            IpAddr::V4(host) => Bytes::copy_from_slice(&host.octets()),
            IpAddr::V6(host) => Bytes::copy_from_slice(&host.octets()),
        },
        unknown_tagged_fields: vec![RawTaggedField {
            tag: BROKER_TAG,
            data: Bytes::copy_from_slice(&asked.broker.0.to_be_bytes()),
        }],
    })
}

/// Opens an envelope. It came to the controller of node `own`, which takes itself for the broker that was asked when
/// the sender names none. `body` is that of the envelope; it stands at that of the request afterwards.
pub(crate) async fn open(
    envelope: EnvelopeRequest,
    own: BrokerId,
    body: &mut Body,
) -> Result<Opened, ErrorCode> {
    let principal = envelope
        .request_principal
        .and_then(Principal::from_bytes)
        .ok_or(ErrorCode::PrincipalDeserializationFailure)?;
    let host = host(&envelope.client_host_address).ok_or(ErrorCode::InvalidRequest)?;
    let broker = broker(&envelope.unknown_tagged_fields, own).ok_or(ErrorCode::InvalidRequest)?;
    body.enter(envelope.request_data);
    let header = body.decode(RequestHeader::decode).await;
    let header = header.map_err(|_| ErrorCode::UnsupportedVersion)?;
    let asked = Asked {
        broker,
        version: header.api_version,
        caller: Caller {
            principal,
            host: Some(host),
        },
    };
    Ok(Opened { header, asked })
}

/// The content of the answer's envelope.
pub(crate) fn seal_answer<M: Message>(header: &RequestHeader, response: &M) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::contiguous();
    encode_response(
        &mut writer,
        header.api_key,
        header.correlation_id,
        header.api_version,
        response,
    )?;
    Ok(writer.into_bytes().slice(LENGTH_BYTES..))
}

fn host(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn broker(tags: &[RawTaggedField], own: BrokerId) -> Option<BrokerId> {
    let Some(field) = tags.iter().find(|field| field.tag == BROKER_TAG) else {
        return Some(own);
    };
    let id = <[u8; 4]>::try_from(&field.data[..]).ok()?;
    Some(BrokerId(i32::from_be_bytes(id)))
}

#[cfg(test)]
mod tests;
