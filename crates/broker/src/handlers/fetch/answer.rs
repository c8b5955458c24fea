//! Makes the response of a fetch out of what was read, and keeps its session.
//!
//! Always holds: an incremental answer names a partition only if it has records, an error, or figures that changed since
//! the last answer of the session.

use std::ops::Range;

use klamm_model::ErrorCode;
use klamm_protocol::Records;
use klamm_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};

use super::open::Source;
use super::read::{Bounds, Part};
use super::{Reused, Sent};
use crate::context::RequestContext;
use crate::fetch_sessions::{Session, Told};
use crate::replicas::{Isolation, ReadOutcome};
use crate::turn::Turn;

/// Emptied lists of partitions that a connection keeps.
const KEPT: usize = 16;

/// What a partition counts of a turn.
const STEP_BYTES: usize = 256;
/// Partitions that are put into an answer before others go first.
const AT_ONCE: usize = 512;

/// Fills `reused.response` and `reused.pieces`; returns the id of the session, 0 for none.
pub(super) async fn build(
    context: &RequestContext<'_>,
    bounds: &Bounds,
    source: Source,
    reused: &mut Reused,
) -> i32 {
    let session = match source {
        Source::Own(wanted) => {
            reused.wanted = wanted.into_inner();
            None
        }
        Source::New(wanted) => {
            let broker = context.broker;
            let by_id = context.version >= 13;
            let random = || broker.env.random_u64() as i32;
            let session =
                broker
                    .fetch_sessions
                    .create(wanted.into_inner(), by_id, broker.env.monotonic(), random);
            session.map(|session| (session, false))
        }
        Source::Session(session) => Some((session, true)),
    };
    let mut turn = Turn::default();
    let mut filled = Filled::default();
    let mut first = 0;
    while first < reused.parts.len() {
        let next = (first + AT_ONCE).min(reused.parts.len());
        match &session {
            None => fill(context, bounds, None, reused, first..next, &mut filled),
            Some((session, incremental)) => {
                let session = Some((&mut *session.lock(), *incremental));
                fill(context, bounds, session, reused, first..next, &mut filled);
            }
        }
        turn.spend_on((next - first) * STEP_BYTES).await;
        first = next;
    }
    context
        .broker
        .metrics
        .topics
        .fetched(filled.records, filled.bytes);
    session.map_or(0, |(session, _)| {
        let mut session = session.lock();
        if let Some(place) = filled.last {
            session.filled_by(place);
        }
        session.id
    })
}

/// What was put into an answer.
#[derive(Default)]
struct Filled {
    records: u64,
    bytes: usize,
    /// The place of the last partition that has records.
    last: Option<usize>,
}

/// Empties the response of the request before and keeps its memory.
pub(super) fn recycle(reused: &mut Reused) {
    reused.response.error_code = 0;
    reused.response.session_id = 0;
    for mut topic in reused.response.responses.drain(..) {
        topic.partitions.clear();
        if reused.spare.len() < KEPT {
            reused.spare.push(topic.partitions);
        }
    }
}

/// Puts parts into the response; of an incremental answer only what is news.
fn fill(
    context: &RequestContext<'_>,
    bounds: &Bounds,
    mut session: Option<(&mut Session, bool)>,
    reused: &mut Reused,
    places: Range<usize>,
    filled: &mut Filled,
) {
    for part in &reused.parts[places] {
        let told = told(part);
        let has_records = part.outcome.as_ref().is_ok_and(|read| read.range.is_some());
        let diverges = part.outcome.as_ref().is_ok_and(|read| read.diverging.is_some());
        if let Some((session, incremental)) = &mut session {
            let Some(wanted) = session
                .partitions
                .get_mut(part.place)
                .filter(|wanted| wanted.key == part.key)
            else {
                continue;
            };
            let news = has_records || diverges || told.error != ErrorCode::None || wanted.told != Some(told);
            // After an error the figures are told again.
            wanted.told = (told.error == ErrorCode::None).then_some(told);
            if *incremental && !news {
                continue;
            }
        }
        if has_records {
            filled.last = Some(part.place);
        }
        let data = partition_data(context, bounds, part, &mut reused.pieces);
        filled.records += part.outcome.as_ref().map_or(0, |read| read.offset_count);
        filled.bytes += data.records.len();
        push(&mut reused.response.responses, &mut reused.spare, part, data);
    }
}

fn told(part: &Part) -> Told {
    match &part.outcome {
        Ok(read) => Told::of(read),
        Err(code) => Told {
            high_watermark: -1,
            log_start_offset: -1,
            error: *code,
        },
    }
}

fn push(
    topics: &mut Vec<FetchableTopicResponse>,
    spare: &mut Vec<Vec<PartitionData>>,
    part: &Part,
    data: PartitionData,
) {
    match topics.last_mut() {
        Some(last) if last.topic == part.key.topic && last.topic_id == part.key.topic_id => {
            last.partitions.push(data);
        }
        _ => {
            let mut partitions = spare.pop().unwrap_or_default();
            partitions.push(data);
            topics.push(FetchableTopicResponse {
                topic: part.key.topic.clone(),
                topic_id: part.key.topic_id,
                partitions,
                ..Default::default()
            });
        }
    }
}

fn partition_data(
    context: &RequestContext<'_>,
    bounds: &Bounds,
    part: &Part,
    pieces: &mut Vec<Sent>,
) -> PartitionData {
    match &part.outcome {
        Ok(read) => successful(context, bounds, part, read, pieces),
        Err(code) => PartitionData {
            // An empty list where there is no partition, none where it refused: as Kafka has it.
            aborted_transactions: part.partition.is_none().then(Vec::new),
            current_leader: leader_hint(context, part, *code),
            ..refused(part.key.partition, *code)
        },
    }
}

fn refused(partition_index: i32, code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index,
        error_code: code.code(),
        high_watermark: -1,
        aborted_transactions: Some(Vec::new()),
        records: Records::Bytes(Default::default()),
        ..Default::default()
    }
}

/// The answer to a request that is refused as a whole. Before version 13 every partition says so too, for the clients
/// that do not look at the head.
pub(super) fn refuse_all(context: &RequestContext<'_>, code: ErrorCode, reused: &mut Reused) {
    reused.response.error_code = code.code();
    if context.version >= 13 {
        return;
    }
    for topic in &reused.request.topics {
        let partitions = topic.partitions.iter();
        reused.response.responses.push(FetchableTopicResponse {
            topic: topic.topic.clone(),
            partitions: partitions.map(|asked| refused(asked.partition, code)).collect(),
            ..Default::default()
        });
    }
}

fn successful(
    context: &RequestContext<'_>,
    bounds: &Bounds,
    part: &Part,
    read: &ReadOutcome,
    pieces: &mut Vec<Sent>,
) -> PartitionData {
    let records = match &read.range {
        None => Records::Bytes(Default::default()),
        Some(range) => {
            pieces.push(match &part.copied {
                Some(place) => Sent::Copied(place.clone()),
                None => Sent::File(range.clone()),
            });
            Records::External {
                token: pieces.len() as u32 - 1,
                len: range.len,
            }
        }
    };
    let diverging_epoch = match read.diverging {
        Some((epoch, end)) if context.version >= 12 => EpochEndOffset {
            epoch: epoch.0,
            end_offset: end.0,
            ..Default::default()
        },
        _ => EpochEndOffset::default(),
    };
    let committed = bounds.isolation == Isolation::Committed && bounds.replica.is_none();
    PartitionData {
        partition_index: part.key.partition,
        high_watermark: read.high_watermark.0,
        last_stable_offset: read.last_stable_offset.0,
        log_start_offset: read.log_start_offset.0,
        diverging_epoch,
        aborted_transactions: committed.then(|| aborted(read)),
        records,
        ..Default::default()
    }
}

/// What a reader of committed records leaves out.
fn aborted(read: &ReadOutcome) -> Vec<AbortedTransaction> {
    let found = read.aborted.iter().flatten();
    let told = found.map(|aborted| AbortedTransaction {
        producer_id: aborted.producer_id.0,
        first_offset: aborted.first_offset.0,
        ..Default::default()
    });
    told.collect()
}

/// Where the client should go instead (KIP-951).
fn leader_hint(context: &RequestContext<'_>, part: &Part, code: ErrorCode) -> LeaderIdAndEpoch {
    let moved = matches!(
        code,
        ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch
    );
    let known = part
        .partition
        .as_ref()
        .and_then(|partition| partition.known_leader());
    match known {
        Some((leader_id, leader_epoch)) if moved && context.version >= 16 => LeaderIdAndEpoch {
            leader_id,
            leader_epoch,
            ..Default::default()
        },
        _ => LeaderIdAndEpoch::default(),
    }
}
