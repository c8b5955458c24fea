//! No client met an answer that it need not expect. A client whose epochs rise with each transaction never has to wait for the
//! transaction before and ask again: it is answered when that is over.

use klamm_model::ErrorCode;

use super::Report;
use crate::work::ledger::Pages;

pub(super) fn check(pages: &Pages, report: &mut Report<'_>) {
    for fault in &pages.faults {
        report.add(format_args!("{fault}"));
    }
    for ((api, code), times) in &pages.refusals {
        if api.ends_with("v2") && *code == ErrorCode::ConcurrentTransactions {
            report.add(format_args!("{api} was answered with {code:?}, {times} times"));
        }
    }
}

#[cfg(test)]
mod tests {
    use klamm_model::ErrorCode;

    use crate::work::rules::testing::{broken, good};

    #[test]
    fn a_fault_and_a_client_that_is_told_to_come_again_are_found() {
        let mut pages = good();
        pages.faults.push("an answer that must not be".to_owned());
        assert_eq!(broken(&pages), ["told"]);
        let mut pages = good();
        pages
            .refusals
            .insert(("EndTxn", ErrorCode::ConcurrentTransactions), 1);
        assert!(broken(&pages).is_empty());
        pages
            .refusals
            .insert(("EndTxn v2", ErrorCode::ConcurrentTransactions), 1);
        assert_eq!(broken(&pages), ["told"]);
    }
}
