//! `klamm consume --group`: as a member of a group, from where the group is.
//!
//! Always holds: what was printed is sent off before its offset is committed, so that a record is printed again rather than
//! lost; SIGINT and SIGTERM end it in order, with what was sent off committed and the group left, also while whoever reads it keeps
//! it waiting. Exit code 0 means that it is committed: whoever does not wait for that, with a second signal, is told.

use std::collections::BTreeMap;

use anyhow::Context;
use klamm_client::consumer::{Fetched, OffsetSpec};
use klamm_client::{Client, GroupConfig, GroupConsumer};
use klamm_env::real;
use klamm_model::{Offset, TopicPartition};

use super::place::Place;
use super::{ConsumeArgs, WAIT, partitions, place, print};
use crate::connect::known_topic;
use crate::failure::{Hinted, Interrupted, is_broken_pipe};
use crate::output::{Output, argument};

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
    out.hold()?;
    let mut member = GroupConsumer::new(client, config).await?;
    let result = loop {
        let fetched = tokio::select! {
            biased;
            _ = signals.next() => break Ok(()),
            fetched = member.poll(WAIT) => fetched,
        };
        let shown = match fetched {
            Err(error) => break Err(error.into()),
            Ok(fetched) => fetched.map(|fetched| show(&member, &fetched, &mut rest, args, out)),
        };
        let shown = match shown.transpose() {
            Err(error) => break Err(error),
            Ok(shown) => shown,
        };
        let sent = tokio::select! {
            biased;
            sent = out.send() => sent,
            signal = signals.next() => Err(Interrupted(signal).into()),
        };
        if let Err(error) = sent {
            break Err(error);
        }
        if let Some(shown) = shown {
            shown.settle(&mut member);
        } else if out.is_abandoned() {
            break Ok(());
        }
        if rest.count == 0 || is_done(&member, &rest) {
            break Ok(());
        }
    };
    // A second signal does not wait for a coordinator that does not answer.
    let left = tokio::select! {
        left = member.leave() => left.map_err(Into::into),
        _ = signals.next() => Err(uncommitted(group)),
    };
    ended(result, left)
}

/// What went wrong first, if anything did. That nobody reads any more, or that a signal came, is nothing that went wrong.
fn ended(result: anyhow::Result<()>, left: anyhow::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if !is_broken_pipe(&error) && !error.is::<Interrupted>() => Err(error),
        result => left.and(result),
    }
}

fn uncommitted(group: &str) -> anyhow::Error {
    Hinted::error(
        "interrupted: what was printed last may be printed again, since nobody waited until it was committed",
        format!("klamm group describe {} shows what is committed", argument(group)),
    )
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

/// How far a partition was shown.
struct Shown {
    partition: TopicPartition,
    next: Option<Offset>,
    /// Nothing more of it is wanted.
    is_last: bool,
}

impl Shown {
    /// It was sent off.
    fn settle(self, member: &mut GroupConsumer) {
        let Some(next) = self.next else {
            return;
        };
        member.processed(&self.partition, next);
        if self.is_last {
            member.pause(&self.partition);
        }
    }
}

/// Shows what came.
fn show(
    member: &GroupConsumer,
    fetched: &Fetched,
    rest: &mut Rest,
    args: &ConsumeArgs,
    out: &mut Output,
) -> anyhow::Result<Shown> {
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
    Ok(Shown {
        partition: partition.clone(),
        next,
        is_last: next.zip(end).is_some_and(|(next, end)| next >= end),
    })
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

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use klamm_env::real::Stop;

    use super::*;

    #[test]
    fn what_is_not_committed_is_told_unless_something_went_wrong_before() {
        let gone = || Err(Error::from(ErrorKind::BrokenPipe).into());
        let failed = || Err(anyhow::anyhow!("failed"));
        let stopped = || Err(Interrupted(Stop::Interrupt).into());
        let left = || Err(uncommitted("my group"));
        let cases = [
            (Ok(()), Ok(()), "done"),
            (Ok(()), left(), "interrupted: what was printed last"),
            (gone(), left(), "interrupted: what was printed last"),
            (failed(), left(), "failed"),
            (failed(), Ok(()), "failed"),
            (gone(), Ok(()), "broken pipe"),
            (stopped(), left(), "interrupted: what was printed last"),
            (stopped(), failed(), "failed"),
            (stopped(), Ok(()), "interrupted"),
        ];
        for (place, (result, left, expected)) in cases.into_iter().enumerate() {
            let told = match ended(result, left) {
                Ok(()) => "done".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(told.starts_with(expected), "{place}: {told}");
        }
    }
}
