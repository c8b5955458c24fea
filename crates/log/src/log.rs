//! [`Log`]: one partition on disk.
//!
//! Always holds: `log_start_offset <= high_watermark <= log_end_offset`, `durable_end_offset <= log_end_offset`; segments
//! stand in the order of their base offsets, the last one is written to; nothing below `durable_end_offset` is lost in a
//! power cut. The caller keeps the log under a lock, which it holds for no call that blocks: those are functions that
//! take a [`LogCell`](crate::prepare::LogCell) and take the lock themselves, for moments.
//!
//! Go on with `append`, `read`, `prepare` (roll, open), `flush`, `retention`, `truncate`, `recovery`: each adds its part to
//! [`Log`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use klamm_model::{LeaderEpoch, Offset, ProducerId, TimestampMs, TopicId, TopicPartition};

use crate::config::{Durability, LogConfig};
use crate::dir::{LogDir, Positions};
use crate::epochs::{EpochEnd, LeaderEpochs};
use crate::error::{AppendError, LogError};
use crate::home::Home;
use crate::marks::Marks;
use crate::producers::{ProducerState, Verification, VerificationGuard};
use crate::segment::{Segment, SegmentFiles, SegmentView};

/// What is known of a log before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryState {
    /// Whether the log dir was closed in order.
    pub clean: bool,
    /// What the checkpoints say.
    pub positions: Positions,
}

/// One partition on disk.
#[derive(Debug)]
pub struct Log {
    pub(crate) home: Arc<Home>,
    pub(crate) config: Arc<LogConfig>,
    /// Never empty.
    pub(crate) segments: Vec<Segment>,
    pub(crate) log_start_offset: Offset,
    pub(crate) log_end_offset: Offset,
    pub(crate) durable_end_offset: Offset,
    /// Where `durable_end_offset` stands in its segment, if it does not stand at the beginning of one; `None` if that is not
    /// known: then what follows cannot go to the journal.
    pub(crate) durable_position: Option<u32>,
    /// Nothing of the log may go to the journal now.
    pub(crate) is_settled: bool,
    pub(crate) recovery_point: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) producers: ProducerState,
    pub(crate) marks: Option<Box<Marks>>,
    /// A new segment is being begun: nothing may be appended to the old one.
    pub(crate) rolling: bool,
    /// Counts truncations, so that a sync that began before one says nothing about what is there now.
    pub(crate) generation: u32,
    /// Counts the segments that compaction has put in the place of others.
    pub(crate) swaps: u32,
    /// The offset of the newest snapshot of the producers.
    pub(crate) last_snapshot: Option<Offset>,
}

/// Everything that DescribeLogDirs, metrics and tools ask of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSummary {
    /// Bytes of all segments.
    pub size_bytes: u64,
    /// How many segments there are.
    pub segment_count: usize,
}

impl Log {
    /// The partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.home.partition
    }

    /// The incarnation of the topic.
    pub fn topic_id(&self) -> TopicId {
        self.home.topic_id
    }

    /// The log dir it is in.
    pub fn dir(&self) -> &Arc<LogDir> {
        &self.home.dir
    }

    /// The settings in force.
    pub fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    /// Changes the settings. Going over to page-cache durability makes everything count as durable.
    /// Going over to fsync, only what is known to be on the device does: the rest has to be synced first.
    pub fn set_config(&mut self, config: Arc<LogConfig>) {
        match (self.config.durability, config.durability) {
            (_, Durability::PageCache) => {
                (self.durable_end_offset, self.durable_position) = (self.log_end_offset, None);
            }
            (Durability::PageCache, Durability::Fsync) => {
                (self.durable_end_offset, self.durable_position) = (self.recovery_point, None);
            }
            (Durability::Fsync, Durability::Fsync) => {}
        }
        self.config = config;
    }

    /// The first offset that may be read.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// The first offset that is on this node's disk.
    pub fn local_log_start_offset(&self) -> Offset {
        self.segments[0].base_offset.max(self.log_start_offset)
    }

    /// The offset after the last record.
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// Everything below survives a power cut.
    pub fn durable_end_offset(&self) -> Offset {
        self.durable_end_offset
    }

    /// Everything below is known to be whole on the device, also to the next start.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// What consumers may see, as the owner has set it.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Raises the high watermark, at most to the log end; returns whether it moved.
    pub fn update_high_watermark(&mut self, offset: Offset) -> bool {
        let offset = offset.min(self.log_end_offset);
        if offset <= self.high_watermark {
            return false;
        }
        self.high_watermark = offset;
        self.producers.settle(offset);
        // Readers end here now, and go on from here afterwards: keep the place.
        let base_offset = self.active().base_offset;
        if let Some(position) = self.mark(base_offset, offset) {
            self.expect_at(base_offset, offset, position);
        }
        true
    }

    /// What readers of committed records may see: the high watermark, or where an undecided transaction begins.
    pub fn last_stable_offset(&self) -> Offset {
        let unstable = self.producers.first_unstable_offset();
        unstable.map_or(self.high_watermark, |offset| {
            offset.clamp(self.log_start_offset, self.high_watermark)
        })
    }

    /// The producers that the log knows.
    pub fn producers(&self) -> &ProducerState {
        &self.producers
    }

    /// Begins to verify that a producer may write its first record of a transaction here, or joins the verification that has
    /// begun: its batch is appended with the guard, once the coordinator has said yes. `None`: the transaction is open here.
    pub fn verify(
        &mut self,
        asked: &Verification,
        now: TimestampMs,
    ) -> Result<Option<VerificationGuard>, AppendError> {
        self.producers.verify(asked, self.log_end_offset, now)
    }

    /// Somebody who asked with `guard` whether a producer may write here was told no, for good, or does not wait for an answer.
    pub fn verification_over(&mut self, producer_id: ProducerId, guard: VerificationGuard) {
        self.producers.verification_over(producer_id, guard);
    }

    /// Somebody who asked with `guard` whether a producer may write here was told to ask again.
    pub fn verification_left(&mut self, producer_id: ProducerId, guard: VerificationGuard) {
        self.producers.verification_left(producer_id, guard);
    }

    /// Forgets producers that were silent for too long.
    pub fn expire_producers(&mut self, now: TimestampMs) {
        let expiration: Duration = self.config.producer_id_expiration;
        self.producers.expire(now, expiration);
    }

    /// The leader epochs.
    pub fn leader_epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// This node became the leader in `epoch`: what is appended from here on is of that epoch.
    pub fn assign_leader_epoch(&mut self, epoch: LeaderEpoch) {
        self.epochs.assign(epoch, self.log_end_offset);
    }

    /// Where `epoch` ends, as OffsetForLeaderEpoch answers it; `None` if that is not known.
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.epochs.end_of(epoch, self.log_end_offset)
    }

    /// Sizes.
    pub fn summary(&self) -> LogSummary {
        LogSummary {
            size_bytes: self.segments.iter().map(|segment| u64::from(segment.size)).sum(),
            segment_count: self.segments.len(),
        }
    }

    /// What the checkpoints should say.
    pub fn positions(&self) -> Positions {
        Positions {
            recovery_point: self.recovery_point,
            log_start_offset: self.log_start_offset,
            high_watermark: self.high_watermark,
        }
    }

    pub(crate) fn check_dir(&self) -> Result<(), LogError> {
        self.home.dir.check()
    }

    pub(crate) fn active(&self) -> &Segment {
        self.segments.last().expect("a log has a segment")
    }

    pub(crate) fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log has a segment")
    }

    pub(crate) fn segment(&self, index: usize) -> &Segment {
        &self.segments[index]
    }

    /// The segment that holds `offset`, or would.
    pub(crate) fn segment_of(&self, offset: Offset) -> usize {
        // Nearly all reads are at the tail.
        if self.active().base_offset <= offset {
            return self.segments.len() - 1;
        }
        self.segments
            .partition_point(|segment| segment.base_offset <= offset)
            .saturating_sub(1)
    }

    /// The first segment behind the one that began at `base_offset`, which may be gone.
    pub(crate) fn segment_after(&self, base_offset: Offset) -> Option<usize> {
        let after = self
            .segments
            .partition_point(|segment| segment.base_offset <= base_offset);
        (after < self.segments.len()).then_some(after)
    }

    /// The segment that begins at `base_offset`.
    pub(crate) fn segment_at(&self, base_offset: Offset) -> Option<usize> {
        self.segments
            .binary_search_by_key(&base_offset, |segment| segment.base_offset)
            .ok()
    }

    /// Whether the segment with these files is part of the log.
    pub(crate) fn has(&self, files: &Arc<SegmentFiles>) -> bool {
        self.segment_at(files.base_offset())
            .is_some_and(|at| Arc::ptr_eq(&self.segment(at).files, files))
    }

    /// Where the segment's offsets end.
    pub(crate) fn end_of_segment(&self, index: usize) -> Offset {
        self.segments
            .get(index + 1)
            .map_or(self.log_end_offset, |next| next.base_offset)
    }

    pub(crate) fn view(&self, index: usize) -> Option<SegmentView<'_>> {
        let segment = self.segments.get(index)?;
        Some(segment.view(self.end_of_segment(index)))
    }

    pub(crate) fn mark(&self, segment: Offset, offset: Offset) -> Option<u32> {
        self.marks.as_ref()?.get(segment, offset)
    }

    pub(crate) fn expect_at(&mut self, segment: Offset, offset: Offset, position: u32) {
        self.marks
            .get_or_insert_default()
            .expect(segment, offset, position);
    }

    pub(crate) fn epochs_path(&self) -> PathBuf {
        self.home.folder().join("leader-epoch-checkpoint")
    }
}
