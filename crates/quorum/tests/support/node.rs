//! A node in a simulated world, a state machine that remembers, and a transport in memory.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use klamm_env::network::BoxFuture;
use klamm_env::sim::World;
use klamm_model::Uuid;
use klamm_quorum::{
    Endpoint, Position, Quorum, QuorumConfig, ReplayError, StartError, StateMachine, Transport,
    TransportError,
};

/// Remembers every decision and where it stood.
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: Option<Position>,
    decisions: Vec<(Position, Bytes)>,
    restored: Option<Position>,
}

impl Memory {
    pub fn decisions(&self) -> Vec<(Position, Bytes)> {
        self.state.lock().unwrap().decisions.clone()
    }

    /// The position of the last snapshot that was restored.
    pub fn restored(&self) -> Option<Position> {
        self.state.lock().unwrap().restored
    }
}

impl StateMachine for Memory {
    fn apply(&self, position: Position, entry: Option<Bytes>) -> Result<(), ReplayError> {
        let mut state = self.state.lock().unwrap();
        let expected = state.last.map_or(0, |last| last.index + 1);
        assert_eq!(position.index, expected, "entries arrive in order, each once");
        assert!(state.last.is_none_or(|last| last.term <= position.term));
        state.last = Some(position);
        state.decisions.extend(entry.map(|entry| (position, entry)));
        Ok(())
    }

    fn snapshot(&self) -> Bytes {
        let state = self.state.lock().unwrap();
        let mut to = BytesMut::new();
        for (position, entry) in &state.decisions {
            to.put_u64(position.index);
            to.put_u64(position.term);
            to.put_u32(entry.len() as u32);
            to.put_slice(entry);
        }
        to.freeze()
    }

    fn restore(&self, position: Position, mut snapshot: Bytes) -> Result<(), ReplayError> {
        let mut state = self.state.lock().unwrap();
        state.decisions.clear();
        while snapshot.has_remaining() {
            let (index, term) = (snapshot.get_u64(), snapshot.get_u64());
            let length = snapshot.get_u32() as usize;
            state
                .decisions
                .push((Position { index, term }, snapshot.split_to(length)));
        }
        state.last = Some(position);
        state.restored = Some(position);
        Ok(())
    }
}

/// The usual configuration of `node` among `voters`.
pub fn config(node: i32, voters: &[i32]) -> QuorumConfig {
    let voters = voters
        .iter()
        .map(|id| (*id, Endpoint::new(format!("node-{id}"), 9093)));
    QuorumConfig::new(node, voters.collect(), "/data/metadata", Uuid([3; 16]))
}

/// Hands messages over in memory, unless a link is cut.
#[derive(Clone, Default)]
pub struct Wires {
    state: Arc<Mutex<WiresState>>,
}

#[derive(Default)]
struct WiresState {
    quorums: BTreeMap<i32, Quorum>,
    cut: Vec<i32>,
}

impl Wires {
    pub fn connect(&self, id: i32, quorum: &Quorum) {
        self.state.lock().unwrap().quorums.insert(id, quorum.clone());
    }

    pub fn disconnect(&self, id: i32) {
        self.state.lock().unwrap().quorums.remove(&id);
    }

    /// Cuts a node off from all others.
    pub fn cut(&self, id: i32) {
        self.state.lock().unwrap().cut.push(id);
    }

    pub fn heal(&self) {
        self.state.lock().unwrap().cut.clear();
    }

    fn target(&self, from: i32, to: i32) -> Option<Quorum> {
        let state = self.state.lock().unwrap();
        if state.cut.contains(&from) || state.cut.contains(&to) {
            return None;
        }
        state.quorums.get(&to).cloned()
    }
}

struct Wire {
    from: i32,
    wires: Wires,
}

impl Transport for Wire {
    fn send(
        &self,
        to: i32,
        _endpoint: &Endpoint,
        message: Bytes,
        _limit: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let (from, wires) = (self.from, self.wires.clone());
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let Some(quorum) = wires.target(from, to) else {
                return Err(TransportError(format!("no way to node {to}")));
            };
            let answer = quorum
                .handle(message)
                .await
                .map_err(|error| TransportError(error.to_string()));
            tokio::time::sleep(Duration::from_millis(1)).await;
            match wires.target(from, to) {
                Some(_) => answer,
                None => Err(TransportError("the answer was lost".into())),
            }
        })
    }
}

/// A running node.
pub struct Node {
    pub quorum: Quorum,
    pub machine: Arc<Memory>,
    world: World,
    config: QuorumConfig,
}

impl Node {
    pub async fn start(world: &World, config: QuorumConfig) -> Result<Node, StartError> {
        let host = format!("node-{}", config.node_id);
        Self::start_at(world, &host, config).await
    }

    pub async fn start_at(world: &World, host: &str, config: QuorumConfig) -> Result<Node, StartError> {
        Self::start_with(world, host, config, &Wires::default()).await
    }

    pub async fn start_with(
        world: &World,
        host: &str,
        config: QuorumConfig,
        wires: &Wires,
    ) -> Result<Node, StartError> {
        let machine = Arc::new(Memory::default());
        let wire = Wire {
            from: config.node_id,
            wires: wires.clone(),
        };
        let quorum = Quorum::start(world.env(host), config.clone(), machine.clone(), Arc::new(wire)).await?;
        wires.connect(config.node_id, &quorum);
        Ok(Node {
            quorum,
            machine,
            world: world.clone(),
            config,
        })
    }

    pub fn id(&self) -> i32 {
        self.config.node_id
    }

    /// The names in the node's folder.
    pub fn names(&self) -> Vec<String> {
        let env = self.world.env(&format!("node-{}", self.config.node_id));
        let folder: &Path = &self.config.directory;
        env.files()
            .read_dir(folder)
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect()
    }
}
