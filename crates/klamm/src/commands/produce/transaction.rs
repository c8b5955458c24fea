//! `klamm produce --transactional-id`: lines that are read all or not at all.
//!
//! Always holds: what is counted as committed was committed; a failure of the input or of a record, SIGINT and SIGTERM abort
//! what is open. Nothing is open while no line has come.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use indicatif::ProgressBar;
use klamm_client::producer::{ProduceError, Transaction};
use klamm_client::{Client, ProducerConfig, TransactionConfig, TransactionalProducer};
use klamm_env::real;
use tokio::sync::mpsc;

use super::input::Block;
use super::line::Lines;
use super::{Tally, records};
use crate::commands::duration;
use crate::failure::Hinted;

#[derive(Args, Debug)]
pub(super) struct TransactionArgs {
    /// All lines in one transaction of this id, which is committed at the end of the input; when the input or a record
    /// fails, or the command is interrupted, it is aborted
    #[arg(long, value_name = "ID")]
    transactional_id: Option<String>,
    /// Commit after so many records, and begin the next transaction
    #[arg(long, value_name = "COUNT", requires = "transactional_id", value_parser = clap::value_parser!(u64).range(1..))]
    transaction_records: Option<u64>,
    /// After how long the cluster aborts a transaction that has not ended (1d12h, 90m, 30s)
    #[arg(long, value_name = "DURATION", default_value = "1m", requires = "transactional_id", value_parser = duration::parse)]
    transaction_timeout: Duration,
}

/// How transactions are made.
pub(super) struct Plan {
    config: TransactionConfig,
    /// The most records of one.
    most: u64,
}

impl TransactionArgs {
    /// `None` when there are to be none.
    pub(super) fn plan(&self, producer: ProducerConfig) -> Option<Plan> {
        let id = self.transactional_id.as_ref()?;
        Some(Plan {
            config: TransactionConfig {
                timeout: self.transaction_timeout,
                producer,
                ..TransactionConfig::new(id)
            },
            most: self.transaction_records.unwrap_or(u64::MAX),
        })
    }
}

/// The lines of the input, one by one.
struct Input {
    blocks: mpsc::Receiver<Block>,
    block: std::vec::IntoIter<Bytes>,
}

impl Input {
    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            if let Some(line) = self.block.next() {
                return Ok(Some(line));
            }
            let Some(block) = self.blocks.recv().await else {
                return Ok(None);
            };
            self.block = block.context("cannot read the input")?.into_iter();
        }
    }
}

/// What a transaction has.
#[derive(Default)]
struct Filled {
    records: u64,
    bytes: u64,
    is_last: bool,
}

/// Sends every line, and commits; ends with the first failure.
pub(super) async fn send(
    client: Client,
    plan: Plan,
    topic: &str,
    lines: &Lines,
    input: mpsc::Receiver<Block>,
    tally: &Tally,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let mut signals = real::signals().context("cannot wait for signals")?;
    let mut input = Input {
        blocks: input,
        block: Vec::new().into_iter(),
    };
    let mut producer = tokio::select! {
        biased;
        _ = signals.next() => return Err(interrupted("nothing was sent")),
        producer = TransactionalProducer::new(client, plan.config) => producer?,
    };
    loop {
        let transaction = producer.begin().await?;
        let filled = tokio::select! {
            biased;
            _ = signals.next() => Err(interrupted("the transaction was aborted")),
            filled = fill(&transaction, plan.most, topic, lines, &mut input) => filled,
        };
        let filled = match filled {
            Ok(filled) => filled,
            Err(error) => {
                // A second signal does not wait for a coordinator that does not answer.
                let aborted = tokio::select! {
                    biased;
                    aborted = transaction.abort() => aborted,
                    _ = signals.next() => return Err(error),
                };
                return Err(match aborted {
                    Ok(()) => error,
                    Err(left) if is_without_reason(&error) => left.into(),
                    Err(left) => error.context(format!("what is open is left to its timeout ({left})")),
                });
            }
        };
        // Whoever interrupts now waits for it: it may be decided already.
        transaction.commit().await?;
        if filled.records > 0 {
            tally.committed(filled.records, filled.bytes);
        }
        tally.show(progress);
        if filled.is_last {
            return Ok(());
        }
    }
}

async fn fill(
    transaction: &Transaction<'_>,
    most: u64,
    topic: &str,
    lines: &Lines,
    input: &mut Input,
) -> anyhow::Result<Filled> {
    let mut filled = Filled::default();
    while filled.records < most {
        let Some(line) = input.next().await? else {
            filled.is_last = true;
            break;
        };
        filled.bytes += line.len() as u64;
        // Should one of them fail, the commit fails.
        drop(
            transaction
                .send(topic, lines.record(line))
                .await
                .map_err(first_failure)?,
        );
        filled.records += 1;
    }
    Ok(filled)
}

/// What failed first, where a record was not taken because another had failed.
fn first_failure(error: ProduceError) -> ProduceError {
    match error {
        ProduceError::Aborted {
            because: Some(because),
        } => *because,
        error => error,
    }
}

/// Whether a record was not taken because the producer is at its end.
fn is_without_reason(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(ProduceError::Aborted { because: None })
    )
}

fn interrupted(what: &str) -> anyhow::Error {
    Hinted::error(
        format!("interrupted: {what}"),
        "klamm produce without --transactional-id keeps what was sent",
    )
}

/// How far it came, for a message.
pub(super) fn progress_of(tally: &Tally) -> String {
    let (stored, transactions) = (tally.records(), tally.transactions());
    let word = if transactions == 1 {
        "transaction"
    } else {
        "transactions"
    };
    format!("{} in {transactions} {word}", records(stored))
}
