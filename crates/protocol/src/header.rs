//! What stands before every request and every response.
//!
//! Always holds: the version of the header follows from the API and its version, and the first eight bytes are the same
//! in all of them. The client id is never compact, and ApiVersions is always answered with header version 0, because
//! its client does not know yet what the broker speaks (KIP-511).

use bytes::Bytes;
use bytestring::ByteString;

use crate::api_key::ApiKey;
use crate::error::{DecodeError, EncodeError};
use crate::message::{Message, RawTaggedField, Request};
use crate::reader::Reader;
use crate::writer::Writer;

/// The header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// What is asked for.
    pub api_key: ApiKey,
    /// The version of the request and of its response.
    pub api_version: i16,
    /// Sent back with the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<ByteString>,
    /// Tagged fields; Kafka knows none.
    pub unknown_tagged_fields: Vec<RawTaggedField>,
}

/// The first eight bytes of a request, which can be read whatever is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestPrefix {
    /// What is asked for, perhaps nothing that exists.
    pub api_key: i16,
    /// The version, perhaps one that does not exist.
    pub api_version: i16,
    /// Sent back with the response.
    pub correlation_id: i32,
}

impl RequestPrefix {
    /// Reads the prefix of a whole request, which is left as it is.
    pub fn peek(request: &[u8]) -> Result<Self, DecodeError> {
        let Some([a, b, c, d, e, f, g, h]) = request.first_chunk() else {
            return Self::decode(&mut Reader::new(Bytes::copy_from_slice(request)));
        };
        Ok(Self {
            api_key: i16::from_be_bytes([*a, *b]),
            api_version: i16::from_be_bytes([*c, *d]),
            correlation_id: i32::from_be_bytes([*e, *f, *g, *h]),
        })
    }

    /// Reads the prefix.
    pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            api_key: r.i16()?,
            api_version: r.i16()?,
            correlation_id: r.i32()?,
        })
    }
}

impl RequestHeader {
    /// Reads a header, in the version that its own first bytes call for. A version beyond those that the API has is
    /// read like the newest, so that ApiVersions can be answered.
    pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let prefix = RequestPrefix::decode(r)?;
        Self::decode_rest(prefix, r)
    }

    /// Reads what follows the prefix.
    pub fn decode_rest(prefix: RequestPrefix, r: &mut Reader) -> Result<Self, DecodeError> {
        let api_key = ApiKey::from_i16(prefix.api_key).ok_or(DecodeError::UnknownApi(prefix.api_key))?;
        let client_id = r.nullable_string("ClientId", false, true)?;
        let mut unknown_tagged_fields = Vec::new();
        if api_key.is_flexible(prefix.api_version) {
            r.unknown_tags(&mut unknown_tagged_fields)?;
        }
        let RequestPrefix {
            api_version,
            correlation_id,
            ..
        } = prefix;
        Ok(Self {
            api_key,
            api_version,
            correlation_id,
            client_id,
            unknown_tagged_fields,
        })
    }

    /// Writes the header, in the version that the API and its version call for.
    pub fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.i16(self.api_key.to_i16());
        w.i16(self.api_version);
        w.i32(self.correlation_id);
        w.nullable_string(&self.client_id, "ClientId", false)?;
        encode_tags(
            &self.unknown_tagged_fields,
            self.api_key.is_flexible(self.api_version),
            self.api_version,
            w,
        )
    }
}

/// The header of a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseHeader {
    /// That of the request.
    pub correlation_id: i32,
    /// Tagged fields; Kafka knows none.
    pub unknown_tagged_fields: Vec<RawTaggedField>,
}

impl ResponseHeader {
    /// A header without tagged fields.
    pub fn new(correlation_id: i32) -> Self {
        Self {
            correlation_id,
            unknown_tagged_fields: Vec::new(),
        }
    }

    /// Whether the header of this response has tagged fields, that is, version 1.
    pub fn has_tags(api_key: ApiKey, api_version: i16) -> bool {
        api_key != ApiKey::ApiVersions && api_key.is_flexible(api_version)
    }

    /// Reads the header of the response to a request of `api_key` and `api_version`.
    pub fn decode(r: &mut Reader, api_key: ApiKey, api_version: i16) -> Result<Self, DecodeError> {
        let mut header = Self::new(r.i32()?);
        if Self::has_tags(api_key, api_version) {
            r.unknown_tags(&mut header.unknown_tagged_fields)?;
        }
        Ok(header)
    }

    /// Writes the header of the response to a request of `api_key` and `api_version`.
    pub fn encode(&self, w: &mut Writer, api_key: ApiKey, api_version: i16) -> Result<(), EncodeError> {
        w.i32(self.correlation_id);
        encode_tags(
            &self.unknown_tagged_fields,
            Self::has_tags(api_key, api_version),
            api_version,
            w,
        )
    }
}

fn encode_tags(
    tags: &[RawTaggedField],
    allowed: bool,
    version: i16,
    w: &mut Writer,
) -> Result<(), EncodeError> {
    if !allowed {
        return w.no_tags(tags, version);
    }
    let tags = w.begin_tags(0, tags)?;
    w.end_tags(tags)
}

/// Writes a request as it is sent: length, header, message. After an error, `w` is as it was.
pub fn encode_request<R: Request>(
    w: &mut Writer,
    correlation_id: i32,
    client_id: Option<&ByteString>,
    version: i16,
    request: &R,
) -> Result<(), EncodeError> {
    let header = RequestHeader {
        api_key: R::KEY,
        api_version: version,
        correlation_id,
        client_id: client_id.cloned(),
        unknown_tagged_fields: Vec::new(),
    };
    framed(w, |w| {
        header.encode(w)?;
        request.encode(w, version)
    })
}

/// Writes a response as it is sent: length, header, message. After an error, `w` is as it was.
pub fn encode_response<M: Message>(
    w: &mut Writer,
    api_key: ApiKey,
    correlation_id: i32,
    version: i16,
    response: &M,
) -> Result<(), EncodeError> {
    framed(w, |w| {
        ResponseHeader::new(correlation_id).encode(w, api_key, version)?;
        response.encode(w, version)
    })
}

fn framed(
    w: &mut Writer,
    write: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let frame = w.begin_frame();
    match write(w) {
        Ok(()) => w.end_frame(frame),
        Err(error) => {
            w.abandon_frame(frame);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_at_a_request_sees_the_prefix_that_is_decoded() {
        let request = [0, 18, 0, 4, 0xff, 0xff, 0xff, 0xfe, 7];
        for len in 0..=request.len() {
            let bytes = Bytes::copy_from_slice(&request[..len]);
            let seen = RequestPrefix::peek(&bytes).map(|it| (it.api_key, it.api_version, it.correlation_id));
            let decoded = RequestPrefix::decode(&mut Reader::new(bytes))
                .map(|it| (it.api_key, it.api_version, it.correlation_id));
            assert_eq!(seen, decoded, "{len} bytes");
            assert_eq!(seen.ok(), (len >= 8).then_some((18, 4, -2)));
        }
    }
}
