//! How far behind its partitions a group is: in records, and in time.
//!
//! Always holds: the lag in time is the age of the oldest record that was not consumed. Nothing to consume is no lag; where
//! no record was found (only markers are left, or no broker answered in time) there is none to show. A group that has committed
//! more than there is (the topic was made anew, or lost records) has a negative lag, and none in time.

use std::collections::BTreeMap;

use klamm_client::Admin;
use klamm_client::offsets::Committed;
use klamm_model::{Offset, TopicPartition};
use serde::Serialize;

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Lag {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) committed_offset: Option<i64>,
    /// `None` when the topic is gone, the partition has no leader, or the leader does not say.
    pub(super) end_offset: Option<i64>,
    pub(super) lag: Option<i64>,
    pub(super) lag_ms: Option<i64>,
}

/// The lag of each of `partitions`.
pub(super) async fn of(
    admin: &Admin,
    committed: &BTreeMap<TopicPartition, Committed>,
    partitions: impl Iterator<Item = TopicPartition>,
) -> anyhow::Result<Vec<Lag>> {
    let partitions: Vec<TopicPartition> = partitions.collect();
    let ends = admin.known_ends(&partitions).await?;
    let known: BTreeMap<TopicPartition, (Offset, Offset)> = partitions
        .iter()
        .filter_map(|partition| {
            let offset = committed.get(partition)?.offset;
            Some((partition.clone(), (offset, *ends.get(partition)?)))
        })
        .collect();
    let times = admin.times_of_unread(&known).await;
    let now = admin.client().env().now();
    let lags = partitions.into_iter().map(|partition| {
        let offset = committed.get(&partition).map(|committed| committed.offset);
        let end = ends.get(&partition).copied();
        let age = times.get(&partition).map(|time| (now.0 - time.0).max(0));
        lag(&partition, offset, end, age)
    });
    Ok(lags.collect())
}

fn lag(partition: &TopicPartition, offset: Option<Offset>, end: Option<Offset>, age_ms: Option<i64>) -> Lag {
    let records = offset.zip(end).map(|(offset, end)| end.0 - offset.0);
    Lag {
        topic: partition.topic.to_string(),
        partition: partition.partition,
        committed_offset: offset.map(|offset| offset.0),
        end_offset: end.map(|end| end.0),
        lag: records,
        lag_ms: age_ms.or(records.filter(|records| *records == 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_is_beyond_the_end_does_not_look_healthy() {
        let partition = TopicPartition::new("t", 0);
        let cases = [
            (Some(10), Some(1_000), Some(5), Some((990, Some(5)))),
            (Some(10), Some(10), None, Some((0, Some(0)))),
            (Some(1_000), Some(10), None, Some((-990, None))),
            (None, Some(10), None, None),
            (Some(10), None, None, None),
        ];
        for (committed, end, age, expected) in cases {
            let lag = lag(&partition, committed.map(Offset), end.map(Offset), age);
            assert_eq!(lag.lag.map(|records| (records, lag.lag_ms)), expected);
        }
    }
}
