//! A late EndTxn of epoch n changes nothing in epoch n + 1, whatever three requests came between, before and after it.
//!
//! All of them are tried: each request at each of three places, and between any two the markers are written, the coordinator is lost
//! and loaded again, or nothing happens. Wherever that leads, the late request is sent to a copy. That nothing changes there
//! is enough for all that may follow: what a shard decides depends on nothing else.

use crate::transaction::testing::Driver;

/// What may happen between two requests.
const BETWEEN: [&str; 3] = ["", "written", "load"];

struct Explorer {
    /// What the producer and its rivals ask for.
    requests: &'static [&'static str],
    /// What comes late, and what it is answered where it is answered well.
    late: &'static [(&'static str, Option<&'static str>)],
    tried: usize,
    answered_well: usize,
}

impl Explorer {
    /// Goes on from `driver` by so many requests, in every way.
    fn explore(&mut self, driver: &Driver, requests: usize, path: &mut Vec<&'static str>) {
        for between in BETWEEN {
            let mut driver = driver.clone();
            if !between.is_empty() {
                driver.run(between);
            }
            path.push(between);
            self.send_late(&driver, path);
            for request in self.requests.iter().filter(|_| requests > 0) {
                let mut next = driver.clone();
                next.run(request);
                path.push(request);
                self.explore(&next, requests - 1, path);
                path.pop();
            }
            path.pop();
        }
    }

    fn send_late(&mut self, driver: &Driver, path: &[&str]) {
        for (late, well) in self.late {
            let mut after = driver.clone();
            let said = after.run(late);
            assert!(
                after.shard == driver.shard,
                "{late} after {path:?} changes what is known"
            );
            assert_eq!(
                after.log.len(),
                driver.log.len(),
                "{late} after {path:?} is recorded"
            );
            assert_eq!(
                after.markers, driver.markers,
                "{late} after {path:?} has markers written"
            );
            assert_eq!(after.timers, driver.timers, "{late} after {path:?} sets timers");
            let is_refused =
                ["InvalidTxnState", "ProducerFenced", "InvalidProducerIdMapping"].contains(&&*said);
            let is_same = *well == Some(&said);
            assert!(
                is_refused || is_same,
                "{late} after {path:?} is answered with {said:?}"
            );
            self.tried += 1;
            self.answered_well += usize::from(is_same);
        }
    }
}

fn begin(steps: &[&str]) -> Driver {
    let mut driver = Driver::new(2);
    for step in steps {
        driver.run(step);
    }
    driver
}

#[test]
fn in_version_2_a_late_end_changes_nothing() {
    const REQUESTS: &[&str] = &[
        "add 1000@1 a-0",
        "add 1000@1 b-0",
        "commit 1000@1",
        "abort 1000@1",
        "add 1000@2 a-0",
        "commit 1000@2",
        "init",
        "init as 1000@1",
    ];
    const SAME: Option<&str> = Some("ended 1000@1");
    // A retry of what was decided is told so again; the opposite never is.
    for (first, late) in [
        (
            "commit 1000@0",
            &[("commit 1000@0", SAME), ("abort 1000@0", None)],
        ),
        ("abort 1000@0", &[("commit 1000@0", None), ("abort 1000@0", SAME)]),
    ] {
        let driver = begin(&["init", "add 1000@0 a-0", first]);
        let mut explorer = Explorer {
            requests: REQUESTS,
            late,
            tried: 0,
            answered_well: 0,
        };
        explorer.explore(&driver, 3, &mut Vec::new());
        // 3 times 1 + 24 + 24² + 24³ places, and two requests at each.
        assert_eq!(explorer.tried, 2 * 3 * (1 + 24 + 576 + 13_824));
        assert!(explorer.answered_well > 0);
    }
}

#[test]
fn in_version_1_a_late_end_changes_nothing_once_somebody_has_taken_over() {
    const REQUESTS: &[&str] = &[
        "add1 1000@1 a-0",
        "commit1 1000@1",
        "abort1 1000@1",
        "add1 1000@2 a-0",
        "commit1 1000@2",
        "init",
        "init as 1000@1",
    ];
    // The epoch of the producer before: nothing that it says is answered well any more.
    let late = &[("commit1 1000@0", None), ("abort1 1000@0", None)];
    for first in ["commit1 1000@0", "abort1 1000@0"] {
        let driver = begin(&["init", "add1 1000@0 a-0", first, "written", "init"]);
        let mut explorer = Explorer {
            requests: REQUESTS,
            late,
            tried: 0,
            answered_well: 0,
        };
        explorer.explore(&driver, 3, &mut Vec::new());
        assert_eq!(explorer.tried, 2 * 3 * (1 + 21 + 441 + 9_261));
    }
}
