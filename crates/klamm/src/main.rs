//! The `klamm` binary: the server and the command line.
//!
//! Always holds: what a command was asked for goes to standard output, everything else to standard error; the exit code
//! is 0 for done, 1 for failed, 2 for a command line that was not understood.
//!
//! Next: `cli.rs` for the commands there are, `commands/` for one file each, `serve.rs` for the server.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::disallowed_methods))]

mod cli;
mod commands;
mod connect;
mod failure;
mod http;
mod logging;
mod output;
mod profile;
mod serve;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::main()
}
