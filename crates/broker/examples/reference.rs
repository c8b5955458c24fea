//! Prints a reference page that is made of the broker's tables: `metrics` or `protocol`. For `cargo xtask docs`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is what the program does"
)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("metrics") => print!("{}", klamm_broker::metrics_reference()),
        Some("protocol") => print!("{}", klamm_broker::api_table::reference()),
        _ => {
            eprintln!("expected metrics or protocol");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
