//! No producer id is given out twice.

use std::collections::BTreeSet;

use super::Report;
use crate::history::History;

pub(super) fn check(history: &History, report: &mut Report<'_>) {
    let mut given = BTreeSet::new();
    for id in &history.producer_ids {
        if !given.insert(id) {
            report.add(format_args!("{id} was given out twice"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checkers::testing::{broken, good};

    #[test]
    fn an_id_twice_is_found() {
        let mut history = good();
        history.producer_ids = vec![1, 2, 3];
        assert!(broken(&history).is_empty());
        history.producer_ids.push(2);
        assert_eq!(broken(&history), ["producer ids"]);
    }
}
