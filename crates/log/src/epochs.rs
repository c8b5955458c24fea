//! The leader epochs of a log: at which offset each leader began to write (KIP-101).
//!
//! Always holds: epochs and their start offsets both grow. The checkpoint file may lag behind: what it lacks stands in
//! the batches above the recovery point, and no recovery point is written before the epochs below it are.

use klamm_model::{LeaderEpoch, Offset};

/// The epochs of one log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<(LeaderEpoch, Offset)>,
    dirty: bool,
}

/// The end of an epoch, as OffsetForLeaderEpoch answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest known epoch that is not above the one asked for.
    pub leader_epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end_offset: Offset,
}

impl LeaderEpochs {
    /// Takes over what a checkpoint says; entries that do not grow are dropped.
    pub(crate) fn from_entries(entries: Vec<(LeaderEpoch, Offset)>) -> Self {
        let mut epochs = Self::default();
        for (epoch, start) in entries {
            epochs.assign(epoch, start);
        }
        epochs.dirty = false;
        epochs
    }

    /// The epochs with their first offsets, in order.
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.0)
    }

    /// Notes that `epoch` begins at `start`. An epoch that is known, or older than a known one, changes nothing; an
    /// epoch that wrote nothing gives way to the later one that begins at the same offset or before.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) {
        if self.latest().is_some_and(|latest| latest >= epoch) {
            return;
        }
        while self.entries.last().is_some_and(|last| last.1 >= start) {
            self.entries.pop();
        }
        // Most logs have one.
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(self.entries.len().max(1));
        }
        self.entries.push((epoch, start));
        self.dirty = true;
    }

    /// The end of `epoch` in a log that ends at `log_end_offset`. `None` if all known epochs are older, or none is known.
    pub fn end_of(&self, epoch: LeaderEpoch, log_end_offset: Offset) -> Option<EpochEnd> {
        let higher = self.entries.partition_point(|entry| entry.0 <= epoch);
        if self.latest() == Some(epoch) {
            return Some(EpochEnd {
                leader_epoch: epoch,
                end_offset: log_end_offset,
            });
        }
        let end_offset = self.entries.get(higher)?.1;
        // Below all known epochs: their records are gone, the answer is where the known ones begin.
        let leader_epoch = higher.checked_sub(1).map_or(epoch, |floor| self.entries[floor].0);
        Some(EpochEnd {
            leader_epoch,
            end_offset,
        })
    }

    /// The epoch of the record at `offset`.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.1 <= offset);
        after.checked_sub(1).map(|i| self.entries[i].0)
    }

    /// The log was cut at `end`: epochs that began there or later are forgotten.
    pub(crate) fn truncate_end(&mut self, end: Offset) {
        let keep = self.entries.partition_point(|entry| entry.1 < end);
        if keep < self.entries.len() {
            self.entries.truncate(keep);
            self.dirty = true;
        }
    }

    /// The log now begins at `start`: the epoch in force there begins there.
    pub(crate) fn truncate_start(&mut self, start: Offset) {
        let upto = self.entries.partition_point(|entry| entry.1 <= start);
        let Some(in_force) = upto.checked_sub(1) else {
            return;
        };
        if in_force > 0 || self.entries[0].1 < start {
            self.entries.drain(..in_force);
            self.entries[0].1 = start;
            self.dirty = true;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.dirty |= !self.entries.is_empty();
        self.entries.clear();
    }

    /// Whether the checkpoint file lags behind.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The checkpoint of another folder is to be written.
    pub(crate) fn touch(&mut self) {
        self.dirty = true;
    }

    pub(crate) fn written(&mut self, entries: &[(LeaderEpoch, Offset)]) {
        self.dirty &= self.entries != entries;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        LeaderEpochs::from_entries(
            entries
                .iter()
                .map(|(e, o)| (LeaderEpoch(*e), Offset(*o)))
                .collect(),
        )
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let known = epochs(&[(2, 10), (4, 20), (7, 30)]);
        let cases = [
            (0, Some((0, 10))),
            (1, Some((1, 10))),
            (2, Some((2, 20))),
            (3, Some((2, 20))),
            (4, Some((4, 30))),
            (6, Some((4, 30))),
            (7, Some((7, 99))),
            (8, None),
        ];
        for (epoch, end) in cases {
            let expected = end.map(|(e, o)| EpochEnd {
                leader_epoch: LeaderEpoch(e),
                end_offset: Offset(o),
            });
            assert_eq!(known.end_of(LeaderEpoch(epoch), Offset(99)), expected, "{epoch}");
        }
        assert_eq!(epochs(&[]).end_of(LeaderEpoch(0), Offset(0)), None);
    }

    #[test]
    fn an_epoch_without_records_gives_way() {
        let mut known = epochs(&[(1, 0), (2, 5)]);
        known.assign(LeaderEpoch(3), Offset(5));
        assert_eq!(known, {
            let mut expected = epochs(&[(1, 0), (3, 5)]);
            expected.dirty = true;
            expected
        });
        known.assign(LeaderEpoch(2), Offset(9));
        assert_eq!(
            known.latest(),
            Some(LeaderEpoch(3)),
            "an older epoch changes nothing"
        );
    }

    #[test]
    fn both_ends_can_be_cut() {
        let all = [(2, 10), (4, 20), (7, 30)];
        for (end, left) in [(31, 3), (30, 2), (21, 2), (20, 1), (10, 0), (0, 0)] {
            let mut known = epochs(&all);
            known.truncate_end(Offset(end));
            assert_eq!(known.entries(), epochs(&all[..left]).entries(), "{end}");
            assert_eq!(known.is_dirty(), left < 3);
        }
        for (start, expected) in [
            (5, &[(2, 10), (4, 20), (7, 30)][..]),
            (15, &[(2, 15), (4, 20), (7, 30)]),
            (20, &[(4, 20), (7, 30)]),
            (99, &[(7, 99)]),
        ] {
            let mut known = epochs(&all);
            known.truncate_start(Offset(start));
            assert_eq!(known.entries(), epochs(expected).entries(), "{start}");
        }
    }

    #[test]
    fn an_offset_has_the_epoch_in_force() {
        let known = epochs(&[(2, 10), (4, 20)]);
        for (offset, epoch) in [
            (9, None),
            (10, Some(2)),
            (19, Some(2)),
            (20, Some(4)),
            (500, Some(4)),
        ] {
            assert_eq!(known.epoch_of(Offset(offset)), epoch.map(LeaderEpoch), "{offset}");
        }
    }
}
