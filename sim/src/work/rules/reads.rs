//! Whoever reads a piece of a partition sees what is there at the end, no more and no less: of all that is below the watermark, or of
//! what is committed. So nothing aborted is ever read, nothing committed is passed over, nothing that was read vanishes. The last
//! stable offset is not above the watermark, both never go back, and nothing is read above them.

use super::Report;
use crate::history::Moment;
use crate::work::ledger::{Output, Pages, Reading};

pub(super) fn check(pages: &Pages, report: &mut Report<'_>) {
    for reading in &pages.readings {
        let (partition, kind) = (reading.partition, reading.committed);
        let Some(end) = pages.end.get(&(partition, kind)) else {
            report.add(format_args!("partition {partition} was not read at the end"));
            continue;
        };
        let place = |offset: i64| end.outputs.partition_point(|output| output.offset < offset);
        let expected: &[Output] = &end.outputs[place(reading.from)..place(reading.to)];
        if expected != reading.outputs {
            let (from, to) = (reading.from, reading.to);
            let what = if kind { "what is committed" } else { "all" };
            let seen = &reading.outputs;
            report.add(format_args!(
                "partition {partition}, {from} to {to}, {what}: {seen:?}, at the end {expected:?}"
            ));
        }
    }
}

pub(super) fn check_ends(pages: &Pages, report: &mut Report<'_>) {
    for reading in pages.readings.iter().chain(pages.end.values()) {
        let (partition, watermark, stable) = (
            reading.partition,
            reading.high_watermark,
            reading.last_stable_offset,
        );
        if stable > watermark {
            report.add(format_args!(
                "partition {partition}: stable up to {stable}, watermark {watermark}"
            ));
        }
        let limit = if reading.committed { stable } else { watermark };
        let last = reading.outputs.last().map_or(0, |output| output.offset + 1);
        if last > limit {
            report.add(format_args!(
                "partition {partition}: read up to {last}, with a limit of {limit}"
            ));
        }
    }
    let mut partitions: Vec<i32> = pages.end.values().map(|end| end.partition).collect();
    partitions.dedup();
    for partition in partitions {
        for (what, end) in [
            (
                "watermark",
                (|reading| reading.high_watermark) as fn(&Reading) -> i64,
            ),
            ("last stable offset", |reading| reading.last_stable_offset),
        ] {
            never_back(pages, partition, (what, end), report);
        }
    }
}

fn never_back(
    pages: &Pages,
    partition: i32,
    (what, end): (&str, fn(&Reading) -> i64),
    report: &mut Report<'_>,
) {
    let readings = pages.readings.iter().chain(pages.end.values());
    let mut of_it: Vec<&Reading> = readings
        .filter(|reading| reading.partition == partition)
        .collect();
    let mut promises: Vec<(Moment, i64)> = of_it
        .iter()
        .map(|reading| (reading.answered, end(reading)))
        .collect();
    promises.sort_unstable();
    of_it.sort_unstable_by_key(|reading| reading.asked);
    let (mut promises, mut promised) = (promises.into_iter().peekable(), 0);
    for reading in of_it {
        while let Some((_, offset)) = promises.next_if(|(moment, _)| *moment < reading.asked) {
            promised = promised.max(offset);
        }
        if end(reading) < promised {
            let (asked, now) = (reading.asked, end(reading));
            report.add(format_args!(
                "partition {partition}: its {what} is {now} at moment {asked}, and was {promised} before"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::work::rules::testing::{broken, good, output};

    #[test]
    fn an_aborted_read_is_found() {
        let mut pages = good();
        let aborted = output(2, 1, (0, 1));
        pages.readings[0].outputs.insert(1, aborted);
        assert_eq!(broken(&pages), ["reads"]);
    }

    #[test]
    fn a_record_that_is_passed_over_or_vanishes_is_found() {
        for reading in 0..2 {
            let mut pages = good();
            pages.readings[reading].outputs.pop();
            assert_eq!(broken(&pages), ["reads"]);
        }
    }

    #[test]
    fn ends_that_go_back_or_pass_each_other_are_found() {
        let mut pages = good();
        pages.readings[0].last_stable_offset = 9;
        pages.readings[0].high_watermark = 8;
        // At the end both are 8.
        assert_eq!(broken(&pages), ["stable"]);
        let mut pages = good();
        pages.readings[0].high_watermark = 9;
        assert_eq!(broken(&pages), ["stable"]);
        let mut pages = good();
        pages.readings[0].last_stable_offset = 5;
        assert_eq!(broken(&pages), ["stable"]);
    }
}
