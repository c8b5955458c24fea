//! Of whom a journal file is needed: whose bytes in it are not known to be in their segments, and on the device.
//!
//! Always holds: a need goes only when the log's recovery point has passed it, or when the partition is forgotten; so a file
//! that nobody needs may be used again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use klamm_model::{Offset, TopicPartition};

use super::format::Whose;
use crate::commit::Submission;

/// What was found of a partition when the journal was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Floor {
    /// Everything below was written to the segments from the journal: it must be there.
    End(Offset),
    /// It could not be: why.
    Gap(String),
}

/// See the head of the file.
#[derive(Default)]
pub(crate) struct Needs {
    of_file: BTreeMap<u64, BTreeMap<Whose, Need>>,
    floors: BTreeMap<Whose, Floor>,
    /// By the names that the partitions had at the start.
    found: BTreeMap<TopicPartition, Whose>,
    /// Partitions without a folder that rounds may still speak of: one that is made anew must not meet them.
    gone: BTreeSet<Whose>,
}

struct Need {
    end: Offset,
    /// By whom it can be ended; nobody for what was found at the start.
    submission: Weak<Submission>,
}

impl Needs {
    /// Bytes of a log up to `end` are in the file, and only there on the device.
    pub(crate) fn add(&mut self, sequence: u64, whose: Whose, end: Offset, submission: &Weak<Submission>) {
        let need = self.of_file.entry(sequence).or_default().entry(whose);
        let need = need.or_insert_with(|| Need {
            end,
            submission: Weak::clone(submission),
        });
        need.end = need.end.max(end);
        if need.submission.strong_count() == 0 {
            need.submission = Weak::clone(submission);
        }
    }

    /// The same, of what was found at the start.
    pub(crate) fn add_found(
        &mut self,
        name: Option<&TopicPartition>,
        whose: Whose,
        files: &[(u64, Offset)],
        floor: Floor,
    ) {
        for (sequence, end) in files {
            self.add(*sequence, whose, *end, &Weak::new());
        }
        self.floors.insert(whose, floor);
        if let Some(name) = name {
            self.found.insert(name.clone(), whose);
        }
    }

    /// Rounds speak of a partition that has no folder.
    pub(crate) fn add_gone(&mut self, whose: Whose) {
        self.gone.insert(whose);
    }

    /// Everything of the log below `recovery_point` is in its segments, and synced.
    pub(crate) fn flushed(&mut self, whose: Whose, recovery_point: Offset) {
        for needs in self.of_file.values_mut() {
            if needs.get(&whose).is_some_and(|need| need.end <= recovery_point) {
                needs.remove(&whose);
            }
        }
        if matches!(self.floors.get(&whose), Some(Floor::End(end)) if *end <= recovery_point) {
            self.floors.remove(&whose);
        }
    }

    /// The partition was deleted or moved: nobody needs its bytes here.
    pub(crate) fn retired(&mut self, whose: Whose) {
        self.drop_needs(whose);
        self.gone.insert(whose);
    }

    /// The same of one that was only found at the start.
    pub(crate) fn retired_name(&mut self, name: &TopicPartition) {
        if let Some(whose) = self.found.remove(name) {
            self.retired(whose);
        }
    }

    /// Nothing that rounds say of the partition counts any more.
    pub(crate) fn forgotten(&mut self, whose: Whose) {
        self.drop_needs(whose);
        self.gone.remove(&whose);
    }

    fn drop_needs(&mut self, whose: Whose) {
        for needs in self.of_file.values_mut() {
            needs.remove(&whose);
        }
        self.floors.remove(&whose);
    }

    /// What was found of the partition when the journal was read.
    pub(crate) fn floor(&self, whose: Whose) -> Option<Floor> {
        self.floors.get(&whose).cloned()
    }

    pub(crate) fn is_gone(&self, whose: Whose) -> bool {
        self.gone.contains(&whose)
    }

    /// The partitions without a folder that rounds may still speak of.
    pub(crate) fn gone(&self) -> Vec<Whose> {
        self.gone.iter().copied().collect()
    }

    /// Those who can end needs of the file by a flush.
    pub(crate) fn who_can_flush(&self, sequence: u64) -> Vec<Arc<Submission>> {
        let needs = self.of_file.get(&sequence).into_iter().flat_map(BTreeMap::values);
        needs.filter_map(|need| need.submission.upgrade()).collect()
    }

    /// Takes out the file, if nobody needs it.
    pub(crate) fn release(&mut self, sequence: u64) -> bool {
        let is_free = self.of_file.get(&sequence).is_none_or(BTreeMap::is_empty);
        if is_free {
            self.of_file.remove(&sequence);
        }
        is_free
    }
}
