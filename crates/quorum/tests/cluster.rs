//! Three voters over a transport in memory: electing, committing, losing a leader, catching up.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "support/node.rs"]
mod support;

use std::time::Duration;

use bytes::Bytes;
use klamm_env::sim::{CrashMode, World};
use klamm_quorum::{ProposeError, QuorumConfig};
use support::{Node, Wires, config};

const VOTERS: [i32; 3] = [1, 2, 3];

fn entry(number: u64) -> Bytes {
    Bytes::from(format!("decision {number}"))
}

struct Cluster {
    world: World,
    wires: Wires,
    nodes: Vec<Option<Node>>,
    settings: fn(&mut QuorumConfig),
}

impl Cluster {
    async fn start(seed: u64, settings: fn(&mut QuorumConfig)) -> Self {
        let mut cluster = Self {
            world: World::new(seed),
            wires: Wires::default(),
            nodes: Vec::new(),
            settings,
        };
        for id in VOTERS {
            cluster.nodes.push(None);
            cluster.restart(id).await;
        }
        cluster
    }

    async fn restart(&mut self, id: i32) {
        let mut config = config(id, &VOTERS);
        (self.settings)(&mut config);
        let host = format!("node-{id}");
        let node = Node::start_with(&self.world, &host, config, &self.wires)
            .await
            .unwrap();
        self.nodes[id as usize - 1] = Some(node);
    }

    fn node(&self, id: i32) -> &Node {
        self.nodes[id as usize - 1].as_ref().unwrap()
    }

    async fn stop(&mut self, id: i32) {
        self.wires.disconnect(id);
        self.nodes[id as usize - 1]
            .take()
            .unwrap()
            .quorum
            .shutdown()
            .await;
    }

    /// Waits until a node that is up leads, one of a term above `term`.
    async fn leader(&self, term: u64) -> i32 {
        loop {
            for node in self.nodes.iter().flatten() {
                if node.quorum.term() > term && node.quorum.leader() == Some(node.id()) {
                    return node.id();
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn propose(&self, leader: i32, numbers: std::ops::Range<u64>) {
        for number in numbers {
            self.node(leader).quorum.propose(entry(number)).await.unwrap();
        }
    }

    /// Waits until all nodes that are up have applied exactly the decisions of `numbers`.
    async fn settle(&self, numbers: std::ops::Range<u64>) {
        let expected = numbers.map(entry).collect::<Vec<_>>();
        for node in self.nodes.iter().flatten() {
            while node.machine.decisions().len() < expected.len() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let found = node
                .machine
                .decisions()
                .into_iter()
                .map(|(_, entry)| entry)
                .collect::<Vec<_>>();
            assert_eq!(found, expected, "node {}", node.id());
        }
    }

    async fn shutdown(self) {
        for node in self.nodes.iter().flatten() {
            node.quorum.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn three_voters_elect_one_leader_and_agree() {
    let cluster = Cluster::start(1, |_| {}).await;
    let leader = cluster.leader(0).await;
    cluster.propose(leader, 0..20).await;
    cluster.settle(0..20).await;
    for id in VOTERS {
        assert_eq!(cluster.node(id).quorum.wait_for_leader().await, Ok(leader));
        if id != leader {
            let refused = cluster.node(id).quorum.propose(entry(99)).await;
            assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(leader) }));
        }
    }
    let description = cluster.node(leader).quorum.describe();
    assert_eq!(description.voters.len(), 3);
    for voter in &description.voters {
        assert_eq!(voter.log_end, Some(description.high_watermark), "{voter:?}");
        assert!(voter.last_fetch.is_some(), "{voter:?}");
    }
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn another_voter_leads_when_the_leader_is_cut_off_and_nothing_is_lost() {
    let cluster = Cluster::start(2, |_| {}).await;
    let first = cluster.leader(0).await;
    cluster.propose(first, 0..10).await;
    let term = cluster.node(first).quorum.term();
    cluster.wires.cut(first);
    let second = cluster.leader(term).await;
    assert_ne!(second, first);
    cluster.propose(second, 10..20).await;

    // The old leader cannot commit; what it wrote is given up when it hears of the new one.
    let lonely = cluster.node(first).quorum.propose(entry(1000));
    let lonely = tokio::time::timeout(Duration::from_secs(30), lonely).await;
    assert!(!matches!(lonely, Ok(Ok(_))), "{lonely:?}");
    cluster.wires.heal();
    cluster.settle(0..20).await;
    let third = cluster.leader(term).await;
    cluster.propose(third, 20..30).await;
    cluster.settle(0..30).await;
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_voter_that_was_down_catches_up_from_a_snapshot() {
    let settings = |config: &mut QuorumConfig| {
        config.snapshot_after_entries = 100;
        config.entries_behind_snapshot = 10;
        config.segment_bytes = 8192;
    };
    let mut cluster = Cluster::start(3, settings).await;
    let leader = cluster.leader(0).await;
    let away = VOTERS.into_iter().find(|id| *id != leader).unwrap();
    cluster.propose(leader, 0..10).await;
    cluster.stop(away).await;
    cluster.propose(leader, 10..400).await;
    cluster.restart(away).await;
    cluster.settle(0..400).await;
    assert!(cluster.node(away).machine.restored().is_some());
    // It keeps what it was given.
    cluster.stop(away).await;
    cluster.restart(away).await;
    cluster.settle(0..400).await;
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn all_voters_come_back_from_their_disks() {
    let mut cluster = Cluster::start(4, |_| {}).await;
    let leader = cluster.leader(0).await;
    cluster.propose(leader, 0..50).await;
    cluster.settle(0..50).await;
    let term = cluster.node(leader).quorum.term();
    for id in VOTERS {
        cluster.stop(id).await;
    }
    for id in VOTERS {
        cluster.restart(id).await;
    }
    let leader = cluster.leader(term).await;
    cluster.propose(leader, 50..60).await;
    cluster.settle(0..60).await;
    cluster.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_voter_that_was_down_gets_entries_that_have_left_the_memory() {
    let mut cluster = Cluster::start(7, |_| {}).await;
    let leader = cluster.leader(0).await;
    let away = VOTERS.into_iter().find(|id| *id != leader).unwrap();
    cluster.stop(away).await;
    let large = |number: u8| Bytes::from(vec![number; 1024 * 1024]);
    for number in 0..7 {
        cluster.node(leader).quorum.propose(large(number)).await.unwrap();
    }
    cluster.restart(away).await;
    let machine = &cluster.node(away).machine;
    while machine.decisions().len() < 7 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let found = machine.decisions().into_iter().map(|(_, entry)| entry);
    assert!(found.eq((0..7).map(large)));
    assert_eq!(machine.restored(), None);
    cluster.shutdown().await;
}

/// Voters lose power one after the other, while the others go on.
async fn lose_power_in_turn(seed: u64) {
    let settings = |config: &mut QuorumConfig| {
        config.snapshot_after_entries = 15;
        config.entries_behind_snapshot = 3;
        config.segment_bytes = 600;
    };
    let mut cluster = Cluster::start(seed, settings).await;
    let rng = cluster.world.rng("power");
    let mut acknowledged = Vec::new();
    let mut number = 0;
    for round in 0..8 {
        let victim = VOTERS[(rng.next() % 3) as usize];
        let disk = cluster.world.disk(&format!("node-{victim}"));
        disk.crash_after(rng.next() % 30);
        for _ in 0..20 {
            let leader = cluster.leader(0).await;
            let quorum = cluster.node(leader).quorum.clone();
            let proposed = tokio::time::timeout(Duration::from_secs(60), quorum.propose(entry(number))).await;
            if let Ok(Ok(position)) = proposed {
                acknowledged.push((position, entry(number)));
            }
            number += 1;
        }
        disk.power_off();
        cluster.stop(victim).await;
        disk.crash(
            [
                CrashMode::DropUnsynced,
                CrashMode::KeepPageCache,
                CrashMode::Torn { seed: round },
            ][round as usize % 3],
        );
        cluster.restart(victim).await;
    }
    let leader = cluster.leader(0).await;
    let last = cluster.node(leader).quorum.propose(entry(number)).await.unwrap();
    for node in cluster.nodes.iter().flatten() {
        while node
            .machine
            .decisions()
            .last()
            .is_none_or(|(position, _)| *position < last)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let found = node.machine.decisions();
        assert!(
            acknowledged.iter().all(|entry| found.contains(entry)),
            "node {} of seed {seed}",
            node.id()
        );
        assert_eq!(
            found,
            cluster.node(leader).machine.decisions(),
            "node {} of seed {seed}",
            node.id()
        );
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    cluster.shutdown().await;
}

#[test]
fn nothing_acknowledged_is_lost_when_voters_lose_power() {
    for seed in 100..104 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(lose_power_in_turn(seed));
    }
}

/// What happened in the world of `seed`, in which a leader is cut off.
async fn trace_of(seed: u64) -> (u64, u64) {
    let cluster = Cluster::start(seed, |_| {}).await;
    let first = cluster.leader(0).await;
    cluster.propose(first, 0..5).await;
    let term = cluster.node(first).quorum.term();
    cluster.wires.cut(first);
    let second = cluster.leader(term).await;
    cluster.propose(second, 5..10).await;
    cluster.wires.heal();
    cluster.settle(0..10).await;
    let trace = (cluster.world.trace().digest(), cluster.world.trace().events());
    cluster.shutdown().await;
    trace
}

#[test]
fn one_seed_gives_one_history() {
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(trace_of(seed))
    };
    let first = run(5);
    assert_eq!(first, run(5));
    assert_ne!(first, run(6));
}
