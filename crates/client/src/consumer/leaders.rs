//! To whom a consumer sends its fetches, and what becomes of a partition whose leader is away.
//!
//! Always holds: nothing here waits. There is at most one fetch for each leader and one question about leaders at a time, each in
//! a task that reports when it is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use klamm_model::{BrokerId, TopicPartition};

use super::{Answered, ConsumeError, Consumer, Event, MISSING_PATIENCE, PATIENCE, fetch};
use crate::backoff;
use crate::error::ClientError;

impl Consumer {
    /// Sends a fetch to each leader that has none to answer.
    pub(super) fn fetch(&mut self) {
        let buffered: usize = self.buffered.iter().map(|buffered| buffered.bytes).sum();
        if buffered > usize::try_from(self.config.max_bytes).unwrap_or(0) {
            return;
        }
        let now = self.env.monotonic();
        let mut plans: BTreeMap<BrokerId, fetch::Asked> = BTreeMap::new();
        let mut has_unled = false;
        for (partition, assigned) in &mut self.partitions {
            // The leader of one that failed is being asked for.
            let is_renewed = self.is_refreshing && assigned.failing_since.is_some();
            if assigned.is_in_flight || now < assigned.paused_until || is_renewed {
                continue;
            }
            let Some(leader) = self.client.known_leader(partition) else {
                has_unled = true;
                continue;
            };
            if self.in_flight.contains(&leader.broker) {
                continue;
            }
            assigned.is_in_flight = true;
            plans.entry(leader.broker).or_default().push(fetch::Ask {
                partition: partition.clone(),
                leader,
                from: assigned.fetch_from,
                generation: assigned.generation,
            });
        }
        for (broker, asked) in plans {
            self.send(broker, asked);
        }
        if has_unled {
            self.refresh();
        }
    }

    fn send(&mut self, broker: BrokerId, asked: fetch::Asked) {
        self.in_flight.insert(broker);
        let (client, config, reports) = (self.client.clone(), self.config, self.reports.clone());
        drop(self.env.spawn(async move {
            let result = fetch::fetch(&client, broker, &asked, &config).await;
            let answered = Answered {
                broker,
                asked,
                result,
            };
            // The consumer may be gone.
            let _ = reports.send(Event::Answered(answered)).await;
        }));
    }

    /// Asks who leads, of all topics that are read. One question at a time.
    pub(super) fn refresh(&mut self) {
        if self.is_refreshing {
            return;
        }
        self.is_refreshing = true;
        let topics: BTreeSet<Arc<str>> = self.partitions.keys().map(|key| key.topic.clone()).collect();
        let (client, reports) = (self.client.clone(), self.reports.clone());
        drop(self.env.spawn(async move {
            let topics: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
            let result = client.refresh_once(&topics).await;
            // The consumer may be gone.
            let _ = reports.send(Event::Refreshed(result)).await;
        }));
    }

    /// Lets those rest that have no leader still.
    pub(super) fn refreshed(&mut self, result: Result<(), ClientError>) -> Result<(), ConsumeError> {
        self.is_refreshing = false;
        let partitions = self.partitions.keys();
        let unled = partitions.filter_map(|partition| {
            let error = self.client.leader_now(partition).err()?;
            Some((partition.clone(), error))
        });
        let unled: Vec<(TopicPartition, ClientError)> = unled.collect();
        for (partition, error) in unled {
            let error = result.as_ref().err().cloned().unwrap_or(error);
            let patience = match &error {
                ClientError::UnknownTopic { .. } | ClientError::UnknownPartition { .. } => MISSING_PATIENCE,
                _ => self.config.patience,
            };
            self.failed(&partition, ConsumeError::Client(error), patience)?;
        }
        Ok(())
    }

    /// Lets the partition rest; fails when it has failed for longer than `patience`.
    pub(super) fn failed(
        &mut self,
        partition: &TopicPartition,
        error: ConsumeError,
        patience: Duration,
    ) -> Result<(), ConsumeError> {
        let now = self.env.monotonic();
        let is_final = matches!(&error, ConsumeError::Client(error) if is_final(error));
        let Some(assigned) = self.partitions.get_mut(partition) else {
            return Ok(());
        };
        let since = *assigned.failing_since.get_or_insert(now);
        if is_final || now.saturating_sub(since) >= patience {
            return Err(error);
        }
        tracing::debug!(%partition, %error, "the partition will be read again");
        if now.saturating_sub(since) >= PATIENCE && !assigned.is_told {
            assigned.is_told = true;
            tracing::warn!(%partition, %error, "a partition has not been read for long");
        }
        assigned.failures += 1;
        assigned.paused_until = now + backoff::pause(&self.env, assigned.failures);
        Ok(())
    }
}

/// Whether it is of no use to ask again. A topic that is not there, or has too few partitions, may be on its way to the brokers.
pub(crate) fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::UnknownTopic { .. } | ClientError::UnknownPartition { .. } => false,
        // Until its metadata is read again.
        ClientError::UnknownBroker(_) => false,
        error => !error.is_transient(),
    }
}
