//! `klamm produce --transactional-id`: lines that are read all or not at all.
//!
//! Always holds: what is counted as committed was committed; a failure of the input or of a record, SIGINT and SIGTERM abort
//! what is open, and nobody is told that it was aborted when that is not certain. Nothing is open while no line has come.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use indicatif::ProgressBar;
use klamm_client::producer::{ProduceError, Transaction, TransactionError};
use klamm_client::{Client, ProducerConfig, TransactionConfig, TransactionalProducer};
use klamm_env::real;
use tokio::sync::mpsc;

use super::input::Block;
use super::line::Lines;
use super::{Tally, records};
use crate::commands::duration;
use crate::failure::{Hinted, hint};
use crate::output::argument;

/// What an interruption leaves before the first line of a transaction.
const NOTHING_OPEN: &str = "no transaction was open";

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
    /// Those that were sent, or tried to: with the first, the transaction may be open.
    records: u64,
    bytes: u64,
    is_last: bool,
}

/// Why a transaction is not committed.
enum Stopped {
    Interrupted,
    Failed(anyhow::Error),
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
    let id = plan.config.transactional_id.clone();
    let mut producer = tokio::select! {
        biased;
        _ = signals.next() => return Err(interrupted(NOTHING_OPEN)),
        producer = TransactionalProducer::new(client, plan.config) => producer?,
    };
    loop {
        let transaction = producer.begin().await?;
        let mut filled = Filled::default();
        let stopped = tokio::select! {
            biased;
            _ = signals.next() => Some(Stopped::Interrupted),
            done = fill(&transaction, plan.most, topic, lines, &mut input, &mut filled) => {
                done.err().map(Stopped::Failed)
            }
        };
        if let Some(stopped) = stopped {
            // A second signal does not wait for a coordinator that does not answer.
            let aborted = tokio::select! {
                biased;
                aborted = transaction.abort() => Some(aborted),
                _ = signals.next() => None,
            };
            return Err(told(stopped, filled.records > 0, aborted, &id));
        }
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
    filled: &mut Filled,
) -> anyhow::Result<()> {
    while filled.records < most {
        let Some(line) = input.next().await? else {
            filled.is_last = true;
            break;
        };
        filled.bytes += line.len() as u64;
        filled.records += 1;
        // Should one of them fail, the commit fails.
        drop(
            transaction
                .send(topic, lines.record(line))
                .await
                .map_err(first_failure)?,
        );
    }
    Ok(())
}

/// Why nothing was committed, and what became of the transaction. `aborted` is what came of the attempt to abort it, if that was
/// waited for.
fn told(
    stopped: Stopped,
    may_be_open: bool,
    aborted: Option<Result<(), TransactionError>>,
    id: &str,
) -> anyhow::Error {
    // Whatever ends a producer has aborted what it had open.
    let is_ended = matches!(aborted, Some(Ok(()) | Err(TransactionError::Fenced { .. })));
    let broken = aborted.and_then(Result::err);
    let (reason, broken) = match (stopped, broken) {
        (Stopped::Interrupted, _) if !may_be_open => return interrupted(NOTHING_OPEN),
        (Stopped::Interrupted, None) if is_ended => return interrupted("the transaction was aborted"),
        (Stopped::Interrupted, Some(broken)) if is_ended => {
            return anyhow::Error::from(broken).context("interrupted");
        }
        (Stopped::Interrupted, broken) => (None, broken),
        (Stopped::Failed(error), Some(broken)) if is_without_reason(&error) => (Some(broken.into()), None),
        (Stopped::Failed(error), broken) => (Some(error), broken),
    };
    match reason {
        Some(error) if is_ended || !may_be_open => error,
        reason => left_open(reason, broken.as_ref(), id),
    }
}

/// The error after which a transaction may be open: because of `reason`, or a signal.
fn left_open(reason: Option<anyhow::Error>, broken: Option<&TransactionError>, id: &str) -> anyhow::Error {
    let because = broken.map(|broken| format!(" ({broken})")).unwrap_or_default();
    let left = format!("the transaction may stay open until its timeout{because}");
    let sooner = format!("klamm transaction abort {} ends it sooner", argument(id));
    match reason {
        None => Hinted::error(format!("interrupted: {left}"), sooner),
        Some(error) => {
            let hint = hint(&error).map(|hint| format!("{hint}\n")).unwrap_or_default();
            Hinted::error(format!("{error:#}; {left}"), format!("{hint}{sooner}"))
        }
    }
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

#[cfg(test)]
mod tests {
    use klamm_client::ClientError;
    use klamm_model::BrokerId;

    use super::*;

    /// What is told, and tried, of each of these attempts to abort it; a star stands for anything.
    fn check(stopped: fn() -> Stopped, may_be_open: bool, expected: [&str; 4]) {
        let id = || "my id".to_owned();
        let cause = ClientError::UnknownBroker(BrokerId(1)).into();
        let attempts = [
            Some(Ok(())),
            Some(Err(TransactionError::Fenced { id: id() })),
            Some(Err(TransactionError::Fatal { id: id(), cause })),
            None,
        ];
        for (aborted, expected) in attempts.into_iter().zip(expected) {
            let error = told(stopped(), may_be_open, aborted, "my id");
            let told = format!("{error:#}\n{}\n", hint(&error).unwrap_or_default());
            let mut parts = expected.split('*');
            let begins = parts.next().is_some_and(|begin| told.starts_with(begin));
            assert!(
                begins && parts.all(|part| told.contains(part)),
                "{expected}: {told}"
            );
        }
    }

    #[test]
    fn what_became_of_the_transaction_is_told_as_far_as_it_is_known() {
        check(
            || Stopped::Interrupted,
            false,
            ["interrupted: no transaction was open\n"; 4],
        );
        check(
            || Stopped::Interrupted,
            true,
            [
                "interrupted: the transaction was aborted\nklamm produce without --transactional-id",
                "interrupted: the producer of transactional id 'my id' was ended: *\nklamm transaction describe ",
                "interrupted: the transaction may stay open until its timeout (the producer *)\nklamm transaction abort 'my id' ",
                "interrupted: the transaction may stay open until its timeout\nklamm transaction abort 'my id' ends it sooner\n",
            ],
        );
        let unread = || Stopped::Failed(Hinted::error("cannot read x", "ls x"));
        check(unread, false, ["cannot read x\nls x\n"; 4]);
        check(
            unread,
            true,
            [
                "cannot read x\nls x\n",
                "cannot read x\nls x\n",
                "cannot read x; the transaction may stay open until its timeout (the producer *)\nls x\nklamm transaction abort",
                "cannot read x; the transaction may stay open until its timeout\nls x\nklamm transaction abort 'my id' ",
            ],
        );
        check(
            || Stopped::Failed(ProduceError::Aborted { because: None }.into()),
            true,
            [
                "the transaction of the record was aborted\n",
                "the producer of transactional id 'my id' was ended: *\nklamm transaction describe ",
                "the producer of transactional id 'my id' cannot go on: *; the transaction may stay open until its timeout\n*klamm transaction abort 'my id' ",
                "*; the transaction may stay open until its timeout\n*klamm transaction abort 'my id' ",
            ],
        );
    }
}
