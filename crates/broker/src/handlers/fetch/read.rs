//! One look at all partitions of a fetch: what can be sent from each, and whether waiting makes sense.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use klamm_log::read::VerifyError;
use klamm_log::{AbortedTransaction, FileRange, LogCell, scrub};
use klamm_model::{ErrorCode, LeaderEpoch, Offset, Uuid};
use klamm_protocol::messages::FetchRequest;

use crate::broker::Broker;
use crate::context::RequestContext;
use crate::fetch_sessions::{PartitionKey, Told, Wanted};
use crate::replicas::{Isolation, Partition, ReadOutcome, ReadSpec, TopicReplicas, Watcher};
use crate::waiters::Watch;

/// The limits of one request.
pub(super) struct Bounds {
    max_bytes: usize,
    /// The request said a negative number of bytes.
    senseless: bool,
    pub(super) min_bytes: usize,
    pub(super) max_wait: Duration,
    pub(super) isolation: Isolation,
    /// A follower's id; `None` for a consumer.
    pub(super) replica: Option<i32>,
}

impl Bounds {
    /// The limits of `request`; an error that refuses it as a whole.
    pub(super) fn of(request: &FetchRequest, fetch_max_bytes: usize) -> Result<Self, ErrorCode> {
        let isolation = match request.isolation_level {
            0 => Isolation::Uncommitted,
            1 => Isolation::Committed,
            _ => return Err(ErrorCode::UnknownServerError),
        };
        let replica = request.replica_id.max(request.replica_state.replica_id);
        let at_least_zero = |value: i32| usize::try_from(value).unwrap_or(0);
        Ok(Self {
            max_bytes: at_least_zero(request.max_bytes).min(fetch_max_bytes),
            senseless: request.max_bytes < 0,
            min_bytes: at_least_zero(request.min_bytes).min(fetch_max_bytes),
            max_wait: Duration::from_millis(at_least_zero(request.max_wait_ms) as u64),
            isolation,
            replica: (replica >= 0).then_some(replica),
        })
    }
}

/// What one partition has for the answer.
pub(super) struct Part {
    /// Its place among the wanted ones.
    pub(super) place: usize,
    pub(super) key: PartitionKey,
    pub(super) partition: Option<Arc<Partition>>,
    pub(super) outcome: Result<ReadOutcome, ErrorCode>,
    /// Where a copy of the batches stands, of an answer that is small.
    pub(super) copied: Option<Range<usize>>,
    /// Where it was read from.
    fetch_offset: Offset,
}

impl Part {
    /// What was to be sent, up to this position of a segment, cannot be read, or is not what was appended.
    pub(super) fn note_damage(&self, broker: &Broker, end: u64, error: VerifyError) {
        match (error, &self.partition) {
            (VerifyError::Corrupt { position, source }, Some(partition)) => {
                let what = source.to_string();
                let found = scrub::read_into(partition, self.fetch_offset, position..end, what);
                let name = partition.with(|log| log.partition().clone());
                broker.upkeep.damages.note(&name, &found);
            }
            (error, _) => tracing::error!(partition = %self.name(), %error, "stored bytes cannot be read"),
        }
    }

    /// Of which offsets the aborted transactions have to be looked up on the device.
    pub(super) fn aborted_wanted(&self) -> Option<(Arc<Partition>, Range<Offset>)> {
        let read = self.outcome.as_ref().ok().filter(|read| read.aborted.is_none())?;
        let count = i64::try_from(read.offset_count).unwrap_or(i64::MAX);
        Some((
            self.partition.clone()?,
            self.fetch_offset..self.fetch_offset.plus(count),
        ))
    }

    /// How many aborted transactions are told.
    pub(super) fn aborted_count(&self) -> usize {
        let read = self.outcome.as_ref().ok();
        read.and_then(|read| read.aborted.as_ref()).map_or(0, Vec::len)
    }

    pub(super) fn found_aborted(&mut self, found: Vec<AbortedTransaction>) {
        if let Ok(read) = &mut self.outcome {
            read.aborted = Some(found);
        }
    }

    /// The batches, if there are any.
    pub(super) fn range(&self) -> Option<&FileRange> {
        self.outcome.as_ref().ok()?.range.as_ref()
    }

    pub(super) fn refuse(&mut self, code: ErrorCode) {
        self.outcome = Err(code);
    }

    /// The partition, for the log.
    pub(super) fn name(&self) -> String {
        self.partition
            .as_ref()
            .map_or_else(|| format!("{:?}", self.key), |partition| partition.to_string())
    }
}

/// The sum of one look.
pub(super) struct Round {
    pub(super) bytes: usize,
    /// Nothing asks for an answer at once.
    pub(super) may_wait: bool,
    /// Partitions whose plan needs the device, and what was to be read.
    pub(super) unready: Vec<(Arc<Partition>, ReadSpec)>,
    /// More may come to a partition without anybody being told.
    pub(super) has_unwatched: bool,
    /// A partition was looked at.
    has_begun: bool,
}

/// Of which partitions a look wants to be told when they have more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watching {
    None,
    /// Those that have nothing.
    Idle,
    All,
}

impl Default for Round {
    fn default() -> Self {
        Self {
            bytes: 0,
            may_wait: true,
            unready: Vec::new(),
            has_unwatched: false,
            has_begun: false,
        }
    }
}

/// Looks at those of `wanted` that `order` names; `parts` and `round` have the outcome, behind what they had. What is
/// settled is no part of the answer.
pub(super) fn evaluate(
    context: &RequestContext<'_>,
    bounds: &Bounds,
    wanted: &mut [Wanted],
    order: &[u32],
    (watch, watching): (&Arc<Watch>, Watching),
    parts: &mut Vec<Part>,
    round: &mut Round,
) {
    let mut last = None;
    for number in order {
        let place = *number as usize;
        let Some(one) = wanted.get_mut(place) else {
            continue;
        };
        let is_first = !std::mem::replace(&mut round.has_begun, true);
        let found = topic_of(context, &one.key, &mut last).and_then(|topic| topic.get(one.key.partition));
        let outcome = found.and_then(|partition| {
            let left = bounds.max_bytes.saturating_sub(round.bytes);
            let spec = spec(bounds, one, left, round.bytes == 0);
            let watcher = (watching != Watching::None && !one.is_watched).then_some(Watcher {
                watch,
                place: *number,
                only_idle: watching == Watching::Idle,
            });
            let read = partition.read(&spec, watcher)?;
            one.is_watched |= read.is_watched;
            // Kafka fails where it would have read, and where the rest of the request's bytes is 0 it reads on.
            let senseless = one.max_bytes < 0 || (bounds.senseless && is_first);
            if senseless && (read.range.is_some() || read.not_ready) {
                return Err(ErrorCode::UnknownServerError);
            }
            // One that gets nothing for lack of room in the answer need not be ready.
            if read.not_ready && (spec.max_bytes > 0 || spec.min_one) {
                round.unready.push((Arc::clone(partition), spec));
            }
            Ok(read)
        });
        match &outcome {
            Ok(read) => {
                round.bytes += read.range.as_ref().map_or(0, |range| range.len);
                round.may_wait &= read.diverging.is_none();
                round.has_unwatched |= !one.is_watched;
                // How far a follower is, its leader learns from each of its fetches.
                let is_idle = bounds.replica.is_none() && read.is_idle(Offset(one.fetch_offset));
                if one.is_watched && is_idle && one.told == Some(Told::of(read)) {
                    one.is_settled = true;
                    continue;
                }
            }
            Err(_) => round.may_wait = false,
        }
        parts.push(Part {
            place,
            key: one.key.clone(),
            partition: found.ok().cloned(),
            outcome,
            copied: None,
            fetch_offset: Offset(one.fetch_offset),
        });
    }
}

fn spec(bounds: &Bounds, one: &Wanted, left: usize, first: bool) -> ReadSpec {
    let max_bytes = usize::try_from(one.max_bytes).unwrap_or(0).min(left);
    let epoch = |raw: i32| (raw >= 0).then_some(LeaderEpoch(raw));
    ReadSpec {
        offset: Offset(one.fetch_offset),
        max_bytes,
        min_one: first,
        isolation: bounds.isolation,
        replica: bounds.replica,
        current_leader_epoch: epoch(one.current_leader_epoch),
        last_fetched_epoch: epoch(one.last_fetched_epoch),
    }
}

/// The topic of a partition. Those of one topic mostly follow each other: `last` has the one that was found before.
fn topic_of<'l>(
    context: &RequestContext<'_>,
    key: &PartitionKey,
    last: &'l mut Option<(Uuid, ByteString, Arc<TopicReplicas>)>,
) -> Result<&'l TopicReplicas, ErrorCode> {
    let is_last = |(id, name, _): &(_, _, _)| *id == key.topic_id && *name == key.topic;
    if !last.as_ref().is_some_and(is_last) {
        let replicas = &context.broker.replicas;
        let (found, unknown) = if context.version >= 13 {
            (replicas.by_id(key.topic_id), ErrorCode::UnknownTopicId)
        } else {
            (replicas.by_name(&key.topic), ErrorCode::UnknownTopicOrPartition)
        };
        *last = Some((key.topic_id, key.topic.clone(), found.ok_or(unknown)?));
    }
    let (.., topic) = last.as_ref().expect("it was found before, or just now");
    Ok(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_isolation_level_refuses_the_request() {
        for (isolation_level, expected) in [
            (0, Ok(Isolation::Uncommitted)),
            (1, Ok(Isolation::Committed)),
            (2, Err(ErrorCode::UnknownServerError)),
            (-1, Err(ErrorCode::UnknownServerError)),
        ] {
            let request = FetchRequest {
                isolation_level,
                ..Default::default()
            };
            let isolation = Bounds::of(&request, 1000).map(|bounds| bounds.isolation);
            assert_eq!(isolation, expected, "{isolation_level}");
        }
    }
}
