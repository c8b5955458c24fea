//! A node in a world of its own, and the ways in which a key can be set.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use klamm_broker::{FixedLoggers, Node, StartError};
use klamm_config::{BrokerConfig, Sources};
use klamm_env::sim::disk::{CrashMode, Disk};
use klamm_env::sim::{Fault, World};
use klamm_env::task::Blocking;
use klamm_env::{Env, Files, Parts};
use klamm_model::Uuid;
use klamm_quorum::{Endpoint, NoPeers, Position, Quorum, QuorumConfig, ReplayError, StateMachine};

use crate::client::Client;
use crate::pipes::Pipes;

/// Where the data lies on the simulated disk.
pub(crate) const DATA: &str = "/data";
const HOST: &str = "node";

/// A node that runs.
pub(crate) struct Fixture {
    world: World,
    pipes: Pipes,
    pub(crate) node: Node,
}

/// Keys and values.
pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];

/// What the start reads when these keys are set.
pub(crate) fn config(set: Settings<'_>) -> BrokerConfig {
    // A simulated disk is memory.
    let mut all = vec![
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", DATA),
        ("klamm.journal.file.bytes", "1048576"),
    ];
    let takes_over = |(key, _): &(&str, &str)| {
        set.iter()
            .any(|(other, _)| key == other || *other == "log.dir" && *key == "log.dirs")
    };
    all.retain(|default| !takes_over(default));
    all.extend(set);
    let set = all
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let sources = Sources {
        set: set.collect(),
        data_folder: "/elsewhere".to_owned(),
        ..Sources::default()
    };
    match BrokerConfig::load(&sources) {
        Ok((config, warnings)) => {
            assert!(warnings.is_empty(), "{warnings:?}");
            config
        }
        Err(errors) => panic!("{errors:?}"),
    }
}

/// The world of a node: everything is simulated; the network is made of pipes.
fn env(world: &World, pipes: &Pipes) -> Env {
    // Another one for each life of the node: else it would take itself for its earlier incarnation.
    let life = world.disk(HOST).changes();
    let seed = klamm_env::sim::SeededRng::new(world.seed().wrapping_add(life), HOST);
    Env::new(Parts {
        clock: Box::new(world.clock(HOST)),
        rng: Box::new(seed),
        files: Arc::new(world.disk(HOST)),
        network: Box::new(pipes.clone()),
        blocking: Blocking::Inline(Duration::from_millis(1)),
    })
}

/// Where a metadata log is written and nothing follows from it.
struct Unread;

impl StateMachine for Unread {
    fn apply(&self, _: Position, _: Option<Bytes>) -> Result<(), ReplayError> {
        Ok(())
    }

    fn snapshot(&self) -> Bytes {
        Bytes::new()
    }

    fn restore(&self, _: Position, _: Bytes) -> Result<(), ReplayError> {
        Ok(())
    }
}

impl Fixture {
    /// Starts a node on an empty disk with these keys set.
    pub(crate) async fn start(set: Settings<'_>) -> Self {
        let world = World::new(7);
        world.trace().keep(200_000);
        let pipes = Pipes::default();
        let node = Node::start(env(&world, &pipes), config(set), Arc::new(FixedLoggers))
            .await
            .unwrap();
        Self { world, pipes, node }
    }

    /// The disk.
    pub(crate) fn disk(&self) -> Disk {
        self.world.disk(HOST)
    }

    /// Stops the node in order, does something to the disk, and starts it again with these keys.
    pub(crate) async fn restart(
        self,
        meanwhile: impl FnOnce(&Disk),
        set: Settings<'_>,
    ) -> Result<Self, StartError> {
        let Self { world, node, .. } = self;
        node.stop().await;
        drop(node);
        meanwhile(&world.disk(HOST));
        let pipes = Pipes::default();
        let node = Node::start(env(&world, &pipes), config(set), Arc::new(FixedLoggers)).await?;
        Ok(Self { world, pipes, node })
    }

    /// Stops the node in order, puts another metadata log in the place of its own, and starts it again.
    pub(crate) async fn restart_with_decisions(self, decisions: &[Bytes]) -> Self {
        let Self { world, pipes, node } = self;
        let cluster_id: Uuid = node.cluster_id().parse().unwrap();
        node.stop().await;
        drop(node);
        let folder = format!("{DATA}/klamm-metadata");
        world.disk(HOST).remove_dir_all(Path::new(&folder)).unwrap();
        let voters = [(1, Endpoint::default())].into();
        let quorum = QuorumConfig::new(1, voters, folder, cluster_id);
        let quorum = Quorum::start(env(&world, &pipes), quorum, Arc::new(Unread), Arc::new(NoPeers)).await;
        let quorum = quorum.unwrap();
        quorum.wait_for_leader().await.unwrap();
        for decision in decisions {
            quorum.propose(decision.clone()).await.unwrap();
        }
        quorum.shutdown().await;
        let pipes = Pipes::default();
        let node = Node::start(env(&world, &pipes), config(&[]), Arc::new(FixedLoggers)).await;
        Self {
            world,
            pipes,
            node: node.unwrap(),
        }
    }

    /// Drops the node as it is and starts another one on the same disk.
    pub(crate) async fn start_again(self, set: Settings<'_>) -> Self {
        let Self { world, pipes, node } = self;
        drop(node);
        // What was told to end does so when it is its turn.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let node = Node::start(env(&world, &pipes), config(set), Arc::new(FixedLoggers))
            .await
            .unwrap();
        Self { world, pipes, node }
    }

    /// Takes the node's power away and starts another one on what the disk kept.
    pub(crate) async fn cut_power(self, set: Settings<'_>) -> Self {
        let Self { world, node, .. } = self;
        world.disk(HOST).power_off();
        drop(node);
        // What was told to end does so when it is its turn.
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.disk(HOST).crash(CrashMode::DropUnsynced);
        let pipes = Pipes::default();
        let node = Node::start(env(&world, &pipes), config(set), Arc::new(FixedLoggers))
            .await
            .unwrap();
        Self { world, pipes, node }
    }

    /// Makes calls to the disk fail.
    pub(crate) fn inject(&self, fault: Fault) {
        self.world.disk(HOST).inject(fault);
    }

    /// A connection to the first listener.
    pub(crate) fn connect(&self) -> Client {
        self.connect_from(Ipv4Addr::new(10, 0, 0, 1).into(), 0)
    }

    /// A connection from an address to one of the listeners.
    pub(crate) fn connect_from(&self, from: IpAddr, listener: usize) -> Client {
        let port = self.node.addresses()[listener].1.port();
        Client::new(self.pipes.connect_from(from, port))
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Sets the wall clock forward. No timer runs.
    pub(crate) fn jump(&self, ms: u64) {
        self.world.clock(HOST).jump(i64::try_from(ms).unwrap());
    }

    /// Sets the wall clock back.
    pub(crate) fn jump_back(&self, ms: u64) {
        self.world.clock(HOST).jump(-i64::try_from(ms).unwrap());
    }

    /// What the wall clock shows.
    pub(crate) fn now(&self) -> i64 {
        klamm_env::Clock::now(&self.world.clock(HOST)).0
    }

    /// The names in a folder below the data; none if there is no such folder.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        self.names_in(&format!("{DATA}/{folder}"))
    }

    /// The names in a folder.
    pub(crate) fn names_in(&self, folder: &str) -> Vec<String> {
        let entries = self
            .world
            .disk(HOST)
            .read_dir(Path::new(folder))
            .unwrap_or_default();
        entries.into_iter().map(|entry| entry.name).collect()
    }

    /// How many files of the partition have this ending.
    pub(crate) fn count(&self, partition: &str, ending: &str) -> usize {
        self.names(partition)
            .iter()
            .filter(|name| name.ends_with(ending))
            .count()
    }

    /// The length of a file below the data.
    pub(crate) fn len(&self, path: &str) -> u64 {
        let path = format!("{DATA}/{path}");
        self.world
            .disk(HOST)
            .entry(Path::new(&path))
            .unwrap()
            .map_or(0, |entry| entry.len)
    }

    /// The text of a file below the data.
    pub(crate) fn text(&self, path: &str) -> String {
        let path = format!("{DATA}/{path}");
        let bytes = self
            .world
            .disk(HOST)
            .read(Path::new(&path), 1 << 20)
            .unwrap_or_default();
        String::from_utf8(bytes).unwrap()
    }

    /// How often the disk was told to do this, with this in the path.
    pub(crate) fn calls(&self, operation: &str, path: &str) -> usize {
        let lines = self.world.trace().lines();
        lines
            .iter()
            .filter(|line| line.contains(&format!(" {operation} ")) && line.contains(path))
            .count()
    }
}

/// A way in which a topic `t` comes to its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nowhere: the default is in force.
    Unset,
    /// The broker's key, at the start.
    Broker,
    /// The broker's key, as a default of all brokers while running.
    BrokerDefault,
    /// The topic's key, when it is made.
    Topic,
    /// The topic's key, when the topic is there already.
    TopicAltered,
}

impl Way {
    /// Those that set the key.
    pub(crate) const SET: [Way; 4] = [Way::Broker, Way::BrokerDefault, Way::Topic, Way::TopicAltered];
}

/// A key of topics: the broker's name of it, the topic's, and a value that is not the default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Both<'a> {
    pub(crate) broker: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) value: &'a str,
    pub(crate) partitions: i32,
}

impl<'a> Both<'a> {
    pub(crate) fn new(broker: &'a str, topic: &'a str, value: &'a str) -> Self {
        Self {
            broker,
            topic,
            value,
            partitions: 1,
        }
    }

    /// A node with a topic `t` that got the value in this way, besides `also` at the start and `beside`
    /// of the topic.
    pub(crate) async fn start(&self, way: Way, also: Settings<'_>, beside: Settings<'_>) -> Fixture {
        let mut set = also.to_vec();
        let mut of_topic = beside.to_vec();
        match way {
            Way::Broker => set.push((self.broker, self.value)),
            Way::Topic => of_topic.push((self.topic, self.value)),
            Way::Unset | Way::BrokerDefault | Way::TopicAltered => {}
        }
        let fixture = Fixture::start(&set).await;
        let mut client = fixture.connect();
        client.create("t", self.partitions, &of_topic).await;
        match way {
            Way::BrokerDefault => client.set(4, "", self.broker, self.value).await,
            Way::TopicAltered => client.set(2, "t", self.topic, self.value).await,
            Way::Unset | Way::Broker | Way::Topic => {}
        }
        fixture
    }
}
