//! To where the offsets of a group are set, and of which partitions.
//!
//! Always holds: the new offset lies within what the partition holds, and whoever reads the result can tell that it was
//! brought there.

use std::time::Duration;

use klamm_model::{Offset, TimestampMs};

use crate::commands::time;

const MS_PER_DAY: u64 = 86_400_000;
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

/// The partitions of a topic; all of them when there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicChoice {
    pub(super) topic: String,
    pub(super) partitions: Vec<i32>,
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

/// Reads `TOPIC` or `TOPIC:0,1,2`.
pub(super) fn parse_topic(text: &str) -> Result<TopicChoice, String> {
    let refused = || format!("'{text}' is neither TOPIC nor TOPIC:0,1,2");
    let (topic, partitions) = match text.rsplit_once(':') {
        None => (text, Vec::new()),
        Some((topic, numbers)) => {
            let numbers = numbers.split(',').map(|number| match number.parse::<i32>() {
                Ok(index) if index >= 0 => Ok(index),
                _ => Err(refused()),
            });
            (topic, numbers.collect::<Result<Vec<i32>, String>>()?)
        }
    };
    if topic.is_empty() {
        return Err(refused());
    }
    Ok(TopicChoice {
        topic: topic.to_owned(),
        partitions,
    })
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

/// Reads a duration: `1d12h`, `90m`, `30s`, or as Kafka's tools have it, `P1DT12H`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let small = text.to_ascii_lowercase();
    let (ms, example) = match small.strip_prefix('p') {
        Some(rest) => (iso(rest), "P1DT12H, PT90M"),
        None => (sum(&small, &UNITS), "1d12h, 90m, 30s"),
    };
    ms.map(Duration::from_millis)
        .ok_or_else(|| format!("'{text}' is no duration: {example}"))
}

/// Days, and behind a `t` what is less: before it, an `m` is months, which have no length.
fn iso(text: &str) -> Option<u64> {
    let (days, clock) = UNITS.split_at(1);
    match text.split_once('t') {
        None => sum(text, days),
        Some(("", less)) => sum(less, clock),
        Some((more, less)) => sum(more, days)?.checked_add(sum(less, clock)?),
    }
}

/// Units with their milliseconds, the larger ones first.
type Units = [(char, u64)];

const UNITS: [(char, u64); 4] = [('d', MS_PER_DAY), ('h', 3_600_000), ('m', 60_000), ('s', 1000)];

/// The sum of numbers with units, the larger ones first.
fn sum(mut rest: &str, units: &Units) -> Option<u64> {
    let mut units = units.iter();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let (_, ms) = units.find(|(name, _)| rest[digits..].starts_with(*name))?;
        total = total.checked_add(number.checked_mul(*ms)?)?;
        // Every unit is one letter of ASCII.
        rest = &rest[digits + 1..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_their_partitions_are_read() {
        let cases = [
            ("orders", Some(("orders", vec![]))),
            ("orders:0", Some(("orders", vec![0]))),
            ("orders:0,12", Some(("orders", vec![0, 12]))),
            ("orders:", None),
            ("orders:-1", None),
            (":1", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let seen = parse_topic(text).ok();
            let seen = seen
                .as_ref()
                .map(|choice| (choice.topic.as_str(), choice.partitions.clone()));
            assert_eq!(seen, expected, "{text}");
        }
    }

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
    fn durations_are_read() {
        let cases = [
            ("30s", Some(30)),
            ("90m", Some(5_400)),
            ("1d12h", Some(129_600)),
            ("PT90M", Some(5_400)),
            ("P1DT12H", Some(129_600)),
            ("", None),
            ("90", None),
            ("P", None),
            ("PT", None),
            ("P1DT", None),
            ("P2D", Some(172_800)),
            ("PT1H30S", Some(3_630)),
            // Months.
            ("P1M", None),
            ("P90M", None),
            ("P1H", None),
            ("PT1D", None),
            ("P1DT1M1H", None),
            ("12h1d", None),
            ("1é", None),
            ("-5m", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ];
        for (text, seconds) in cases {
            let seen = parse_duration(text).ok().map(|duration| duration.as_secs());
            assert_eq!(seen, seconds, "{text}");
        }
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
