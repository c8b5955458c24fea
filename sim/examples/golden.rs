//! `cargo xtask golden`: makes the golden data folder of this version.
#![allow(clippy::print_stdout)] // a program at the edge

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        println!("say which folder to make");
        return ExitCode::from(2);
    };
    match klamm_sim::golden::write(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
