//! Produce, versions 3 to 13 (0 to 2 are advertised and refused: librdkafka reads the range and needs the 0).
//!
//! Appends one batch for each partition named. Topics are named by id since version 13, by name before; errors of single
//! records since 8 (KIP-467), the current leader since 10 (KIP-951). acks=0 is never answered: an error ends the
//! connection instead, which is the only way to tell the producer. acks=1 is answered once the leader has the batch,
//! acks=all once the high watermark has passed it, which is when it is durable on every in-sync replica.
//!
//! *Order*: the ordered stage validates and appends; waiting for the watermark is the background stage ([`Parked`]), so
//! that batches in flight on one connection are appended one behind the other within one round trip.
//! *Transactions*: what the first batch of a transaction in a partition must wait for is in `transaction.rs`.
//! *Time*: between partitions others get their turn; a batch that takes long to check is checked elsewhere.
//! *Memory*: the request's frame, held until the batches are in the log (until the answer, when it names a topic that is
//! not there); lists are kept from request to request, up to [`kept::KEPT_BYTES`].
//! *Authorization*: WRITE on the topic, and on the transactional id of a batch in a transaction.

mod answer;
mod append;
mod kept;
mod reject;
mod transaction;

use std::sync::Arc;

use klamm_model::{ErrorCode, TimestampMs, topic_name};
use klamm_net::{Outcome, Output};
use klamm_protocol::messages::ProduceRequest;
use klamm_protocol::messages::produce_request::TopicProduceData;
use klamm_protocol::{ApiKey, Message, Records, RequestHeader, Writer};
use klamm_records::BatchHeader;

pub(crate) use self::answer::Parked;
use self::answer::{Answer, Pool};
use self::append::Write;
use self::transaction::Verified;
use crate::body::Body;
use crate::context::RequestContext;
use crate::dispatch::{Fault, emit};
use crate::metrics::Phases;
use crate::replicas::{Partition, TopicReplicas, View};
use crate::turn::Turn;

/// What a connection keeps from one produce request to the next.
#[derive(Default)]
pub(crate) struct Reused {
    request: ProduceRequest,
    answers: Arc<Pool>,
}

/// How many replicas must have a batch before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acks {
    /// Nobody waits for an answer.
    None,
    /// The leader.
    Leader,
    /// All that are in sync.
    All,
}

impl Acks {
    fn from_wire(acks: i16) -> Option<Self> {
        match acks {
            0 => Some(Self::None),
            1 => Some(Self::Leader),
            -1 => Some(Self::All),
            _ => None,
        }
    }
}

/// The ordered stage of a produce request. What is large is borrowed: an argument of a future takes its room twice, in every
/// connection.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    header: &RequestHeader,
    body: &mut Body,
    reused: &mut Reused,
    writer: &mut Writer,
    out: &mut Output,
    phases: &Phases,
) -> Result<Outcome<Parked>, Fault> {
    let Reused { request, answers } = reused;
    body.decode(|reader| request.decode_into(reader, header.api_version))
        .await
        .map_err(|error| Fault::Malformed {
            api: "Produce",
            error,
        })?;
    let mut terms = Terms::of(request, context.broker.env.now());
    let mut answer = answers.take(header, phases);
    let mut turn = Turn::default();
    let replicas = context.broker.replicas.view();
    let verified = match terms.writes_in_transaction() {
        false => None,
        true => match Box::pin(transaction::verify(context, &replicas, request)).await {
            Ok(verified) => Some(verified),
            Err(code) => {
                terms.refused = Some(code);
                None
            }
        },
    };
    for topic in &mut request.topic_data {
        let verified = verified.as_ref();
        produce_topic(
            context,
            &replicas,
            topic,
            (terms, verified),
            &mut turn,
            &mut answer,
        )
        .await;
    }
    drop(replicas);
    let timeout_ms = request.timeout_ms;
    kept::release(request);
    answer.hold(body);
    if terms.acks == Some(Acks::None) {
        let fault = answer.first_error();
        answer.count(context.broker);
        answers.put(answer);
        return match fault {
            Some((partition, code)) => Err(Fault::Refused(format!("acks=0 and {partition} answers {code}"))),
            None => Ok(Outcome::Silent),
        };
    }
    if answer.waits() {
        answer.wait_for(timeout_ms, &context.broker.env);
        return Ok(Outcome::Parked(Parked::new(
            answer,
            answers.clone(),
            context.broker.clone(),
        )));
    }
    answer.encode(writer)?;
    emit(writer, ApiKey::Produce, out, |_| None);
    answer.count(context.broker);
    answers.put(answer);
    Ok(Outcome::Answered)
}

async fn produce_topic(
    context: &RequestContext<'_>,
    replicas: &View,
    topic: &mut TopicProduceData,
    (terms, verified): (Terms, Option<&Verified>),
    turn: &mut Turn,
    answer: &mut Answer,
) {
    // Kafka answers by partition: a topic without one is not told of.
    if topic.partition_data.is_empty() {
        return;
    }
    let by_id = context.version >= 13;
    let found = find(replicas, topic, by_id);
    match &found {
        _ if by_id => answer.begin_topic_by_id(topic.topic_id),
        Ok(found) => answer.begin_topic(found.wire_name.clone()),
        Err(_) => answer.begin_unknown_topic(topic.name.clone()),
    }
    for data in &mut topic.partition_data {
        let records = std::mem::take(&mut data.records);
        let index = data.index;
        turn.spend(records.len()).await;
        let partition = match &found {
            Ok(topic) => topic.get(index),
            Err(code) => Err(*code),
        };
        match (may_append(partition, terms), terms.acks) {
            (Ok(partition), Some(acks)) => match verified.map_or(Ok(None), |all| all.of(partition)) {
                Ok(guard) => {
                    let write = Write {
                        index,
                        acks,
                        now: terms.now,
                        guard,
                    };
                    append::append(context, partition, write, records, answer).await;
                }
                Err(denied) => denied.tell(index, answer),
            },
            (Ok(partition), None) => append::refuse_acks(context, partition, index, records, answer),
            (Err(code), _) => transaction::refuse(index, code, answer),
        }
    }
}

/// What the whole request asks for.
#[derive(Clone, Copy)]
struct Terms {
    /// `None` for a number that means nothing.
    acks: Option<Acks>,
    now: TimestampMs,
    /// Whether a batch says that it is of a transaction.
    is_transactional: bool,
    /// Why no partition of the request takes anything.
    refused: Option<ErrorCode>,
}

impl Terms {
    fn of(request: &ProduceRequest, now: TimestampMs) -> Self {
        let is_transactional = has_transactional_batch(request);
        let is_nobody_s = is_transactional && request.transactional_id.is_none();
        Self {
            acks: Acks::from_wire(request.acks),
            now,
            is_transactional,
            refused: is_nobody_s.then_some(ErrorCode::TransactionalIdAuthorizationFailed),
        }
    }

    /// Whether somebody must be asked who has begun a transaction.
    fn writes_in_transaction(&self) -> bool {
        self.is_transactional && self.refused.is_none() && self.acks.is_some()
    }
}

/// Whether any batch claims to be part of a transaction, which takes a transactional id.
fn has_transactional_batch(request: &ProduceRequest) -> bool {
    let mut partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    partitions.any(|partition| match &partition.records {
        Records::Bytes(bytes) => BatchHeader::parse(bytes).is_ok_and(|header| header.is_transactional()),
        Records::Null | Records::External { .. } => false,
    })
}

/// The partition, if the batch may be looked at. The order decides which error is told; acks that mean nothing come before
/// what the topic does not take, and are left to the caller.
fn may_append(
    partition: Result<&Arc<Partition>, ErrorCode>,
    terms: Terms,
) -> Result<&Arc<Partition>, ErrorCode> {
    if let Some(code) = terms.refused {
        return Err(code);
    }
    let partition = partition?;
    match topic_name::is_internal(partition.topic()) {
        true if terms.acks.is_some() => Err(ErrorCode::InvalidTopicException),
        _ => Ok(partition),
    }
}

/// The topic named by id or by name.
fn find<'v>(
    replicas: &'v View,
    topic: &TopicProduceData,
    by_id: bool,
) -> Result<&'v TopicReplicas, ErrorCode> {
    let (found, unknown) = if by_id {
        (replicas.by_id(topic.topic_id), ErrorCode::UnknownTopicId)
    } else {
        (replicas.by_name(&topic.name), ErrorCode::UnknownTopicOrPartition)
    };
    found.map(AsRef::as_ref).ok_or(unknown)
}

#[cfg(test)]
mod tests {
    use klamm_model::Offset;
    use klamm_protocol::messages::produce_request::PartitionProduceData;
    use klamm_records::{BatchBuilder, Compression};

    use super::*;

    #[test]
    fn a_transactional_batch_without_a_transactional_id_refuses_the_request() {
        let batch = |transactional: bool| {
            let builder = BatchBuilder::new(Compression::None);
            let mut builder = if transactional {
                builder.transactional()
            } else {
                builder
            };
            builder.append(TimestampMs(0), Some(b"k"), Some(b"v"), &[]);
            Records::Bytes(builder.build(Offset(0)).unwrap())
        };
        let refused = ErrorCode::TransactionalIdAuthorizationFailed;
        for (records, id, expected) in [
            (vec![batch(false), batch(false)], None, None),
            (vec![batch(false), batch(true)], None, Some(refused)),
            (
                vec![Records::Null, Records::Bytes(Default::default())],
                None,
                None,
            ),
            (vec![batch(false)], Some("t"), None),
            (vec![batch(true)], Some("t"), None),
        ] {
            let partition = |(index, records)| PartitionProduceData {
                index,
                records,
                ..Default::default()
            };
            let request = ProduceRequest {
                transactional_id: id.map(Into::into),
                acks: -1,
                topic_data: vec![TopicProduceData {
                    partition_data: (0..).zip(records).map(partition).collect(),
                    ..Default::default()
                }],
                ..Default::default()
            };
            let terms = Terms::of(&request, TimestampMs(0));
            assert_eq!((terms.acks, terms.refused), (Some(Acks::All), expected));
            let waits = terms.is_transactional && id.is_some();
            assert_eq!(terms.writes_in_transaction(), waits);
        }
    }
}
