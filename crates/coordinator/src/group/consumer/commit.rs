//! Who may commit and fetch offsets of a consumer group.
//!
//! Always holds: a member commits with its epoch, or with an older one as long as the partition has been its own since then
//! (the assignment epoch of the partition): so an answer that it has not seen yet fences nothing, and what it has lost is fenced.

use klamm_model::{ErrorCode, TopicId};

use super::{ConsumerGroup, Current};
use crate::group::offsets::commit::Committer;

/// For which partitions a commit is taken.
#[derive(Clone, Copy, Debug)]
pub enum CommitCheck<'a> {
    /// For all.
    All,
    /// For those that the member has had since the epoch that it came with.
    HeldSince {
        /// What the member has.
        current: &'a Current,
        /// The epoch that it came with.
        epoch: i32,
        /// What it is told of others.
        refusal: ErrorCode,
    },
}

impl CommitCheck<'_> {
    /// Whether the offset of a partition is taken. As in Kafka, one that is not refuses the commit as a whole.
    pub fn partition(&self, topic: &TopicId, partition: i32) -> Result<(), ErrorCode> {
        match self {
            Self::All => Ok(()),
            Self::HeldSince {
                current,
                epoch,
                refusal,
            } => match current.since(topic, partition) {
                Some(since) if *epoch >= since => Ok(()),
                _ => Err(*refusal),
            },
        }
    }
}

/// The version of OffsetCommit from which on it carries the epoch of a member.
const CARRIES_EPOCHS: i16 = 9;

impl ConsumerGroup {
    /// For which partitions a commit is taken, if for any; `version` is that of the request.
    pub(in crate::group) fn check_commit(
        &self,
        by: &Committer<'_>,
        version: i16,
    ) -> Result<CommitCheck<'_>, ErrorCode> {
        // Somebody who is no member may commit while there are none: a tool, or a consumer that assigns itself.
        if by.generation < 0 && self.is_empty() {
            return Ok(CommitCheck::All);
        }
        let unnamed = by.member_id.is_empty() && by.instance_id.is_none();
        if by.transactional && by.generation == -1 && unnamed {
            return Ok(CommitCheck::All);
        }
        let member = self.member(by.member_id).ok_or(ErrorCode::UnknownMemberId)?;
        let is_classic = member.subscription.classic.is_some();
        if !is_classic && !by.transactional && version < CARRIES_EPOCHS {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let refusal = stale(is_classic);
        let current = &member.current;
        match by.generation.cmp(&current.epoch) {
            std::cmp::Ordering::Equal => Ok(CommitCheck::All),
            std::cmp::Ordering::Greater => Err(refusal),
            std::cmp::Ordering::Less => Ok(CommitCheck::HeldSince {
                current,
                epoch: by.generation,
                refusal,
            }),
        }
    }

    /// Whether offsets may be fetched; `member_id` is `None` when the request names nobody.
    pub fn check_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        let member_id = match member_id {
            None if epoch < 0 => return Ok(()),
            member_id => member_id.unwrap_or_default(),
        };
        let member = self.member(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if epoch == member.current.epoch {
            return Ok(());
        }
        Err(stale(member.subscription.classic.is_some()))
    }
}

/// What a member with an old epoch is told.
fn stale(is_classic: bool) -> ErrorCode {
    if is_classic {
        ErrorCode::IllegalGeneration
    } else {
        ErrorCode::StaleMemberEpoch
    }
}
