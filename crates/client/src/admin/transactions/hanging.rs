//! Transactions that are open in a partition and that no coordinator will end: they hold back all who read what is
//! committed, for ever.
//!
//! Always holds: what may still be ended in order is not reported. A partition shows for how long nothing was written, so
//! only what is quiet for longer than any transaction may be open is looked at; and a coordinator that knows the producer
//! names the partitions in which it will write markers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use klamm_model::{ErrorCode, ProducerId, TimestampMs, TopicPartition};
use klamm_protocol::ApiKey;

use super::{ActiveProducer, TransactionDescription, TransactionFilter};
use crate::admin::Admin;
use crate::error::ClientError;

/// A transaction that nobody will end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HangingTransaction {
    /// Where.
    pub partition: TopicPartition,
    /// Whose.
    pub producer: ActiveProducer,
}

impl Admin {
    /// The transactions that hang in `partitions`, where nothing was written to them for longer than `limit`, which is to be
    /// at least the longest time that a transaction may be open.
    pub async fn hanging_transactions(
        &self,
        partitions: &[TopicPartition],
        limit: Duration,
    ) -> Result<Vec<HangingTransaction>, ClientError> {
        let mut known = BTreeMap::new();
        for (partition, said) in self.describe_producers(partitions).await? {
            let said = said.map_err(|refusal| ClientError::refused(ApiKey::DescribeProducers, refusal))?;
            known.insert(partition, said);
        }
        let quiet = quiet(known, self.client.env().now(), limit);
        if quiet.is_empty() {
            return Ok(quiet);
        }
        let producers = quiet.iter().map(|quiet| quiet.producer.id);
        let known = self.transactions_of(producers.collect()).await?;
        let is_hanging = |quiet: &HangingTransaction| {
            let known = known.get(&quiet.producer.id);
            known.is_none_or(|known| !known.partitions.contains(&quiet.partition))
        };
        Ok(quiet.into_iter().filter(is_hanging).collect())
    }

    /// What coordinators know of these producers; of those that none knows there is nothing.
    pub async fn transactions_of(
        &self,
        producers: BTreeSet<ProducerId>,
    ) -> Result<BTreeMap<ProducerId, TransactionDescription>, ClientError> {
        let filter = TransactionFilter {
            producers: producers.into_iter().collect(),
            ..TransactionFilter::default()
        };
        let mut known = BTreeMap::new();
        for listed in self.list_transactions(&filter).await? {
            match self.describe_transaction(&listed.id).await? {
                Ok(described) => {
                    known.insert(listed.producer, described);
                }
                // It expired meanwhile.
                Err(refusal) if refusal.code == ErrorCode::TransactionalIdNotFound => {}
                Err(refusal) => return Err(ClientError::refused(ApiKey::DescribeTransactions, refusal)),
            }
        }
        Ok(known)
    }
}

/// Transactions that are open, and were not written to for longer than `limit`.
fn quiet(
    known: BTreeMap<TopicPartition, Vec<ActiveProducer>>,
    now: TimestampMs,
    limit: Duration,
) -> Vec<HangingTransaction> {
    let limit = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
    let is_quiet = |producer: &ActiveProducer| {
        let age = producer.last_timestamp.map(|last| now.0.saturating_sub(last.0));
        producer.open_from.is_some() && age.is_none_or(|age| age > limit)
    };
    let all = known.into_iter().flat_map(|(partition, producers)| {
        let producers = producers.into_iter();
        producers.map(move |producer| HangingTransaction {
            partition: partition.clone(),
            producer,
        })
    });
    all.filter(|one| is_quiet(&one.producer)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::{Offset, ProducerEpoch};

    #[test]
    fn only_what_is_open_and_older_than_the_limit_is_looked_at() {
        let producer = |open: bool, last: Option<i64>| ActiveProducer {
            id: ProducerId(1),
            epoch: ProducerEpoch(0),
            coordinator_epoch: None,
            last_sequence: Some(0),
            last_timestamp: last.map(TimestampMs),
            open_from: open.then_some(Offset(3)),
        };
        let cases = [
            (producer(true, Some(900)), false),
            (producer(true, Some(899)), true),
            (producer(true, Some(2_000)), false),
            (producer(true, None), true),
            (producer(false, Some(0)), false),
            (producer(false, None), false),
        ];
        for (producer, is) in cases {
            let known = BTreeMap::from([(TopicPartition::new("t", 0), vec![producer.clone()])]);
            let found = quiet(known, TimestampMs(1_000), Duration::from_millis(100));
            assert_eq!(!found.is_empty(), is, "{producer:?}");
        }
    }
}
