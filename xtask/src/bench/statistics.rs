//! The arithmetic of a comparison: medians, spread, and the order in which the sides take turns.
//!
//! Always holds: a ratio is made within a pair, whose two runs stand next to each other in time; what the machine did an
//! hour ago is in no ratio.

/// The middle of some values: of an even number the mean of the two in the middle. None of no values.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The middle of some values, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    /// None of no values.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        Some(Spread {
            median: median(values)?,
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            most: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }

    /// The ratio of ours to theirs, pair by pair. A pair in which one side has no value, or theirs is 0, says nothing.
    pub(super) fn of_ratios(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<Self> {
        let ratios: Vec<f64> = ours
            .iter()
            .zip(theirs)
            .filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?))
            .filter(|ratio| ratio.is_finite())
            .collect();
        Self::of(&ratios)
    }
}

/// Who runs first in a pair: A B, B A, A B and so on, so that a machine that grows slower or faster over time favours
/// nobody. More than two sides go there and back in the same way.
pub(super) fn order(pair: usize, sides: usize) -> Vec<usize> {
    if pair.is_multiple_of(2) {
        (0..sides).collect()
    } else {
        (0..sides).rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle() {
        for (values, expected) in [
            (&[][..], None),
            (&[7.0][..], Some(7.0)),
            (&[9.0, 1.0][..], Some(5.0)),
            (&[9.0, 1.0, 2.0][..], Some(2.0)),
            (&[4.0, 100.0, 2.0, 1.0][..], Some(3.0)),
        ] {
            assert_eq!(median(values), expected, "{values:?}");
        }
    }

    #[test]
    fn the_spread_holds_both_ends() {
        let spread = Spread::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn ratios_are_made_within_pairs() {
        // The medians alone would give 2 / 4: the machine was ten times slower in the second pair.
        let ours = [Some(1.0), Some(20.0), Some(2.0)];
        let theirs = [Some(4.0), Some(40.0), Some(4.0)];
        let spread = Spread::of_ratios(&ours, &theirs).unwrap();
        assert_eq!((spread.least, spread.median, spread.most), (0.25, 0.5, 0.5));
    }

    #[test]
    fn a_pair_without_both_values_makes_no_ratio() {
        let ours = [Some(1.0), None, Some(3.0), Some(5.0)];
        let theirs = [Some(2.0), Some(2.0), None, Some(0.0)];
        let spread = Spread::of_ratios(&ours, &theirs).unwrap();
        assert_eq!((spread.least, spread.most), (0.5, 0.5));
        assert_eq!(Spread::of_ratios(&[None], &[Some(1.0)]), None);
    }

    #[test]
    fn the_sides_take_turns_at_going_first() {
        let two: Vec<_> = (0..4).flat_map(|pair| order(pair, 2)).collect();
        assert_eq!(two, [0, 1, 1, 0, 0, 1, 1, 0]);
        assert_eq!([order(0, 3), order(1, 3)].concat(), [0, 1, 2, 2, 1, 0]);
    }
}
