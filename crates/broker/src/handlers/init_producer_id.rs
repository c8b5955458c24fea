//! InitProducerId, versions 0 to 5: an identity for a producer (KIP-98), and a new epoch of it after an error (KIP-360).
//! PRODUCER_FENCED since version 4; since 5 the client may speak `transaction.version` 2 (KIP-890).
//!
//! Without a transactional id: ids come out of blocks that the controller hands to brokers, so that each is given once in the life of
//! the cluster. A producer that names an id and an epoch of its own gets a new one all the same, as in Kafka; one of them without
//! the other is refused. With one: the producer takes the id over from whoever has it, whose open transaction is made void first;
//! the answer waits until that is told to all partitions.
//!
//! *Memory*: none. *Authorization*: WRITE on the transactional id; without one, IDEMPOTENT_WRITE on the cluster.

use std::sync::Arc;

use klamm_coordinator::TransactionalProducer;
use klamm_coordinator::transaction::TransactionRequest;
use klamm_coordinator::transaction::request::{InitProducerId, RequestKind, before_fencing};
use klamm_model::ErrorCode;
use klamm_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::context::RequestContext;
use crate::coordinators::transactions::{answer_to, ask_with_ids, producer};

/// Since this version clients know PRODUCER_FENCED.
const WITH_FENCING: i16 = 4;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let (code, id, epoch) = match answer(context, request).await {
        Ok(producer) => (ErrorCode::None, producer.id.0, producer.epoch.0),
        Err(code) if context.version < WITH_FENCING => (before_fencing(code), -1, -1),
        Err(code) => (code, -1, -1),
    };
    InitProducerIdResponse {
        error_code: code.code(),
        producer_id: id,
        producer_epoch: epoch,
        ..Default::default()
    }
}

async fn answer(
    context: &RequestContext<'_>,
    request: InitProducerIdRequest,
) -> Result<TransactionalProducer, ErrorCode> {
    // -1 means that the producer has none.
    let expected = match (request.producer_id, request.producer_epoch) {
        (-1, -1) => None,
        (-1, _) | (_, -1) => return Err(ErrorCode::InvalidRequest),
        (id, epoch) => Some(producer(id, epoch)),
    };
    let Some(id) = request.transactional_id else {
        let id = context.broker.producer_ids.next(&context.broker.router).await?;
        return Ok(producer(id.0, 0));
    };
    let transactional_id: Arc<str> = (&*id).into();
    let init = InitProducerId {
        transactional_id: transactional_id.clone(),
        timeout_ms: request.transaction_timeout_ms,
        two_phase_commit: request.enable2_pc,
        keep_prepared: request.keep_prepared_txn,
        expected,
        fresh: None,
    };
    let make = |fresh| {
        TransactionRequest::InitProducerId(InitProducerId {
            fresh,
            ..init.clone()
        })
    };
    let answer = ask_with_ids(
        context.broker,
        &transactional_id,
        RequestKind::InitProducerId,
        make,
    )
    .await;
    answer_to!(Initialized, answer)
}
