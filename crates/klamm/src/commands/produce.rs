//! `klamm produce TOPIC`: each line of the input becomes a record.
//!
//! Always holds: exit code 0 means that every line is stored, on disk on every in-sync replica as the topic asks for, and
//! committed, if there are transactions; on a failure nothing more is read, and what was stored is said.
//!
//! Next: `produce/line.rs` for what a line says, `produce/input.rs` for where lines come from, `produce/transaction.rs` for
//! transactions.

mod input;
mod line;
mod transaction;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use klamm_client::producer::{Delivery, ProduceError};
use klamm_client::{Client, Producer, ProducerConfig};
use klamm_records::Compression;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::commands::{key_value, size};
use crate::connect::{Session, known_topic};
use crate::output::{Format, Output, Show, Table};

use line::Lines;
use transaction::TransactionArgs;

/// Records whose answers are outstanding.
const OUTSTANDING: usize = 100_000;

#[derive(Args, Debug)]
pub(crate) struct ProduceArgs {
    /// The topic
    topic: String,
    /// Files whose lines become records; default: standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What stands between key and value; a line without it has no key. Escapes: \t \n \xNN
    #[arg(short, long, value_name = "DELIMITER", value_parser = line::delimiter)]
    key_delimiter: Option<line::Delimiter>,
    /// A header of every record
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = key_value::parse)]
    headers: Vec<(String, String)>,
    /// Into this partition; default: by key, or spread
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// How batches are packed: none, gzip, snappy, lz4 or zstd
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none")]
    compression: Compression,
    /// An empty value is a tombstone, which deletes its key from a compacted topic
    #[arg(short = 'Z', long)]
    tombstones: bool,
    #[command(flatten)]
    transaction: TransactionArgs,
}

/// What was stored.
#[derive(Serialize)]
struct Summary {
    topic: String,
    records: u64,
    bytes: u64,
    /// How many were committed, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    transactions: Option<u64>,
    seconds: f64,
}

impl Show for Summary {
    fn tables(&self) -> Vec<Table> {
        Vec::new()
    }
}

pub(crate) fn run(session: &Session, args: ProduceArgs, out: &mut Output) -> anyhow::Result<()> {
    session.run(|client| produce(client, args, out))
}

async fn produce(client: Client, args: ProduceArgs, out: &mut Output) -> anyhow::Result<()> {
    known_topic(&client, &args.topic).await?;
    let begin = Instant::now();
    let config = ProducerConfig {
        codec: args.compression.into(),
        ..ProducerConfig::default()
    };
    let lines = Lines::new(args.key_delimiter, args.headers, args.partition, args.tombstones);
    let (input, is_interactive) = input::open(args.files)?;
    let progress = progress(is_interactive);
    let tally = Arc::new(Tally::default());
    let plan = args.transaction.plan(config);
    let is_transactional = plan.is_some();
    let result = match plan {
        Some(plan) => transaction::send(client, plan, &args.topic, &lines, input, &tally, &progress).await,
        None => {
            let producer = Producer::new(client, config);
            send(&producer, &args.topic, &lines, input, &tally, &progress).await
        }
    };
    progress.finish_and_clear();

    let summary = Summary {
        topic: args.topic,
        records: tally.records(),
        bytes: tally.bytes(),
        transactions: is_transactional.then(|| tally.transactions()),
        seconds: begin.elapsed().as_secs_f64(),
    };
    if let Err(error) = result {
        let before = match is_transactional {
            true => format!("{} committed", transaction::progress_of(&tally)),
            false => format!("{} stored", records(summary.records)),
        };
        return Err(error.context(format!("{before} before this failed")));
    }
    if out.format() != Format::Table {
        out.show(&summary)?;
    }
    let (bytes, topic, seconds) = (size::bytes(summary.bytes), summary.topic, summary.seconds);
    let told = match is_transactional {
        true => format!(
            "{} ({bytes}) committed to '{topic}'",
            transaction::progress_of(&tally)
        ),
        false => format!("{} ({bytes}) stored in '{topic}'", records(summary.records)),
    };
    // A message; when nobody can read it, that is no failure.
    let _ = writeln!(std::io::stderr(), "{told} in {seconds:.1} s");
    Ok(())
}

fn records(count: u64) -> String {
    format!("{count} record{}", if count == 1 { "" } else { "s" })
}

/// Sends every line; ends with the first failure, of the input or of a record.
async fn send(
    producer: &Producer,
    topic: &str,
    lines: &Lines,
    mut input: mpsc::Receiver<std::io::Result<Vec<bytes::Bytes>>>,
    tally: &Arc<Tally>,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let (deliveries, delivered) = mpsc::channel(OUTSTANDING);
    let counting = tokio::spawn(tally.clone().count(delivered));
    let mut result = Ok(());
    'input: while let Some(block) = input.recv().await {
        let block = match block.context("cannot read the input") {
            Ok(block) => block,
            Err(error) => {
                result = Err(error);
                break;
            }
        };
        for line in block {
            if tally.has_failed.load(Ordering::Relaxed) {
                break 'input;
            }
            let bytes = line.len() as u64;
            let delivery = match producer.send(topic, lines.record(line)).await {
                Ok(delivery) => delivery,
                Err(error) => {
                    result = Err(error.into());
                    break 'input;
                }
            };
            if deliveries.send((bytes, delivery)).await.is_err() {
                break 'input;
            }
        }
        tally.show(progress);
    }
    producer.flush().await;
    drop(deliveries);
    let counted = counting.await.context("the answers could not be counted")?;
    counted?;
    result
}

/// What became of the records.
#[derive(Default)]
struct Tally {
    stored: AtomicU64,
    bytes: AtomicU64,
    transactions: AtomicU64,
    has_failed: AtomicBool,
}

impl Tally {
    fn records(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn transactions(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    fn stored(&self, records: u64, bytes: u64) {
        self.stored.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A transaction of so many records was committed.
    fn committed(&self, records: u64, bytes: u64) {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        self.stored(records, bytes);
    }

    fn show(&self, progress: &ProgressBar) {
        progress.set_position(self.records());
        progress.set_message(size::bytes(self.bytes()));
    }

    /// Counts to the end, and returns the first failure.
    async fn count(
        self: Arc<Self>,
        mut delivered: mpsc::Receiver<(u64, Delivery)>,
    ) -> Result<(), ProduceError> {
        let mut failure = Ok(());
        while let Some((bytes, delivery)) = delivered.recv().await {
            match delivery.stored().await {
                Ok(_) => self.stored(1, bytes),
                Err(error) => {
                    self.has_failed.store(true, Ordering::Relaxed);
                    if failure.is_ok() {
                        failure = Err(error);
                    }
                }
            }
        }
        failure
    }
}

/// A line of progress on a terminal, unless somebody is typing there.
fn progress(is_interactive: bool) -> ProgressBar {
    if is_interactive || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let progress = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {human_pos} records, {msg}, {per_sec}");
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    progress.enable_steady_tick(Duration::from_millis(200));
    progress
}
