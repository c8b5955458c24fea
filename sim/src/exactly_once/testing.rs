//! A history in which all is well, for the tests of the rules to spoil.

use super::history::{End, GroupOffsets, History, Outcome, Place, Reader, Sighting, Step, Taken, Write};

pub(super) fn place(topic: &str) -> Place {
    Place {
        topic: topic.to_owned(),
        partition: 0,
    }
}

pub(super) fn saw(topic: &str, offset: i64, transaction: &str, record: &str, at: u64) -> Step {
    Step::Saw(Sighting {
        place: place(topic),
        offset,
        transaction: transaction.to_owned(),
        record: record.to_owned(),
        at,
    })
}

fn begin(history: &mut History, name: &str, writes: &[(&str, &str)], taken: (i32, i64, i64)) {
    let writes = writes.iter().map(|(topic, record)| Write {
        place: place(topic),
        record: (*record).to_owned(),
        offset: None,
    });
    let (partition, from, to) = taken;
    history.began(name, writes.collect(), vec![Taken { partition, from, to }]);
}

/// Two inputs in partition 0, one more after it that is aborted at first and then committed without an answer, and one in
/// partition 1, whose first worker died. Markers stand at 2, 4 and 6 of place a, and at 1, 3 and 5 of place b. One reads
/// meanwhile, another when all is over.
pub(super) fn good() -> History {
    let mut history = History {
        inputs: [(0, 3), (1, 1)].into(),
        ..History::default()
    };
    begin(
        &mut history,
        "first",
        &[("a", "0:0 a"), ("a", "0:1 a"), ("b", "0:0 b")],
        (0, 0, 2),
    );
    history.wrote("first", &[0, 1, 0]);
    history.ended("first", Outcome::Committed(20));
    begin(&mut history, "aborted", &[("a", "0:2 a")], (0, 2, 3));
    history.wrote("aborted", &[3]);
    history.ended("aborted", Outcome::Aborted);
    begin(&mut history, "dead", &[("b", "1:0 b")], (1, 0, 1));
    begin(
        &mut history,
        "unanswered",
        &[("a", "0:2 a"), ("b", "0:2 b")],
        (0, 2, 3),
    );
    history.wrote("unanswered", &[5, 2]);
    history.ended("unanswered", Outcome::Asked);
    begin(&mut history, "second", &[("b", "1:0 b")], (1, 0, 1));
    history.wrote("second", &[4]);
    history.ended("second", Outcome::Committed(60));
    history.readers = vec![reader("follower", [25, 50, 65]), reader("last", [80, 80, 80])];
    let passed = |topic, next| Step::Passed {
        place: place(topic),
        next,
    };
    history.readers[1].steps.extend([passed("a", 7), passed("b", 6)]);
    for (asked, offsets) in [(27, [(0, 2), (1, 0)]), (70, [(0, 3), (1, 1)])] {
        history.offsets.push(GroupOffsets {
            asked,
            answered: asked + 1,
            offsets: offsets.into(),
        });
    }
    let end = |end| End { stable: end, end };
    history.ends = [(place("a"), end(7)), (place("b"), end(6))].into();
    history
}

fn reader(name: &str, moments: [u64; 3]) -> Reader {
    let [first, then, last] = moments;
    Reader {
        name: name.to_owned(),
        steps: vec![
            saw("a", 0, "first", "0:0 a", first),
            saw("a", 1, "first", "0:1 a", first),
            saw("b", 0, "first", "0:0 b", first),
            saw("a", 5, "unanswered", "0:2 a", then),
            saw("b", 2, "unanswered", "0:2 b", then),
            saw("b", 4, "second", "1:0 b", last),
        ],
    }
}

/// Nobody saw anything of a transaction.
pub(super) fn forget(history: &mut History, name: &str) {
    forget_if(history, |seen| seen.transaction == name);
}

/// Nobody saw anything of a transaction in one topic.
pub(super) fn forget_in(history: &mut History, name: &str, topic: &str) {
    forget_if(history, |seen| {
        seen.transaction == name && seen.place.topic == topic
    });
}

fn forget_if(history: &mut History, is_forgotten: impl Fn(&Sighting) -> bool) {
    for reader in &mut history.readers {
        reader
            .steps
            .retain(|step| !matches!(step, Step::Saw(seen) if is_forgotten(seen)));
    }
}

/// The rules that a history breaks.
pub(super) fn broken(history: &History) -> Vec<&'static str> {
    let mut rules: Vec<_> = super::check(history).iter().map(|found| found.rule).collect();
    rules.dedup();
    rules
}

#[test]
fn a_history_in_which_all_is_well_breaks_no_rule() {
    assert_eq!(super::check(&good()), []);
    assert_eq!(super::check(&History::default()), []);
}

#[test]
fn while_work_goes_on_nothing_is_missing_yet() {
    let mut history = good();
    history.ends.clear();
    history.readers.pop();
    history.inputs.clear();
    assert_eq!(super::check(&history), []);
}
