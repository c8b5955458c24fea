//! AllocateProducerIds: gives a broker a block of producer ids.
//!
//! Always holds: no id is given out twice.

use klamm_model::ErrorCode;
use klamm_protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use klamm_protocol::messages::allocate_producer_ids_response::AllocateProducerIdsResponse;
use klamm_protocol::metadata_records::ProducerIdsRecord;

use super::{Context, Decision};

/// Ids in one block.
const BLOCK: i32 = 1000;

/// Decides on the request.
pub fn decide(
    context: &Context<'_>,
    request: &AllocateProducerIdsRequest,
) -> Decision<AllocateProducerIdsResponse> {
    let refused = |code: ErrorCode| {
        Decision::unchanged(AllocateProducerIdsResponse {
            error_code: code.code(),
            ..Default::default()
        })
    };
    if let Err(code) = context.check_broker_epoch(request.broker_id, request.broker_epoch) {
        return refused(code);
    }
    let start = context.image.next_producer_id().0;
    let Some(next_producer_id) = start.checked_add(BLOCK.into()) else {
        return refused(ErrorCode::UnknownServerError);
    };
    let record = ProducerIdsRecord {
        broker_id: request.broker_id,
        broker_epoch: request.broker_epoch,
        next_producer_id,
        ..Default::default()
    };
    let response = AllocateProducerIdsResponse {
        producer_id_start: start,
        producer_id_len: BLOCK,
        ..Default::default()
    };
    Decision {
        records: vec![record.into()],
        response,
    }
}
