//! The consumer protocol: ConsumerGroupHeartbeat. A member has its id from itself, and says each time what it has.

use klamm_model::ErrorCode;
use klamm_protocol::messages::ConsumerGroupHeartbeatRequest;
use klamm_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use klamm_protocol::messages::consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;

use super::{Member, Protocol, REBALANCE_MS};
use crate::work::line::{BACKOFF, Line, Lost};

const HEARTBEAT: i16 = 1;
/// The epoch of who leaves.
const LEAVES: i32 = -1;

impl Member {
    pub(super) async fn consumer_heartbeat(&mut self, line: &mut Line) -> Result<(), Lost> {
        debug_assert_eq!(self.protocol, Protocol::Consumer);
        if self.id.is_empty() {
            self.id = line.env.random_uuid().to_string();
        }
        let asked = line.env.monotonic();
        let answer = line.ask(HEARTBEAT, &self.heartbeat(self.epoch)).await?;
        match ErrorCode::from_code(answer.error_code) {
            Some(ErrorCode::None) => self.told(line, asked, &answer),
            Some(ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound) => {
                self.release_all(line.env.monotonic());
                self.epoch = 0;
                self.next = None;
            }
            Some(again) if again.is_retriable() => {
                line.ledger.refused("ConsumerGroupHeartbeat", again);
                line.env.sleep(BACKOFF).await;
            }
            other => line.fault(format_args!("ConsumerGroupHeartbeat is answered with {other:?}")),
        }
        Ok(())
    }

    fn told(&mut self, line: &Line, asked: std::time::Duration, answer: &ConsumerGroupHeartbeatResponse) {
        let now = line.env.monotonic();
        if answer.member_epoch < self.epoch {
            let before = self.epoch;
            line.fault(format_args!("epoch {} after {before}", answer.member_epoch));
        }
        self.epoch = answer.member_epoch;
        self.confirm(asked, now);
        let Some(assignment) = &answer.assignment else {
            return;
        };
        let topics = assignment.topic_partitions.iter();
        let own = topics.filter(|topic| topic.topic_id == self.topic.id);
        let own: Vec<i32> = own.flat_map(|topic| topic.partitions.clone()).collect();
        let gives_back = self.owned.keys().any(|partition| !own.contains(partition));
        self.take(own.into_iter(), now);
        if gives_back {
            // Somebody waits for that.
            self.next = Some(now);
        }
    }

    pub(super) async fn leave_consumer(&mut self, line: &mut Line) {
        // Whether it arrives or not: its session ends without it, too.
        let _ = line.ask(HEARTBEAT, &self.heartbeat(LEAVES)).await;
    }

    fn heartbeat(&self, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        let owned: Vec<i32> = self.owned.keys().copied().collect();
        let owned = TopicPartitions {
            topic_id: self.topic.id,
            partitions: owned,
            ..Default::default()
        };
        let some = (!owned.partitions.is_empty()).then_some(owned);
        ConsumerGroupHeartbeatRequest {
            group_id: self.group.into(),
            member_id: self.id.as_str().into(),
            member_epoch: epoch,
            rebalance_timeout_ms: REBALANCE_MS,
            subscribed_topic_names: Some(vec![self.topic.name.into()]),
            topic_partitions: Some(some.into_iter().collect()),
            ..Default::default()
        }
    }
}
