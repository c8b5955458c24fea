//! The machine: its clock, its files, its sockets, its signals.
//!
//! Always holds: this and what lies below it are the only places of the product that name `std::fs`, a socket, a clock
//! or tokio's runtime.
//!
//! Next: [`files`], [`network`], [`clock`].
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // the door itself

pub mod clock;
pub mod files;
pub mod network;

use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::task::Blocking;
use crate::{Env, Parts};

pub use network::SocketOptions;

/// Threads that may wait for a device at the same time; further work queues.
const MAX_BLOCKING_THREADS: usize = 128;

impl Env {
    /// The machine this process runs on, with [`SocketOptions::default`].
    pub fn real() -> Self {
        Self::real_with(SocketOptions::default())
    }

    /// The machine this process runs on.
    pub fn real_with(options: SocketOptions) -> Self {
        Self::new(Parts {
            clock: Box::new(clock::SystemClock::default()),
            rng: Box::new(clock::SystemRng),
            files: Arc::new(files::SystemFiles),
            network: Box::new(network::Sockets::new(options)),
            blocking: Blocking::Threads,
        })
    }
}

/// Tokio's multi-thread runtime with `workers` threads (at least one).
pub fn runtime(workers: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(workers.max(1))
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .thread_name("klamm")
        .enable_all()
        .build()
}

/// Raises the limit of open files as far as this process may, and returns (what is in force now, the most that an
/// administrator allows); `u64::MAX` stands for no limit.
pub fn raise_open_files_limit() -> io::Result<(u64, u64)> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
        limit = getrlimit(Resource::Nofile);
    }
    Ok((
        limit.current.unwrap_or(u64::MAX),
        limit.maximum.unwrap_or(u64::MAX),
    ))
}

/// What asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM.
    Terminate,
    /// SIGINT, Ctrl-C.
    Interrupt,
}

/// Waits for signals. From its making on they no longer end the process by themselves.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// The next signal.
    pub async fn next(&mut self) -> Stop {
        std::future::poll_fn(|cx| {
            if self.terminate.poll_recv(cx).is_ready() {
                return std::task::Poll::Ready(Stop::Terminate);
            }
            self.interrupt.poll_recv(cx).map(|_| Stop::Interrupt)
        })
        .await
    }
}

/// Takes SIGTERM and SIGINT over; to be called within a [`runtime`].
pub fn signals() -> io::Result<Signals> {
    Ok(Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    })
}

/// Fills `bytes` from the kernel's generator.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    let mut done = 0;
    while done < bytes.len() {
        match getrandom(&mut bytes[done..], GetRandomFlags::empty()) {
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            // It fails for bad flags or a bad address only, or where a sandbox forbids it; identifiers that are not
            // random would be worse than no process.
            Err(error) => panic!("the kernel gives no random bytes: {error}"),
        }
    }
}

/// Repeats a call that a signal interrupted.
fn retried<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_files_limit_is_raised_to_what_is_allowed() {
        let (soft, hard) = raise_open_files_limit().unwrap();
        assert_eq!(soft, hard);
        assert_eq!(raise_open_files_limit().unwrap(), (soft, hard));
    }

    #[test]
    fn a_signal_is_seen() {
        let runtime = runtime(1).unwrap();
        runtime.block_on(async {
            let mut signals = signals().unwrap();
            let pid = rustix::process::getpid();
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            assert_eq!(signals.next().await, Stop::Terminate);
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
            assert_eq!(signals.next().await, Stop::Interrupt);
        });
    }

    #[test]
    fn random_bytes_fill_all_of_a_long_buffer() {
        let mut bytes = vec![0; 100_000];
        fill_random(&mut bytes);
        let zeros = bytes.iter().filter(|byte| **byte == 0).count();
        assert!((200..600).contains(&zeros), "{zeros} of 100,000 bytes are zero");
    }
}
