//! Who asks, as it travels from broker to controller: the principal and the host of the client (KIP-590).
//!
//! ```text
//! version: i16 = 0 | DefaultPrincipalData: type, name, token_authenticated
//! ```
//!
//! Always holds: bytes that are not exactly a principal are none. Without authentication everybody is `User:ANONYMOUS`.

use std::fmt;
use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};
use klamm_net::ConnectionInfo;
use klamm_protocol::data_records::DefaultPrincipalData;
use klamm_protocol::{ByteString, EncodeError, Message, Reader};

/// The version that is written.
const VERSION: i16 = *DefaultPrincipalData::VERSIONS.end();

/// Somebody who can be allowed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// `User`, mostly.
    pub(crate) kind: ByteString,
    pub(crate) name: ByteString,
    /// Whether a delegation token vouches for it.
    pub(crate) token_authenticated: bool,
}

impl Principal {
    /// Whoever came without authentication.
    pub(crate) fn anonymous() -> Self {
        Self {
            kind: ByteString::from_static("User"),
            name: ByteString::from_static("ANONYMOUS"),
            token_authenticated: false,
        }
    }

    /// The form of an envelope.
    pub(crate) fn to_bytes(&self) -> Result<Bytes, EncodeError> {
        let data = DefaultPrincipalData {
            r#type: self.kind.clone(),
            name: self.name.clone(),
            token_authenticated: self.token_authenticated,
            ..Default::default()
        };
        let message = data.to_bytes(VERSION)?;
        let mut bytes = BytesMut::with_capacity(2 + message.len());
        bytes.put_i16(VERSION);
        bytes.put(message);
        Ok(bytes.freeze())
    }

    /// Reads what [`Principal::to_bytes`] writes; `None` for anything else.
    pub(crate) fn from_bytes(bytes: Bytes) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let version = reader.i16().ok()?;
        if !DefaultPrincipalData::VERSIONS.contains(&version) {
            return None;
        }
        let data = DefaultPrincipalData::decode(&mut reader, version).ok()?;
        reader.finish().ok()?;
        Some(Self {
            kind: data.r#type,
            name: data.name,
            token_authenticated: data.token_authenticated,
        })
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// A principal and where it asks from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// `None` for the node itself.
    pub(crate) host: Option<IpAddr>,
}

impl Caller {
    /// The client of a connection.
    pub(crate) fn of(connection: &ConnectionInfo) -> Self {
        Self {
            principal: Principal::anonymous(),
            host: Some(connection.peer.ip().to_canonical()),
        }
    }

    /// This node.
    pub(crate) fn node() -> Self {
        Self {
            principal: Principal::anonymous(),
            host: None,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Some(host) => write!(f, "{} at {host}", self.principal),
            None => write!(f, "{} of this node", self.principal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Apache Kafka 4.4 puts into an envelope.
    const ANONYMOUS: &[u8] = b"\0\0\x05User\x0aANONYMOUS\0\0";

    #[test]
    fn a_principal_is_written_as_kafka_does() {
        assert_eq!(Principal::anonymous().to_bytes().unwrap(), ANONYMOUS);
        let other = Principal {
            kind: "Group".into(),
            name: "größe".into(),
            token_authenticated: true,
        };
        for principal in [Principal::anonymous(), other] {
            let bytes = principal.to_bytes().unwrap();
            assert_eq!(Principal::from_bytes(bytes), Some(principal));
        }
    }

    #[test]
    fn other_bytes_are_no_principal() {
        for len in 0..ANONYMOUS.len() {
            assert_eq!(
                Principal::from_bytes(ANONYMOUS[..len].to_vec().into()),
                None,
                "{len}"
            );
        }
        let mut longer = ANONYMOUS.to_vec();
        longer.push(0);
        assert_eq!(Principal::from_bytes(longer.into()), None);
        let mut newer = ANONYMOUS.to_vec();
        newer[1] = 9;
        assert_eq!(Principal::from_bytes(newer.into()), None);
        let mut negative = ANONYMOUS.to_vec();
        negative[0] = 0xff;
        assert_eq!(Principal::from_bytes(negative.into()), None);
    }
}
