//! TxnOffsetCommit, versions 0 to 6: a group will have read its partitions up to these offsets, if the transaction commits (KIP-98).
//!
//! By a member of a group since version 3, whose generation or epoch is checked (KIP-447); topics by id since version 6
//! (KIP-1319). The coordinator of the transaction is asked first whether it has the group's partition of `__consumer_offsets`; since
//! version 5 that takes part by this very request (KIP-890). A topic or partition that is not there is refused alone. Before version
//! 2, clients do not know of coordinators that load, and are told that theirs is not available.
//!
//! *Memory*: the answer, proportional to the partitions, reserved before it is made. *Authorization*: WRITE on the transactional id,
//! READ on the group and on each topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_coordinator::group::{Answer, Request};
use klamm_coordinator::{Answer as _, TransactionalProducer};
use klamm_log::{Verification, VerificationGuard};
use klamm_metadata::Image;
use klamm_model::{ErrorCode, ProducerEpoch, ProducerId, TopicPartition, Uuid};
use klamm_protocol::ByteString;
use klamm_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use klamm_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use klamm_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};
use crate::coordinators::participation::{Participant, Support, is_worth_another_try, take_part};
use crate::coordinators::{Key, Kind};

/// Since this version topics are named by their ids.
const BY_ID: i16 = 6;
/// Since this version clients know COORDINATOR_LOAD_IN_PROGRESS.
const KNOWS_LOADING: i16 = 2;

/// What a topic and a partition take in the answer, refused or told of, and encoded, beside the name.
const TOPIC_BYTES: usize = 2 * size_of::<TxnOffsetCommitResponseTopic>() + 96;
const PARTITION_BYTES: usize = 2 * size_of::<TxnOffsetCommitResponsePartition>() + 8;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    mut request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let version = context.version;
    let bytes = request
        .topics
        .iter()
        .map(|topic| TOPIC_BYTES + 2 * topic.name.len() + PARTITION_BYTES * topic.partitions.len());
    if !context.memory.reserve(bytes.sum()).await {
        // One that is too large ends the connection.
        return TxnOffsetCommitResponse::default();
    }
    let mut refused = Told::new(version);
    {
        let image = context.broker.metadata.published();
        request
            .topics
            .retain_mut(|topic| check(&image, version, topic, &mut refused));
    }
    if request.topics.is_empty() {
        return TxnOffsetCommitResponse {
            topics: refused.topics,
            ..Default::default()
        };
    }
    let mut response = commit(context, Arc::new(request)).await;
    if !refused.topics.is_empty() {
        response.topics.into_iter().for_each(|topic| refused.add(topic));
        response.topics = refused.topics;
    }
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
    let (offsets, guard) = context.broker.groups.verify(partition, &asked)?;
    let Some(guard) = guard else {
        return Ok(None);
    };
    let participant = Participant {
        transactional_id: &request.transactional_id,
        producer,
        support,
    };
    let name = TopicPartition::new(Kind::Group.topic(), partition);
    let denied = take_part(context.broker, participant, vec![name]).await;
    match denied.of(offsets.topic(), partition) {
        None => Ok(Some(guard)),
        Some(code) => {
            if !is_worth_another_try(code) {
                offsets.verification_refused(producer.id, guard);
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

/// Gives a topic its name and its id, and takes out what is not there; `false` if nothing is left.
fn check(image: &Image, version: i16, topic: &mut TxnOffsetCommitRequestTopic, refused: &mut Told) -> bool {
    let topics = image.topics();
    let (found, unknown) = match version {
        BY_ID.. => (topics.by_id(&topic.topic_id), ErrorCode::UnknownTopicId),
        _ => (topics.by_name(&topic.name), ErrorCode::UnknownTopicOrPartition),
    };
    let Some(found) = found else {
        refuse(topic, unknown, |_| true, refused);
        return false;
    };
    match version {
        BY_ID.. => topic.name = found.name.to_string().into(),
        _ => topic.topic_id = found.id,
    }
    let is_missing = |index: i32| found.partition(index).is_none();
    let mut partitions = topic.partitions.iter();
    if partitions.any(|partition| is_missing(partition.partition_index)) {
        refuse(topic, ErrorCode::UnknownTopicOrPartition, is_missing, refused);
        topic
            .partitions
            .retain(|partition| !is_missing(partition.partition_index));
    }
    !topic.partitions.is_empty()
}

/// Tells `code` of those partitions of a topic that `which` picks.
fn refuse(
    topic: &TxnOffsetCommitRequestTopic,
    code: ErrorCode,
    which: impl Fn(i32) -> bool,
    refused: &mut Told,
) {
    let picked = topic
        .partitions
        .iter()
        .filter(|partition| which(partition.partition_index));
    let partitions = picked.map(|partition| TxnOffsetCommitResponsePartition {
        partition_index: partition.partition_index,
        error_code: code.code(),
        ..Default::default()
    });
    refused.add(TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
        ..Default::default()
    });
}

/// What is told of topics, each of which stands there once.
struct Told {
    version: i16,
    topics: Vec<TxnOffsetCommitResponseTopic>,
    /// Where each topic stands, by what the version names it by.
    places: BTreeMap<(Uuid, ByteString), usize>,
}

impl Told {
    fn new(version: i16) -> Self {
        Self {
            version,
            topics: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// Adds what is told of a topic, of which something else may be told already.
    fn add(&mut self, topic: TxnOffsetCommitResponseTopic) {
        let key = match self.version {
            BY_ID.. => (topic.topic_id, ByteString::new()),
            _ => (Uuid::ZERO, topic.name.clone()),
        };
        let place = *self.places.entry(key).or_insert(self.topics.len());
        match self.topics.get_mut(place) {
            Some(told) => told.partitions.extend(topic.partitions),
            None => self.topics.push(topic),
        }
    }
}
