//! Durations on the command line.

use std::time::Duration;

const MS_PER_DAY: u64 = 86_400_000;

/// Reads a duration: `1d12h`, `90m`, `30s`, or as Kafka's tools have it, `P1DT12H`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
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

/// A duration for people: its two largest units.
pub(crate) fn format(ms: i64) -> String {
    const NAMES: [(i64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (mut rest, mut text, mut parts) = (ms, String::new(), 0);
    for (unit, name) in NAMES {
        if parts < 2 && (rest >= unit || parts == 1) {
            parts += 1;
            if rest >= unit {
                text.push_str(&format!("{}{name}", rest / unit));
            }
            rest %= unit;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let seen = parse(text).ok().map(|duration| duration.as_secs());
            assert_eq!(seen, seconds, "{text}");
        }
    }

    #[test]
    fn durations_are_short() {
        let cases = [
            (0, "0ms"),
            (999, "999ms"),
            (1_500, "1s"),
            (61_000, "1m1s"),
            (60_000, "1m"),
            (3_600_000, "1h"),
            (3_605_000, "1h"),
            (90_061_000, "1d1h"),
        ];
        for (ms, text) in cases {
            assert_eq!(format(ms), text);
        }
    }
}
