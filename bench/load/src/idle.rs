//! `idle`: connections that are opened, ask for the versions once, and then do nothing.
//!
//! What they cost is measured outside, so there is a gate before the first is opened and one after the last.

use std::io;

use anyhow::{Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::admin::{self, Admin};
use crate::report::{self, Stopwatch};
use crate::topics::Where;

/// How many connections.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    /// How many connections.
    #[arg(long)]
    connections: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let address = args.place.address()?;
    raise_file_limit(args.connections)?;
    report::gate("begin")?;
    let watch = Stopwatch::start();
    let mut connections = Vec::with_capacity(args.connections);
    for _ in 0..args.connections {
        let mut connection = Admin::connect(address)?;
        let answer = connection.call(admin::API_VERSIONS, &admin::api_versions())?;
        admin::check(answer.error_code, || "ApiVersions".to_owned())?;
        connections.push(connection);
    }
    let done = watch.stop(connections.len() as u64);
    report::gate("ready")?;
    report::say(&done)?;
    // Held until whoever measures has seen enough.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    for connection in &connections {
        connection.is_silent()?;
    }
    Ok(())
}

/// Lets the process have a file for each connection.
fn raise_file_limit(connections: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let needed = connections as u64 + 64;
    if limit.current.is_some_and(|current| current < needed) {
        let most = limit.maximum.unwrap_or(u64::MAX);
        ensure!(
            most >= needed,
            "the limit of open files is {most}, {needed} are needed"
        );
        let raised = Rlimit {
            current: Some(needed),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok(())
}
