//! `klamm consume TOPIC`: prints the records of a topic.
//!
//! Always holds: records of a partition are printed in the order of their offsets; what was printed is on its way before
//! the next records are waited for. Without `--from` only records that come from now on are printed.
//!
//! Next: `consume/place.rs` for where to begin and end, `consume/format.rs` for `-f`, `consume/json.rs` for `-o json`,
//! `consume/group.rs` for `--group`.

pub(super) mod escape;
mod format;
mod group;
mod json;
mod place;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};
use klamm_client::consumer::{Isolation, Reset};
use klamm_client::{Client, ClientError, Consumer, ConsumerConfig, Topic};
use klamm_model::{Offset, TopicPartition};
use klamm_records::Record;

use crate::connect::{Session, known_topic};
use crate::output::{Format, Output};

use format::Template;
use place::Place;

/// How long one wait for records is; then it is looked whether anybody still reads what is printed.
const WAIT: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(crate) struct ConsumeArgs {
    /// The topic
    topic: String,
    /// Where to begin: beginning, end, OFFSET, -N (the last N of each partition), @TIME (2026-11-21T09:30, UTC unless it
    /// says otherwise, as +01:00; or milliseconds)
    #[arg(long, value_name = "PLACE", default_value = "end", allow_hyphen_values = true, value_parser = place::parse)]
    from: Place,
    /// Where to end: end (as it is now), OFFSET, @TIME; default: never
    #[arg(long, value_name = "PLACE", value_parser = place::parse_end)]
    until: Option<Place>,
    /// End after this many records
    #[arg(short = 'n', long = "count", value_name = "COUNT")]
    count: Option<u64>,
    /// How a record is printed: %s value, %k key, %h headers, %t topic, %p partition, %o offset, %T time in ms,
    /// %S and %K lengths of value and key, %% percent; \n \t \r \\ \xNN
    #[arg(short, long, value_name = "FORMAT", default_value = "%s\\n", value_parser = format::parse)]
    format: Template,
    /// Only these partitions
    #[arg(short, long = "partition", value_name = "NUMBER", value_delimiter = ',')]
    partitions: Vec<i32>,
    /// As a member of this group, which shares the partitions and remembers what was printed; --from is then where a
    /// partition begins that the group has committed nothing for
    #[arg(short, long, value_name = "GROUP", conflicts_with = "partitions")]
    group: Option<String>,
    /// Which records of transactions are printed
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Level::ReadCommitted)]
    isolation: Level,
    /// The same as --isolation read-uncommitted
    #[arg(long, conflicts_with = "isolation")]
    read_uncommitted: bool,
}

/// Which records of transactions are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Those of committed transactions
    ReadCommitted,
    /// Those of open and of aborted ones too
    ReadUncommitted,
}

impl ConsumeArgs {
    fn isolation(&self) -> Isolation {
        match self.isolation {
            Level::ReadCommitted if !self.read_uncommitted => Isolation::ReadCommitted,
            Level::ReadCommitted | Level::ReadUncommitted => Isolation::ReadUncommitted,
        }
    }

    fn consumer(&self) -> ConsumerConfig {
        ConsumerConfig {
            isolation: self.isolation(),
            // What retention deleted meanwhile cannot be printed; the rest can.
            reset: Reset::Earliest,
            ..ConsumerConfig::default()
        }
    }
}

pub(crate) fn run(session: &Session, args: ConsumeArgs, out: &mut Output) -> anyhow::Result<()> {
    if args.count == Some(0) {
        return Ok(());
    }
    session.run(|client| async move {
        match &args.group {
            Some(group) => group::run(client, group, &args, out).await,
            None => consume(client, args, out).await,
        }
    })
}

async fn consume(client: Client, args: ConsumeArgs, out: &mut Output) -> anyhow::Result<()> {
    let topic = known_topic(&client, &args.topic).await?;
    let partitions = partitions(&topic, &args.partitions)?;
    let isolation = args.isolation();
    let begins = place::resolve(&client, &partitions, args.from, isolation).await?;
    let mut ends = match args.until {
        Some(until) => Some(place::resolve(&client, &partitions, until, isolation).await?),
        None => None,
    };
    let mut consumer = Consumer::new(client, args.consumer());
    consumer.assign(begins);
    let mut left = args.count.unwrap_or(u64::MAX);
    loop {
        if let Some(ends) = &mut ends {
            finish(&mut consumer, ends);
            if ends.is_empty() {
                return Ok(());
            }
        }
        let Some(fetched) = consumer.poll(WAIT).await? else {
            if out.is_abandoned() {
                return Ok(());
            }
            continue;
        };
        let end = ends
            .as_ref()
            .and_then(|ends| ends.get(&fetched.partition))
            .copied();
        for record in &fetched.records {
            if end.is_some_and(|end| record.offset >= end) {
                break;
            }
            print(&args.format, &fetched.partition, record, out)?;
            left -= 1;
            if left == 0 {
                return Ok(());
            }
        }
        out.flush()?;
    }
}

/// Stops reading the partitions that have reached their end.
fn finish(consumer: &mut Consumer, ends: &mut BTreeMap<TopicPartition, Offset>) {
    ends.retain(|partition, end| {
        let is_open = consumer
            .position(partition)
            .is_some_and(|position| position < *end);
        if !is_open {
            consumer.unassign(partition);
        }
        is_open
    });
}

/// The wanted partitions of a topic; all of them when none is named.
pub(super) fn partitions(topic: &Topic, wanted: &[i32]) -> anyhow::Result<Vec<TopicPartition>> {
    let partition = |index: i32| TopicPartition::new(topic.name.clone(), index);
    if wanted.is_empty() {
        return Ok(topic
            .partitions
            .iter()
            .map(|found| partition(found.index))
            .collect());
    }
    for index in wanted {
        if topic.partition(*index).is_none() {
            return Err(ClientError::UnknownPartition {
                topic: topic.name.to_string(),
                partition: *index,
                count: topic.partitions.len(),
            }
            .into());
        }
    }
    Ok(wanted.iter().map(|index| partition(*index)).collect())
}

fn print(
    template: &Template,
    partition: &TopicPartition,
    record: &Record,
    out: &mut Output,
) -> anyhow::Result<()> {
    match out.format() {
        Format::Table => Ok(template.write(partition, record, out.raw())?),
        Format::Json | Format::Yaml => out.show_one(&json::Shown::new(partition, record)),
    }
}
