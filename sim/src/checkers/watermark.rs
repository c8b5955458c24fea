//! The high watermark never goes back, whoever looks: an answer shows at least what any earlier answer promised, be it a
//! watermark, a record or an acknowledgement.

use super::Report;
use crate::history::{History, Look, Moment};

pub(super) fn check(history: &History, report: &mut Report<'_>) {
    for partition in 0..history.partitions {
        let of_it = |look: &&Look| look.partition == partition;
        let mut looks: Vec<&Look> = history
            .looks
            .iter()
            .chain(history.end.values())
            .filter(of_it)
            .collect();
        let mut promises: Vec<(Moment, i64)> = Vec::new();
        for look in &looks {
            promises.push((look.answered, look.high_watermark));
            promises.extend(look.records.last().map(|last| (look.answered, last.offset + 1)));
        }
        let acks = history.acks.iter().filter(|ack| ack.first.partition == partition);
        promises.extend(acks.map(|ack| (ack.answered, ack.base_offset + i64::from(ack.count))));
        promises.sort_unstable();
        looks.sort_unstable_by_key(|look| look.asked);
        let (mut promises, mut promised) = (promises.into_iter().peekable(), 0);
        for look in looks {
            while let Some((_, offset)) = promises.next_if(|(moment, _)| *moment < look.asked) {
                promised = promised.max(offset);
            }
            if look.high_watermark < promised {
                let (asked, watermark) = (look.asked, look.high_watermark);
                report.add(format_args!(
                    "partition {partition}: it is {watermark} at moment {asked}, and was {promised} before"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checkers::testing::{broken, good};

    #[test]
    fn a_watermark_that_goes_back_is_found() {
        let mut history = good();
        history.acks.clear();
        history.looks[0].records.clear();
        history.looks[0].high_watermark = 6;
        assert_eq!(broken(&history), ["watermark"]);
    }

    #[test]
    fn a_watermark_below_an_acknowledgement_is_found_once_it_was_answered() {
        let mut history = good();
        history.looks[0].high_watermark = 4;
        history.looks[0].records.truncate(4);
        assert_eq!(broken(&history), ["watermark"]);
        // Asked before the last acknowledgement, the same answer is in order.
        history.looks[0].asked = history.acks[2].answered;
        assert!(broken(&history).is_empty());
    }
}
