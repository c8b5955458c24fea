//! One node is not a special case: with its router forced over the loopback interface, so that every request to the
//! controller goes through bytes and a socket, a node answers as one that decides in its own process. And the
//! controller's listener by itself: what brokers, tools and strangers get there.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs
)] // a program at the edge

#[path = "router/client.rs"]
mod client;
#[path = "router/conversation.rs"]
mod conversation;
#[path = "router/listener.rs"]
mod listener;

use std::sync::Arc;

use klamm_broker::{FixedLoggers, Node, NodeOptions, RouterMode};
use klamm_config::{BrokerConfig, Sources};
use klamm_env::Env;
use tempfile::TempDir;

use crate::client::Client;
use crate::conversation::Names;

/// A node that runs.
struct Fixture {
    node: Node,
    folder: TempDir,
}

/// A node as a file of Apache Kafka describes it.
const COMBINED: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
    ("controller.listener.names", "CONTROLLER"),
    (
        "listener.security.protocol.map",
        "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    ),
];

/// A node without a controller's listener.
const PLAIN: &[(&str, &str)] = &[("listeners", "PLAINTEXT://127.0.0.1:0")];

impl Fixture {
    async fn start(set: &[(&str, &str)], router: RouterMode) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), set, router).await
    }

    async fn start_in(folder: TempDir, set: &[(&str, &str)], router: RouterMode) -> Self {
        let path = folder.path().display().to_string();
        let set = set.iter().copied().chain([("log.dirs", path.as_str())]);
        let sources = Sources {
            set: set
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            data_folder: path.clone(),
            ..Sources::default()
        };
        let (config, _) = BrokerConfig::load(&sources).unwrap();
        let options = NodeOptions { router };
        let node = Node::start_with(Env::real(), config, Arc::new(FixedLoggers), options).await;
        Self {
            node: node.unwrap(),
            folder,
        }
    }

    async fn client(&self) -> Client {
        Client::connect(self.node.addresses()[0].1).await
    }

    async fn controller_client(&self) -> Client {
        Client::connect(self.node.controller_addresses()[0].1).await
    }

    /// Whether anybody has connected to the listener so far.
    async fn has_had_connections(&self, listener: &str) -> bool {
        let page = self.node.observer().metrics().await;
        page.lines()
            .any(|line| line.starts_with("klamm_") && line.contains(&format!("listener=\"{listener}\"")))
    }

    async fn stop(self) -> TempDir {
        self.node.stop().await;
        self.folder
    }
}

/// One life of a node, in a runtime that ends with it as a process does.
fn live<T>(life: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(life)
}

#[test]
fn a_node_answers_alike_wherever_its_controller_is() {
    let mut told = Vec::new();
    for (set, router, listener) in [
        (PLAIN, RouterMode::Auto, None),
        (PLAIN, RouterMode::ForcedOverLoopback, Some("LOOPBACK")),
        (COMBINED, RouterMode::ForcedOverLoopback, Some("CONTROLLER")),
    ] {
        let mut names = Names::default();
        let mut answers = Vec::new();
        let folder = live(async {
            let fixture = Fixture::start(set, router).await;
            let mut client = fixture.client().await;
            answers.extend(conversation::first(&fixture.node, &mut client, &mut names).await);
            for name in ["LOOPBACK", "CONTROLLER"] {
                let opened = fixture.has_had_connections(name).await;
                assert_eq!(opened, listener == Some(name), "{router:?}: {name}");
            }
            fixture.stop().await
        });
        // The second life begins with the state of the first, and registers again.
        live(async {
            let fixture = Fixture::start_in(folder, set, router).await;
            let mut client = fixture.client().await;
            answers.extend(conversation::second(&fixture.node, &mut client, &mut names).await);
            fixture.stop().await;
        });
        told.push((router, answers));
    }
    let (_, local) = &told[0];
    assert!(local.len() > 30, "{}", local.len());
    for (router, answers) in &told[1..] {
        for (one, other) in local.iter().zip(answers) {
            assert_eq!(one, other, "{router:?}");
        }
        assert_eq!(local.len(), answers.len());
    }
}
