//! InitProducerId, versions 0 to 5: an identity for an idempotent producer (KIP-98, KIP-360).
//!
//! Ids come out of blocks that the controller hands to brokers, so that each is given once in the life of the cluster. A
//! producer without a transactional id that names an id and an epoch of its own gets a new one all the same, as in Kafka;
//! one of them without the other is refused. Transactions are not served: a transactional id is answered with
//! UNSUPPORTED_VERSION, which is true, and at which most clients give up; librdkafka goes on until its own timeout, as it does
//! at every error that would not mislead. All would, were the coordinator that they found only not available.
//!
//! *Memory*: none. *Authorization*: IDEMPOTENT_WRITE on the cluster.

use klamm_model::{ErrorCode, ProducerId};
use klamm_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::context::RequestContext;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    match answer(context, &request).await {
        Ok(id) => InitProducerIdResponse {
            producer_id: id.0,
            producer_epoch: 0,
            ..Default::default()
        },
        Err(code) => InitProducerIdResponse {
            error_code: code.code(),
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    }
}

async fn answer(
    context: &RequestContext<'_>,
    request: &InitProducerIdRequest,
) -> Result<ProducerId, ErrorCode> {
    // -1 means that the producer has none.
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    match &request.transactional_id {
        Some(id) if id.is_empty() => Err(ErrorCode::InvalidRequest),
        Some(_) => Err(ErrorCode::UnsupportedVersion),
        None => context.broker.producer_ids.next(&context.broker.router).await,
    }
}
