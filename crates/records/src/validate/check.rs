//! What a leader checks of each record of a batch: well formed, offsets that count up, its timestamp, its key.
//!
//! Always holds: records with which nothing is unusual are passed over in one loop ([`UsualRecord`]), which says yes to
//! none that the exact reading would refuse; all others are looked at one by one.

use std::ops::{ControlFlow, Range};

use klamm_model::TimestampMs;

use super::{Rules, unreadable};
use crate::compression::Scratch;
use crate::header::{BatchHeader, NO_TIMESTAMP, TimestampType};
use crate::rejection::{RecordErrors, RecordReason, Rejection};
use crate::usual::UsualRecord;
use crate::walk::{Passed, RecordHead, Visit, walk};

/// The first record with the largest timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) timestamp: TimestampMs,
    /// `None` if no record has a timestamp.
    pub(super) offset_delta: Option<i32>,
}

/// Checks the records behind `header`.
pub(super) fn check_records(
    header: &BatchHeader,
    body: &[u8],
    rules: &Rules,
    scratch: &mut Scratch,
) -> Result<Newest, Rejection> {
    let mut check = Check::new(header, rules);
    let stray = walk(header, body, rules.limits, scratch, &mut check).map_err(unreadable)?;
    check.verdict(stray)
}

/// What is known of the records so far.
struct Check<'a> {
    header: &'a BatchHeader,
    rules: &'a Rules,
    usual: UsualTimestamps,
    newest: Newest,
    errors: RecordErrors,
}

impl<'a> Check<'a> {
    fn new(header: &'a BatchHeader, rules: &'a Rules) -> Self {
        Self {
            header,
            rules,
            usual: UsualTimestamps::of(rules),
            newest: Newest {
                timestamp: NO_TIMESTAMP,
                offset_delta: None,
            },
            errors: RecordErrors::default(),
        }
    }

    /// What comes of a walk that ended with `stray`.
    fn verdict(self, stray: Option<RecordHead>) -> Result<Newest, Rejection> {
        if let Some(head) = stray {
            return Err(Rejection::OffsetDelta {
                index: head.index,
                offset_delta: head.offset_delta,
            });
        }
        match self.errors.total() {
            0 => Ok(self.newest),
            _ => Err(Rejection::Records(self.errors)),
        }
    }

    fn timestamp(&self, delta: i64) -> TimestampMs {
        TimestampMs(self.header.base_timestamp.0.wrapping_add(delta))
    }
}

impl Visit for Check<'_> {
    /// A record whose offset is not the next one.
    type End = RecordHead;

    fn record(&mut self, head: RecordHead) -> ControlFlow<RecordHead> {
        if head.offset_delta != head.index {
            return ControlFlow::Break(head);
        }
        let timestamp = self.timestamp(head.timestamp_delta);
        if let Some(reason) = record_fault(self.header, &head, timestamp, self.rules) {
            self.errors.push(head.index, reason);
        } else if timestamp > self.newest.timestamp {
            self.newest = Newest {
                timestamp,
                offset_delta: Some(head.index),
            };
        }
        ControlFlow::Continue(())
    }

    // A function of its own: its loop has the processor's registers for itself.
    #[inline(never)]
    fn pass(&mut self, bytes: &[u8], range: Range<i32>, most: usize) -> Passed {
        let (usual, needs_key) = (self.usual, self.rules.compacted);
        let Newest {
            timestamp: mut newest,
            offset_delta: mut newest_at,
        } = self.newest;
        let mut rest = bytes;
        let mut index = range.start;
        while index < range.end
            && let Some(record) = UsualRecord::parse(rest)
        {
            let timestamp = self.timestamp(record.timestamp_delta.into());
            let is_usual = record.offset_delta == index
                && usual.contains(timestamp)
                && (record.has_key || !needs_key)
                && record.length <= most;
            if !is_usual {
                break;
            }
            if timestamp > newest {
                (newest, newest_at) = (timestamp, Some(index));
            }
            rest = &rest[record.end..];
            index += 1;
        }
        self.newest = Newest {
            timestamp: newest,
            offset_delta: newest_at,
        };
        Passed {
            records: index - range.start,
            bytes: bytes.len() - rest.len(),
        }
    }
}

/// Timestamps with which nothing can be wrong.
#[derive(Clone, Copy)]
struct UsualTimestamps {
    earliest: i64,
    /// How many there are, from the earliest on.
    count: u64,
}

impl UsualTimestamps {
    fn of(rules: &Rules) -> Self {
        // NO_TIMESTAMP has a rule of its own.
        let earliest = rules.now.0.saturating_sub(rules.timestamp_before_max_ms).max(0);
        let latest = rules.now.0.saturating_add(rules.timestamp_after_max_ms);
        let count = match rules.timestamp_type {
            TimestampType::CreateTime if earliest <= latest => earliest.abs_diff(latest) + 1,
            TimestampType::CreateTime => 0,
            // The mark of the batch counts.
            TimestampType::LogAppendTime => 0,
        };
        Self { earliest, count }
    }

    #[inline(always)]
    fn contains(self, timestamp: TimestampMs) -> bool {
        // One comparison: what lies before the earliest wraps to far behind it.
        (timestamp.0.wrapping_sub(self.earliest) as u64) < self.count
    }
}

/// What is wrong with one record. A client may mark its batch with the leader's time on a topic of the producers' time:
/// the mark goes, the records' own timestamps count.
fn record_fault(
    header: &BatchHeader,
    head: &RecordHead,
    timestamp: TimestampMs,
    rules: &Rules,
) -> Option<RecordReason> {
    if rules.compacted && !head.has_key {
        return Some(RecordReason::NoKey);
    }
    if rules.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP {
        let age = rules.now.ms_since(timestamp);
        let fits =
            age <= rules.timestamp_before_max_ms && age.saturating_neg() <= rules.timestamp_after_max_ms;
        return (!fits).then(|| RecordReason::Timestamp {
            timestamp,
            offset: header.base_offset.0.wrapping_add(i64::from(head.offset_delta)),
            earliest: TimestampMs(rules.now.0.wrapping_sub(rules.timestamp_before_max_ms)),
            latest: TimestampMs(rules.now.0.wrapping_add(rules.timestamp_after_max_ms)),
        });
    }
    (header.timestamp_type() == TimestampType::LogAppendTime).then_some(RecordReason::TimestampType)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use klamm_model::Offset;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::compression::{Codec, Compressor};
    use crate::validate::Origin;
    use crate::varint::put_i64;
    use crate::{BatchBuilder, Compression};

    fn header() -> BatchHeader {
        let mut builder = BatchBuilder::default();
        builder.append(TimestampMs(0), None, None, &[]);
        BatchHeader::parse(&builder.build(Offset(0)).unwrap()).unwrap()
    }

    fn pack(records: &[u8]) -> Vec<u8> {
        let mut packed = Compressor::new(Codec::from(Compression::Lz4), Vec::new()).unwrap();
        packed.write_all(records).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn usual_timestamps_are_those_that_the_rules_let_through() {
        let origin = Origin::Client { produce_version: 13 };
        let header = header();
        for (now, before, after) in [
            (1_000_000, i64::MAX, 3_600_000),
            (1_000_000, 1_000, 10),
            (5, 1_000, 0),
            (i64::MAX, 7, i64::MAX),
            (0, 0, 0),
        ] {
            let mut rules = Rules::defaults(origin, TimestampMs(now));
            rules.timestamp_before_max_ms = before;
            rules.timestamp_after_max_ms = after;
            let usual = UsualTimestamps::of(&rules);
            let edges = [now.saturating_sub(before), now, now.saturating_add(after), 0, -1];
            for timestamp in edges
                .into_iter()
                .flat_map(|edge| [edge.saturating_sub(1), edge, edge.saturating_add(1)])
            {
                let head = RecordHead {
                    index: 0,
                    offset_delta: 0,
                    timestamp_delta: 0,
                    has_key: true,
                };
                let fault = record_fault(&header, &head, TimestampMs(timestamp), &rules);
                let is_usual = usual.contains(TimestampMs(timestamp));
                assert!(!is_usual || fault.is_none(), "{timestamp} at {now}");
                assert!(
                    is_usual || fault.is_some() || timestamp < 0,
                    "{timestamp} at {now}"
                );
            }
            rules.timestamp_type = TimestampType::LogAppendTime;
            assert!(!UsualTimestamps::of(&rules).contains(TimestampMs(now)));
        }
    }

    /// A record with these deltas and lengths, and no headers.
    fn put_record(body: &mut Vec<u8>, deltas: (i64, i64), key: Option<usize>, value: usize) {
        let mut record = vec![0];
        put_i64(&mut record, deltas.0);
        put_i64(&mut record, deltas.1);
        put_i64(&mut record, key.map_or(-1, |length| length as i64));
        record.resize(record.len() + key.unwrap_or(0), b'k');
        put_i64(&mut record, value as i64);
        record.resize(record.len() + value, b'v');
        record.push(0);
        put_i64(body, record.len() as i64);
        body.extend_from_slice(&record);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        /// Most records are usual; some have another offset, a timestamp out of bounds, no key.
        #[test]
        fn what_is_passed_over_is_what_would_pass_one_by_one(
            records in vec((0..30_i64, 0..40_i64, option::weighted(0.9, 0..90_usize), 0..200_usize), 1..20),
            (compacted, log_append_time) in any::<(bool, bool)>(),
            most in prop_oneof![Just(i32::MAX), 20..400_i32],
            packed in any::<bool>(),
        ) {
            let mut body = Vec::new();
            for ((timestamp, offset, key, value), index) in records.iter().zip(0..) {
                // Bounds are 10 ms before and after, so that few are outside.
                let timestamp = if *timestamp == 29 { 40 } else { timestamp % 10 };
                let offset = if *offset == 39 { index + 1 } else { index };
                put_record(&mut body, (timestamp, offset), *key, *value);
            }
            let mut header = header();
            header.record_count = records.len() as i32;
            header.base_timestamp = TimestampMs(995);
            let mut scratch = Scratch::new();
            if packed {
                header.set_compression(Compression::Lz4);
                body = pack(&body);
            }
            let mut rules = Rules::defaults(Origin::Client { produce_version: 13 }, TimestampMs(1_000));
            rules.timestamp_before_max_ms = 10;
            rules.timestamp_after_max_ms = 10;
            rules.limits.record_bytes = most;
            rules.compacted = compacted;
            if log_append_time {
                rules.timestamp_type = TimestampType::LogAppendTime;
            }

            let mut check = Check::new(&header, &rules);
            let stray = walk(&header, &body, rules.limits, &mut scratch, &mut |head| check.record(head));
            let exact = stray.map_err(unreadable).and_then(|stray| check.verdict(stray));
            prop_assert_eq!(check_records(&header, &body, &rules, &mut scratch), exact);
        }
    }
}
