//! TxnOffsetCommit, versions 0 to 6: a group will have read its partitions up to these offsets, if the transaction commits (KIP-98).
//!
//! By a member of a group since version 3, whose generation or epoch is checked (KIP-447); topics by id since version 6
//! (KIP-1319). The coordinator of the transaction is asked first whether it has the group's partition of `__consumer_offsets`; since
//! version 5 that takes part by this very request (KIP-890). A topic or partition that is not there is refused alone. Before version
//! 2, clients do not know of coordinators that load, and are told that theirs is not available.
//!
//! *Memory*: the answer, proportional to the partitions, reserved before it is made. *Authorization*: WRITE on the transactional id,
//! READ on the group and on each topic.

use std::sync::Arc;

use klamm_coordinator::group::{Answer, Request};
use klamm_coordinator::{Answer as _, TransactionalProducer};
use klamm_log::{Verification, VerificationGuard};
use klamm_model::{ErrorCode, ProducerEpoch, ProducerId, TopicPartition};
use klamm_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};
use crate::coordinators::participation::{Participant, Support, is_worth_another_try, take_part};
use crate::coordinators::{Key, Kind};
use crate::offset_topics::{Naming, answer_bytes, take_out_unknown};

/// Since this version topics are named by their ids.
const BY_ID: i16 = 6;
/// Since this version clients know COORDINATOR_LOAD_IN_PROGRESS.
const KNOWS_LOADING: i16 = 2;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    mut request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let version = context.version;
    if !context.memory.reserve(answer_bytes(&request.topics)).await {
        // One that is too large ends the connection.
        return TxnOffsetCommitResponse::default();
    }
    let naming = Naming::of(version, BY_ID);
    let refused = take_out_unknown(&context.broker.metadata.published(), naming, &mut request.topics);
    let mut response = TxnOffsetCommitResponse::default();
    if !request.topics.is_empty() {
        response = commit(context, Arc::new(request)).await;
    }
    response.topics = refused.and(response.topics);
    if version < KNOWS_LOADING {
        let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        for partition in partitions {
            if partition.error_code == ErrorCode::CoordinatorLoadInProgress.code() {
                partition.error_code = ErrorCode::CoordinatorNotAvailable.code();
            }
        }
    }
    response
}

/// Commits what is there.
async fn commit(
    context: &RequestContext<'_>,
    request: Arc<TxnOffsetCommitRequest>,
) -> TxnOffsetCommitResponse {
    let version = context.version;
    let asked = Request::TxnOffsetCommit {
        version,
        request: request.clone(),
    };
    let groups = &context.broker.groups;
    if let Some(refused) = asked.refused_anywhere(&groups.config()) {
        return answer_to!(TxnOffsetCommit, refused);
    }
    let shape = asked.shape();
    let refused = |code| answer_to!(TxnOffsetCommit, Answer::refused(&shape, code));
    let partition = match groups.partition_of(&Key::Group(&request.group_id)) {
        Ok(partition) => partition,
        Err(code) => return refused(code),
    };
    match verify(context, partition, &request).await {
        Ok(guard) => {
            let begun = groups::begin_verified(context, partition, asked, guard);
            answer_to!(TxnOffsetCommit, begun.answer().await)
        }
        Err(code) => refused(told(code)),
    }
}

/// Finds out whether the offsets may be committed in the transaction.
async fn verify(
    context: &RequestContext<'_>,
    partition: i32,
    request: &TxnOffsetCommitRequest,
) -> Result<Option<VerificationGuard>, ErrorCode> {
    let support = Support::of_offset_commit(context.version);
    let producer = TransactionalProducer {
        id: ProducerId(request.producer_id),
        epoch: ProducerEpoch(request.producer_epoch),
    };
    let asked = Verification {
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        base_sequence: None,
        bumps_epoch: support.adds(),
    };
    let Some(asking) = context.broker.groups.verify(partition, &asked)? else {
        return Ok(None);
    };
    let participant = Participant {
        transactional_id: &request.transactional_id,
        producer,
        support,
    };
    let name = TopicPartition::new(Kind::Group.topic(), partition);
    let denied = take_part(context.broker, participant, vec![name]).await;
    match denied.of(asking.partition().topic(), partition) {
        None => Ok(Some(asking.go_on())),
        Some(code) => {
            if is_worth_another_try(code) {
                asking.leave();
            }
            Err(code)
        }
    }
}

/// What clients of this API expect to be told.
fn told(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        code => code,
    }
}
