//! When all work is over no transaction is open, and somebody has read everything.

use super::view::View;
use crate::checkers::Report;

pub(super) fn check(view: &View<'_>, report: &mut Report<'_>) {
    for (place, end) in &view.history.ends {
        if end.stable != end.end {
            report.add(format_args!(
                "{place} is stable up to {} only, and ends at {}",
                end.stable, end.end
            ));
        }
    }
    if !view.history.ends.is_empty() && !view.is_complete() {
        report.add(format_args!("nobody has read everything"));
    }
}

#[cfg(test)]
mod tests {
    use crate::exactly_once::testing::{broken, good, place};

    #[test]
    fn a_transaction_that_stays_open_is_found() {
        let mut history = good();
        history.ends.get_mut(&place("a")).unwrap().end = 8;
        assert_eq!(broken(&history), ["ends"]);
    }

    #[test]
    fn an_end_that_nobody_has_read_is_found() {
        let mut history = good();
        history.readers.pop();
        assert_eq!(broken(&history), ["ends"]);
    }
}
