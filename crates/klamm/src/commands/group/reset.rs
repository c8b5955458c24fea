//! `klamm group reset`: sets committed offsets.
//!
//! Always holds: what will be set is shown before it is set; nothing is set while the group has members, who would go on
//! from where they are and commit over it.
//!
//! Next: `target.rs` for where to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use clap::Args;
use klamm_client::Admin;
use klamm_client::consumer::{Isolation, OffsetSpec};
use klamm_model::{ErrorCode, Offset, TimestampMs, TopicPartition};
use serde::Serialize;

use super::target::{self, Bounds, Target};
use crate::commands::topic_choice::{self, TopicChoice, chosen};
use crate::commands::{ask, duration, time};
use crate::failure::{Hinted, of_refusal};
use crate::output::{Output, Show, Table, or_dash, printable};

#[derive(Args, Debug)]
pub(crate) struct ResetArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    name: String,
    /// Only this topic, or these partitions of it; default: all that the group has committed offsets for
    #[arg(short, long = "topic", value_name = "TOPIC[:PARTITION,...]", value_parser = topic_choice::parse)]
    topics: Vec<TopicChoice>,
    #[command(flatten)]
    target: TargetArgs,
    /// Only show what would be set
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// To the first record there is
    #[arg(long)]
    to_earliest: bool,
    /// To the end: only what comes from now on
    #[arg(long)]
    to_latest: bool,
    /// To the first record of this time or later: 2026-11-21T09:30 (UTC unless it says otherwise, as +01:00), or milliseconds
    #[arg(long, value_name = "TIME", value_parser = target::parse_time)]
    to_datetime: Option<TimestampMs>,
    /// To the first record that is at most so old (1d12h, 90m, PT90M)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    by_duration: Option<Duration>,
    /// By so many records, back when negative
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// To this offset
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
}

impl TargetArgs {
    fn target(&self) -> Target {
        let time = self.to_datetime.map(Target::Time);
        let ago = self.by_duration.map(Target::Ago);
        let shift = self.shift_by.map(Target::Shift);
        let offset = self.to_offset.map(|offset| Target::At(Offset(offset)));
        let chosen = time.or(ago).or(shift).or(offset);
        // One of the group is there, and no other.
        chosen.unwrap_or(match self.to_earliest {
            true => Target::Earliest,
            false => Target::Latest,
        })
    }
}

#[derive(Serialize)]
struct Row {
    topic: String,
    partition: i32,
    current_offset: Option<i64>,
    new_offset: i64,
    #[serde(skip)]
    wanted: i64,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl Show for Rows {
    fn tables(&self) -> Vec<Table> {
        let mut table = Table::new(&["TOPIC", "PARTITION", "CURRENT", "NEW"]);
        for row in &self.0 {
            table.row([
                row.topic.clone(),
                row.partition.to_string(),
                or_dash(row.current_offset),
                row.new_offset.to_string(),
            ]);
        }
        vec![table]
    }
}

pub(super) async fn run(admin: &Admin, args: ResetArgs, out: &mut Output) -> anyhow::Result<()> {
    let is_there = refuse_members(admin, &args.name).await?;
    // Twice asked, it would be another one.
    let time = args.target.target().time(admin.client().env().now());
    let rows = plan(admin, &args, time).await?;
    let offsets: BTreeMap<TopicPartition, Offset> = rows
        .iter()
        .map(|row| {
            let partition = TopicPartition::new(row.topic.as_str(), row.partition);
            (partition, Offset(row.new_offset))
        })
        .collect();
    if !is_there {
        note(&format!("group '{}' is not there yet", args.name));
    }
    if let Some(time) = time {
        note(&format!("to the first record of {} or later", time::format(time)));
    }
    tell_moved(&rows);
    out.show(&Rows(rows))?;
    out.flush()?;
    if args.dry_run {
        return Ok(());
    }
    if !args.yes {
        let count = match offsets.len() {
            1 => "one partition".to_owned(),
            count => format!("{count} partitions"),
        };
        ask::confirm(&format!("Set the offsets of group '{}' for {count}?", args.name))?;
    }
    set(admin, &args.name, &offsets).await
}

/// Whether the group is there: one that is not may get offsets before its first member comes.
async fn refuse_members(admin: &Admin, name: &str) -> anyhow::Result<bool> {
    match admin.describe_group(name).await? {
        Ok(group) if !group.members.is_empty() => Err(has_members(name)),
        Err(refusal) if refusal.code != ErrorCode::GroupIdNotFound => {
            let hint = of_refusal(refusal.code, None);
            Err(Hinted::error(
                format!("group '{}': {refusal}", printable(name)),
                hint,
            ))
        }
        described => Ok(described.is_ok()),
    }
}

fn has_members(name: &str) -> anyhow::Error {
    Hinted::error(
        format!(
            "group '{}' has members, who would commit over what is set: nothing was done",
            printable(name)
        ),
        of_refusal(ErrorCode::NonEmptyGroup, Some(name)),
    )
}

async fn plan(admin: &Admin, args: &ResetArgs, time: Option<TimestampMs>) -> anyhow::Result<Vec<Row>> {
    let committed = admin.group_offsets(&args.name).await?;
    let mut partitions: BTreeSet<TopicPartition> = chosen(admin, &args.topics).await?;
    if args.topics.is_empty() {
        partitions.extend(committed.keys().cloned());
    }
    if partitions.is_empty() {
        let message = format!("group '{}' has committed no offsets", printable(&args.name));
        let hint = "klamm group list shows the groups there are; --topic TOPIC names what to set";
        return Err(Hinted::error(message, hint));
    }
    let target = args.target.target();
    let bounds = bounds(admin, &partitions, time).await?;
    let mut rows = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let current = committed.get(&partition).map(|committed| committed.offset);
        let bounds = bounds.get(&partition).copied();
        let Some((wanted, new)) = bounds.and_then(|bounds| target.offset(current, bounds)) else {
            let message = format!(
                "{partition}: group '{}' has committed no offset to shift",
                printable(&args.name)
            );
            let hint = "--to-earliest, --to-latest, --to-offset and --to-datetime need none";
            return Err(Hinted::error(message, hint));
        };
        rows.push(Row {
            topic: partition.topic.to_string(),
            partition: partition.partition,
            current_offset: current.map(|offset| offset.0),
            new_offset: new.0,
            wanted: wanted.0,
        });
    }
    Ok(rows)
}

async fn bounds(
    admin: &Admin,
    partitions: &BTreeSet<TopicPartition>,
    time: Option<TimestampMs>,
) -> anyhow::Result<BTreeMap<TopicPartition, Bounds>> {
    let begins = ask_offsets(admin, partitions, OffsetSpec::Earliest).await?;
    let ends = ask_offsets(admin, partitions, OffsetSpec::Latest).await?;
    let times = match time {
        Some(time) => ask_offsets(admin, partitions, OffsetSpec::At(time)).await?,
        None => BTreeMap::new(),
    };
    let bounds = partitions.iter().filter_map(|partition| {
        let bounds = Bounds {
            begin: *begins.get(partition)?,
            end: *ends.get(partition)?,
            at_time: times.get(partition).copied(),
        };
        Some((partition.clone(), bounds))
    });
    Ok(bounds.collect())
}

async fn ask_offsets(
    admin: &Admin,
    partitions: &BTreeSet<TopicPartition>,
    spec: OffsetSpec,
) -> anyhow::Result<BTreeMap<TopicPartition, Offset>> {
    let asked: Vec<(TopicPartition, OffsetSpec)> = partitions
        .iter()
        .map(|partition| (partition.clone(), spec))
        .collect();
    let found = admin
        .client()
        .list_offsets(&asked, Isolation::ReadUncommitted)
        .await?;
    let found = found
        .into_iter()
        .filter_map(|(partition, at)| Some((partition, at.offset?)));
    Ok(found.collect())
}

/// Says which offsets are not those that were asked for.
fn tell_moved(rows: &[Row]) {
    for row in rows.iter().filter(|row| row.wanted != row.new_offset) {
        let (what, bound) = match row.wanted > row.new_offset {
            true => ("beyond the end", "the end"),
            false => ("before the first record", "the first"),
        };
        note(&format!(
            "{}-{}: offset {} is {what}: {bound} is taken, {}",
            row.topic, row.partition, row.wanted, row.new_offset
        ));
    }
}

/// Says something beside the data.
fn note(text: &str) {
    // When nobody can read it, that is no failure.
    let _ = writeln!(std::io::stderr(), "note: {}", printable(text));
}

async fn set(admin: &Admin, name: &str, offsets: &BTreeMap<TopicPartition, Offset>) -> anyhow::Result<()> {
    let results = admin.set_group_offsets(name, offsets).await?;
    let count = results.len();
    let failed = results
        .into_iter()
        .filter_map(|(partition, result)| Some((partition, result.err()?)));
    let failed: Vec<_> = failed.collect();
    let Some((partition, refusal)) = failed.first() else {
        return Ok(());
    };
    if refusal.code == ErrorCode::UnknownMemberId {
        return Err(has_members(name));
    }
    let message = format!(
        "{} of {count} offsets of group '{}' were not set; {partition}: {refusal}",
        failed.len(),
        printable(name)
    );
    Err(Hinted::error(
        message,
        of_refusal(refusal.code, Some(&partition.topic)),
    ))
}
