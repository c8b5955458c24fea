//! What compaction shows in the metrics: Kafka's figures.

use std::collections::BTreeMap;
use std::time::Duration;

use klamm_log::Cleaned;

/// See the head of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// The largest share of dirty bytes that was seen at the last look, of 1.
    pub(crate) max_dirty: f64,
    /// By how long the log that has waited longest has waited too long.
    pub(crate) max_overdue: Duration,
    /// When a task last looked for work, by the monotonic clock.
    pub(crate) last_look: Duration,
    /// How full the map of the last round became, of 1.
    pub(crate) map_utilization: f64,
    /// What the last round kept of the bytes it read, of 1.
    pub(crate) kept: f64,
    /// How long the last round took.
    pub(crate) took: Duration,
    /// Logs that failed, by log dir.
    pub(crate) uncleanable: BTreeMap<String, Uncleanable>,
}

/// Logs of a log dir that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uncleanable {
    pub(crate) partitions: usize,
    /// Their bytes that compaction has not gone over.
    pub(crate) bytes: u64,
}

impl Figures {
    /// A task looked for work.
    pub(super) fn looked(&mut self, now: Duration, max_dirty: f64, max_overdue: Duration) {
        (self.last_look, self.max_dirty, self.max_overdue) = (now, max_dirty, max_overdue);
    }

    /// A round has ended.
    pub(super) fn add(&mut self, cleaned: &Cleaned, took: Duration) {
        self.map_utilization = cleaned.map_utilization;
        self.kept = cleaned.bytes_kept as f64 / cleaned.bytes_read.max(1) as f64;
        self.took = took;
    }
}
