//! One batch of a produce request: validated, appended, and its outcome put into the answer.

use klamm_model::{ErrorCode, TimestampMs};
use klamm_protocol::Records;
use klamm_protocol::messages::produce_response::BatchIndexAndErrorMessage;
use klamm_records::{Origin, Rejection, RejectionKind, Scratch, validate};

use super::Acks;
use super::answer::Answer;
use crate::context::RequestContext;
use crate::replicas::{Appended, Partition, Refusal};

/// Validates and appends `records` to `partition`.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one request, borrowed apart"
)]
pub(super) async fn append(
    context: &RequestContext<'_>,
    partition: &std::sync::Arc<Partition>,
    index: i32,
    records: Records,
    acks: Acks,
    now: TimestampMs,
    scratch: &mut Scratch,
    answer: &mut Answer,
) {
    let bytes = match records {
        Records::Bytes(bytes) => bytes,
        Records::Null | Records::External { .. } => Default::default(),
    };
    let settings = partition.settings();
    let rules = settings.rules(
        Origin::Client {
            produce_version: context.version,
        },
        now,
    );
    let batch = match validate(&bytes, &rules, scratch) {
        Ok(batch) => batch,
        Err(rejection) => return reject(index, &rejection, answer),
    };
    if batch.header.is_transactional() {
        return answer.refuse(index, ErrorCode::InvalidTxnState, None);
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
            let message = refusal.message();
            answer.refuse_as_at(index, refusal.code(), message, leader_hint(partition, &refusal));
        }
    }
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

fn reject(index: i32, rejection: &Rejection, answer: &mut Answer) {
    let code = match rejection.kind() {
        RejectionKind::CorruptMessage => ErrorCode::CorruptMessage,
        RejectionKind::InvalidRecord => ErrorCode::InvalidRecord,
        RejectionKind::InvalidTimestamp => ErrorCode::InvalidTimestamp,
        RejectionKind::UnsupportedCompression => ErrorCode::UnsupportedCompressionType,
        RejectionKind::MessageTooLarge => ErrorCode::MessageTooLarge,
        RejectionKind::Unknown => ErrorCode::UnknownServerError,
    };
    let errors = rejection
        .record_errors()
        .iter()
        .map(|error| BatchIndexAndErrorMessage {
            batch_index: error.index,
            batch_index_error_message: Some(error.reason.to_string().into()),
            ..Default::default()
        });
    answer.refuse_records(index, code, rejection.to_string(), errors.collect());
}
