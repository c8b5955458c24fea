//! From the options of the command line to a client of the cluster.

use std::future::Future;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use klamm_client::{Admin, Client, ClientConfig, ClientError, HostPort, Topic};
use klamm_env::{Env, real};
use tracing_subscriber::EnvFilter;

use crate::cli::Global;
use crate::failure::{Hinted, colours, nearest};
use crate::output::Format;
use crate::profile::{self, Profile};

/// Threads of the runtime: one that may be held up by a pipe, and one for the network.
const WORKERS: usize = 2;
/// How long a command waits for the cluster.
const DEADLINE: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a command was told about where to go and how to answer.
pub(crate) struct Session {
    bootstrap: Vec<HostPort>,
    client_id: Option<String>,
    format: Format,
    env: Env,
}

impl Session {
    /// Puts command line, environment and profile together.
    pub(crate) fn new(global: &Global) -> anyhow::Result<Self> {
        let profile = profile::load(global.profile.as_deref())?;
        let (mut bootstrap, mut client_id, mut output) = (None, None, None);
        if let Some(Profile {
            bootstrap: addresses,
            client_id: id,
            output: format,
        }) = profile
        {
            (bootstrap, client_id, output) = (Some(addresses), id, format);
        }
        if let Some(given) = &global.bootstrap {
            bootstrap = Some(given.0.clone());
        }
        let local = || {
            vec![HostPort {
                host: "127.0.0.1".to_owned(),
                port: klamm_client::address::DEFAULT_PORT,
            }]
        };
        client_id.get_or_insert_with(|| "klamm-cli".to_owned());
        Ok(Self {
            bootstrap: bootstrap.unwrap_or_else(local),
            client_id,
            format: global.output.or(output).unwrap_or_default(),
            env: Env::real(),
        })
    }

    /// How data is written.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Runs `command` with a client of the cluster.
    pub(crate) fn run<T, F>(&self, command: impl FnOnce(Client) -> F) -> anyhow::Result<T>
    where
        F: Future<Output = anyhow::Result<T>>,
    {
        log_to_stderr();
        let runtime = real::runtime(WORKERS).context("cannot start the runtime")?;
        let result = runtime.block_on(async {
            let mut config = ClientConfig::new(self.bootstrap.clone());
            config.client_id = self.client_id.clone().unwrap_or_default();
            config.connect_timeout = CONNECT_TIMEOUT;
            config.deadline = DEADLINE;
            let client = Client::connect(self.env.clone(), config).await?;
            command(client).await
        });
        // Whatever still reads its input must not keep the process.
        runtime.shutdown_background();
        result
    }

    /// Runs `command` with the administration of the cluster.
    pub(crate) fn administer<T, F>(&self, command: impl FnOnce(Admin) -> F) -> anyhow::Result<T>
    where
        F: Future<Output = anyhow::Result<T>>,
    {
        self.run(|client| command(Admin::new(client)))
    }
}

/// Warnings of the client, and what RUST_LOG asks for.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error,klamm=warn"));
    // A second command in one process (a test) keeps the first one's.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Telling standard error that it is closed would be a panic.
        .log_internal_errors(false)
        .with_ansi(colours(std::io::stderr().is_terminal()))
        .with_target(false)
        .without_time()
        .try_init();
}

/// A topic of the cluster; one that does not exist is an error that names the nearest one that does.
pub(crate) async fn known_topic(client: &Client, name: &str) -> anyhow::Result<Topic> {
    match client.topic(name).await {
        Err(ClientError::UnknownTopic { topic }) => {
            let all = client.refresh_all().await?;
            let names = all.topics.keys().map(|name| &**name);
            Err(unknown_topic(&topic, nearest(name, names)))
        }
        other => Ok(other?),
    }
}

fn unknown_topic(name: &str, nearest: Option<&str>) -> anyhow::Error {
    let create = format!("klamm topic create {name}");
    let hint = match nearest {
        Some(near) => format!("did you mean '{near}'? To create the other: {create}"),
        None => format!("to create it: {create}"),
    };
    Hinted::error(format!("there is no topic '{name}'"), hint)
}
