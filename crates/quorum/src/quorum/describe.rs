//! What DescribeQuorum shows.

use klamm_model::TimestampMs;
use openraft::Instant;
use openraft::async_runtime::WatchReceiver;

use crate::config::Endpoint;
use crate::quorum::Quorum;
use crate::runtime::Moment;
use crate::types::node_id;

/// The quorum as this node sees it. Offsets are those of Kafka: an end is one more than the last entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumDescription {
    /// Who leads.
    pub leader: Option<i32>,
    /// The highest term.
    pub term: u64,
    /// The end of what is committed.
    pub high_watermark: u64,
    /// The nodes that vote.
    pub voters: Vec<ReplicaDescription>,
    /// The nodes that only follow.
    pub observers: Vec<ReplicaDescription>,
}

/// One node of the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaDescription {
    /// The node.
    pub id: i32,
    /// Its controller listener.
    pub endpoint: Endpoint,
    /// The end of its log, as far as the leader knows; known on the leader only, and to each node of itself.
    pub log_end: Option<u64>,
    /// When the leader last heard from it; known on the leader only.
    pub last_fetch: Option<TimestampMs>,
    /// When its log last had everything that the leader's had; known on the leader only.
    pub last_caught_up: Option<TimestampMs>,
}

impl Quorum {
    /// The quorum as this node sees it.
    pub fn describe(&self) -> QuorumDescription {
        let now = self.parts.env.now();
        let moment = Moment::now();
        let metrics = self.parts.raft.metrics();
        let metrics = metrics.borrow_watched();
        let own_end = metrics.last_log_index.map_or(0, |index| index + 1);
        let leads = metrics.replication.is_some();
        let membership = metrics.membership_config.membership();
        let describe = |id: u64| {
            let own = id == metrics.id;
            let matched = metrics.replication.as_ref().and_then(|all| all.get(&id).copied());
            let heard = metrics
                .heartbeat
                .as_ref()
                .and_then(|all| all.get(&id).copied().flatten());
            let heard = heard.map(|heard| {
                let ago = moment.saturating_duration_since(heard.into_inner()).as_millis();
                now.plus_ms(-i64::try_from(ago).unwrap_or(i64::MAX))
            });
            let log_end = match own {
                true => Some(own_end),
                false => matched.map(|id| id.map_or(0, |id| id.index + 1)),
            };
            let last_fetch = if own && leads { Some(now) } else { heard };
            ReplicaDescription {
                id: node_id(id),
                endpoint: membership.get_node(&id).cloned().unwrap_or_default(),
                log_end,
                last_fetch,
                last_caught_up: last_fetch.filter(|_| log_end == Some(own_end)),
            }
        };
        QuorumDescription {
            leader: self.leader(),
            term: metrics.current_term,
            high_watermark: metrics.cluster_committed.map_or(0, |id| id.index + 1),
            voters: membership.voter_ids().map(describe).collect(),
            observers: membership.learner_ids().map(describe).collect(),
        }
    }
}
