//! What is wrong with a file, and where.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use klamm_model::Offset;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// Bytes of a segment that are no batch of this place: records are lost, or hidden.
    Batches,
    /// The same above what was known to be on the device, as a crash leaves it: the next start deals with it.
    Unfinished,
    /// Offsets are missing, though nothing of this log was compacted.
    Gap,
    /// A `.index` that does not fit its segment.
    OffsetIndex,
    /// A `.timeindex` that does not fit its segment.
    TimeIndex,
    /// A `.txnindex` that does not fit its segment.
    TransactionIndex,
    /// A `.snapshot` of the producers that cannot be read, or says something else than the log.
    Producers,
    /// The `leader-epoch-checkpoint`.
    LeaderEpochs,
    /// `partition.metadata`.
    TopicId,
    /// A checkpoint of the log dir.
    Checkpoint,
}

impl FindingKind {
    /// In a word, for tables and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batches => "batches",
            Self::Unfinished => "unfinished",
            Self::Gap => "gap",
            Self::OffsetIndex => "offset index",
            Self::TimeIndex => "time index",
            Self::TransactionIndex => "transaction index",
            Self::Producers => "producers",
            Self::LeaderEpochs => "leader epochs",
            Self::TopicId => "topic id",
            Self::Checkpoint => "checkpoint",
        }
    }

    /// Whether something is damaged: what a crash may leave is not.
    pub const fn is_damage(self) -> bool {
        !matches!(self, Self::Unfinished)
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// The file.
    pub path: PathBuf,
    /// Which of its bytes, where only some are meant.
    pub positions: Option<Range<u64>>,
    /// The offsets that are concerned: from, and below which; without an end nothing follows.
    pub offsets: Option<(Offset, Option<Offset>)>,
    /// What is wrong.
    pub what: String,
}

impl Finding {
    pub(crate) fn of(kind: FindingKind, path: PathBuf, what: impl Into<String>) -> Self {
        Self {
            kind,
            path,
            positions: None,
            offsets: None,
            what: what.into(),
        }
    }
}
