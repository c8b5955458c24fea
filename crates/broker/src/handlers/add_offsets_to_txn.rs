//! AddOffsetsToTxn, versions 0 to 4: the offsets of a group take part in the transaction (KIP-98), which is the partition of
//! `__consumer_offsets` that they lie in. PRODUCER_FENCED since version 2, TRANSACTION_ABORTABLE since 4. Only clients of
//! `transaction.version` 1 ask: for others TxnOffsetCommit does it.
//!
//! *Memory*: none. *Authorization*: WRITE on the transactional id, READ on the group.

use klamm_coordinator::transaction::request::{AddPartitions, VERSION_1, before_fencing};
use klamm_model::TopicPartition;
use klamm_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use crate::context::RequestContext;
use crate::coordinators::transactions::{add_partitions, producer};
use crate::coordinators::{self, Key, Kind};

/// Since this version clients know PRODUCER_FENCED.
const WITH_FENCING: i16 = 2;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let broker = context.broker;
    let configured = broker.config.internal_topics.offsets.partitions;
    let image = broker.metadata.published_arc();
    let partition = coordinators::partition_number(&image, &Key::Group(&request.group_id), configured);
    let add = AddPartitions {
        transactional_id: (&*request.transactional_id).into(),
        producer: producer(request.producer_id, request.producer_epoch),
        partitions: vec![TopicPartition::new(Kind::Group.topic(), partition)],
        version: VERSION_1,
    };
    let code = match add_partitions(broker, add).await {
        code if context.version < WITH_FENCING => before_fencing(code),
        code => code,
    };
    AddOffsetsToTxnResponse {
        error_code: code.code(),
        ..Default::default()
    }
}
