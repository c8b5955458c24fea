//! Where the partitions begin that a member has just got: behind what the group has committed, or where it was told.
//!
//! Always holds: a partition that cannot be begun yet (an open transaction may still move what is committed for it, it has no
//! leader) keeps no other one waiting, nor the membership: it is asked about again later. A start that was chosen, and not read
//! from the group, counts as processed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use klamm_model::{Offset, TopicPartition};

use super::{GroupConsumer, GroupError, in_group};
use crate::backoff;
use crate::consumer::{OffsetSpec, is_final};
use crate::error::ClientError;
use crate::offsets;

/// After how long somebody should know why nothing is read.
const QUIET: Duration = Duration::from_secs(5);

/// The member's partitions that are not read yet.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    partitions: BTreeSet<TopicPartition>,
    /// Since when, without anything having been begun.
    since: Duration,
    attempts: u32,
    not_before: Duration,
    is_told: bool,
}

/// What one attempt found.
#[derive(Default)]
struct Begins {
    committed: BTreeMap<TopicPartition, Offset>,
    chosen: BTreeMap<TopicPartition, Offset>,
    /// Why not all was found.
    reason: Option<ClientError>,
    has_unstable: bool,
}

impl Unsettled {
    pub(super) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// When to ask about them, if there are any.
    pub(super) fn due(&self) -> Option<Duration> {
        (!self.is_empty()).then_some(self.not_before)
    }

    /// These are to be begun, at once.
    pub(super) fn extend(&mut self, partitions: impl Iterator<Item = TopicPartition>, now: Duration) {
        self.partitions.extend(partitions);
        self.since = now;
        self.attempts = 0;
        self.not_before = now;
        self.is_told = false;
    }

    pub(super) fn remove(&mut self, partition: &TopicPartition) {
        self.partitions.remove(partition);
    }
}

impl GroupConsumer {
    /// Begins to read what is new, as far as it can be said where.
    pub(super) async fn settle(&mut self) -> Result<(), GroupError> {
        let now = self.env.monotonic();
        if self.unsettled.due().is_none_or(|due| now < due) {
            return Ok(());
        }
        let found = self.begins().await.unwrap_or_else(|error| Begins {
            reason: Some(error),
            ..Begins::default()
        });
        let has_chosen = !found.chosen.is_empty();
        for (partition, begin) in &found.chosen {
            self.note_processed(partition.clone(), *begin);
        }
        for (partition, begin) in found.committed.into_iter().chain(found.chosen) {
            self.unsettled.remove(&partition);
            self.consumer.seek(partition, begin);
        }
        if let Some(error) = found.reason.as_ref().filter(|error| is_final(error)) {
            return Err(in_group(&self.config, error.clone()));
        }
        if !self.unsettled.is_empty() {
            self.ask_later(now, found.reason, found.has_unstable);
        }
        if has_chosen {
            // Before the first record is given: a start that is lost would be another one the next time.
            self.commit_all().await?;
        }
        Ok(())
    }

    fn ask_later(&mut self, now: Duration, reason: Option<ClientError>, has_unstable: bool) {
        let unsettled = &mut self.unsettled;
        unsettled.attempts += 1;
        unsettled.not_before = now + backoff::pause(&self.env, unsettled.attempts);
        let reason = match reason {
            Some(error) => error.to_string(),
            None if has_unstable => "an open transaction may move the offset that is committed".to_owned(),
            None => "no broker said where they begin".to_owned(),
        };
        tracing::debug!(reason, partitions = ?unsettled.partitions, "will be begun later");
        if !unsettled.is_told && now.saturating_sub(unsettled.since) >= QUIET {
            unsettled.is_told = true;
            let (count, first) = (unsettled.partitions.len(), unsettled.partitions.first());
            let first = first.map(TopicPartition::to_string).unwrap_or_default();
            tracing::warn!(reason, count, first, "partitions are not read yet");
        }
    }

    /// One attempt to learn where the new partitions begin.
    async fn begins(&self) -> Result<Begins, ClientError> {
        let new: Vec<TopicPartition> = self.unsettled.partitions.iter().cloned().collect();
        let fetched = offsets::fetch_stable(&self.coordinator, &new).await?;
        let is_fresh = |partition: &TopicPartition| {
            !fetched.committed.contains_key(partition) && !fetched.unstable.contains(partition)
        };
        let fresh: Vec<TopicPartition> = new.into_iter().filter(is_fresh).collect();
        let mut found = Begins {
            has_unstable: !fetched.unstable.is_empty(),
            ..Begins::default()
        };
        if !fresh.is_empty() {
            self.choose(&fresh, &mut found).await;
        }
        // Whatever else a coordinator tells of is read already, or another member's.
        let committed = fetched.committed.into_iter();
        found.committed = committed
            .filter(|(partition, _)| self.unsettled.partitions.contains(partition))
            .map(|(partition, committed)| (partition, committed.offset))
            .collect();
        Ok(found)
    }

    /// Where partitions begin that the group has committed nothing for. Where no record is as late as a time, there is the end.
    async fn choose(&self, fresh: &[TopicPartition], found: &mut Begins) {
        let (client, isolation) = (self.coordinator.client(), self.config.consumer.isolation);
        let asked = |spec: OffsetSpec| -> Vec<(TopicPartition, OffsetSpec)> {
            fresh.iter().map(|partition| (partition.clone(), spec)).collect()
        };
        let ends = client
            .list_offsets_once(&asked(OffsetSpec::Latest), isolation)
            .await;
        found.reason = ends.error();
        let starts = match self.config.start {
            OffsetSpec::Latest => ends.found.clone(),
            start => {
                let starts = client.list_offsets_once(&asked(start), isolation).await;
                found.reason = found.reason.take().or(starts.error());
                starts.found
            }
        };
        for partition in fresh {
            let (Some(start), Some(end)) = (starts.get(partition), ends.found.get(partition)) else {
                continue;
            };
            if let Some(begin) = start.offset.or(end.offset) {
                found.chosen.insert(partition.clone(), begin);
            }
        }
    }
}
