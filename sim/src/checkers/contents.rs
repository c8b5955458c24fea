//! What is read is what was sent, to the last byte; and no client met an answer that it need not expect.

use super::Report;
use crate::history::History;

pub(super) fn check(history: &History, report: &mut Report<'_>) {
    for fault in &history.faults {
        report.add(format_args!("{fault}"));
    }
    for look in history.looks.iter().chain(history.end.values()) {
        for seen in look.records.iter().filter(|seen| seen.id.is_none()) {
            let (partition, offset) = (look.partition, seen.offset);
            report.add(format_args!(
                "partition {partition}: nobody sent what stands at offset {offset}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checkers::testing::{broken, good};

    #[test]
    fn other_bytes_and_other_answers_are_found() {
        let mut history = good();
        history.faults.push("an answer that must not be".to_owned());
        assert_eq!(broken(&history), ["contents"]);
        let mut history = good();
        history.looks[0].records[2].id = None;
        assert_eq!(broken(&history), ["contents", "sightings"]);
    }
}
