//! What a pass over the batches knows of their transactions: which were aborted, and which markers are still of use.
//!
//! Always holds: batches are shown in the order of the log, each once; an aborted transaction is known before its first
//! batch is shown. A marker is of use as long as the pass has met a batch of its transaction, be it an empty one.

use std::collections::{BTreeMap, BTreeSet};

use klamm_model::{Offset, ProducerId};
use klamm_records::{BatchHeader, ControlType};

use crate::index::transaction::AbortedTransaction;

/// An aborted transaction between its first record and its marker.
#[derive(Debug)]
struct Aborted {
    entry: AbortedTransaction,
    was_met: bool,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Aborted ones whose first record is ahead, by that.
    ahead: BTreeMap<(Offset, ProducerId), AbortedTransaction>,
    aborted: BTreeMap<ProducerId, Aborted>,
    committed: BTreeSet<ProducerId>,
    /// The aborted ones whose marker stays, in the order of the markers.
    pub(super) kept: Vec<AbortedTransaction>,
}

/// What a marker is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// There are batches of its transaction.
    Needed,
    /// There are none any more, or it is empty itself.
    Idle,
}

impl Transactions {
    /// These were aborted and have records in what is shown next. Some may have been told before.
    pub(super) fn expect(&mut self, aborted: Vec<AbortedTransaction>) {
        for entry in aborted {
            self.ahead.insert((entry.first_offset, entry.producer_id), entry);
        }
    }

    fn reach(&mut self, offset: Offset) {
        while let Some(first) = self.ahead.first_entry() {
            if first.key().0 > offset {
                return;
            }
            let entry = first.remove();
            self.aborted.entry(entry.producer_id).or_insert(Aborted {
                entry,
                was_met: false,
            });
        }
    }

    /// A batch of data is next. Returns whether it was aborted.
    pub(super) fn data(&mut self, header: &BatchHeader) -> bool {
        self.reach(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        let producer = ProducerId(header.producer_id);
        match self.aborted.get_mut(&producer) {
            Some(aborted) => {
                aborted.was_met = true;
                true
            }
            None => {
                self.committed.insert(producer);
                false
            }
        }
    }

    /// A control batch is next; `control` is what its first record says, `None` if it has none.
    pub(super) fn control(&mut self, header: &BatchHeader, control: Option<ControlType>) -> Marker {
        self.reach(header.last_offset());
        let producer = ProducerId(header.producer_id);
        let is_needed = match control {
            None => false,
            Some(ControlType::Abort) => match self.aborted.remove(&producer) {
                Some(aborted) if aborted.was_met => {
                    self.kept.push(aborted.entry);
                    true
                }
                _ => false,
            },
            Some(ControlType::Commit) => self.committed.remove(&producer),
            Some(_) => true,
        };
        match is_needed {
            true => Marker::Needed,
            false => Marker::Idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::transactional;
    use klamm_records::Batch;

    fn header(producer: i64, offset: i64) -> BatchHeader {
        let bytes = transactional(producer, 0, Some(0), &["a", "b"]);
        let mut header = *Batch::parse(&bytes).unwrap().header();
        header.base_offset = Offset(offset);
        header
    }

    fn entry(producer: i64, first: i64, last: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(last),
        }
    }

    #[test]
    fn aborted_batches_are_told_until_their_marker() {
        let mut transactions = Transactions::default();
        transactions.expect(vec![entry(1, 10, 20), entry(2, 30, 40)]);
        assert!(!transactions.data(&header(1, 0)), "of a transaction before");
        let committed = transactions.control(&header(1, 4), Some(ControlType::Commit));
        assert_eq!(committed, Marker::Needed);
        assert!(transactions.data(&header(1, 10)));
        assert!(!transactions.data(&header(2, 12)), "of another producer");
        // The next segment tells of it again.
        transactions.expect(vec![entry(1, 10, 20)]);
        assert!(transactions.data(&header(1, 14)));
        let aborted = transactions.control(&header(1, 20), Some(ControlType::Abort));
        assert_eq!(aborted, Marker::Needed);
        assert!(!transactions.data(&header(1, 22)), "of the transaction behind");
        assert_eq!(transactions.kept, [entry(1, 10, 20)]);
    }

    #[test]
    fn markers_of_transactions_without_batches_are_idle() {
        let mut transactions = Transactions::default();
        transactions.expect(vec![entry(1, 10, 20)]);
        for control in [None, Some(ControlType::Abort), Some(ControlType::Commit)] {
            assert_eq!(
                transactions.control(&header(1, 20), control),
                Marker::Idle,
                "{control:?}"
            );
        }
        let other = transactions.control(&header(1, 30), Some(ControlType::Unknown(9)));
        assert_eq!(other, Marker::Needed, "nobody knows what it is");
        assert_eq!(transactions.kept, []);
    }
}
