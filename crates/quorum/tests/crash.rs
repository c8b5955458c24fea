//! A quorum of one whose machine dies at any change of its disk, and again while it recovers.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "support/node.rs"]
mod support;

use bytes::Bytes;
use klamm_env::sim::{CrashMode, World};
use klamm_quorum::{Position, QuorumConfig};
use support::{Node, config};

const PROPOSALS: u64 = 10;

fn settings() -> QuorumConfig {
    let mut settings = config(1, &[1]);
    settings.snapshot_after_entries = 4;
    settings.entries_behind_snapshot = 2;
    settings.segment_bytes = 400;
    settings
}

fn entry(number: u64) -> Bytes {
    Bytes::from(format!("decision {number}"))
}

/// What one life of the node has seen.
#[derive(Default)]
struct Life {
    /// What was there when it led.
    found: Vec<(Position, Bytes)>,
    acknowledged: Vec<(Position, Bytes)>,
    term: u64,
    /// Whether it lived until it was shut down.
    is_whole: bool,
}

/// Starts the node, proposes, and shuts it down, as far as the disk lets it.
fn live(world: &World, proposals: u64) -> Life {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut life = Life::default();
        let Ok(node) = Node::start(world, settings()).await else {
            return life;
        };
        if node.quorum.wait_for_leader().await.is_err() {
            return life;
        }
        life.found = node.machine.decisions();
        life.term = node.quorum.term();
        for number in 0..proposals {
            match node.quorum.propose(entry(number)).await {
                Ok(position) => life.acknowledged.push((position, entry(number))),
                Err(_) => return life,
            }
        }
        node.quorum.shutdown().await;
        life.is_whole = !world.disk("node-1").is_down();
        life
    })
}

fn modes(seed: u64) -> [CrashMode; 4] {
    [
        CrashMode::KeepPageCache,
        CrashMode::DropUnsynced,
        CrashMode::Torn { seed },
        CrashMode::Torn { seed: seed + 1000 },
    ]
}

#[test]
fn nothing_acknowledged_is_lost_and_no_term_comes_twice() {
    for crash_after in 0.. {
        let mut is_over = true;
        for mode in modes(crash_after) {
            let world = World::new(crash_after);
            let disk = world.disk("node-1");
            disk.crash_after(crash_after);
            let first = live(&world, PROPOSALS);
            is_over &= first.is_whole;
            disk.crash(mode);

            // Dies once more while it recovers.
            disk.crash_after(crash_after % 7);
            let between = live(&world, 0);
            disk.crash(mode);

            let last = live(&world, 2);
            let case = format!("{mode:?} after {crash_after} changes");
            assert!(last.is_whole, "{case}: it does not start");
            assert!(
                last.found.starts_with(&first.acknowledged),
                "{case}: {:?}",
                last.found
            );
            assert!(
                last.found.len() <= first.acknowledged.len() + 1,
                "{case}: {:?}",
                last.found
            );
            assert!(
                last.term > first.term.max(between.term),
                "{case}: terms {} {} {}",
                first.term,
                between.term,
                last.term
            );
        }
        if is_over {
            return;
        }
    }
}
