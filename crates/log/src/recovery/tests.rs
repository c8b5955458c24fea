use std::path::Path;

use klamm_env::sim::disk::{CrashMode, Failure, Fault, Operation};
use klamm_env::{Files, OpenMode};

use crate::flush::{FlushScope, close};
use crate::life::{Life, Step, config};
use crate::testing::{Held, batch, small};

/// A history with everything in it that changes files.
fn history() -> Vec<Step> {
    use Step::*;
    let mut steps = Vec::new();
    for round in 0..1u8 {
        steps.extend([
            Append(2, 500),
            Append(1, 300),
            Commit,
            Append(3, 600),
            Append(1, 10),
            Checkpoint,
        ]);
        steps.extend([
            Append(2, 900),
            Commit,
            Append(1, 700),
            Append(1, 700),
            Append(1, 700),
            Commit,
        ]);
        steps.extend([
            Flush(FlushScope::Sealed),
            Checkpoint,
            Append(4, 100),
            Append(1, 100),
        ]);
        steps.extend([
            Truncate(255 - 40 * round),
            Append(1, 100),
            Append(2, 900),
            Commit,
            Append(1, 900),
        ]);
        steps.extend([
            Flush(FlushScope::All),
            Append(1, 50),
            Checkpoint,
            Truncate(250),
            Append(1, 60),
            Commit,
        ]);
        steps.extend([
            Retain,
            Append(1, 100),
            Checkpoint,
            CloseAndOpen,
            Append(2, 1200),
            Append(1, 900),
        ]);
    }
    steps.extend([Commit, StartOver, Append(1, 1), Commit, Append(1, 1)]);
    steps
}

/// The machine goes down after each single change to the disk.
#[test]
fn a_crash_at_any_moment_loses_nothing_durable() {
    for mode in MODES {
        crash_at_any_moment(&history(), mode, || Life::new(config()));
    }
}

#[test]
fn a_crash_at_any_moment_loses_nothing_that_the_journal_made_durable() {
    for mode in MODES {
        let rounds = crash_at_any_moment(&journaled(), mode, || Life::journaled(config()));
        assert!(rounds > 12, "the journal was used: {rounds}");
    }
}

const MODES: [CrashMode; 4] = [
    CrashMode::KeepPageCache,
    CrashMode::DropUnsynced,
    CrashMode::Torn { seed: 1 },
    CrashMode::Torn { seed: 2 },
];

/// A history in which journal files are made, filled, freed and used again.
fn journaled() -> Vec<Step> {
    use Step::*;
    let mut steps = Vec::new();
    for round in 0..4u8 {
        steps.extend([
            Append(2, 300),
            Commit,
            Append(1, 700),
            Commit,
            Append(1, 60),
            Commit,
        ]);
        steps.extend([Append(1, 50), Commit, Append(3, 900), Commit]);
        match round {
            0 => steps.extend([Truncate(200), Append(1, 80), Commit, Checkpoint]),
            1 => steps.extend([
                Flush(FlushScope::Sealed),
                Checkpoint,
                Retain,
                Append(1, 900),
                Commit,
            ]),
            2 => steps.extend([CommitAlone, StartOver, Append(1, 1), Commit]),
            _ => steps.extend([
                CloseAndOpen,
                Append(1, 10),
                Commit,
                Truncate(250),
                Append(1, 9),
                Commit,
            ]),
        }
    }
    steps
}

/// Rounds that the journal wrote in the life that no crash cut short.
fn crash_at_any_moment(steps: &[Step], mode: CrashMode, life: impl Fn() -> Life) -> u64 {
    let mut changes = 0;
    loop {
        let mut life = life();
        life.open().unwrap();
        life.disk.crash_after(changes);
        let went_well = steps.iter().try_for_each(|step| life.run(step)).is_ok();
        if went_well {
            assert!(changes > 100, "the history is a long one");
            return life.rounds();
        }
        assert!(life.disk.is_down());
        life.disk.crash(mode);
        if let Err(error) = life.open() {
            panic!("{mode:?} after {changes} changes: {error}");
        }
        life.run(&Step::Append(1, 10)).unwrap();
        life.run(&Step::CloseAndOpen).unwrap();
        changes += 1;
    }
}

/// A flush up to the very end of a segment leaves nothing for a later flush to do for its indexes.
#[test]
fn the_indexes_of_a_sealed_segment_are_on_the_device() {
    use Step::*;
    let mut life = Life::new(config());
    life.open().unwrap();
    let before = [Append(1, 130), Append(1, 0), CloseAndOpen, Truncate(0)];
    let after = [
        Append(1, 78),
        Append(2, 348),
        Append(4, 140),
        Append(2, 196),
        Append(4, 168),
    ];
    let sealed = [
        Flush(FlushScope::All),
        Append(3, 561),
        CloseAndOpen,
        Crash(CrashMode::DropUnsynced),
    ];
    for step in before.iter().chain(&after).chain(&sealed) {
        life.run(step).unwrap();
    }
}

/// Each single call fails, and the log goes on as far as it can; where it cannot, the process is started anew.
#[test]
fn a_call_that_fails_at_any_moment_loses_nothing_durable() {
    let steps = history();
    for (operation, failure) in [
        (Operation::Create, Failure::NoSpace),
        (Operation::Write, Failure::NoSpace),
        (Operation::SetLen, Failure::NoSpace),
        (Operation::SyncData, Failure::Io),
        (Operation::Rename, Failure::Io),
        (Operation::Remove, Failure::Io),
        (Operation::SyncDir, Failure::Io),
    ] {
        for mode in [CrashMode::KeepPageCache, CrashMode::DropUnsynced] {
            let mut after = 0;
            let fault = |after| Fault::nth(operation, after).with(failure);
            while fails_once(Life::new(config()), &steps, fault(after), mode) {
                after += 1;
            }
            assert!(after > 0, "{operation:?} never failed");
            after = 0;
            // With a journal there is much more that can fail.
            while fails_once(Life::journaled(config()), &journaled(), fault(after), mode) {
                after += 3;
            }
        }
    }
}

/// Whether the fault was met.
fn fails_once(mut life: Life, steps: &[Step], fault: Fault, mode: CrashMode) -> bool {
    let context = format!("{fault:?} {mode:?}");
    life.open().unwrap();
    life.disk.inject(fault);
    let mut failures = 0;
    let start_anew = |life: &mut Life| {
        life.disk.crash(mode);
        let first = life.open();
        // A start that fails may be tried again.
        let result = if first.is_err() { life.open() } else { Ok(()) };
        result.unwrap_or_else(|error| panic!("{context}: {error}"));
        u32::from(first.is_err())
    };
    for step in steps {
        failures += u32::from(life.run(step).is_err());
        let again = match &life.held {
            Some(held) => held.dir.failure().is_some(),
            None => true,
        };
        if again {
            failures += start_anew(&mut life);
        }
    }
    failures += start_anew(&mut life);
    failures > 0
}

/// Somebody emptied a segment, or removed all, while the log was closed in order.
#[test]
fn records_that_are_gone_are_missed_after_an_end_in_order_too() {
    for emptied in [true, false] {
        for clean in [true, false] {
            let (disk, held) = Held::new(small());
            held.append(&batch(1, &["a", "b"])).unwrap();
            held.commit().unwrap();
            close(&held.log).unwrap();
            held.checkpoint().unwrap();
            if clean {
                held.dir.mark_clean(7).unwrap();
            }
            drop(held);
            for ending in ["log", "index", "timeindex"] {
                let path = format!("/data/orders-3/00000000000000000000.{ending}");
                match emptied {
                    true => disk
                        .open(Path::new(&path), OpenMode::Write)
                        .unwrap()
                        .set_len(0)
                        .unwrap(),
                    false => disk.remove_file(Path::new(&path)).unwrap(),
                }
            }
            let error = Held::open(&disk, small()).err().unwrap().to_string();
            assert!(
                error.contains("offsets 0 to 2 were on the device"),
                "{clean}: {error}"
            );
        }
    }
}
