//! To where the offsets of a group are set, and of which partitions.
//!
//! Always holds: the new offset lies within what the partition holds, and whoever reads the result can tell that it was
//! brought there.

use std::time::Duration;

use klamm_model::{Offset, TimestampMs};

use crate::commands::time;

/// The least number that is taken for milliseconds since 1970: in 1973.
const LEAST_MS: i64 = 100_000_000_000;

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Earliest,
    Latest,
    /// The first record of this time or later.
    Time(TimestampMs),
    /// The first record that is at most so old.
    Ago(Duration),
    /// So many from where it is.
    Shift(i64),
    At(Offset),
}

/// What a partition holds, and what the target says about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) begin: Offset,
    pub(super) end: Offset,
    /// The offset of the target's time; `None` when no record is as late.
    pub(super) at_time: Option<Offset>,
}

impl Target {
    /// The time that is to be looked up.
    pub(super) fn time(self, now: TimestampMs) -> Option<TimestampMs> {
        match self {
            Self::Time(time) => Some(time),
            Self::Ago(ago) => {
                let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                Some(TimestampMs(now.0.saturating_sub(ago).max(0)))
            }
            Self::Earliest | Self::Latest | Self::Shift(_) | Self::At(_) => None,
        }
    }

    /// The wanted offset, and the one within the bounds; `None` when there is nothing to shift.
    pub(super) fn offset(self, current: Option<Offset>, bounds: Bounds) -> Option<(Offset, Offset)> {
        let wanted = match self {
            Self::Earliest => bounds.begin,
            Self::Latest => bounds.end,
            Self::Time(_) | Self::Ago(_) => bounds.at_time.unwrap_or(bounds.end),
            Self::Shift(by) => Offset(current?.0.saturating_add(by)),
            Self::At(offset) => offset,
        };
        let within = wanted.max(bounds.begin).min(bounds.end.max(bounds.begin));
        Some((wanted, within))
    }
}

/// Reads a time. A number so small that it is a date without its dashes, or seconds, would quietly mean the first record.
pub(super) fn parse_time(text: &str) -> Result<TimestampMs, String> {
    let time = time::parse(text);
    let time = time.ok_or_else(|| format!("'{text}' is no time: RFC 3339, or milliseconds since 1970"))?;
    if text.bytes().all(|c| c.is_ascii_digit()) && time.0 < LEAST_MS {
        return Err(format!(
            "'{text}' would be milliseconds since 1970, {}: --to-earliest goes to the first record, 2026-11-21 is a day",
            time::format(time)
        ));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_no_time_of_today_is_refused() {
        let cases = [
            ("1795253415000", Some(1_795_253_415_000)),
            ("2026-11-21", Some(1_795_219_200_000)),
            ("1970-01-02", Some(86_400_000)),
            ("20261121", None),
            ("2026", None),
            ("0", None),
            // Seconds.
            ("1795253415", None),
        ];
        for (text, ms) in cases {
            assert_eq!(parse_time(text).ok().map(|time| time.0), ms, "{text}");
        }
        let error = parse_time("20261121").unwrap_err();
        assert!(error.contains("1970-01-01T05:37:41.121Z"), "{error}");
    }

    #[test]
    fn offsets_stay_within_what_the_partition_holds() {
        let bounds = |at_time: Option<i64>| Bounds {
            begin: Offset(10),
            end: Offset(20),
            at_time: at_time.map(Offset),
        };
        let time = Target::Time(TimestampMs(5));
        let cases = [
            (Target::Earliest, None, None, Some((10, 10))),
            (Target::Latest, None, None, Some((20, 20))),
            (time, None, Some(15), Some((15, 15))),
            (time, None, None, Some((20, 20))),
            (Target::Shift(-3), Some(18), None, Some((15, 15))),
            (Target::Shift(-30), Some(18), None, Some((-12, 10))),
            (Target::Shift(i64::MAX), Some(18), None, Some((i64::MAX, 20))),
            (Target::Shift(1), None, None, None),
            (Target::At(Offset(0)), None, None, Some((0, 10))),
            (Target::At(Offset(99)), Some(1), None, Some((99, 20))),
        ];
        for (target, current, at_time, expected) in cases {
            let seen = target.offset(current.map(Offset), bounds(at_time));
            assert_eq!(
                seen.map(|(wanted, within)| (wanted.0, within.0)),
                expected,
                "{target:?}"
            );
        }
        let ago = Target::Ago(Duration::from_secs(1));
        assert_eq!(ago.time(TimestampMs(5_000)), Some(TimestampMs(4_000)));
        assert_eq!(ago.time(TimestampMs(5)), Some(TimestampMs(0)));
    }
}
