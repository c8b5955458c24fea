//! Where the partitions end that a group has read.
//!
//! Always holds: one whose end cannot be told keeps no other one from being told of.

use std::collections::BTreeMap;

use klamm_model::{Offset, TopicPartition};

use super::Admin;
use crate::consumer::{Isolation, OffsetSpec};
use crate::error::ClientError;

impl Admin {
    /// The ends of `partitions`, by topic. Left out are those that are not there or have no leader, those about which the leader says an
    /// error that does not pass, and those about which it says no other than one that may, for as long as a call may take.
    pub async fn known_ends(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Offset>, ClientError> {
        let mut topics: Vec<&str> = partitions.iter().map(|partition| &*partition.topic).collect();
        topics.dedup();
        self.client.refresh(&topics).await?;
        let led = partitions
            .iter()
            .filter(|partition| self.client.known_leader(partition).is_some());
        let asked: Vec<(TopicPartition, OffsetSpec)> = led
            .map(|partition| (partition.clone(), OffsetSpec::Latest))
            .collect();
        let told = self.client.find_offsets(&asked, Isolation::ReadUncommitted).await;
        if let Some(error) = told.error() {
            let partitions = asked.len() - told.found.len();
            tracing::warn!(%error, partitions, "the ends of some partitions are not known");
        }
        let ends = told.found.into_iter();
        Ok(ends
            .filter_map(|(partition, at)| Some((partition, at.offset?)))
            .collect())
    }
}
