//! `klamm consume --group`: as a member of a group, from where the group is.
//!
//! Always holds: what was printed is sent off before its offset is committed, so that a record is printed again rather than
//! lost; SIGINT and SIGTERM end it in order, with what was printed committed and the group left.

use std::collections::BTreeMap;

use anyhow::Context;
use klamm_client::consumer::{Fetched, OffsetSpec};
use klamm_client::{Client, GroupConfig, GroupConsumer};
use klamm_env::real;
use klamm_model::{Offset, TopicPartition};

use super::place::Place;
use super::{ConsumeArgs, WAIT, partitions, place, print};
use crate::connect::known_topic;
use crate::failure::Hinted;
use crate::output::Output;

/// How much is printed still, and where it ends.
struct Rest {
    count: u64,
    ends: Option<BTreeMap<TopicPartition, Offset>>,
}

pub(super) async fn run(
    client: Client,
    group: &str,
    args: &ConsumeArgs,
    out: &mut Output,
) -> anyhow::Result<()> {
    let mut signals = real::signals().context("cannot wait for signals")?;
    let topic = known_topic(&client, &args.topic).await?;
    let mut rest = Rest {
        count: args.count.unwrap_or(u64::MAX),
        ends: None,
    };
    if let Some(until) = args.until {
        let all = partitions(&topic, &[])?;
        rest.ends = Some(place::resolve(&client, &all, until, args.isolation()).await?);
    }
    let config = GroupConfig {
        start: start(args.from)?,
        consumer: args.consumer(),
        ..GroupConfig::new(group, vec![topic.name.to_string()])
    };
    let mut member = GroupConsumer::new(client, config).await?;
    let result = loop {
        tokio::select! {
            biased;
            _ = signals.next() => break Ok(()),
            fetched = member.poll(WAIT) => match fetched {
                Err(error) => break Err(error.into()),
                Ok(fetched) => match take(&mut member, fetched, &mut rest, args, out) {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(error) => break Err(error),
                },
            },
        }
    };
    // A second signal does not wait for a coordinator that does not answer.
    tokio::select! {
        left = member.leave() => result.and(left.map_err(Into::into)),
        _ = signals.next() => result,
    }
}

/// Where partitions begin for which the group has committed nothing.
fn start(from: Place) -> anyhow::Result<OffsetSpec> {
    match from {
        Place::Beginning => Ok(OffsetSpec::Earliest),
        Place::End => Ok(OffsetSpec::Latest),
        Place::Time(time) => Ok(OffsetSpec::At(time)),
        Place::At(_) | Place::Last(_) => Err(Hinted::error(
            "a group goes on from where it is: --from says only where it begins, as beginning, end or @TIME",
            "klamm group reset GROUP --to-offset OFFSET moves a group",
        )),
    }
}

/// Prints what came; whether there may be more to print.
fn take(
    member: &mut GroupConsumer,
    fetched: Option<Fetched>,
    rest: &mut Rest,
    args: &ConsumeArgs,
    out: &mut Output,
) -> anyhow::Result<bool> {
    let Some(fetched) = fetched else {
        return Ok(!out.is_abandoned() && !is_done(member, rest));
    };
    let partition = &fetched.partition;
    let end = rest.ends.as_ref().and_then(|ends| ends.get(partition)).copied();
    // Of a batch that holds no more than markers, or is read to its end.
    let mut next = member.position(partition);
    for record in &fetched.records {
        if rest.count == 0 || end.is_some_and(|end| record.offset >= end) {
            next = Some(record.offset);
            break;
        }
        print(&args.format, partition, record, out)?;
        rest.count -= 1;
    }
    out.flush()?;
    if let Some(next) = next {
        member.processed(partition, next);
        if end.is_some_and(|end| next >= end) {
            member.pause(partition);
        }
    }
    Ok(rest.count > 0 && !is_done(member, rest))
}

/// Whether all partitions that the member has are read to their end. One that has none stands by for others that leave.
fn is_done(member: &GroupConsumer, rest: &Rest) -> bool {
    let (Some(ends), Some(assignment)) = (&rest.ends, member.assignment()) else {
        return false;
    };
    !assignment.is_empty()
        && member.is_settled()
        && assignment.iter().all(|partition| {
            let (position, end) = (member.position(partition), ends.get(partition));
            // One that is read no more is at its end; one that is new has none.
            position.is_none_or(|position| end.is_none_or(|end| position >= *end))
        })
}
