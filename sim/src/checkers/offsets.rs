//! The offsets of a partition count from its start to its high watermark without a hole.

use super::Report;
use crate::history::History;

pub(super) fn check(history: &History, report: &mut Report<'_>) {
    for partition in 0..history.partitions {
        let Some(look) = history.end.get(&partition) else {
            report.add(format_args!("partition {partition} was not read"));
            continue;
        };
        if look.log_start_offset != 0 {
            report.add(format_args!(
                "partition {partition} starts at {}",
                look.log_start_offset
            ));
        }
        let mut next = 0;
        for seen in &look.records {
            if seen.offset != next {
                report.add(format_args!(
                    "partition {partition}: {} after {next}",
                    seen.offset
                ));
            }
            next = seen.offset + 1;
        }
        if next != look.high_watermark {
            let watermark = look.high_watermark;
            report.add(format_args!(
                "partition {partition} ends at {next}, its watermark is {watermark}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checkers::testing::{broken, good};

    #[test]
    fn a_hole_a_moved_start_and_a_wrong_end_are_found() {
        let spoil: [fn(&mut crate::history::Look); 3] = [
            |end| end.records[4].offset = 5,
            |end| end.log_start_offset = 1,
            |end| end.high_watermark = 6,
        ];
        for spoil in spoil {
            let mut history = good();
            spoil(history.end.get_mut(&0).unwrap());
            assert!(broken(&history).contains(&"offsets"));
        }
    }

    #[test]
    fn a_partition_that_was_not_read_is_found() {
        let mut history = good();
        history.partitions = 2;
        assert_eq!(broken(&history), ["offsets"]);
    }
}
