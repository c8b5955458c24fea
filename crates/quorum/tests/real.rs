//! A quorum of one on the real machine, with threads.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods)]

#[path = "support/node.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use klamm_env::Env;
use klamm_quorum::{NoPeers, Position, Quorum, StateMachine, seed};
use support::{Memory, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_propose_at_once_and_all_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(1, &[1]);
    settings.directory = folder.path().join("metadata");
    settings.snapshot_after_entries = 50;
    settings.entries_behind_snapshot = 5;
    settings.segment_bytes = 4096;

    let machine = Arc::new(Memory::default());
    let quorum = Quorum::start(Env::real(), settings.clone(), machine.clone(), Arc::new(NoPeers))
        .await
        .unwrap();
    assert_eq!(quorum.wait_for_leader().await, Ok(1));
    let proposals = (0..300).map(|number| {
        let quorum = quorum.clone();
        tokio::spawn(async move {
            quorum
                .propose(Bytes::from(format!("decision {number}")))
                .await
                .unwrap()
        })
    });
    for proposal in proposals.collect::<Vec<_>>() {
        proposal.await.unwrap();
    }
    let before = machine.decisions();
    assert_eq!(before.len(), 300);
    quorum.shutdown().await;

    let machine = Arc::new(Memory::default());
    let quorum = Quorum::start(Env::real(), settings, machine.clone(), Arc::new(NoPeers))
        .await
        .unwrap();
    quorum.wait_for_leader().await.unwrap();
    assert_eq!(machine.decisions(), before);
    quorum.shutdown().await;
}

/// As when a cluster is taken over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_begins_with_a_state_goes_on_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(1, &[1]);
    settings.directory = folder.path().join("metadata");
    let before = Memory::default();
    for (index, decision) in [(0, None), (1, Some(Bytes::from("adopted")))] {
        before.apply(Position { index, term: 1 }, decision).unwrap();
    }
    let seeded = || {
        let files = Env::real().files().clone();
        seed(
            files,
            settings.directory.clone(),
            settings.cluster_id,
            1,
            before.snapshot(),
        )
    };
    // What was cut short is done again.
    seeded().unwrap();
    seeded().unwrap();
    for decision in ["first", "second"] {
        let machine = Arc::new(Memory::default());
        let quorum = Quorum::start(Env::real(), settings.clone(), machine.clone(), Arc::new(NoPeers))
            .await
            .unwrap();
        quorum.wait_for_leader().await.unwrap();
        let found = machine.decisions();
        assert_eq!(found.first(), before.decisions().first());
        assert_eq!(found.len(), if decision == "first" { 1 } else { 2 });
        quorum.propose(Bytes::from(decision)).await.unwrap();
        quorum.shutdown().await;
    }
    let refused = seeded().unwrap_err().to_string();
    assert!(refused.contains("there is a metadata log already"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_is_one_election() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(1, &[1]);
    settings.directory = folder.path().join("metadata");
    // Raft's own clock looks all the time whether an election is due.
    settings.heartbeat_interval = Duration::from_millis(1);
    for starts in 1..=20 {
        let machine = Arc::new(Memory::default());
        let quorum = Quorum::start(Env::real(), settings.clone(), machine, Arc::new(NoPeers))
            .await
            .unwrap();
        quorum.wait_for_leader().await.unwrap();
        assert_eq!(quorum.term(), starts);
        quorum.shutdown().await;
    }
}
