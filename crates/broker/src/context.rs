//! What a handler knows of the request besides its body.

use std::sync::Arc;

use klamm_model::ErrorCode;
use klamm_net::ConnectionInfo;
use klamm_protocol::ByteString;

use crate::answer_memory::AnswerMemory;
use crate::broker::Broker;
use crate::controller::Decide;

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

impl RequestContext<'_> {
    /// Has the controller decide on the request: its answer, when what was decided can be seen and used here.
    pub(crate) async fn decided_by_controller<R: Decide>(
        &self,
        request: R,
    ) -> Result<R::Response, ErrorCode> {
        let router = &self.broker.router;
        let response = router.to_controller(self, self.version, request).await?;
        self.broker.metadata.caught_up().await;
        Ok(response)
    }
}
