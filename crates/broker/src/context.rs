//! What a handler knows of the request besides its body.

use std::sync::Arc;

use klamm_net::ConnectionInfo;
use klamm_protocol::ByteString;

use crate::answer_memory::AnswerMemory;
use crate::broker::Broker;

/// Who asks, on which connection, in which version.
pub(crate) struct RequestContext<'a> {
    pub(crate) broker: &'a Arc<Broker>,
    pub(crate) connection: &'a ConnectionInfo,
    pub(crate) version: i16,
    /// What the client calls itself.
    pub(crate) client_id: Option<&'a ByteString>,
    /// What a large answer reserves before it is made.
    pub(crate) memory: AnswerMemory,
}
