//! Which batches of a fetch belong to transactions that were aborted.

use std::collections::BTreeSet;

use klamm_model::{Offset, ProducerId};
use klamm_records::{Batch, ControlType};

use super::Isolation;

/// An aborted transaction, as a fetch names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AbortedTransaction {
    pub(super) producer: ProducerId,
    /// The first offset of the transaction.
    pub(super) first: Offset,
}

/// Follows the transactions of one partition through the batches of one fetch.
pub(super) struct Aborted {
    isolation: Isolation,
    /// Those that begin later, the next one last.
    ahead: Vec<AbortedTransaction>,
    /// The producers within an aborted transaction.
    open: BTreeSet<ProducerId>,
}

impl Aborted {
    pub(super) fn new(isolation: Isolation, mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first));
        Self {
            isolation,
            ahead: aborted,
            open: BTreeSet::new(),
        }
    }

    /// Whether the records of `batch` are for the reader; to be asked for each batch in order.
    pub(super) fn is_visible(&mut self, batch: &Batch) -> bool {
        let header = batch.header();
        if self.isolation == Isolation::ReadUncommitted {
            return !header.is_control();
        }
        while let Some(next) = self
            .ahead
            .last()
            .filter(|next| next.first <= header.last_offset())
        {
            self.open.insert(next.producer);
            self.ahead.pop();
        }
        let producer = ProducerId(header.producer_id);
        if header.is_control() {
            if is_abort(batch) {
                self.open.remove(&producer);
            }
            return false;
        }
        !(header.is_transactional() && self.open.contains(&producer))
    }
}

fn is_abort(batch: &Batch) -> bool {
    // A control batch has one record, whose key says what it is.
    let record = batch.records(1024).ok().and_then(|mut records| records.next());
    let key = record.and_then(Result::ok).and_then(|record| record.key);
    key.and_then(|key| ControlType::parse(&key)) == Some(ControlType::Abort)
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_model::{ProducerEpoch, TimestampMs};
    use klamm_records::{BatchBuilder, EndTransactionMarker};

    const TIME: TimestampMs = TimestampMs(1);

    fn data(offset: i64, producer: i64, transactional: bool) -> Batch {
        let mut builder = BatchBuilder::default().producer(ProducerId(producer), ProducerEpoch(0), Some(0));
        if transactional {
            builder = builder.transactional();
        }
        builder.append(TIME, None, Some(b"x"), &[]);
        Batch::parse(&builder.build(Offset(offset)).unwrap()).unwrap()
    }

    fn marker(offset: i64, producer: i64, committed: bool) -> Batch {
        let marker = EndTransactionMarker {
            committed,
            coordinator_epoch: 1,
        };
        let builder = BatchBuilder::end_transaction(ProducerId(producer), ProducerEpoch(0), marker, TIME);
        Batch::parse(&builder.build(Offset(offset)).unwrap()).unwrap()
    }

    #[test]
    fn aborted_batches_are_hidden_until_their_marker() {
        let aborted = vec![AbortedTransaction {
            producer: ProducerId(1),
            first: Offset(2),
        }];
        let cases = [
            (data(0, 1, true), true),
            (marker(1, 1, true), false),
            (data(2, 1, true), false),
            (data(3, 2, true), true),
            (data(4, 1, false), true),
            (marker(5, 1, false), false),
            (data(6, 1, true), true),
        ];
        let mut committed = Aborted::new(Isolation::ReadCommitted, aborted.clone());
        let mut uncommitted = Aborted::new(Isolation::ReadUncommitted, aborted);
        for (batch, visible) in &cases {
            let offset = batch.header().base_offset;
            assert_eq!(committed.is_visible(batch), *visible, "{offset}");
            assert_eq!(
                uncommitted.is_visible(batch),
                !batch.header().is_control(),
                "{offset}"
            );
        }
    }
}
