//! UnregisterBroker: a broker leaves the cluster for good.
//!
//! Always holds: it leads nothing afterwards, and is in no ISR or ELR. Its replicas stay assigned to it, as in Kafka.

use klamm_model::{BrokerId, ErrorCode};
use klamm_protocol::messages::unregister_broker_request::UnregisterBrokerRequest;
use klamm_protocol::messages::unregister_broker_response::UnregisterBrokerResponse;
use klamm_protocol::metadata_records::UnregisterBrokerRecord;

use super::isr_changes::Event;
use super::{Context, Decision, Refusal};

/// Decides on the request; without an answer, decide again when the records are applied.
pub fn decide(
    context: &Context<'_>,
    request: &UnregisterBrokerRequest,
) -> Decision<Option<UnregisterBrokerResponse>> {
    let id = BrokerId(request.broker_id);
    let Some(broker) = context.image.cluster().broker(id) else {
        let message = format!("Broker ID {id} is not currently registered");
        let refusal = Refusal::new(ErrorCode::BrokerIdNotRegistered, message);
        let (error_code, error_message) = (refusal.code.code(), refusal.words());
        let response = UnregisterBrokerResponse {
            error_code,
            error_message,
            ..Default::default()
        };
        return Decision::unchanged(Some(response));
    };
    let record = UnregisterBrokerRecord {
        broker_id: id.0,
        broker_epoch: broker.epoch,
        ..Default::default()
    };
    let mut records = context.isr_changes(Event::Leaves(id));
    if let Ok(records) = &mut records {
        records.push(record.into());
    }
    let response = UnregisterBrokerResponse {
        error_message: None,
        ..Default::default()
    };
    Decision::in_parts(records, response)
}
