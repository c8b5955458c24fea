//! Which logs of a round go through the journal, and which have their segments synced.
//!
//! Always holds: the choice is one of price only; either way is safe.

/// What one sync costs beside its bytes, counted in the bytes that a device writes meanwhile: about 150 µs at 400 MB/s. A range
/// that goes through the journal is written twice; from this size on, a sync of its own is cheaper than that.
pub(crate) const LARGE_BYTES: u64 = 64 * 1024;

/// So many files synced one after another cost no more than one journal and their own write-back later.
const FEW_FILES: usize = 2;

/// What the choice rests on, for one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// Bytes that are not durable.
    pub(crate) bytes: u64,
    /// Segment files that they are in.
    pub(crate) files: usize,
    /// Whether they may go through the journal at all.
    pub(crate) may_be_journaled: bool,
}

impl Range {
    /// Whether it is cheaper in a journal, if that is written at all.
    pub(crate) fn is_small(&self) -> bool {
        self.may_be_journaled && self.bytes < LARGE_BYTES
    }
}

/// Whether the small ranges of a round are worth a write to the journal.
pub(crate) fn is_worth_a_round(ranges: impl Iterator<Item = Range>) -> bool {
    let files = ranges.filter(Range::is_small).map(|range| range.files);
    files.sum::<usize>() > FEW_FILES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_ranges_are_worth_a_round_and_few_or_large_ones_are_not() {
        let range = |bytes, files| Range {
            bytes,
            files,
            may_be_journaled: true,
        };
        let shut = Range {
            may_be_journaled: false,
            ..range(100, 1)
        };
        let cases: [(&[Range], bool); 7] = [
            (&[], false),
            (&[range(100, 1)], false),
            (&[range(100, 1); 2], false),
            (&[range(100, 1); 3], true),
            (&[range(100, 2), range(100, 1)], true),
            (&[range(LARGE_BYTES, 1); 9], false),
            (&[shut; 9], false),
        ];
        for (ranges, worth) in cases {
            assert_eq!(is_worth_a_round(ranges.iter().copied()), worth, "{ranges:?}");
        }
    }
}
