//! Where to begin and where to end: `beginning`, `end`, an offset, the last so many, a time.

use std::collections::BTreeMap;

use klamm_client::Client;
use klamm_client::ClientError;
use klamm_client::consumer::{Isolation, OffsetSpec};
use klamm_model::{Offset, TimestampMs, TopicPartition};

use crate::commands::time;

/// A place in every partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Beginning,
    End,
    At(Offset),
    /// So many before the end.
    Last(i64),
    /// The first record of this time or later.
    Time(TimestampMs),
}

/// Reads a place.
pub(super) fn parse(text: &str) -> Result<Place, String> {
    let refused = || {
        format!(
            "'{text}' is no place: beginning, end, OFFSET, -N for the last N, or @TIME (milliseconds or RFC 3339)"
        )
    };
    if let Some(moment) = text.strip_prefix('@') {
        return time::parse(moment).map(Place::Time).ok_or_else(refused);
    }
    match text {
        "beginning" => Ok(Place::Beginning),
        "end" => Ok(Place::End),
        _ => match text.parse::<i64>() {
            Ok(offset) if offset >= 0 && !text.starts_with(['-', '+']) => Ok(Place::At(Offset(offset))),
            Ok(last) if text.starts_with('-') => last.checked_neg().map(Place::Last).ok_or_else(refused),
            _ => Err(refused()),
        },
    }
}

/// Reads a place where a read can end.
pub(super) fn parse_end(text: &str) -> Result<Place, String> {
    match parse(text)? {
        Place::Beginning | Place::Last(_) => Err(format!("'{text}' is no end: end, OFFSET or @TIME")),
        place => Ok(place),
    }
}

/// The offset of `place` in each of the partitions, within what they hold.
pub(super) async fn resolve(
    client: &Client,
    partitions: &[TopicPartition],
    place: Place,
    isolation: Isolation,
) -> Result<BTreeMap<TopicPartition, Offset>, ClientError> {
    let begins = ask(client, partitions, OffsetSpec::Earliest, isolation).await?;
    let ends = ask(client, partitions, OffsetSpec::Latest, isolation).await?;
    let times = match place {
        Place::Time(moment) => ask(client, partitions, OffsetSpec::At(moment), isolation).await?,
        _ => BTreeMap::new(),
    };
    let offset = |partition: &TopicPartition| {
        let zero = Offset(0);
        let begin = begins.get(partition).copied().flatten().unwrap_or(zero);
        let end = ends.get(partition).copied().flatten().unwrap_or(begin);
        within(place, begin, end, times.get(partition).copied().flatten())
    };
    Ok(partitions
        .iter()
        .map(|partition| (partition.clone(), offset(partition)))
        .collect())
}

/// `at` is the offset of the place's time; `None` when no record is as late.
fn within(place: Place, begin: Offset, end: Offset, at: Option<Offset>) -> Offset {
    let wanted = match place {
        Place::Beginning => begin,
        Place::End => end,
        Place::At(offset) => offset,
        Place::Last(count) => Offset(end.0.saturating_sub(count)),
        Place::Time(_) => at.unwrap_or(end),
    };
    wanted.max(begin).min(end.max(begin))
}

async fn ask(
    client: &Client,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
    isolation: Isolation,
) -> Result<BTreeMap<TopicPartition, Option<Offset>>, ClientError> {
    let asked: Vec<(TopicPartition, OffsetSpec)> = partitions
        .iter()
        .map(|partition| (partition.clone(), spec))
        .collect();
    let found = client.list_offsets(&asked, isolation).await?;
    Ok(found
        .into_iter()
        .map(|(partition, at)| (partition, at.offset))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let cases = [
            ("beginning", Some(Place::Beginning)),
            ("end", Some(Place::End)),
            ("0", Some(Place::At(Offset(0)))),
            ("42", Some(Place::At(Offset(42)))),
            ("-5", Some(Place::Last(5))),
            ("-0", Some(Place::Last(0))),
            (
                "@1700000000000",
                Some(Place::Time(TimestampMs(1_700_000_000_000))),
            ),
            ("@2026-11-21", Some(Place::Time(TimestampMs(1_795_219_200_000)))),
            ("start", None),
            ("+5", None),
            ("@", None),
            ("@soon", None),
            ("", None),
            ("-", None),
            ("9223372036854775808", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
        for (text, is_end) in [
            ("end", true),
            ("7", true),
            ("@0", true),
            ("beginning", false),
            ("-1", false),
        ] {
            assert_eq!(parse_end(text).is_ok(), is_end, "{text}");
        }
    }

    #[test]
    fn places_stay_within_what_the_partition_holds() {
        let (begin, end) = (Offset(10), Offset(20));
        let time = Place::Time(TimestampMs(1));
        let cases = [
            (Place::Beginning, None, 10),
            (Place::End, None, 20),
            (Place::At(Offset(15)), None, 15),
            (Place::At(Offset(5)), None, 10),
            (Place::At(Offset(99)), None, 20),
            (Place::Last(3), None, 17),
            (Place::Last(99), None, 10),
            (time, Some(Offset(12)), 12),
            (time, None, 20),
        ];
        for (place, at, expected) in cases {
            assert_eq!(within(place, begin, end, at), Offset(expected), "{place:?}");
        }
    }
}
