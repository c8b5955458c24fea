//! Pages on which all is well, for the rules' tests to spoil.

use crate::work::ledger::{Attempt, Found, Input, Instance, Output, Pages, Reading, Told};
use crate::work::worker;

pub(super) fn output(offset: i64, attempt: u32, input: Input) -> Output {
    Output {
        offset,
        attempt,
        input,
    }
}

fn attempt(pages: &mut Pages, inputs: &[Input], told: Told) {
    let (asked, told_at) = (pages.moment(), pages.moment());
    let offsets = inputs.iter().map(|(partition, offset)| (*partition, offset + 1));
    let new = Attempt {
        transactional_id: "t".to_owned(),
        instance: 0,
        inputs: inputs.to_vec(),
        offsets: offsets.collect(),
        commit_asked: (told != Told::Aborted).then_some(asked),
        told,
        told_at: Some(told_at),
    };
    pages.attempts.push(new);
}

/// One partition of outputs: a transaction of two records, one that was aborted, one of a single record; read all twice.
pub(super) fn good() -> Pages {
    let mut pages = Pages::default();
    let (asked, answered) = (pages.moment(), pages.moment());
    pages.instances.push(Instance {
        transactional_id: "t".to_owned(),
        asked,
        answered,
        producer_id: 1,
        epoch: 0,
    });
    attempt(&mut pages, &[(0, 0), (0, 1)], Told::Committed);
    attempt(&mut pages, &[(0, 2)], Told::Aborted);
    attempt(&mut pages, &[(0, 2)], Told::Committed);
    let committed = [output(0, 0, (0, 0)), output(1, 0, (0, 1)), output(5, 2, (0, 2))];
    let mut all = committed.to_vec();
    all.insert(2, output(3, 1, (0, 2)));
    for (committed, outputs) in [(true, committed.to_vec()), (false, all)] {
        let reading = |pages: &mut Pages| Reading {
            partition: 0,
            committed,
            asked: pages.moment(),
            answered: pages.moment(),
            from: 0,
            to: 8,
            high_watermark: 8,
            last_stable_offset: 8,
            outputs: outputs.clone(),
        };
        let first = reading(&mut pages);
        pages.readings.push(first);
        let end = reading(&mut pages);
        pages.end.insert((0, committed), end);
    }
    let (asked, answered) = (pages.moment(), pages.moment());
    pages.found.push(Found {
        group: worker::GROUP,
        partition: 0,
        offset: Some(3),
        stable: true,
        asked,
        answered,
    });
    pages.found_at_the_end.insert((worker::GROUP, 0), Some(3));
    pages
}

/// The rules that pages break.
pub(super) fn broken(pages: &Pages) -> Vec<&'static str> {
    let mut rules: Vec<_> = super::check(pages).iter().map(|found| found.rule).collect();
    rules.dedup();
    rules
}

#[test]
fn pages_on_which_all_is_well_break_no_rule() {
    assert_eq!(super::check(&good()), []);
}
