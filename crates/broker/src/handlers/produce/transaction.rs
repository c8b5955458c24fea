//! The transaction that a produce request writes in: before its first batch in a partition, the coordinator is asked whether the
//! partition takes part (KIP-890).
//!
//! Always holds: a batch begins a transaction in a partition only after the coordinator has said that it takes part, and while that
//! transaction goes on: the log sees to it, by the guard that is given out here. Where the transaction is open already, nobody is
//! asked. Clients since version 12 do not say beforehand where they will write: for them the partition is added (and the wait for the
//! end of the transaction before is the coordinator's); for others it is only looked up. Before version 11 a client knows no
//! TRANSACTION_ABORTABLE, and is told INVALID_TXN_STATE.
//!
//! Next: `coordinators/participation.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_coordinator::TransactionalProducer;
use klamm_log::{Verification, VerificationGuard};
use klamm_model::{ErrorCode, TopicId, TopicPartition, topic_name};
use klamm_protocol::Records;
use klamm_protocol::messages::ProduceRequest;
use klamm_records::{BatchHeader, Origin, Producer, validate_framing};

use super::answer::{Answer, Refused};
use super::find;
use crate::context::RequestContext;
use crate::coordinators::participation::{Participant, Support, is_worth_another_try, take_part};
use crate::replicas::{Partition, View};

/// What was found out about the partitions of a request in which its transaction is not open yet.
#[derive(Debug, Default)]
pub(super) struct Verified {
    outcomes: BTreeMap<(TopicId, i32), Result<VerificationGuard, Denied>>,
}

/// Why a batch must not be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    /// What the coordinator, or the log, says.
    why: ErrorCode,
    is_added: bool,
}

impl Verified {
    /// The guard that a batch for the partition is appended with.
    pub(super) fn of(&self, partition: &Partition) -> Result<Option<VerificationGuard>, Denied> {
        let outcome = self.outcomes.get(&(partition.topic_id(), partition.index()));
        outcome.copied().transpose()
    }
}

impl Denied {
    /// What the client is told. Of errors that older ones do not try again at, one that they do, and that has them ask for no new
    /// metadata.
    fn code(self) -> ErrorCode {
        use ErrorCode::{
            ConcurrentTransactions, CoordinatorLoadInProgress, CoordinatorNotAvailable, NetworkException,
            NotCoordinator,
        };
        match self.why {
            NetworkException | CoordinatorLoadInProgress | CoordinatorNotAvailable | NotCoordinator => {
                ErrorCode::NotEnoughReplicas
            }
            ConcurrentTransactions if !self.is_added => ErrorCode::NotEnoughReplicas,
            why => why,
        }
    }

    fn message(self) -> Option<String> {
        match (self.code(), self.why) {
            (ErrorCode::InvalidTxnState, _) => Some("Partition was not added to the transaction".to_owned()),
            (code, why) if code != why => Some(format!(
                "Unable to verify the partition has been added to the transaction. Underlying error: {}",
                why.name()
            )),
            _ => None,
        }
    }

    /// Puts the refusal into the answer.
    pub(super) fn tell(self, index: i32, answer: &mut Answer) {
        let refused = Refused {
            message: self.message(),
            ..Default::default()
        };
        answer.refuse_with(index, self.code(), refused);
    }
}

/// Refuses a partition for a reason that has nothing to do with its batch: with words where Kafka has any.
pub(super) fn refuse(index: i32, code: ErrorCode, answer: &mut Answer) {
    let message = match code {
        ErrorCode::InvalidProducerIdMapping => {
            Some("Transactional records contained more than one producer ID".to_owned())
        }
        _ => None,
    };
    let refused = Refused {
        message,
        ..Default::default()
    };
    answer.refuse_with(index, code, refused);
}

/// Finds out where the batches of the request may be written; an error refuses the request as a whole.
pub(super) async fn verify(
    context: &RequestContext<'_>,
    replicas: &View,
    request: &ProduceRequest,
) -> Result<Verified, ErrorCode> {
    let support = Support::of_produce(context.version);
    let is_added = support.adds();
    let batches = batches(context, replicas, request);
    let mut verified = Verified::default();
    let Some(producer) = only_producer(&batches)? else {
        return Ok(verified);
    };
    let mut begun = BTreeMap::new();
    for (partition, batch) in &batches {
        let place = (partition.topic_id(), partition.index());
        if begun.contains_key(&place) {
            // Named again.
            continue;
        }
        let asked = Verification {
            producer_id: batch.id,
            producer_epoch: batch.epoch,
            base_sequence: batch.base_sequence,
            bumps_epoch: is_added,
        };
        match partition.verify(&asked) {
            Ok(None) => {}
            Ok(Some(asking)) => drop(begun.insert(place, asking)),
            Err(refusal) => {
                let why = refusal.code();
                verified.outcomes.insert(place, Err(Denied { why, is_added }));
            }
        }
    }
    if begun.is_empty() {
        return Ok(verified);
    }
    let names = begun.values().map(|asking| {
        let partition = asking.partition();
        TopicPartition::new(partition.topic().clone(), partition.index())
    });
    let participant = Participant {
        transactional_id: request.transactional_id.as_deref().unwrap_or_default(),
        producer,
        support,
    };
    let denied = take_part(context.broker, participant, names.collect()).await;
    for (place, asking) in begun {
        let partition = asking.partition();
        let outcome = match denied.of(partition.topic(), partition.index()) {
            None => Ok(asking.go_on()),
            Some(why) => {
                if is_worth_another_try(why) {
                    asking.leave();
                }
                Err(Denied { why, is_added })
            }
        };
        verified.outcomes.insert(place, outcome);
    }
    Ok(verified)
}

/// The batches in a transaction that have a partition, and are batches, as far as their heads tell.
fn batches<'v>(
    context: &RequestContext<'_>,
    replicas: &'v View,
    request: &ProduceRequest,
) -> Vec<(&'v Arc<Partition>, Producer)> {
    let origin = Origin::Client {
        produce_version: context.version,
    };
    let mut batches = Vec::new();
    for topic in &request.topic_data {
        let Ok(found) = find(replicas, topic, context.version >= 13) else {
            continue;
        };
        if topic_name::is_internal(&found.name) {
            continue;
        }
        for data in &topic.partition_data {
            let (Ok(partition), Records::Bytes(bytes)) = (found.get(data.index), &data.records) else {
                continue;
            };
            if validate_framing(bytes, origin).is_err() {
                continue;
            }
            let header = BatchHeader::parse(bytes).ok();
            let header = header.filter(BatchHeader::is_transactional);
            if let Some(producer) = header.and_then(|header| header.producer()) {
                batches.push((partition, producer));
            }
        }
    }
    batches
}

/// Whose transaction it is: there can be one.
fn only_producer(
    batches: &[(&Arc<Partition>, Producer)],
) -> Result<Option<TransactionalProducer>, ErrorCode> {
    let mut producers = batches.iter().map(|(_, batch)| TransactionalProducer {
        id: batch.id,
        epoch: batch.epoch,
    });
    let first = producers.next();
    match producers.all(|producer| Some(producer) == first) {
        true => Ok(first),
        false => Err(ErrorCode::InvalidProducerIdMapping),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_told_so_that_the_client_does_what_it_can() {
        use ErrorCode::{
            ConcurrentTransactions, CoordinatorLoadInProgress, InvalidProducerEpoch, InvalidTxnState,
            NotCoordinator, NotEnoughReplicas, TransactionAbortable,
        };
        for (why, is_added, code, has_message) in [
            (InvalidTxnState, false, InvalidTxnState, true),
            (NotCoordinator, false, NotEnoughReplicas, true),
            (CoordinatorLoadInProgress, true, NotEnoughReplicas, true),
            (ConcurrentTransactions, false, NotEnoughReplicas, true),
            (ConcurrentTransactions, true, ConcurrentTransactions, false),
            (TransactionAbortable, false, TransactionAbortable, false),
            (InvalidProducerEpoch, true, InvalidProducerEpoch, false),
        ] {
            let denied = Denied { why, is_added };
            assert_eq!(denied.code(), code, "{why} {is_added}");
            assert_eq!(denied.message().is_some(), has_message, "{why} {is_added}");
        }
    }
}
