//! Produce, versions 3 to 13 (0 to 2 are advertised and refused: librdkafka reads the range and needs the 0).
//!
//! Appends one batch for each partition named. Topics are named by id since version 13, by name before; errors of single
//! records since 8 (KIP-467), the current leader since 10 (KIP-951). acks=0 is never answered: an error ends the
//! connection instead, which is the only way to tell the producer. acks=1 is answered once the leader has the batch,
//! acks=all once the high watermark has passed it, which is when it is durable on every in-sync replica.
//!
//! *Order*: the ordered stage validates and appends; waiting for the watermark is the background stage ([`Parked`]), so
//! that batches in flight on one connection are appended one behind the other within one round trip.
//! *Memory*: the request's frame, held until the batch is in the log; the rest is kept from request to request.
//! *Authorization*: WRITE on the topic.

mod answer;
mod append;

use std::sync::Arc;

use klamm_model::{ErrorCode, TimestampMs};
use klamm_net::{Charge, Outcome, Output};
use klamm_protocol::messages::ProduceRequest;
use klamm_protocol::messages::produce_request::TopicProduceData;
use klamm_protocol::{Message, Reader, RequestHeader, Writer};
use klamm_records::Scratch;

pub(crate) use self::answer::Parked;
use self::answer::{Answer, Pool};
use crate::context::RequestContext;
use crate::dispatch::{Fault, emit};
use crate::metrics::Phases;
use crate::replicas::TopicReplicas;

/// What a connection keeps from one produce request to the next.
#[derive(Default)]
pub(crate) struct Reused {
    request: ProduceRequest,
    scratch: Scratch,
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

/// The ordered stage of a produce request.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one connection, borrowed apart"
)]
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    header: &RequestHeader,
    mut reader: Reader,
    reused: &mut Reused,
    writer: &mut Writer,
    out: &mut Output,
    charge: Charge,
    phases: Phases,
) -> Result<Outcome<Parked>, Fault> {
    let Reused {
        request,
        scratch,
        answers,
    } = reused;
    request
        .decode_into(&mut reader, header.api_version)
        .map_err(|error| Fault::Malformed {
            api: "Produce",
            error,
        })?;
    drop(reader);
    let acks = Acks::from_wire(request.acks);
    let mut answer = answers.take(header, phases);
    let now = context.broker.env.now();
    for topic in &mut request.topic_data {
        produce_topic(
            context,
            topic,
            acks,
            request.transactional_id.is_some(),
            now,
            scratch,
            &mut answer,
        )
        .await;
        // What is kept for the next request must not hold on to the memory of this one.
        topic.name = Default::default();
    }
    request.transactional_id = None;
    drop(charge);
    if acks == Some(Acks::None) {
        let fault = answer.first_error();
        answer.count(context.broker);
        answers.put(answer);
        return match fault {
            Some((partition, code)) => Err(Fault::Refused(format!("acks=0 and {partition} answers {code}"))),
            None => Ok(Outcome::Silent),
        };
    }
    if answer.waits() {
        answer.wait_for(request.timeout_ms, &context.broker.env);
        return Ok(Outcome::Parked(Parked::new(
            answer,
            answers.clone(),
            context.broker.clone(),
        )));
    }
    answer.encode(writer)?;
    emit(writer, out, |_| None);
    answer.count(context.broker);
    answers.put(answer);
    Ok(Outcome::Answered)
}

async fn produce_topic(
    context: &RequestContext<'_>,
    topic: &mut TopicProduceData,
    acks: Option<Acks>,
    transactional: bool,
    now: TimestampMs,
    scratch: &mut Scratch,
    answer: &mut Answer,
) {
    let by_id = context.version >= 13;
    answer.begin_topic(&topic.name, topic.topic_id);
    let found = find(context, topic, by_id);
    for data in &mut topic.partition_data {
        let records = std::mem::take(&mut data.records);
        let index = data.index;
        let Some(acks) = acks else {
            answer.refuse(index, ErrorCode::InvalidRequiredAcks, None);
            continue;
        };
        if transactional {
            answer.refuse(index, ErrorCode::InvalidTxnState, None);
            continue;
        }
        let partition = found.as_ref().map_err(|code| *code);
        match partition.and_then(|topic| topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)) {
            Ok(partition) => {
                append::append(context, &partition, index, records, acks, now, scratch, answer).await;
            }
            Err(code) => answer.refuse(index, code, None),
        }
    }
}

/// The topic named by id or by name.
fn find(
    context: &RequestContext<'_>,
    topic: &TopicProduceData,
    by_id: bool,
) -> Result<Arc<TopicReplicas>, ErrorCode> {
    let replicas = &context.broker.replicas;
    let found = if by_id {
        replicas.by_id(topic.topic_id)
    } else {
        replicas.by_name(&topic.name)
    };
    let unknown = if by_id {
        ErrorCode::UnknownTopicId
    } else {
        ErrorCode::UnknownTopicOrPartition
    };
    let topic = found.ok_or(unknown)?;
    if klamm_model::topic_name::is_internal(&topic.name) {
        return Err(ErrorCode::InvalidTopicException);
    }
    Ok(topic)
}
