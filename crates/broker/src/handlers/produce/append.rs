//! One batch of a produce request: validated, appended, and its outcome put into the answer.
//!
//! Always holds: what unpacks to more than [`BRIEF_BYTES`] is not unpacked on a network thread, and only so much of it at
//! once as [`crate::broker::Broker::unpacking`] lets, so that decompression bombs neither stop the other connections nor
//! take all cores.

use std::cell::RefCell;

use bytes::Bytes;
use klamm_log::VerificationGuard;
use klamm_model::{ErrorCode, TimestampMs};
use klamm_protocol::Records;
use klamm_records::{
    Origin, Rejection, Rules, Scratch, Validated, validate, validate_briefly, validate_framing,
};

use super::Acks;
use super::answer::{Answer, Refused};
use super::reject::reject;
use crate::context::RequestContext;
use crate::replicas::{Appended, Partition, Refusal};

/// What is unpacked on a network thread at most: a millisecond's work, or two.
const BRIEF_BYTES: u64 = 512 * 1024;

thread_local! {
    /// The memory for unpacking: kept by threads, which are few, and not by connections.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// How a batch is to be written.
pub(super) struct Write {
    /// The partition's number.
    pub(super) index: i32,
    pub(super) acks: Acks,
    pub(super) now: TimestampMs,
    /// Of the verification that a batch in a transaction has waited for.
    pub(super) guard: Option<VerificationGuard>,
}

/// Validates and appends `records` to `partition`.
pub(super) async fn append(
    context: &RequestContext<'_>,
    partition: &std::sync::Arc<Partition>,
    write: Write,
    records: Records,
    answer: &mut Answer,
) {
    let Write {
        index,
        acks,
        now,
        guard,
    } = write;
    let bytes = bytes_of(records);
    let settings = partition.settings();
    let rules = settings.rules(origin(context), now);
    let batch = match check(context, &bytes, rules).await {
        Ok(batch) => batch,
        Err(rejection) => return reject(partition, index, &rejection, answer),
    };
    drop(bytes);
    let (count, size) = (batch.record_count, batch.size_in_bytes());
    match partition.append(&batch, guard, acks == Acks::All, now).await {
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
    // In a box: every connection has the room that this future takes.
    Box::pin(check_elsewhere(context, bytes.clone(), rules)).await
}

async fn check_elsewhere(
    context: &RequestContext<'_>,
    bytes: Bytes,
    rules: Rules,
) -> Result<Validated, Rejection> {
    let _permit = context.broker.unpacking.acquire().await;
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
