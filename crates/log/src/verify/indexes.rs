//! The indexes of a segment against its batches, in one pass beside them.
//!
//! Always holds: of each file the first thing that is wrong is said: an index is made anew as a whole. Entries of Apache
//! Kafka fit as ours do: it may name the last offset of several batches that were appended together, and leaves zeros at
//! the end of the indexes of the newest segment when it is killed.

use std::path::{Path, PathBuf};

use klamm_env::Files;
use klamm_model::{Offset, TimestampMs};
use klamm_records::BatchHeader;

use super::finding::{Finding, FindingKind};
use crate::index::transaction::AbortedTransaction;
use crate::index::{IndexEntry, OffsetEntry, TimeEntry};
use crate::inspect::{self, InspectError};
use crate::names::FileKind;

/// The entries of one index file, and how far they were compared.
struct Compared<E> {
    kind: FindingKind,
    path: PathBuf,
    entries: Vec<E>,
    at: usize,
    fault: Option<String>,
}

impl<E: IndexEntry> Compared<E> {
    fn new(kind: FindingKind, path: PathBuf, read: Result<Vec<E>, InspectError>) -> Self {
        let (entries, fault) = match read {
            Ok(entries) => (entries, None),
            Err(InspectError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                (Vec::new(), Some("the file is missing".to_owned()))
            }
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Self {
            kind,
            path,
            entries,
            at: 0,
            fault,
        }
    }

    /// Takes zeros at the end away; says whether there were any.
    fn trim(&mut self, is_zero: impl Fn(&E) -> bool) -> bool {
        let kept = self.entries.iter().rposition(|entry| !is_zero(entry));
        let kept = kept.map_or(0, |last| last + 1);
        let trimmed = kept < self.entries.len();
        self.entries.truncate(kept);
        trimmed
    }

    fn next(&self) -> Option<&E> {
        self.entries.get(self.at).filter(|_| self.fault.is_none())
    }

    fn fail(&mut self, what: String) {
        self.fault.get_or_insert(what);
    }

    fn into_finding(self) -> Option<Finding> {
        let what = self.fault?;
        Some(Finding::of(self.kind, self.path, what))
    }
}

/// See the head of the file.
pub(super) struct Indexes {
    base_offset: Offset,
    offsets: Compared<OffsetEntry>,
    times: Compared<TimeEntry>,
    transactions: Result<Vec<AbortedTransaction>, String>,
    transactions_path: PathBuf,
    expected: Vec<AbortedTransaction>,
    /// The offset of the last entry, until a batch ends with it.
    awaited: Option<Offset>,
    largest: TimestampMs,
    last_offset: Option<Offset>,
    /// Whether batches may have been taken out since the indexes were written.
    is_compacted: bool,
}

impl Indexes {
    /// Reads those of the segment at `base_offset`; the newest may end with zeros.
    pub(super) fn read(
        files: &dyn Files,
        folder: &Path,
        base_offset: Offset,
        is_newest: bool,
        is_compacted: bool,
    ) -> Self {
        let path = |kind: FileKind| folder.join(kind.name(base_offset));
        let offset_path = path(FileKind::OffsetIndex);
        let read = inspect::entries::<OffsetEntry>(files, &offset_path);
        let mut offsets = Compared::new(FindingKind::OffsetIndex, offset_path, read);
        let time_path = path(FileKind::TimeIndex);
        let read = inspect::entries::<TimeEntry>(files, &time_path);
        let mut times = Compared::new(FindingKind::TimeIndex, time_path, read);
        let zeros = "there are zeros behind the last entry";
        if offsets.trim(|entry| entry.position == 0 && entry.relative_offset == 0) && !is_newest {
            offsets.fail(zeros.into());
        }
        if times.trim(|entry| entry.timestamp == 0 && entry.relative_offset == 0) && !is_newest {
            times.fail(zeros.into());
        }
        let transactions_path = path(FileKind::TransactionIndex);
        let transactions = match inspect::transaction_index(files, &transactions_path) {
            Err(InspectError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(|error| error.to_string()),
        };
        Self {
            base_offset,
            offsets,
            times,
            transactions,
            transactions_path,
            expected: Vec::new(),
            awaited: None,
            largest: TimestampMs(-1),
            last_offset: None,
            is_compacted,
        }
    }

    /// The next batch stands at `position`; `aborted` is the transaction that it ends.
    pub(super) fn compare(
        &mut self,
        position: u64,
        header: &BatchHeader,
        aborted: Option<AbortedTransaction>,
    ) {
        self.compare_offsets(position, header);
        self.compare_times(header);
        self.largest = self.largest.max(header.max_timestamp);
        self.last_offset = Some(header.last_offset());
        self.expected.extend(aborted);
    }

    fn compare_offsets(&mut self, position: u64, header: &BatchHeader) {
        if let Some(awaited) = self.awaited {
            if header.last_offset() >= awaited {
                self.awaited = None;
            }
            if header.last_offset() > awaited && !self.is_compacted {
                let at = self.offsets.at - 1;
                self.offsets.fail(format!(
                    "entry {at} names offset {awaited}, with which no batch ends"
                ));
            }
        }
        while let Some(entry) = self.offsets.next().copied() {
            let at = u64::from(entry.position);
            let offset = self.base_offset.plus(i64::from(entry.relative_offset));
            if at > position {
                return;
            }
            if at < position || offset < header.last_offset() || self.awaited.is_some() {
                let what = format!(
                    "entry {} leads offset {offset} to position {at}, where no batch of it begins",
                    self.offsets.at
                );
                return self.offsets.fail(what);
            }
            // Several batches that were appended together have one entry, with the offset of the last.
            self.awaited = (offset > header.last_offset()).then_some(offset);
            self.offsets.at += 1;
        }
    }

    fn compare_times(&mut self, header: &BatchHeader) {
        while let Some(entry) = self.times.next().copied() {
            let offset = self.base_offset.plus(i64::from(entry.relative_offset));
            if offset > header.last_offset() {
                return;
            }
            let so_far = match offset < header.base_offset {
                true => self.largest,
                false => self.largest.max(header.max_timestamp),
            };
            let fits = entry.timestamp == so_far.0 || (self.is_compacted && entry.timestamp >= so_far.0);
            if !fits {
                let what = format!(
                    "entry {} says {} is the largest timestamp up to offset {offset}, but it is {so_far}",
                    self.times.at, entry.timestamp
                );
                return self.times.fail(what);
            }
            self.times.at += 1;
        }
    }

    /// What does not fit, once all batches were seen. `size` is the segment's.
    pub(super) fn finish(mut self, size: u64, knows_transactions: bool) -> Vec<Finding> {
        if let Some(entry) = self.offsets.next().copied() {
            let what = format!(
                "entry {} leads to position {}, the segment has {size} bytes",
                self.offsets.at, entry.position
            );
            self.offsets.fail(what);
        }
        if let Some(entry) = self.times.next().copied() {
            let offset = self.base_offset.plus(i64::from(entry.relative_offset));
            let what = format!("entry {} names offset {offset}, behind the last", self.times.at);
            self.times.fail(what);
        }
        if let Some(awaited) = self.awaited {
            self.offsets
                .fail(format!("the last entry names offset {awaited}, behind the last"));
        }
        let transactions = self.compare_transactions(knows_transactions);
        let transactions =
            transactions.map(|what| Finding::of(FindingKind::TransactionIndex, self.transactions_path, what));
        [
            self.offsets.into_finding(),
            self.times.into_finding(),
            transactions,
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Every aborted transaction that the batches tell of must be there; others may have begun before what is known.
    fn compare_transactions(&self, knows_transactions: bool) -> Option<String> {
        let found = match &self.transactions {
            Ok(found) => found,
            Err(error) => return Some(error.clone()),
        };
        let end = self.last_offset.unwrap_or(Offset(self.base_offset.0 - 1));
        let outside = found
            .iter()
            .find(|entry| entry.last_offset < self.base_offset || entry.last_offset > end);
        if let Some(entry) = outside {
            return Some(format!(
                "a transaction is said to have been aborted at offset {}, which is not of this segment",
                entry.last_offset
            ));
        }
        if self.is_compacted || !knows_transactions {
            return None;
        }
        let is_there = |expected: &&AbortedTransaction| {
            let same = |entry: &AbortedTransaction| {
                (entry.producer_id, entry.first_offset, entry.last_offset)
                    == (expected.producer_id, expected.first_offset, expected.last_offset)
            };
            !found.iter().any(same)
        };
        self.expected.iter().find(is_there).map(|missing| {
            format!(
                "producer {} aborted a transaction from offset {} to {}, which is not in it",
                missing.producer_id, missing.first_offset, missing.last_offset
            )
        })
    }
}
