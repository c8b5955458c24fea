//! `klamm transaction abort`: by transactional id, or in one partition.
//!
//! Always holds: by its id, a transaction is ended by its coordinator, everywhere, and its producer is ended with it; that it was
//! aborted is not said, because the producer may have been quicker and committed it. In a partition, one is ended that no coordinator
//! will end; one that a coordinator knows is left to it.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{ArgGroup, Args};
use klamm_client::admin::transactions::{ActiveProducer, TransactionDescription};
use klamm_client::{Admin, Refusal};
use klamm_model::{ErrorCode, ProducerEpoch, ProducerId, TopicPartition};

use super::state::State;
use super::unknown_id;
use crate::commands::ask;
use crate::commands::outcome::{Outcome, Outcomes};
use crate::commands::several::once_each;
use crate::connect::known_topic;
use crate::failure::{Hinted, of_refusal};
use crate::output::{Output, argument, printable};

/// The timeout that an id is given when its producer is ended: the least there is. Nothing is open under it, and the next producer
/// brings its own; that of the last one may be longer than the cluster allows by now, which would be refused just where a transaction
/// is open for too long.
const TIMEOUT: Duration = Duration::from_millis(1);

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("which").args(["start_offset", "producer_id"]))]
pub(crate) struct AbortArgs {
    /// The transactional ids; a producer with an open transaction ends too
    #[arg(
        value_name = "TRANSACTIONAL_ID",
        required_unless_present = "topic",
        conflicts_with = "topic"
    )]
    ids: Vec<String>,
    /// In a partition of this topic instead: a transaction that klamm transaction find-hanging has found
    #[arg(short, long, value_name = "TOPIC", requires = "partition", requires = "which")]
    topic: Option<String>,
    /// In this partition
    #[arg(short, long, value_name = "NUMBER", requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// The one that begins at this offset
    #[arg(long, value_name = "OFFSET", requires = "topic", value_parser = clap::value_parser!(i64).range(0..))]
    start_offset: Option<i64>,
    /// The one of this producer, without looking whether it is open or known to a coordinator; for brokers before Kafka 3.0
    #[arg(long, value_name = "NUMBER", requires = "topic", requires = "producer_epoch")]
    producer_id: Option<i64>,
    /// The epoch of the producer
    #[arg(long, value_name = "NUMBER", requires = "producer_id")]
    producer_epoch: Option<i16>,
    /// The epoch of the coordinator that last ended a transaction of the producer
    #[arg(long, value_name = "NUMBER", requires = "producer_id")]
    coordinator_epoch: Option<i32>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(admin: &Admin, args: AbortArgs, out: &mut Output) -> anyhow::Result<()> {
    match (&args.topic, args.partition) {
        (Some(topic), Some(partition)) => in_partition(admin, topic, partition, &args, out).await,
        _ => by_id(admin, &args, out).await,
    }
}

/// What is to be done about a transactional id in this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Abort,
    /// Nothing is to be done, for this reason.
    Nothing(&'static str),
    TooLate,
}

fn plan(state: Option<State>) -> Plan {
    match state {
        // A state that is not known here is for the coordinator to judge.
        Some(State::Ongoing) | None => Plan::Abort,
        Some(State::PrepareAbort | State::PrepareEpochFence) => Plan::Nothing("being aborted already"),
        Some(State::PrepareCommit) => Plan::TooLate,
        Some(State::Empty | State::CompleteCommit | State::CompleteAbort | State::Dead) => {
            Plan::Nothing("nothing is open")
        }
    }
}

async fn by_id(admin: &Admin, args: &AbortArgs, out: &mut Output) -> anyhow::Result<()> {
    let ids = once_each(&args.ids);
    if !args.yes {
        ask::confirm(&question(&ids))?;
    }
    let mut outcomes = Vec::new();
    for id in &ids {
        let outcome = match admin.describe_transaction(id).await {
            Ok(Ok(found)) => end(admin, &found).await,
            // With one id, the nearest known one is named.
            Ok(Err(refusal)) if ids.len() == 1 && refusal.code == ErrorCode::TransactionalIdNotFound => {
                return Err(unknown_id(admin, id).await);
            }
            answer => Outcome::of_answer(id, "ended", answer.map(|said| said.map(drop))),
        };
        outcomes.push(outcome);
    }
    Outcomes::of("transaction", outcomes).show("ended", out)
}

/// Ends what a transactional id has open.
async fn end(admin: &Admin, found: &TransactionDescription) -> Outcome {
    let id = found.id.as_str();
    match plan(State::named(&found.state)) {
        Plan::Abort => {
            let fenced = admin.fence_transactional_id(id, TIMEOUT).await;
            Outcome::of_answer(id, "ended", fenced)
        }
        Plan::Nothing(why) => Outcome::new(id, why, Ok(())),
        Plan::TooLate => {
            let message = Some("it is being committed".to_owned());
            let code = ErrorCode::ConcurrentTransactions;
            Outcome::new(id, "ended", Err(Refusal { code, message }))
        }
    }
}

fn question(ids: &[&str]) -> String {
    match ids {
        [id] => format!(
            "Abort the transaction that '{id}' has open, if it has one, and end the producer with it?"
        ),
        ids => format!(
            "Abort the transactions that {} transactional ids have open, and end the producers with them?",
            ids.len()
        ),
    }
}

async fn in_partition(
    admin: &Admin,
    topic: &str,
    partition: i32,
    args: &AbortArgs,
    out: &mut Output,
) -> anyhow::Result<()> {
    let topic = known_topic(admin.client(), topic).await?;
    let mut found = crate::commands::consume::partitions(&topic, &[partition])?;
    let partition = found.pop().expect("the one that was asked for");
    let (producer, epoch, coordinator_epoch) = match (args.producer_id, args.producer_epoch) {
        (Some(id), Some(epoch)) => (ProducerId(id), ProducerEpoch(epoch), args.coordinator_epoch),
        _ => {
            let found = open_from(admin, &partition, args.start_offset.unwrap_or_default()).await?;
            refuse_known(admin, &partition, found.id).await?;
            (found.id, found.epoch, found.coordinator_epoch)
        }
    };
    if !args.yes {
        ask::confirm(&format!(
            "Abort the transaction of producer {} (epoch {}) in {partition}?",
            producer.0, epoch.0
        ))?;
    }
    let name = (producer, epoch);
    let ended = admin
        .abort_in_partition(&partition, name, coordinator_epoch)
        .await?;
    let outcome = Outcome::new(partition.to_string(), "aborted", ended);
    Outcomes::of("transaction", vec![outcome]).show("aborted", out)
}

/// The producer whose transaction begins at `offset`.
async fn open_from(admin: &Admin, partition: &TopicPartition, offset: i64) -> anyhow::Result<ActiveProducer> {
    let asked = [partition.clone()];
    let mut described = admin.describe_producers(&asked).await?;
    let producers = match described.remove(partition) {
        Some(Ok(producers)) => producers,
        Some(Err(refusal)) => {
            let hint = of_refusal(refusal.code, Some(&partition.topic));
            return Err(Hinted::error(format!("{partition}: {refusal}"), hint));
        }
        None => Vec::new(),
    };
    let open = |producer: &ActiveProducer| producer.open_from.map(|offset| offset.0);
    if let Some(found) = producers.iter().find(|producer| open(producer) == Some(offset)) {
        return Ok(found.clone());
    }
    let others: Vec<String> = producers
        .iter()
        .filter_map(open)
        .map(|offset| offset.to_string())
        .collect();
    let hint = match others.is_empty() {
        true => format!(
            "none is open there; klamm transaction find-hanging -t {} shows those that hang",
            partition.topic
        ),
        false => format!(
            "those that are open there begin at {}; klamm transaction find-hanging -t {} shows those that hang",
            others.join(", "),
            partition.topic
        ),
    };
    let message = format!("no transaction that is open in {partition} begins at offset {offset}");
    Err(Hinted::error(message, hint))
}

/// Refuses what a coordinator will end: ended here alone, it would be half aborted.
async fn refuse_known(admin: &Admin, partition: &TopicPartition, producer: ProducerId) -> anyhow::Result<()> {
    let known = admin.transactions_of(BTreeSet::from([producer])).await?;
    let known = known
        .into_values()
        .find(|known| known.partitions.contains(partition));
    match known {
        None => Ok(()),
        Some(known) => Err(left_to_coordinator(&known.id)),
    }
}

fn left_to_coordinator(id: &str) -> anyhow::Error {
    Hinted::error(
        format!(
            "this is the transaction of '{}', which its coordinator will end: nothing was done",
            printable(id)
        ),
        format!("klamm transaction abort {} aborts it everywhere", argument(id)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::hint;

    #[test]
    fn an_id_that_somebody_else_chose_makes_no_line_of_its_own() {
        let error = left_to_coordinator("pay\n  klamm group delete -y billing");
        let told = r"transaction of 'pay\n  klamm group delete -y billing', which";
        assert!(error.to_string().contains(told), "{error}");
        let hint = hint(&error).unwrap();
        let argument = r"klamm transaction abort $'pay\u000a  klamm group delete -y billing' aborts";
        assert!(hint.starts_with(argument), "{hint}");
    }

    #[test]
    fn only_what_is_open_is_aborted() {
        let nothing = Plan::Nothing("nothing is open");
        let aborting = Plan::Nothing("being aborted already");
        let cases = [
            ("Ongoing", Plan::Abort),
            ("Empty", nothing),
            ("CompleteCommit", nothing),
            ("CompleteAbort", nothing),
            ("Dead", nothing),
            ("PrepareAbort", aborting),
            ("PrepareEpochFence", aborting),
            ("PrepareCommit", Plan::TooLate),
            ("Something new", Plan::Abort),
        ];
        for (state, expected) in cases {
            assert_eq!(plan(State::named(state)), expected, "{state}");
        }
    }
}
