//! Once somebody has taken over a transactional id, nothing that those before them ask for takes effect; and no two were given the
//! same id and epoch.

use std::collections::BTreeSet;

use super::{Report, atomic};
use crate::work::ledger::{Pages, Told};

pub(super) fn check(pages: &Pages, report: &mut Report<'_>) {
    let mut given = BTreeSet::new();
    for instance in &pages.instances {
        if !given.insert((instance.producer_id, instance.epoch)) {
            report.add(format_args!("{instance:?} was given to somebody before"));
        }
    }
    let visible = atomic::visible(pages);
    for (id, attempt) in (0..).zip(&pages.attempts) {
        let Some(asked) = attempt.commit_asked else {
            continue;
        };
        let own = &pages.instances[attempt.instance];
        let later = pages.instances.iter().find(|other| {
            // In the order in which the epochs were given.
            let is_later = (other.producer_id, other.epoch) > (own.producer_id, own.epoch);
            other.transactional_id == own.transactional_id && other.answered < asked && is_later
        });
        let takes_effect = visible.contains_key(&id) || attempt.told == Told::Committed;
        if let Some(later) = later.filter(|_| takes_effect) {
            report.add(format_args!(
                "transaction {id} of {own:?} was committed at {asked}, after {later:?}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::work::rules::testing::{broken, good};

    #[test]
    fn a_commit_of_somebody_who_was_shut_out_is_found() {
        let mut pages = good();
        let mut later = pages.instances[0].clone();
        later.epoch += 50;
        pages.instances.push(later.clone());
        assert_eq!(broken(&pages), ["fencing"]);
        // Of another id, it is nobody's business.
        later.transactional_id = "another".to_owned();
        *pages.instances.last_mut().unwrap() = later;
        assert!(broken(&pages).is_empty());
    }

    #[test]
    fn an_epoch_that_is_given_twice_is_found() {
        let mut pages = good();
        let mut again = pages.instances[0].clone();
        again.answered = pages.moment();
        pages.instances.push(again);
        assert_eq!(broken(&pages), ["fencing"]);
    }
}
