//! The limit of the machine: what serving Kafka's produce and fetch costs when nothing is done but a read, the CRC, one
//! `pwrite` a batch, one write for all answers of a read, and `sendfile`. Klamm is measured beside it.
//!
//! One thread, edge-triggered epoll. Spoken to by `klamm-load --blind`: Produce 13 with one batch a request, Fetch 18,
//! ApiVersions; any other bytes, and a batch whose checksum is wrong, end the program. It has no topics, keeps nothing
//! that it could serve, and is no broker: leaving all of that out is what makes it the limit.
//!
//! [`wire`] has the layouts, [`serve`] the loop.

// A program of its own, with the machine's own files and sockets.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod serve;
mod wire;

use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use klamm_model::TimestampMs;
use klamm_records::BatchBuilder;

/// Of a batch that is fetched.
const RECORDS: usize = 16;

#[derive(Parser)]
#[command(about = "The limit of the machine: only CRC, pwrite and sendfile")]
struct Args {
    /// The address to listen at
    #[arg(long)]
    listen: SocketAddr,
    /// The folder for the file that batches are written to and the one that fetches are answered from
    #[arg(long)]
    data: PathBuf,
    /// Bytes of records in the answer to a fetch, rounded down to whole batches of 16 KiB
    #[arg(long, default_value_t = 1 << 20)]
    fetch_bytes: usize,
    /// Bytes that fetches are answered from, over and over; more than the processor's caches hold
    #[arg(long, default_value_t = 256 << 20)]
    stored_bytes: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let listener =
        TcpListener::bind(args.listen).with_context(|| format!("cannot listen at {}", args.listen))?;
    std::fs::create_dir_all(&args.data)?;
    let store = Store::make(&args.data, args.fetch_bytes, args.stored_bytes)?;
    serve::serve(&listener, store)
}

/// The two files.
struct Store {
    appended: File,
    end: u64,
    fetched: File,
    /// Of one answer.
    fetch_bytes: usize,
    fetch_records: usize,
    /// Of all of them: as many answers as fit.
    stored_bytes: usize,
}

impl Store {
    /// Writes what fetches are answered from: batches of 16 records of about 1 KiB, in each answer from offset 0 on.
    fn make(folder: &Path, fetch_bytes: usize, stored_bytes: usize) -> Result<Self> {
        let open = |name: &str| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true);
            options.open(folder.join(name))
        };
        let mut batch = BatchBuilder::default();
        for _ in 0..RECORDS {
            batch.append(TimestampMs(1), None, Some(&[b'x'; 1010]), &[]);
        }
        let batch = batch.build(klamm_model::Offset(0))?;
        let batches = (fetch_bytes / batch.len()).max(1);
        let mut answer = batch.repeat(batches);
        for (base_offset, batch) in (0_i64..).step_by(RECORDS).zip(answer.chunks_mut(batch.len())) {
            // The first field, which no checksum covers.
            batch[..8].copy_from_slice(&base_offset.to_be_bytes());
        }
        let answers = (stored_bytes / answer.len()).max(1);
        let fetched = open("fetched")?;
        for at in 0..answers {
            fetched.write_all_at(&answer, (at * answer.len()) as u64)?;
        }
        // What is written back later would be in somebody's run.
        fetched.sync_all()?;
        Ok(Self {
            appended: open("appended")?,
            end: 0,
            fetched,
            fetch_bytes: answer.len(),
            fetch_records: batches * RECORDS,
            stored_bytes: answers * answer.len(),
        })
    }

    fn append(&mut self, batch: &[u8]) -> Result<()> {
        self.appended.write_all_at(batch, self.end)?;
        self.end += batch.len() as u64;
        Ok(())
    }
}
