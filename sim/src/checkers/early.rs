//! Nothing at or above the high watermark is ever read: the answer that carries a record says that it is below.

use super::Report;
use crate::history::History;

pub(super) fn check(history: &History, report: &mut Report<'_>) {
    for look in &history.looks {
        let (partition, watermark) = (look.partition, look.high_watermark);
        for seen in look.records.iter().filter(|seen| seen.offset >= watermark) {
            let offset = seen.offset;
            report.add(format_args!(
                "partition {partition}: {offset} was read under watermark {watermark}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checkers::testing::{broken, good};

    #[test]
    fn a_record_that_was_read_too_early_is_found() {
        let mut history = good();
        history.acks.clear();
        history.looks[0].high_watermark = 4;
        assert_eq!(broken(&history), ["early"]);
    }
}
