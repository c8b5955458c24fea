//! The topics that a group is asked for, in pieces of bounded size: one decision each.
//!
//! Always holds: the pieces are in the order of the request and hold all of it; there is at least one, since a group that is asked
//! for nothing can be refused as well.

use std::vec::IntoIter;

use klamm_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;

/// Topics and partitions that are asked for at once: more than any member of a group has.
const AT_ONCE: usize = 1_000;

/// Whether all that a group is asked for is one piece.
pub(super) fn is_one(topics: Option<&[OffsetFetchRequestTopics]>) -> bool {
    let sizes = topics
        .into_iter()
        .flatten()
        .map(|topic| topic.partition_indexes.len().max(1));
    sizes.sum::<usize>() <= AT_ONCE
}

/// What is asked for at once.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Piece {
    /// `None` stands for all partitions that there are.
    pub(super) topics: Option<Vec<OffsetFetchRequestTopics>>,
    /// The first topic is the last one of the piece before.
    pub(super) goes_on: bool,
}

/// See the head of the file.
pub(super) struct Pieces {
    /// `None` once the only piece is out.
    whole: Option<Piece>,
    topics: IntoIter<OffsetFetchRequestTopics>,
    /// A topic, and what is left of its partitions.
    cut: Option<(OffsetFetchRequestTopics, IntoIter<i32>)>,
}

impl Pieces {
    pub(super) fn of(topics: Option<Vec<OffsetFetchRequestTopics>>) -> Self {
        let is_cut = topics.as_ref().is_some_and(|topics| !topics.is_empty());
        let (whole, topics) = match topics {
            Some(topics) if is_cut => (None, topics),
            topics => (
                Some(Piece {
                    topics,
                    goes_on: false,
                }),
                Vec::new(),
            ),
        };
        Self {
            whole,
            topics: topics.into_iter(),
            cut: None,
        }
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if let Some(whole) = self.whole.take() {
            return Some(whole);
        }
        let goes_on = self.cut.is_some();
        let mut topics = Vec::new();
        let mut left = AT_ONCE;
        while left > 0 {
            let cut = self.cut.take().or_else(|| {
                let mut topic = self.topics.next()?;
                let partitions = std::mem::take(&mut topic.partition_indexes);
                Some((topic, partitions.into_iter()))
            });
            let Some((topic, mut partitions)) = cut else {
                break;
            };
            let partition_indexes: Vec<_> = partitions.by_ref().take(left).collect();
            left = left.saturating_sub(partition_indexes.len().max(1));
            topics.push(OffsetFetchRequestTopics {
                partition_indexes,
                ..topic.clone()
            });
            if partitions.len() > 0 {
                self.cut = Some((topic, partitions));
            }
        }
        (!topics.is_empty()).then_some(Piece {
            topics: Some(topics),
            goes_on,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, partitions: std::ops::Range<i32>) -> OffsetFetchRequestTopics {
        OffsetFetchRequestTopics {
            name: name.into(),
            partition_indexes: partitions.collect(),
            ..Default::default()
        }
    }

    #[test]
    fn a_list_is_cut_where_a_piece_is_full() {
        let piece = |topics: &[(&str, std::ops::Range<i32>)], goes_on| Piece {
            topics: Some(topics.iter().map(|(name, of)| topic(name, of.clone())).collect()),
            goes_on,
        };
        let of = |topics: &[(&str, std::ops::Range<i32>)]| {
            let topics = topics.iter().map(|(name, of)| topic(name, of.clone()));
            Pieces::of(Some(topics.collect())).collect::<Vec<_>>()
        };
        for (topics, count) in [(1, 1_000), (2, 500), (1_000, 0), (1, 1_001), (1_001, 1)] {
            let topics: Vec<_> = (0..topics).map(|_| topic("a", 0..count)).collect();
            let pieces = Pieces::of(Some(topics.clone())).count();
            assert_eq!(is_one(Some(&topics)), pieces == 1, "{} of {count}", topics.len());
        }
        assert!(is_one(None) && is_one(Some(&[])));
        assert_eq!(Pieces::of(None).collect::<Vec<_>>(), [Piece::default()]);
        assert_eq!(of(&[]), [piece(&[], false)]);
        assert_eq!(
            of(&[("a", 0..0), ("b", 0..3)]),
            [piece(&[("a", 0..0), ("b", 0..3)], false)]
        );
        assert_eq!(of(&[("a", 0..1_000)]), [piece(&[("a", 0..1_000)], false)]);
        assert_eq!(
            of(&[("a", 0..400), ("b", 0..1_700), ("c", 0..1)]),
            [
                piece(&[("a", 0..400), ("b", 0..600)], false),
                piece(&[("b", 600..1_600)], true),
                piece(&[("b", 1_600..1_700), ("c", 0..1)], true),
            ]
        );
        // A topic without partitions counts as well.
        assert_eq!(of(&vec![("a", 0..0); 2_500]).len(), 3);
    }
}
