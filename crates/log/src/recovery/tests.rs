use klamm_env::sim::disk::CrashMode;

use crate::flush::FlushScope;
use crate::life::{Life, Step, config};

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
    let steps = history();
    for mode in [
        CrashMode::KeepPageCache,
        CrashMode::DropUnsynced,
        CrashMode::Torn { seed: 1 },
        CrashMode::Torn { seed: 2 },
    ] {
        let mut changes = 0;
        loop {
            let mut life = Life::new(config());
            life.open().unwrap();
            life.disk.crash_after(changes);
            let went_well = steps.iter().try_for_each(|step| life.run(step)).is_ok();
            if went_well {
                assert!(changes > 100, "the history is a long one");
                break;
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
