//! Reads topics as a member of a group: the members share the partitions, and the group remembers how far it came.
//!
//! Always holds: only what the caller called processed is committed, so that a record is given again rather than lost; where a
//! partition begins that the group has committed nothing for counts as processed, because a start that nobody remembers would be
//! another one the next time. Before a partition goes to another member, its offset is committed. A task shows signs of life
//! while the caller is busy, for as long as [`GroupConfig::rebalance_timeout`]; then it leaves the group.
//!
//! Next: `group/keeper.rs` for that task, `group/membership.rs` for how a member joins and stays, `group/starts.rs` for where it begins, `group/range.rs` for who gets what, `group/embedded.rs` for
//! the bytes that members of the classic protocol exchange.

mod classic;
pub(crate) mod embedded;
mod heartbeat;
mod keeper;
mod membership;
mod range;
mod starts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use klamm_env::Env;
use klamm_model::{ErrorCode, Offset, TopicPartition};

use crate::backoff::Retry;
use crate::client::Client;
use crate::consumer::{ConsumeError, Consumer, ConsumerConfig, Fetched, OffsetSpec};
use crate::coordinator::Coordinator;
use crate::error::{ClientError, Refusal};
use crate::offsets::{self, Committer};

use keeper::Keeper;
use membership::{Membership, Step};
use starts::Unsettled;

/// After how long without more records what was processed is committed.
const IDLE: Duration = Duration::from_millis(100);
/// Attempts to commit when the group changes meanwhile.
const COMMIT_ATTEMPTS: u32 = 3;

/// How a member takes part.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// The group.
    pub group: String,
    /// The topics that it subscribes to.
    pub topics: Vec<String>,
    /// Where partitions begin that the group has committed nothing for.
    pub start: OffsetSpec,
    /// How records are read.
    pub consumer: ConsumerConfig,
    /// After how long without a sign of life the group lets go of the member (classic protocol; in the other the broker
    /// decides).
    pub session_timeout: Duration,
    /// How long the member may take to give up partitions: the longest time between two polls, after which it leaves the group.
    pub rebalance_timeout: Duration,
    /// How long processed offsets may stay uncommitted while there are always more records; without, it is soon done.
    pub commit_interval: Duration,
}

impl GroupConfig {
    /// The defaults, for this group and these topics.
    pub fn new(group: impl Into<String>, topics: Vec<String>) -> Self {
        Self {
            group: group.into(),
            topics,
            start: OffsetSpec::Latest,
            consumer: ConsumerConfig::default(),
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(300),
            commit_interval: Duration::from_secs(1),
        }
    }
}

/// A member failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The group could not be joined, kept up or left.
    #[error("group '{group}': {error}")]
    Group {
        /// The group.
        group: String,
        /// What its coordinator said, or why it could not be asked.
        error: ClientError,
    },
    /// An offset was not taken.
    #[error("group '{group}': offset {offset} of {partition} was not committed: {refusal}")]
    Commit {
        /// The group.
        group: String,
        /// Whose offset.
        partition: TopicPartition,
        /// Which offset.
        offset: Offset,
        /// The answer.
        refusal: Refusal,
    },
    /// A partition could not be read.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
}

/// What became of an attempt to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Committed {
    /// It is done, or there is nothing that could be committed.
    Done,
    /// The member has to learn its epoch first.
    Stale,
    /// The coordinator does not know some of the topics, perhaps not yet.
    Missing,
    /// The group has let go of the member: its partitions may be another's already, and it has none.
    Fenced,
}

/// A member of a group.
pub struct GroupConsumer {
    env: Env,
    coordinator: Coordinator,
    keeper: Keeper,
    protocol: &'static str,
    consumer: Consumer,
    config: GroupConfig,
    /// The partitions that are this member's.
    owned: BTreeSet<TopicPartition>,
    /// Those of them that are not read yet.
    unsettled: Unsettled,
    has_joined: bool,
    /// What the caller is done with and the group does not know yet.
    processed: BTreeMap<TopicPartition, Offset>,
    /// What the last commit was refused for because there is no such topic.
    missing: BTreeSet<TopicPartition>,
    /// Since when there is something to commit, and when the last of it came.
    uncommitted: Option<(Duration, Duration)>,
}

impl GroupConsumer {
    /// A member that joins at its first poll. Asks the coordinator which protocols it serves.
    pub async fn new(client: Client, config: GroupConfig) -> Result<Self, GroupError> {
        let coordinator = Coordinator::of_group_apart(&client, &config.group);
        let connected = client.retrying(|| coordinator.connection()).await;
        let connection = connected.map_err(|error| in_group(&config, error))?;
        let membership = Membership::new(&connection, &config);
        let protocol = membership.protocol();
        tracing::debug!(group = config.group, protocol, "joining");
        let consumer = ConsumerConfig {
            // A partition whose leader is away would end one member after the other.
            patience: Duration::MAX,
            ..config.consumer
        };
        Ok(Self {
            env: client.env().clone(),
            keeper: Keeper::new(coordinator.clone(), membership, &config),
            coordinator,
            protocol,
            consumer: Consumer::new(client, consumer),
            config,
            owned: BTreeSet::new(),
            unsettled: Unsettled::default(),
            has_joined: false,
            processed: BTreeMap::new(),
            missing: BTreeSet::new(),
            uncommitted: None,
        })
    }

    /// The protocol that the group is joined with: `classic` or `consumer`.
    pub fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// The partitions that are this member's; `None` until it has joined.
    pub fn assignment(&self) -> Option<&BTreeSet<TopicPartition>> {
        self.has_joined.then_some(&self.owned)
    }

    /// Whether all of them are read. One that an open transaction holds an offset of, or that has no leader, is begun later.
    pub fn is_settled(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// The offset after the last record that was given, or passed over.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.consumer.position(partition)
    }

    /// As whom this member's offsets are committed in a transaction ([`Transaction::send_offsets`]); those are not to be
    /// called [processed](Self::processed) then. `None` when it is no member at the moment.
    ///
    /// [`Transaction::send_offsets`]: crate::producer::Transaction::send_offsets
    pub fn committer(&self) -> Option<Committer> {
        self.keeper.committer()
    }

    /// Reads no more of `partition` while it stays this member's.
    pub fn pause(&mut self, partition: &TopicPartition) {
        self.unsettled.remove(partition);
        self.consumer.unassign(partition);
    }

    /// Says that the caller is done with the records of `partition` before `next`.
    pub fn processed(&mut self, partition: &TopicPartition, next: Offset) {
        if self.owned.contains(partition) {
            self.note_processed(partition.clone(), next);
        }
    }

    fn note_processed(&mut self, partition: TopicPartition, next: Offset) {
        self.processed.insert(partition, next);
        let now = self.env.monotonic();
        let since = self.uncommitted.map_or(now, |(since, _)| since);
        self.uncommitted = Some((since, now));
    }

    /// When to commit.
    fn commit_due(&self) -> Duration {
        let due = self.uncommitted.map(|(since, last)| {
            let latest = since.saturating_add(self.config.commit_interval);
            latest.min(last + IDLE)
        });
        due.unwrap_or(Duration::MAX)
    }

    /// The next records of one partition; `None` when there are none within `limit`. Takes part in what the group does, and
    /// commits what was processed.
    ///
    /// Dropping the future loses nothing.
    pub async fn poll(&mut self, limit: Duration) -> Result<Option<Fetched>, GroupError> {
        let deadline = self.env.monotonic().saturating_add(limit);
        let _here = self.keeper.here();
        loop {
            self.obey().await?;
            self.settle().await?;
            if self.env.monotonic() >= self.commit_due() {
                self.commit().await?;
            }
            if let Some(fetched) = self.consumer.next_buffered()? {
                return Ok(Some(fetched));
            }
            if self.keeper.has_news() {
                continue;
            }
            let due = self.unsettled.due().unwrap_or(deadline).min(self.commit_due());
            let wait = due.min(deadline).saturating_sub(self.env.monotonic());
            let fetched = tokio::select! {
                biased;
                () = self.keeper.learned() => None,
                fetched = self.consumer.poll(wait) => fetched?,
            };
            if fetched.is_some() {
                return Ok(fetched);
            }
            if self.env.monotonic() >= deadline {
                return Ok(None);
            }
        }
    }

    /// Commits what was processed. A group that has changed meanwhile gives the records again, to whoever has the partition
    /// then.
    pub async fn commit(&mut self) -> Result<(), GroupError> {
        self.commit_all().await.map(drop)
    }

    /// Commits what was processed, and leaves the group, so that others get the partitions at once.
    pub async fn leave(mut self) -> Result<(), GroupError> {
        let committed = self.commit().await;
        self.keeper.leave().await;
        committed
    }

    /// Does what the membership demands.
    async fn obey(&mut self) -> Result<(), GroupError> {
        loop {
            if let Some(error) = self.keeper.take_failure() {
                return Err(in_group(&self.config, error));
            }
            let Some(demand) = self.keeper.demand() else {
                return Ok(());
            };
            self.apply(&demand.step).await?;
            self.keeper.done(&demand);
        }
    }

    /// Does what a step said. To be repeated when it was not done to its end.
    async fn apply(&mut self, step: &Step) -> Result<(), GroupError> {
        match step {
            Step::Nothing => {}
            Step::Assigned(partitions) => {
                let loses = self.owned.difference(partitions).next().is_some();
                if loses && self.commit_all().await? == Committed::Fenced {
                    return Ok(());
                }
                self.keep_only(partitions);
                let new: Vec<TopicPartition> = partitions.difference(&self.owned).cloned().collect();
                if !new.is_empty() {
                    self.owned.extend(new.iter().cloned());
                    self.unsettled.extend(new.into_iter(), self.env.monotonic());
                }
                self.has_joined = true;
                tracing::debug!(group = self.config.group, ?partitions, "assigned");
            }
            Step::GiveUp => {
                self.commit_all().await?;
                self.keep_only(&BTreeSet::new());
            }
            Step::Lost => {
                tracing::debug!(group = self.config.group, "the group let go of this member");
                self.keep_only(&BTreeSet::new());
            }
        }
        Ok(())
    }

    /// Stops reading what is not among `partitions`.
    fn keep_only(&mut self, partitions: &BTreeSet<TopicPartition>) {
        let lost: Vec<TopicPartition> = self.owned.difference(partitions).cloned().collect();
        for partition in lost {
            self.consumer.unassign(&partition);
            self.unsettled.remove(&partition);
            self.processed.remove(&partition);
            self.owned.remove(&partition);
        }
    }

    /// Commits; again when the group is in another epoch by now.
    async fn commit_all(&mut self) -> Result<Committed, GroupError> {
        let mut committed = Committed::Done;
        for _ in 0..COMMIT_ATTEMPTS {
            let committer = self.keeper.committer();
            committed = self.commit_known().await?;
            match committer {
                Some(old) if committed == Committed::Stale => self.keeper.another_committer(&old).await,
                _ => break,
            }
        }
        Ok(committed)
    }

    /// Commits. A topic that was made a moment ago may not be known to the coordinator; one that is still not there after a
    /// while was deleted, and its offsets with it.
    async fn commit_known(&mut self) -> Result<Committed, GroupError> {
        let patience = self.coordinator.client().config().unknown_topic_patience;
        let mut patience = Retry::within(&self.env, patience);
        loop {
            let committed = self.commit_once().await?;
            if committed != Committed::Missing {
                return Ok(committed);
            }
            if !patience.again().await {
                for partition in std::mem::take(&mut self.missing) {
                    tracing::warn!(%partition, "its offset was not committed: the coordinator does not know the topic");
                    self.processed.remove(&partition);
                }
                return Ok(committed);
            }
        }
    }

    /// One attempt to commit.
    async fn commit_once(&mut self) -> Result<Committed, GroupError> {
        let Some(committer) = self.keeper.committer() else {
            return Ok(Committed::Done);
        };
        if self.processed.is_empty() {
            return Ok(Committed::Done);
        }
        let results = offsets::commit(&self.coordinator, &committer, &self.processed).await;
        let results = results.map_err(|error| in_group(&self.config, error))?;
        self.uncommitted = None;
        let (mut is_stale, mut is_fenced, mut refused) = (false, false, Ok(()));
        self.missing.clear();
        for (partition, result) in results {
            let Err(refusal) = result else {
                self.processed.remove(&partition);
                continue;
            };
            match refusal.code {
                ErrorCode::StaleMemberEpoch => is_stale = true,
                ErrorCode::RebalanceInProgress => self.keeper.hurry(),
                ErrorCode::UnknownMemberId
                | ErrorCode::IllegalGeneration
                | ErrorCode::FencedMemberEpoch
                | ErrorCode::GroupIdNotFound => is_fenced = true,
                ErrorCode::UnknownTopicOrPartition => {
                    self.missing.insert(partition);
                }
                _ => {
                    // Told once: it must not keep everything else from being done.
                    let offset = self.processed.remove(&partition).unwrap_or_default();
                    refused = Err(GroupError::Commit {
                        group: self.config.group.clone(),
                        partition,
                        offset,
                        refusal,
                    });
                }
            }
        }
        if is_fenced {
            self.keeper.was_fenced();
            self.keep_only(&BTreeSet::new());
            return Ok(Committed::Fenced);
        }
        if !self.processed.is_empty() {
            let now = self.env.monotonic();
            self.uncommitted = Some((now, now));
        }
        refused?;
        Ok(match (is_stale, self.missing.is_empty()) {
            (true, _) => Committed::Stale,
            (false, true) => Committed::Done,
            (false, false) => Committed::Missing,
        })
    }
}

impl std::fmt::Debug for GroupConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupConsumer")
            .field("config", &self.config)
            .field("protocol", &self.protocol)
            .field("owned", &self.owned)
            .finish_non_exhaustive()
    }
}

fn in_group(config: &GroupConfig, error: ClientError) -> GroupError {
    GroupError::Group {
        group: config.group.clone(),
        error,
    }
}

#[cfg(test)]
mod tests;
