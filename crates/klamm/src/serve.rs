//! `klamm serve`: a node in the foreground, from reading the configuration to an orderly end.
//!
//! Always holds: what is wrong with the configuration is said all at once, before anything is touched; SIGTERM and SIGINT
//! end the node in order, a second one at once; the process fails (exit code 1) when the node cannot go on.

mod announcement;
mod invocation;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use klamm_broker::Node;
use klamm_config::{BrokerConfig, Sources, env, properties};
use klamm_env::Env;
use klamm_env::real::{self, SocketOptions};
use tracing::{error, info, warn};

use crate::failure::Hinted;
use crate::http::{self, HttpServer};
use crate::logging::{self, LogFormat};

use announcement::Announcement;
use invocation::Invocation;

/// How long a node that cannot go on may take to end in order.
const FAILED_STOP_LIMIT: Duration = Duration::from_secs(30);

/// Start a node in the foreground.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Read the configuration from this file, in the format of Kafka's server.properties.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set a configuration key; wins over the environment (KLAMM_LOG_DIRS) and the file.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Keep the data in this folder (log.dirs).
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How log lines look on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Runs a node until it is told to stop.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let loggers = logging::init(args.log_format);
    let mut config = load(&args)?;
    raise_limits(&mut config);
    let workers = config.net.workers.map_or_else(cores, |workers| workers as usize);
    let runtime = real::runtime(workers).context("cannot start the runtime")?;
    let env = Env::real_with(SocketOptions {
        listen_backlog: config.net.backlog,
        send_buffer_bytes: config.net.send_buffer_bytes.map(|bytes| bytes as usize),
        receive_buffer_bytes: config.net.receive_buffer_bytes.map(|bytes| bytes as usize),
    });
    let result = runtime.block_on(serve(env, config, loggers));
    // Blocking work of an orderly end is done; what is left is not worth waiting for, and after a failure may hang.
    runtime.shutdown_background();
    result
}

async fn serve(env: Env, config: BrokerConfig, loggers: logging::Handle) -> anyhow::Result<ExitCode> {
    let mut signals = real::signals().context("cannot wait for signals")?;
    let folder = config.node.log_dirs.join(", ");
    let http = http::start(&env, &config).await?;
    let started = env.monotonic();
    let node = Node::start(env.clone(), config, loggers).await?;
    let took = env.monotonic().saturating_sub(started);
    info!(
        took_ms = took.as_millis() as u64,
        cluster = node.cluster_id(),
        "started"
    );
    if let Some(http) = &http {
        http.started(node.observer());
    }
    announce(&node, &folder, http.as_ref().map(HttpServer::address));
    let failure = tokio::select! {
        biased;
        stop = signals.next() => {
            info!(signal = ?stop, "told to stop");
            None
        }
        why = node.failed() => Some(why),
    };
    if let Some(http) = &http {
        http.stopping();
    }
    let Some(why) = failure else {
        return Ok(tokio::select! {
            biased;
            () = node.stop() => ExitCode::SUCCESS,
            _ = signals.next() => {
                warn!("told to stop again: not waiting for an orderly end");
                ExitCode::FAILURE
            }
        });
    };
    error!(%why, "the node cannot go on");
    // Requests under way are answered and what can be made durable is; a device that hangs must not keep the process.
    tokio::select! {
        biased;
        () = node.stop() => {}
        _ = signals.next() => warn!("told to stop: not waiting for an orderly end"),
        () = env.sleep(FAILED_STOP_LIMIT) => warn!(limit = ?FAILED_STOP_LIMIT, "no orderly end within the limit"),
    }
    bail!("the node cannot go on: {why}");
}

fn load(args: &ServeArgs) -> anyhow::Result<BrokerConfig> {
    let mut set = args.set.clone();
    if let Some(folder) = &args.data {
        set.push(("log.dirs".to_owned(), folder.display().to_string()));
    }
    let file = args.config.as_deref().map(read_file).transpose()?;
    let sources = Sources {
        file,
        environment: env::keys(std::env::vars()),
        set,
        data_folder: data_folder().display().to_string(),
    };
    match BrokerConfig::load(&sources) {
        Ok((config, warnings)) => {
            warnings.iter().for_each(|warning| warn!("{warning}"));
            Ok(config)
        }
        Err(errors) => {
            let lines: Vec<_> = errors.iter().map(|error| format!("  {error}")).collect();
            let keys: BTreeSet<&str> = errors.iter().map(|error| error.key.as_str()).collect();
            let hints: Vec<_> = keys
                .into_iter()
                .map(|key| format!("klamm config reference {key} says what it allows"))
                .collect();
            Err(Hinted::error(
                format!("the configuration cannot be used:\n{}", lines.join("\n")),
                hints.join("\n"),
            ))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the command line reads its own files")]
fn read_file(path: &Path) -> anyhow::Result<(String, Vec<properties::Property>)> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let hint = "klamm serve without --config starts with the defaults";
        Hinted::error(format!("cannot read {name}: {error}"), hint)
    })?;
    let properties = properties::parse(&text).map_err(|error| {
        let hint = "klamm config reference lists the keys; a line is KEY=VALUE";
        Hinted::error(format!("{name}: {error}"), hint)
    })?;
    Ok((name, properties))
}

/// The user's folder for data, by the XDG rules.
fn data_folder() -> PathBuf {
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    base.or_else(home)
        .unwrap_or_else(|| PathBuf::from("."))
        .join("klamm")
}

/// Below this many files a broker of some size runs out.
const FEW_FILES: u64 = 8_192;

/// Lets the process open as many files as it may; half of them are for logs unless the configuration says otherwise.
fn raise_limits(config: &mut BrokerConfig) {
    let raised = real::raise_open_files_limit();
    if let (Ok((limit, _)), None) = (&raised, config.housekeeping.open_files_max) {
        config.housekeeping.open_files_max = u32::try_from(limit / 2).ok();
    }
    match raised {
        Ok((limit, _)) if limit < FEW_FILES => {
            warn!(
                limit,
                "few files may be open: raise the limit (ulimit -n) for many partitions or connections"
            );
        }
        Ok(_) => {}
        Err(error) => warn!(%error, "cannot raise the limit of open files"),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Tells a person where the node is and what to do first. Whoever started the node may have gone: it serves all the same.
fn announce(node: &Node, folder: &str, http: Option<SocketAddr>) {
    let announcement = Announcement {
        addresses: node.addresses().iter().map(|(_, address)| *address).collect(),
        cluster: node.cluster_id().to_owned(),
        data: folder.to_owned(),
        metrics: http,
        invocation: Invocation::of_this_process(),
    };
    let mut stdout = std::io::stdout().lock();
    // What is printed at once is read at once.
    let _ = write!(stdout, "{announcement}").and_then(|()| stdout.flush());
}
