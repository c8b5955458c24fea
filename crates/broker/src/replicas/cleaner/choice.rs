//! Which log is compacted next: of those that are due, the one with the largest share of bytes that were not gone over.
//!
//! Always holds: a log that is chosen counts as under way; one that cannot be looked at is one that failed.

use std::sync::Arc;

use klamm_log::clean::dirtiness;
use klamm_log::{Dirtiness, LogCell, LogError};
use klamm_model::TimestampMs;

use super::{Shared, failed, id_of};
use crate::broker::Broker;
use crate::replicas::partition::Partition;

/// A log to be compacted.
pub(super) struct Chosen {
    pub(super) partition: Arc<Partition>,
    pub(super) dirtiness: Dirtiness,
}

/// Chooses. Blocks.
pub(super) fn choose(broker: &Broker, shared: &Shared) -> Option<Chosen> {
    let now = broker.env.now();
    let mut looked_at = Vec::new();
    for partition in broker.replicas.partitions() {
        match look(&partition, shared, now) {
            Ok(None) | Err(LogError::Retired) => {}
            Ok(Some(dirtiness)) => looked_at.push((partition, dirtiness)),
            Err(error) => failed(&partition, shared, &error),
        }
    }
    let ratios = looked_at.iter().map(|(_, dirtiness)| dirtiness.ratio());
    let filthiest = ratios.fold(0.0, f64::max);
    let overdue = looked_at.iter().map(|(_, dirtiness)| dirtiness.overdue).max();
    let mut due: Vec<_> = looked_at
        .into_iter()
        .filter(|(partition, dirtiness)| dirtiness.is_due(&partition.settings().compaction))
        .collect();
    due.sort_by(|(_, one), (_, other)| other.ratio().total_cmp(&one.ratio()));
    let mut state = shared.state.lock();
    state
        .figures
        .looked(broker.env.monotonic(), filthiest, overdue.unwrap_or_default());
    let held = broker.replicas.partitions();
    state
        .uncleanable
        .retain(|id, _| held.iter().any(|partition| id_of(partition) == *id));
    // Another task may have taken one meanwhile.
    let (partition, dirtiness) = due
        .into_iter()
        .find(|(partition, _)| state.under_way.insert(id_of(partition)))?;
    Some(Chosen { partition, dirtiness })
}

/// What a log has to clean; `None` if that is not asked, or it has nothing at all.
fn look(
    partition: &Arc<Partition>,
    shared: &Shared,
    now: TimestampMs,
) -> Result<Option<Dirtiness>, LogError> {
    let settings = partition.settings();
    let is_left_alone = || {
        let state = shared.state.lock();
        let id = id_of(partition);
        state.under_way.contains(&id) || state.uncleanable.contains_key(&id)
    };
    if !settings.log.compact
        || is_left_alone()
        || partition.with(|log| log.dir().failure().is_some() || log.summary().segment_count < 2)
    {
        return Ok(None);
    }
    let found = dirtiness(partition, &settings.compaction, now)?;
    Ok((found.clean_bytes + found.dirty_bytes > 0).then_some(found))
}
