//! One batch of a produce request: validated, appended, and its outcome put into the answer.
//!
//! Always holds: what unpacks to more than [`BRIEF_BYTES`] is not unpacked on a network thread, and only so much of it at
//! once as [`crate::broker::Broker::unpacking`] lets, so that decompression bombs neither stop the other connections nor
//! take all cores.

use std::cell::RefCell;

use bytes::Bytes;
use klamm_model::{ErrorCode, TimestampMs};
use klamm_protocol::Records;
use klamm_protocol::messages::produce_response::BatchIndexAndErrorMessage;
use klamm_records::{
    Origin, RecordErrors, RecordReason, Rejection, RejectionKind, Rules, Scratch, Validated, validate,
    validate_briefly, validate_framing,
};

use super::Acks;
use super::answer::{Answer, Refused};
use crate::context::RequestContext;
use crate::replicas::{Appended, Partition, Refusal};

/// Records at fault that the message of a batch names; all of them stand beside it.
const RECORDS_IN_A_MESSAGE: usize = 3;

/// What is unpacked on a network thread at most: a millisecond's work, or two.
const BRIEF_BYTES: u64 = 512 * 1024;

thread_local! {
    /// The memory for unpacking: kept by threads, which are few, and not by connections.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Validates and appends `records` to `partition`.
pub(super) async fn append(
    context: &RequestContext<'_>,
    partition: &std::sync::Arc<Partition>,
    index: i32,
    records: Records,
    acks: Acks,
    now: TimestampMs,
    answer: &mut Answer,
) {
    let bytes = bytes_of(records);
    let settings = partition.settings();
    let rules = settings.rules(origin(context), now);
    let batch = match check(context, &bytes, rules).await {
        Ok(batch) => batch,
        Err(rejection) => return reject(partition, index, &rejection, answer),
    };
    if batch.header.is_transactional() {
        return answer.refuse(index, ErrorCode::InvalidTxnState);
    }
    drop(bytes);
    let (count, size) = (batch.record_count, batch.size_in_bytes());
    match partition.append(&batch, acks == Acks::All, now).await {
        Ok(appended) => {
            if !appended.duplicate {
                context.broker.metrics.topics.produced(count, size);
            }
            accepted(partition, index, acks, &appended, answer);
        }
        Err(refusal) => {
            let refused = Refused {
                message: refusal.message(),
                log_start_offset: refusal.tells_log_start().then(|| partition.log_start_offset()),
                leader: leader_hint(partition, &refusal),
                ..Default::default()
            };
            answer.refuse_with(index, refusal.code(), refused);
        }
    }
}

/// Answers for a batch that came with acks that mean nothing; it is told of first when it is none.
pub(super) fn refuse_acks(
    context: &RequestContext<'_>,
    partition: &Partition,
    index: i32,
    records: Records,
    answer: &mut Answer,
) {
    match validate_framing(&bytes_of(records), origin(context)) {
        Ok(()) => answer.refuse(index, ErrorCode::InvalidRequiredAcks),
        Err(rejection) => reject(partition, index, &rejection, answer),
    }
}

fn bytes_of(records: Records) -> Bytes {
    match records {
        Records::Bytes(bytes) => bytes,
        Records::Null | Records::External { .. } => Bytes::new(),
    }
}

fn origin(context: &RequestContext<'_>) -> Origin {
    Origin::Client {
        produce_version: context.version,
    }
}

async fn check(context: &RequestContext<'_>, bytes: &Bytes, rules: Rules) -> Result<Validated, Rejection> {
    let brief = SCRATCH.with_borrow_mut(|scratch| validate_briefly(bytes, &rules, BRIEF_BYTES, scratch));
    if let Some(validated) = brief {
        return validated;
    }
    let _permit = context.broker.unpacking.acquire().await;
    let bytes = bytes.clone();
    let env = &context.broker.env;
    env.blocking(move || validate(&bytes, &rules, &mut Scratch::new()))
        .await
}

fn accepted(
    partition: &std::sync::Arc<Partition>,
    index: i32,
    acks: Acks,
    appended: &Appended,
    answer: &mut Answer,
) {
    let place = answer.accept(
        index,
        appended.base_offset.0,
        appended.log_append_time,
        appended.log_start_offset.0,
    );
    if acks == Acks::All && partition.high_watermark() < appended.end_offset {
        answer.wait(partition, appended.end_offset, place);
    }
}

/// Where the client should go instead (KIP-951), for the errors that say it came to the wrong broker.
fn leader_hint(partition: &Partition, refusal: &Refusal) -> Option<(i32, i32)> {
    match refusal.code() {
        ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch => partition.known_leader(),
        _ => None,
    }
}

fn reject(partition: &Partition, index: i32, rejection: &Rejection, answer: &mut Answer) {
    let code = match rejection.kind() {
        RejectionKind::CorruptMessage => ErrorCode::CorruptMessage,
        RejectionKind::InvalidRecord => ErrorCode::InvalidRecord,
        RejectionKind::InvalidTimestamp => ErrorCode::InvalidTimestamp,
        RejectionKind::UnsupportedCompression => ErrorCode::UnsupportedCompressionType,
        RejectionKind::MessageTooLarge => ErrorCode::MessageTooLarge,
        RejectionKind::Unknown => ErrorCode::UnknownServerError,
    };
    let errors: Vec<_> = rejection
        .record_errors()
        .iter()
        .map(|error| (error.index, record_message(partition, &error.reason)))
        .collect();
    let message = match rejection {
        Rejection::Records(all) => records_message(all, &errors),
        other => other.to_string(),
    };
    let record_errors = errors
        .into_iter()
        .map(|(batch_index, message)| BatchIndexAndErrorMessage {
            batch_index,
            batch_index_error_message: Some(message.into()),
            ..Default::default()
        });
    let refused = Refused {
        message: Some(message),
        record_errors: record_errors.collect(),
        log_start_offset: rejection.tells_log_start().then(|| partition.log_start_offset()),
        leader: None,
    };
    answer.refuse_with(index, code, refused);
}

/// What is wrong with one record, in Kafka's words: a missing key is told with the partition that asks for it.
fn record_message(partition: &Partition, reason: &RecordReason) -> String {
    match reason {
        RecordReason::NoKey => format!("{reason} in topic partition {partition}"),
        RecordReason::Timestamp { .. } | RecordReason::TimestampType => reason.to_string(),
    }
}

/// What is wrong with a batch some of whose records are at fault: `told`, the first of them, and what is wrong with each.
fn records_message(errors: &RecordErrors, told: &[(i32, String)]) -> String {
    if errors.has_timestamp() {
        return "One or more records have been rejected due to invalid timestamp".to_owned();
    }
    let named: Vec<_> = told
        .iter()
        .take(RECORDS_IN_A_MESSAGE)
        .map(|(index, message)| format!("RecordError(batchIndex={index}, message='{message}')"))
        .collect();
    format!(
        "One or more records have been rejected due to {} record errors in total, and only showing the first three \
         errors at most: [{}]",
        errors.total(),
        named.join(", ")
    )
}
