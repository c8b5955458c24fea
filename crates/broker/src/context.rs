//! What a handler knows of the request besides its body.

use std::sync::Arc;

use bytestring::ByteString;
use klamm_net::ConnectionInfo;

use crate::broker::Broker;

/// Who asks, on which connection, in which version.
pub(crate) struct RequestContext<'a> {
    pub(crate) broker: &'a Arc<Broker>,
    pub(crate) connection: &'a ConnectionInfo,
    pub(crate) client_id: Option<ByteString>,
    pub(crate) version: i16,
}

impl RequestContext<'_> {
    /// Whom the request is from, as Kafka writes it. Without authentication everybody is the same.
    pub(crate) fn principal(&self) -> &'static str {
        "User:ANONYMOUS"
    }
}
