//! EndTxn, versions 0 to 5: the producer commits its transaction, or aborts it (KIP-98). PRODUCER_FENCED since version 2;
//! TRANSACTION_ABORTABLE since 4; since 5, `transaction.version` 2 (KIP-890): the producer's epoch rises with each end, and the
//! answer tells who it is from now on.
//!
//! It is answered once the decision is recorded; the partitions are told afterwards. What was decided before is answered again to
//! whoever asks again, and never changed.
//!
//! *Memory*: none. *Authorization*: WRITE on the transactional id.

use std::sync::Arc;

use klamm_coordinator::transaction::TransactionRequest;
use klamm_coordinator::transaction::request::{
    EndTransaction, RequestKind, VERSION_1, VERSION_2, before_fencing,
};
use klamm_model::ErrorCode;
use klamm_protocol::messages::{EndTxnRequest, EndTxnResponse};

use crate::context::RequestContext;
use crate::coordinators::transactions::{answer_to, ask_with_ids, producer};

/// Since this version clients know PRODUCER_FENCED.
const WITH_FENCING: i16 = 2;
/// Since this version clients take over a new epoch.
const WITH_EPOCHS: i16 = 5;

/// Answers one request.
pub(crate) async fn handle(context: &RequestContext<'_>, request: EndTxnRequest) -> EndTxnResponse {
    let transactional_id: Arc<str> = (&*request.transactional_id).into();
    let version = match context.version {
        WITH_EPOCHS.. => VERSION_2,
        _ => VERSION_1,
    };
    let make = |fresh| {
        TransactionRequest::EndTransaction(EndTransaction {
            transactional_id: transactional_id.clone(),
            producer: producer(request.producer_id, request.producer_epoch),
            commit: request.committed,
            version,
            fresh,
        })
    };
    let answer = ask_with_ids(
        context.broker,
        &transactional_id,
        RequestKind::EndTransaction,
        make,
    )
    .await;
    let (code, producer) = match answer_to!(Ended, answer) {
        Ok(producer) => (ErrorCode::None, producer),
        Err(code) if context.version < WITH_FENCING => (before_fencing(code), None),
        Err(code) => (code, None),
    };
    EndTxnResponse {
        error_code: code.code(),
        producer_id: producer.map_or(-1, |producer| producer.id.0),
        producer_epoch: producer.map_or(-1, |producer| producer.epoch.0),
        ..Default::default()
    }
}
