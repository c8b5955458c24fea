//! The shard of the group coordinator: which requests there are, and where each is decided.
//!
//! Always holds: a group is of one kind at a time. A group that has only ever had offsets is no [`Group`]: it has no members and
//! no generation, and takes no memory but that of its offsets.
//!
//! Next: `request.rs` and `answer.rs` for what is asked and told.

use std::collections::BTreeMap;
use std::sync::Arc;

use klamm_metadata::Image;
use klamm_model::{ErrorCode, Offset};

use super::answer::Answer;
use super::config::GroupConfig;
use super::record::GroupRecord;
use super::request::Request;
use crate::contract::{
    Answer as _, CoordinatorResult, Shard, Surroundings, Ticket, TimerChange, TransactionalProducer,
};

/// What a decision about groups comes to.
pub type GroupResult = CoordinatorResult<GroupShard>;

/// Groups whose ids lead to one partition of `__consumer_offsets`, and the offsets that they have committed.
#[derive(Debug, Default)]
pub struct GroupShard {
    groups: BTreeMap<Arc<str>, Group>,
}

/// A group that has, or has had, members.
#[derive(Debug)]
pub enum Group {}

/// The name of a timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Offsets that have had their time are looked for.
    ExpireOffsets,
}

/// A change of what is not recorded.
#[derive(Debug)]
pub enum Volatile {}

/// What is to be done outside: nothing so far.
#[derive(Debug)]
pub enum Effect {}

impl Shard for GroupShard {
    type Config = GroupConfig;
    type Request = Request;
    type Answer = Answer;
    type Record = GroupRecord;
    type Volatile = Volatile;
    type Timer = Timer;
    type Effect = Effect;

    fn new() -> Self {
        Self::default()
    }

    fn decide(
        &self,
        _around: &mut Surroundings<'_>,
        config: &GroupConfig,
        ticket: Ticket,
        request: Request,
    ) -> GroupResult {
        if let Some(refused) = request.refused_anywhere(config) {
            return GroupResult::answer(ticket, refused);
        }
        GroupResult::answer(
            ticket,
            Answer::refused(&request.shape(), ErrorCode::GroupIdNotFound),
        )
    }

    fn on_timer(&self, around: &mut Surroundings<'_>, config: &GroupConfig, timer: Timer) -> GroupResult {
        match timer {
            Timer::ExpireOffsets => self.on_loaded(around, config),
        }
    }

    fn on_loaded(&self, around: &mut Surroundings<'_>, config: &GroupConfig) -> GroupResult {
        let wait_ms = i64::try_from(config.offsets_retention_check_interval.as_millis()).unwrap_or(i64::MAX);
        GroupResult {
            timers: vec![TimerChange::At(Timer::ExpireOffsets, around.now.plus_ms(wait_ms))],
            ..GroupResult::default()
        }
    }

    fn on_metadata(
        &self,
        _around: &mut Surroundings<'_>,
        _config: &GroupConfig,
        _before: &Image,
    ) -> GroupResult {
        GroupResult::default()
    }

    fn replay(&mut self, _offset: Offset, _producer: Option<TransactionalProducer>, _record: GroupRecord) {
        self.groups.clear();
    }

    fn replay_end_transaction_marker(&mut self, _producer: TransactionalProducer, _committed: bool) {}

    fn note(&mut self, change: Volatile) {
        match change {}
    }
}
