//! Times on the command line: milliseconds since 1970, or RFC 3339.

use klamm_model::TimestampMs;

const MS_PER_DAY: i64 = 86_400_000;

/// Writes a time as RFC 3339 in UTC, to the millisecond. Times beyond the year 9999 stay milliseconds.
pub(crate) fn format(time: TimestampMs) -> String {
    let (days, ms) = (time.0.div_euclid(MS_PER_DAY), time.0.rem_euclid(MS_PER_DAY));
    let (year, month, day) = civil(days);
    if !(0..=9999).contains(&year) {
        return time.0.to_string();
    }
    let (hour, minute, second, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Reads milliseconds, `2026-11-21`, `2026-11-21T09:30`, `2026-11-21T09:30:15.250Z` or `...+01:00`, `+0100`, `+01`; without a zone it is
/// UTC.
pub(crate) fn parse(text: &str) -> Option<TimestampMs> {
    if let Ok(ms) = text.parse::<i64>() {
        return (ms >= 0).then_some(TimestampMs(ms));
    }
    let (date, clock) = match text.split_once(['T', 't', ' ']) {
        Some((date, clock)) => (date, Some(clock)),
        None => (text, None),
    };
    let days = parse_date(date)?;
    let ms = clock.map_or(Some(0), parse_clock)?;
    Some(TimestampMs(days * MS_PER_DAY + ms))
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = text.len() == digits && text.bytes().all(|c| c.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn parse_date(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
    let days = days(year, month, day);
    // A day that does not exist comes back as another.
    (parts.next().is_none() && civil(days) == (year, month, day)).then_some(days)
}

fn parse_clock(text: &str) -> Option<i64> {
    let (clock, zone_ms) = split_zone(text)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':');
    let hour = number(parts.next()?, 2)?;
    let minute = number(parts.next()?, 2)?;
    let second = parts.next().map_or(Some(0), |second| number(second, 2))?;
    let is_valid = parts.next().is_none() && hour < 24 && minute < 60 && second < 60;
    if !is_valid || fraction.is_empty() || !fraction.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let ms: i64 = format!("{fraction:0<3.3}").parse().ok()?;
    Some(((hour * 60 + minute) * 60 + second) * 1000 + ms - zone_ms)
}

/// The clock without its zone, and how far the zone is ahead of UTC.
fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(place) = text.rfind(['+', '-']) else {
        return Some((text, 0));
    };
    let (clock, zone) = text.split_at(place);
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    // `+01:00`, or as Kafka's tools take it too, `+0100` and `+01`.
    let (hours, minutes) = match zone[1..].split_once(':') {
        Some(both) => both,
        None if zone.len() == 3 => (&zone[1..], "00"),
        None => (zone.get(1..3)?, zone.get(3..)?),
    };
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    (hours < 24 && minutes < 60).then_some((clock, sign * (hours * 60 + minutes) * 60_000))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have the leap day at their end.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The date of a day since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        let cases = [
            ("0", 0, "1970-01-01T00:00:00.000Z"),
            ("1970-01-01", 0, "1970-01-01T00:00:00.000Z"),
            ("2000-02-29T12:00", 951_825_600_000, "2000-02-29T12:00:00.000Z"),
            (
                "2026-11-21T09:30:15.25Z",
                1_795_253_415_250,
                "2026-11-21T09:30:15.250Z",
            ),
            (
                "2026-11-21 10:30:15+01:00",
                1_795_253_415_000,
                "2026-11-21T09:30:15.000Z",
            ),
            (
                "2026-11-21T10:30:15+0100",
                1_795_253_415_000,
                "2026-11-21T09:30:15.000Z",
            ),
            (
                "2026-11-21T08:30:15-01",
                1_795_253_415_000,
                "2026-11-21T09:30:15.000Z",
            ),
            (
                "2026-11-20T23:30:00-10:00",
                1_795_253_400_000,
                "2026-11-21T09:30:00.000Z",
            ),
            ("1969-12-31T23:59:59.999Z", -1, "1969-12-31T23:59:59.999Z"),
        ];
        for (text, ms, shown) in cases {
            assert_eq!(parse(text), Some(TimestampMs(ms)), "{text}");
            assert_eq!(format(TimestampMs(ms)), shown);
            assert_eq!(parse(shown), Some(TimestampMs(ms)));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let cases = [
            "",
            "-5",
            "2026-13-01",
            "2026-02-29",
            "2026-1-1",
            "2026-01-01T",
            "2026-01-01T24:00",
            "2026-01-01T10",
            "2026-01-01T10:00+1:00",
            "2026-01-01T10:00+1",
            "2026-01-01T10:00+010",
            "2026-01-01T10:00+",
            "2026-01-01T10:00+é1",
            "2026-01-01T10:00:00.",
            "yesterday",
            "2026-01-01-01",
        ];
        for text in cases {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in -200_000..200_000 {
            let (year, month, dom) = civil(day);
            assert_eq!(days(year, month, dom), day);
        }
    }
}
