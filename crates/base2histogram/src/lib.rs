//! Stands in for the crate `base2histogram`, in which `openraft` counts the sizes of its batches, with the part of its
//! interface that `openraft` compiles against.
//!
//! The original builds tables for sixteen precisions at its first use, of which fifteen are never used: 26 MB in every
//! process, more than the rest of a broker at rest. Here a value is counted by its power of two, which takes no table.
//! To go when the original builds only what it is asked for.
//!
//! Always holds: a percentile is never below the value it stands for, nor twice as large.

use std::fmt;
use std::marker::PhantomData;

/// Values counted by their power of two: the first counts zeros, the last those from 2^63 on.
const CLASSES: usize = 65;

/// How often which values were recorded. `T` marks parts of a moving window in the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: [u64; CLASSES],
    window: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self {
            counts: [0; CLASSES],
            window: PhantomData,
        }
    }
}

impl<T> Histogram<T> {
    /// Nothing recorded.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value `times` times.
    pub fn record_n(&mut self, value: u64, times: u64) {
        let count = &mut self.counts[class_of(value)];
        *count = count.saturating_add(times);
    }

    /// The distribution so far; all zeros when nothing was recorded.
    pub fn percentile_stats(&self) -> PercentileStats {
        let samples = self
            .counts
            .iter()
            .fold(0, |sum: u64, count| sum.saturating_add(*count));
        let at = |permille: u64| self.largest_of(samples, permille);
        PercentileStats {
            samples,
            p0_1: at(1),
            p1: at(10),
            p5: at(50),
            p10: at(100),
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p99_9: at(999),
        }
    }

    /// The largest value of the class in which `permille` of the samples are reached.
    fn largest_of(&self, samples: u64, permille: u64) -> u64 {
        let wanted = (u128::from(samples) * u128::from(permille)).div_ceil(1000);
        let mut seen = 0;
        for (class, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= wanted && seen > 0 {
                return largest_in(class);
            }
        }
        0
    }
}

fn class_of(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()) as usize
}

fn largest_in(class: usize) -> u64 {
    match class {
        0 => 0,
        class => u64::MAX >> (CLASSES - 1 - class),
    }
}

/// Where the samples of a histogram lie: each is the value that so many percent do not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are percentages")]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            samples, p50, p99, ..
        } = self;
        write!(f, "{samples} samples, p50 {p50}, p99 {p99}")
    }
}

/// Several histograms, printed one to a line.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    rows: Vec<(String, PercentileStats)>,
}

impl AsciiChart {
    /// Without a line.
    pub fn new() -> Self {
        Self::default()
    }

    /// One line more.
    #[must_use]
    pub fn add<T>(mut self, name: impl Into<String>, histogram: Histogram<T>) -> Self {
        self.rows.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, stats) in &self.rows {
            writeln!(f, "{name}: {stats}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_end_of_its_power_of_two() {
        for (values, p50, p99_9) in [
            (vec![], 0, 0),
            (vec![0], 0, 0),
            (vec![1, 1, 1000], 1, 1023),
            (vec![5, 6, 7, u64::MAX], 7, u64::MAX),
        ] {
            let mut histogram = Histogram::<()>::new();
            for value in &values {
                histogram.record(*value);
            }
            let stats = histogram.percentile_stats();
            assert_eq!(
                (stats.samples, stats.p50, stats.p99_9),
                (values.len() as u64, p50, p99_9),
                "{values:?}"
            );
        }
    }

    #[test]
    fn a_chart_has_a_line_for_each_histogram() {
        let mut histogram = Histogram::<()>::new();
        histogram.record(3);
        let chart = AsciiChart::new()
            .add("a", histogram)
            .add("b", Histogram::<()>::new());
        assert_eq!(
            chart.to_string(),
            "a: 1 samples, p50 3, p99 3\nb: 0 samples, p50 0, p99 0\n"
        );
    }
}
