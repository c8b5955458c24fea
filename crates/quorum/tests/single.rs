//! A quorum of one: it leads at once, keeps what it acknowledged, and stops when its disk fails.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "support/node.rs"]
mod support;

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use klamm_env::sim::World;
use klamm_env::{Files, OpenMode};
use klamm_quorum::{
    FileError, NoPeers, Position, ProposeError, Quorum, ReplayError, StartError, StateMachine,
};
use support::{Node, config};

fn entry(number: u64) -> Bytes {
    Bytes::from(format!("decision {number}"))
}

#[tokio::test(start_paused = true)]
async fn it_leads_at_once_and_applies_what_it_commits() {
    let world = World::new(1);
    let begun = tokio::time::Instant::now();
    let node = Node::start(&world, config(1, &[1])).await.unwrap();
    assert_eq!(node.quorum.wait_for_leader().await, Ok(1));
    assert!(
        begun.elapsed() < Duration::from_millis(100),
        "{:?}",
        begun.elapsed()
    );

    let first = node.quorum.propose(entry(1)).await.unwrap();
    let second = node.quorum.propose(entry(2)).await.unwrap();
    assert_eq!((first.index + 1, first.term), (second.index, second.term));
    assert_eq!(node.machine.decisions(), [(first, entry(1)), (second, entry(2))]);

    let description = node.quorum.describe();
    assert_eq!(description.leader, Some(1));
    assert_eq!(description.high_watermark, second.index + 1);
    assert_eq!(description.voters.len(), 1);
    assert_eq!(description.voters[0].log_end, Some(second.index + 1));
    assert!(description.voters[0].last_caught_up.is_some());
    node.quorum.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_brings_everything_back_in_a_later_term() {
    let world = World::new(2);
    let mut expected = Vec::new();
    let mut term = 0;
    for round in 0..5 {
        let begun = tokio::time::Instant::now();
        let node = Node::start(&world, config(1, &[1])).await.unwrap();
        node.quorum.wait_for_leader().await.unwrap();
        assert!(
            begun.elapsed() < Duration::from_millis(100),
            "{:?}",
            begun.elapsed()
        );
        assert!(node.quorum.term() > term);
        term = node.quorum.term();
        assert_eq!(node.machine.decisions(), expected, "round {round}");
        for number in 0..3 {
            let entry = entry(round * 10 + number);
            expected.push((node.quorum.propose(entry.clone()).await.unwrap(), entry));
        }
        node.quorum.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_lost_its_vote_is_refused() {
    let world = World::new(12);
    let node = Node::start(&world, config(1, &[1])).await.unwrap();
    node.quorum.propose(entry(1)).await.unwrap();
    node.quorum.shutdown().await;
    drop(node);
    let vote = std::path::Path::new("/data/metadata/vote");
    world.disk("node-1").remove_file(vote).unwrap();
    let refused = Node::start(&world, config(1, &[1])).await.err();
    assert!(
        matches!(&refused, Some(StartError::File(FileError::Corrupt { path, .. })) if path == vote),
        "{refused:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_takes_the_place_of_old_entries() {
    let world = World::new(3);
    let mut settings = config(1, &[1]);
    settings.snapshot_after_entries = 100;
    settings.entries_behind_snapshot = 10;
    settings.segment_bytes = 4096;
    let node = Node::start(&world, settings.clone()).await.unwrap();
    node.quorum.wait_for_leader().await.unwrap();
    let mut expected = Vec::new();
    for number in 0..400 {
        expected.push((node.quorum.propose(entry(number)).await.unwrap(), entry(number)));
    }
    node.quorum.shutdown().await;
    let names = node.names();
    assert_eq!(
        names.iter().filter(|name| name.ends_with(".snapshot")).count(),
        1,
        "{names:?}"
    );
    assert!(
        !names.contains(&"00000000000000000000.raft".to_owned()),
        "{names:?}"
    );
    drop(node);

    let node = Node::start(&world, settings).await.unwrap();
    node.quorum.wait_for_leader().await.unwrap();
    assert_eq!(node.machine.decisions(), expected);
    assert!(node.machine.restored() > Some(Position { index: 100, term: 0 }));
    node.quorum.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_stops_it_for_good() {
    let world = World::new(4);
    let node = Node::start(&world, config(1, &[1])).await.unwrap();
    node.quorum.wait_for_leader().await.unwrap();
    node.quorum.propose(entry(1)).await.unwrap();
    world.disk("node-1").limit(Some(0));
    let large = Bytes::from(vec![7; 1024 * 1024]);
    let refused = node.quorum.propose(large).await;
    assert!(matches!(refused, Err(ProposeError::Stopped(_))), "{refused:?}");
    let failure = node.quorum.fatal().await;
    assert!(failure.0.contains(".raft"), "{failure}");
    world.disk("node-1").limit(None);
    assert!(matches!(
        node.quorum.propose(entry(2)).await,
        Err(ProposeError::Stopped(_))
    ));
    assert_eq!(node.quorum.leader(), None);
    assert_eq!(node.quorum.wait_for_leader().await, Err(failure));
    node.quorum.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_too_large_is_refused_and_nothing_else_happens() {
    let world = World::new(5);
    let node = Node::start(&world, config(1, &[1])).await.unwrap();
    node.quorum.wait_for_leader().await.unwrap();
    let large = Bytes::from(vec![0; klamm_quorum::MAX_DECISION_BYTES + 1]);
    assert!(matches!(
        node.quorum.propose(large).await,
        Err(ProposeError::TooLarge { .. })
    ));
    node.quorum.propose(entry(1)).await.unwrap();
    node.quorum.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_folder_of_another_node_or_cluster_is_refused() {
    let world = World::new(6);
    let node = Node::start(&world, config(1, &[1])).await.unwrap();
    node.quorum.wait_for_leader().await.unwrap();
    node.quorum.shutdown().await;

    let mut other = config(2, &[2]);
    other.directory = config(1, &[1]).directory;
    let error = Node::start_at(&world, "node-1", other).await.err().unwrap();
    assert!(
        matches!(error, StartError::File(FileError::Foreign { .. })),
        "{error}"
    );

    let mut other = config(1, &[1]);
    other.cluster_id = klamm_model::Uuid([9; 16]);
    let error = Node::start(&world, other).await.err().unwrap();
    assert!(
        matches!(error, StartError::File(FileError::Foreign { .. })),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_vote_without_its_log_is_refused() {
    let world = World::new(8);
    let node = Node::start(&world, config(1, &[1])).await.unwrap();
    node.quorum.wait_for_leader().await.unwrap();
    node.quorum.shutdown().await;
    let files = world.env("node-1").files().clone();
    let path = config(1, &[1]).directory.join("00000000000000000000.raft");
    files.remove_file(&path).unwrap();
    let error = Node::start(&world, config(1, &[1])).await.err().unwrap();
    assert!(matches!(error, StartError::Recovery(_)), "{error}");
}

/// Refuses every snapshot.
struct Refuses;

impl StateMachine for Refuses {
    fn apply(&self, _: Position, _: Option<Bytes>) -> Result<(), ReplayError> {
        Ok(())
    }

    fn snapshot(&self) -> Bytes {
        Bytes::new()
    }

    fn restore(&self, _: Position, _: Bytes) -> Result<(), ReplayError> {
        Err(ReplayError("record 3 is of an unknown kind".into()))
    }
}

/// Follows up to an entry of a kind that it does not know.
#[derive(Default)]
struct Older(AtomicU64);

impl StateMachine for Older {
    fn apply(&self, position: Position, entry: Option<Bytes>) -> Result<(), ReplayError> {
        assert_eq!(
            self.0.load(Ordering::Relaxed),
            0,
            "nothing comes after the entry that stopped it"
        );
        if entry != Some(unknown_entry()) {
            return Ok(());
        }
        self.0.store(position.index, Ordering::Relaxed);
        Err(ReplayError("record 3 is of an unknown kind".into()))
    }

    fn snapshot(&self) -> Bytes {
        Bytes::new()
    }

    fn restore(&self, _: Position, _: Bytes) -> Result<(), ReplayError> {
        Ok(())
    }
}

fn unknown_entry() -> Bytes {
    entry(7)
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_cannot_be_followed_stops_the_quorum_and_every_later_start() {
    let world = World::new(9);
    let settings = config(1, &[1]);
    let start = || {
        let machine = Arc::new(Older::default());
        Quorum::start(world.env("node-1"), settings.clone(), machine, Arc::new(NoPeers))
    };
    let quorum = start().await.unwrap();
    quorum.wait_for_leader().await.unwrap();
    quorum.propose(entry(6)).await.unwrap();
    // Another version of the machine would have taken it.
    let refused = quorum.propose(unknown_entry()).await;
    assert!(matches!(refused, Err(ProposeError::Stopped(_))), "{refused:?}");
    let expected = "cannot be followed: record 3 is of an unknown kind";
    let fatal = quorum.fatal().await.to_string();
    assert!(fatal.ends_with(expected), "{fatal}");
    assert!(quorum.propose(entry(8)).await.is_err());
    quorum.shutdown().await;

    for _ in 0..2 {
        let error = match start().await {
            Err(error) => error.to_string(),
            Ok(quorum) => {
                let error = quorum
                    .wait_for_leader()
                    .await
                    .err()
                    .map(|error| error.to_string());
                quorum.shutdown().await;
                error.unwrap()
            }
        };
        assert!(error.ends_with(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_read_stops_the_start() {
    let world = World::new(9);
    let mut settings = config(1, &[1]);
    settings.snapshot_after_entries = 5;
    let node = Node::start(&world, settings.clone()).await.unwrap();
    node.quorum.wait_for_leader().await.unwrap();
    for number in 0..20 {
        node.quorum.propose(entry(number)).await.unwrap();
    }
    node.quorum.shutdown().await;

    let env = world.env("node-1");
    let refused = Quorum::start(
        env.clone(),
        settings.clone(),
        Arc::new(Refuses),
        Arc::new(NoPeers),
    )
    .await;
    let error = refused.err().unwrap();
    assert!(matches!(error, StartError::Replay { .. }), "{error}");
    assert!(
        error.to_string().ends_with("record 3 is of an unknown kind"),
        "{error}"
    );

    let name = node
        .names()
        .into_iter()
        .find(|name| name.ends_with(".snapshot"))
        .unwrap();
    let path = settings.directory.join(name);
    let file = env.files().open(&path, OpenMode::Write).unwrap();
    file.write_at(&[IoSlice::new(b"?")], 60).unwrap();
    let error = Node::start(&world, settings).await.err().unwrap();
    let StartError::File(FileError::Corrupt { path: named, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(named, path);
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_contradicts_itself_is_refused() {
    let world = World::new(7);
    for change in [
        (|c| c.node_id = 2) as fn(&mut klamm_quorum::QuorumConfig),
        |c| c.node_id = -1,
        |c| c.voters.clear(),
        |c| c.heartbeat_interval = c.election_timeout,
        |c| c.snapshot_after_bytes = 0,
    ] {
        let mut settings = config(1, &[1]);
        change(&mut settings);
        let error = Node::start(&world, settings).await.err().unwrap();
        assert!(matches!(error, StartError::Config(_)), "{error}");
    }
}

struct Panicking;

impl StateMachine for Panicking {
    fn apply(&self, _position: Position, entry: Option<Bytes>) -> Result<(), ReplayError> {
        match entry {
            None => Ok(()),
            Some(_) => panic!("no way to apply it"),
        }
    }

    fn snapshot(&self) -> Bytes {
        Bytes::new()
    }

    fn restore(&self, _position: Position, _snapshot: Bytes) -> Result<(), ReplayError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_applying_is_the_failure_of_the_quorum() {
    let world = World::new(14);
    let env = world.env("node-1");
    let quorum = Quorum::start(env, config(1, &[1]), Arc::new(Panicking), Arc::new(NoPeers))
        .await
        .unwrap();
    quorum.wait_for_leader().await.unwrap();
    assert!(quorum.propose(entry(1)).await.is_err());
    let why = quorum.fatal().await.to_string();
    assert!(
        why.ends_with("the task that carries the quorum panicked: no way to apply it"),
        "{why}"
    );
}
