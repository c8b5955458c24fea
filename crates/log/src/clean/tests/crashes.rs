//! Compaction in lives that end at any moment, beside a model.
//!
//! Always holds: the model knows every record that was appended, and up to where they must be there; a log is right if each
//! of its records is one of those, at its offset, and if for each key the last one is there, or, where that is a tombstone whose
//! time is over, none of the key.

use std::collections::BTreeMap;

use klamm_env::Files;
use klamm_env::sim::disk::{CrashMode, Disk};
use klamm_model::TimestampMs;
use klamm_records::Compression;
use proptest::prelude::*;

use super::given::*;
use crate::clean::{Progress, Round, dirtiness};
use crate::error::LogError;
use crate::flush::close;
use crate::retention::reap;
use crate::testing::{Held, NOW, partition};

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[derive(Clone, Debug)]
enum Step {
    /// A batch of a record each of these keys, some of them tombstones.
    Append(Vec<(u8, bool)>),
    Commit,
    Checkpoint,
    /// A round, given up after so many steps.
    Compact(u16),
    /// So many milliseconds.
    Wait(u16),
    CloseAndOpen,
    Crash(CrashMode),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let crash = prop_oneof![
        Just(CrashMode::KeepPageCache),
        Just(CrashMode::DropUnsynced),
        any::<u64>().prop_map(|seed| CrashMode::Torn { seed }),
    ];
    let records = prop::collection::vec((0..KEYS.len() as u8, prop::bool::weighted(0.2)), 1..4);
    let step = prop_oneof![
        12 => records.prop_map(Step::Append),
        4 => Just(Step::Commit),
        1 => Just(Step::Checkpoint),
        3 => prop_oneof![Just(u16::MAX), 0..60_u16].prop_map(Step::Compact),
        2 => (0..60_000_u16).prop_map(Step::Wait),
        1 => Just(Step::CloseAndOpen),
        1 => crash.prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 0..80)
}

struct Life {
    disk: Disk,
    held: Option<Held>,
    records: Vec<(&'static str, Option<String>)>,
    durable: usize,
    now: TimestampMs,
}

impl Life {
    fn begin() -> Self {
        let mut life = Self {
            disk: Disk::default(),
            held: None,
            records: Vec::new(),
            durable: 0,
            now: NOW,
        };
        life.open().unwrap();
        life
    }

    fn held(&self) -> &Held {
        self.held.as_ref().expect("open")
    }

    fn open(&mut self) -> Result<(), LogError> {
        self.held = None;
        let held = Held::open(&self.disk, compacted())?;
        let end = held.log.lock().log_end_offset();
        let count = usize::try_from(end.0).unwrap();
        assert!(
            count >= self.durable,
            "offsets {count} to {} are lost",
            self.durable
        );
        self.records.truncate(count);
        self.durable = count;
        held.log.lock().update_high_watermark(end);
        assert_eq!(unfinished(&held), Vec::<String>::new());
        self.held = Some(held);
        self.check()
    }

    fn check(&self) -> Result<(), LogError> {
        let found: BTreeMap<i64, (String, Option<String>)> = try_content(self.held())?
            .into_iter()
            .map(|(at, key, value)| (at, (key, value)))
            .collect();
        let mut last = BTreeMap::new();
        for (at, (key, value)) in self.records.iter().enumerate() {
            last.insert(*key, (at as i64, value.is_none()));
            if let Some((found_key, found_value)) = found.get(&(at as i64)) {
                assert_eq!((found_key.as_str(), found_value), (*key, value), "at {at}");
            }
        }
        assert!(found.keys().all(|at| *at < self.records.len() as i64));
        for (key, (at, is_tombstone)) in last {
            let is_older =
                |(found_at, found): (&i64, &(String, Option<String>))| *found_at < at && found.0 == key;
            let gone = is_tombstone && !found.iter().any(is_older);
            assert!(
                found.contains_key(&at) || gone,
                "{key}: the last record, at {at}, is lost"
            );
        }
        Ok(())
    }

    fn run(&mut self, step: &Step) -> Result<(), LogError> {
        match step {
            Step::Append(records) => self.append(records),
            Step::Commit => {
                self.held().commit()?;
                self.durable = self.records.len();
                Ok(())
            }
            Step::Checkpoint => self.held().checkpoint(),
            Step::Compact(steps) => self.compact(*steps),
            Step::Wait(ms) => {
                self.now = self.now.plus_ms(i64::from(*ms));
                Ok(())
            }
            Step::CloseAndOpen => {
                close(&self.held().log)?;
                self.durable = self.records.len();
                self.held().checkpoint()?;
                self.held().dir.mark_clean(-1)?;
                self.open()
            }
            Step::Crash(mode) => {
                self.disk.crash(*mode);
                self.open()
            }
        }
    }

    fn append(&mut self, records: &[(u8, bool)]) -> Result<(), LogError> {
        let first = self.records.len();
        for (n, (key, is_tombstone)) in records.iter().enumerate() {
            let value = (!is_tombstone).then(|| format!("{:150}", first + n));
            self.records.push((KEYS[usize::from(*key)], value));
        }
        let batch: Vec<_> = self.records[first..]
            .iter()
            .map(|(key, value)| (*key, value.as_deref()))
            .collect();
        match self.held().append(&keyed(Compression::None, self.now.0, &batch)) {
            Ok(appended) => {
                assert_eq!(appended.base_offset.0, first as i64);
                Ok(())
            }
            Err(crate::AppendError::Storage(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }

    fn compact(&mut self, steps: u16) -> Result<(), LogError> {
        let held = self.held();
        let dirty = dirtiness(&held.log, &POLICY, self.now)?;
        let Some(mut round) = Round::begin(&held.log, &dirty, SETTINGS, (1, 2), self.now)? else {
            return Ok(());
        };
        let mut is_over = false;
        for _ in 0..steps {
            if !matches!(round.step(&held.log, 1)?, Progress::More(_)) {
                is_over = true;
                break;
            }
        }
        if let Some(retired) = round.take_retired(&held.log, self.now) {
            reap(&held.dir, retired)?;
        }
        if !is_over {
            round.give_up()?;
        }
        drop(round);
        assert_eq!(unfinished(held), Vec::<String>::new());
        self.check()
    }
}

/// Updates and tombstones in several segments, two rounds, and what comes between and behind them.
fn history() -> Vec<Step> {
    let mut steps = Vec::new();
    for n in 0..14_u8 {
        steps.push(Step::Append(vec![(n % 6, n == 3), (n % 4, n == 9)]));
    }
    steps.extend([
        Step::Commit,
        Step::Compact(u16::MAX),
        Step::Append(vec![(1, false)]),
        Step::Commit,
    ]);
    for n in 0..8_u8 {
        steps.push(Step::Append(vec![(n % 3, n == 2), (4, n == 4)]));
    }
    steps.extend([Step::Commit, Step::Wait(60_000), Step::Compact(u16::MAX)]);
    steps.extend([Step::Append(vec![(5, false)]), Step::Commit]);
    steps
}

/// The machine goes down after each single change to the disk.
#[test]
fn a_crash_at_any_moment_leaves_the_old_segments_or_the_new_one() {
    let seeds = (0..2).map(|seed| CrashMode::Torn { seed });
    for mode in [CrashMode::KeepPageCache, CrashMode::DropUnsynced]
        .into_iter()
        .chain(seeds)
    {
        let mut changes = 0;
        loop {
            let mut life = Life::begin();
            life.disk.crash_after(changes);
            if history().iter().try_for_each(|step| life.run(step)).is_ok() {
                assert!(changes > 100, "the history is a long one: {changes}");
                break;
            }
            assert!(life.disk.is_down());
            life.disk.crash(mode);
            if let Err(error) = life.open() {
                panic!("{mode:?} after {changes} changes: {error}");
            }
            for step in [
                Step::Append(vec![(0, false)]),
                Step::Commit,
                Step::Compact(u16::MAX),
            ] {
                life.run(&step).unwrap();
            }
            changes += 1;
        }
    }
}

/// It goes down again while it goes on from that.
#[test]
fn a_crash_while_a_swap_is_completed_is_gone_on_from() {
    for (seed, step) in (0..16_u64).flat_map(|seed| [(seed, 3), (seed, 7)]) {
        let mut changes = 0;
        loop {
            let mut life = Life::begin();
            life.disk.crash_after(80 + seed * 3);
            if history().iter().try_for_each(|step| life.run(step)).is_ok() {
                break;
            }
            life.disk.crash(CrashMode::Torn { seed });
            life.disk.crash_after(changes);
            let opened = life.open().is_ok();
            let was_down = life.disk.is_down();
            if !was_down {
                assert!(opened);
                break;
            }
            life.disk.crash(CrashMode::Torn { seed: seed + 1000 });
            life.open().unwrap();
            changes += step;
        }
    }
}

#[test]
fn kafka_s_endings_mean_what_they_mean_there() {
    // The names that are there, and those that are left when the log is opened.
    let cases: [(&str, &[&str], &[&str]); 6] = [
        (
            "nothing was swapped",
            &["00.log", "00.index.cleaned", "00.log.cleaned"],
            &["00.log"],
        ),
        (
            "a swap that did not get all names",
            &["00.log", "00.log.swap", "00.index.cleaned"],
            &["00.log"],
        ),
        (
            "of a split, above one that is not whole",
            &["00.log", "05.log.swap", "00.log.cleaned"],
            &["00.log"],
        ),
        (
            "a swap counts",
            &[
                "00.log",
                "00.index",
                "00.txnindex",
                "00.log.swap",
                "00.index.swap",
            ],
            &["00.log", "00.index"],
        ),
        (
            "an index that lacks its name",
            &["00.log", "00.timeindex.swap"],
            &["00.log", "00.timeindex"],
        ),
        (
            "removed",
            &["00.log.deleted", "00.index.deleted", "00.log.swap"],
            &["00.log"],
        ),
    ];
    for (what, there, left) in cases {
        let disk = Disk::default();
        let dir = crate::testing::open_dir(&disk).unwrap();
        let folder = dir.folder(&partition());
        disk.create_dir_all(&folder).unwrap();
        let name = |short: &str| format!("000000000000000000{short}");
        for short in there {
            disk.write_atomically(&folder.join(name(short)), b"").unwrap();
        }
        crate::clean::finish_swaps(&dir, &folder).unwrap();
        let names: Vec<_> = disk
            .read_dir(&folder)
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        let names: Vec<_> = names
            .into_iter()
            .filter(|name| !name.ends_with(".deleted"))
            .collect();
        let mut expected: Vec<_> = left.iter().map(|short| name(short)).collect();
        expected.sort();
        assert_eq!(names, expected, "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_last_record_of_each_key(steps in steps()) {
        let mut life = Life::begin();
        for step in &steps {
            life.run(step).unwrap();
        }
        life.disk.crash(CrashMode::DropUnsynced);
        life.open().unwrap();
    }
}
