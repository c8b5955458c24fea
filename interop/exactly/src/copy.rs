//! A group at work, described: three workers copy a topic, one is killed, another joins, and each input is copied once.
//!
//! Always holds: `klamm group describe` is asked while all of them work, and what it says of members, partitions and lags
//! must become right by itself; the copies are compared with the inputs by what a new reader finds at the end, and by the
//! books of the workers.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::crew::Plan;
use crate::describe::Group;
use crate::ledger::Ledger;
use crate::stage::{Stage, Topics};
use crate::verdict::{Verdict, unless};
use crate::{Protocol, Surroundings};

const PARTITIONS: i32 = 6;
const WORKERS: usize = 3;
/// Inputs a second.
const RATE: f64 = 150.0;
/// So many transactions prove that a worker works.
const PROOF: u32 = 3;
/// How long a group may take to share its partitions, with sessions and transactions of dead members to run out, on a broker that
/// has just begun and a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

/// What to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How the workers share the partitions.
    #[arg(long, value_enum)]
    protocol: Protocol,
}

pub(crate) fn run(surroundings: Surroundings, args: &Args) -> Result<ExitCode> {
    let seed = surroundings.seed.unwrap_or_else(draw_seed);
    println!("seed {seed}");
    let group = format!("copy-{}", args.protocol.name());
    let plan = Plan {
        task: "copy",
        group: group.clone(),
        source: format!("{group}-inputs"),
        protocol: args.protocol,
        seed,
        postings: 1,
        at_once: 10,
        pause: Duration::from_millis(100),
        statics: 0,
    };
    let topics = Topics {
        source: (plan.source.clone(), PARTITIONS),
        targets: vec![(format!("{group}-copied"), PARTITIONS)],
    };
    let mut stage = Stage::new(surroundings, topics, plan)?;
    let mut verdict = Verdict::default();
    work(&mut stage, &mut verdict)?;
    stage.audit()?;
    verdict.rules(&stage.ledger.history);
    verdict.say("all was looked at", &stage.ledger.unseen());
    let inputs = stage.ledger.fed.len();
    verdict.say(
        "every input is copied once, in order",
        &wrong_copies(&stage.ledger, &format!("{group}-copied")),
    );
    println!("{inputs} inputs, {:?}", stage.ledger.endings());
    stage.crew.counts.judge(&mut verdict);
    Ok(verdict.code())
}

/// Another one each time.
pub(crate) fn draw_seed() -> u64 {
    klamm_env::Env::real().random_u64() >> 32
}

fn work(stage: &mut Stage, verdict: &mut Verdict) -> Result<()> {
    stage.feed(RATE)?;
    stage.follow()?;
    let mut present: Vec<usize> = Vec::new();
    for _ in 0..WORKERS {
        present.push(stage.crew.hire(&mut stage.programs)?);
    }
    shared(stage, verdict, &present, "three share the work")?;

    // In the middle of a transaction: its records are written, its offsets perhaps, and nobody has asked for the commit.
    let victim = 1;
    stage.until("the victim is in a transaction", PATIENCE, |stage| {
        Ok(stage.crew.does(victim) == Some("pausing"))
    })?;
    stage.crew.kill(victim, None)?;
    let killed = Instant::now();
    println!("worker {victim} is killed");
    stage.show("one was killed")?;
    present.retain(|worker| *worker != victim);
    shared(stage, verdict, &present, "two take over")?;
    println!("{:?} after the kill two have everything", killed.elapsed());

    present.push(stage.crew.hire(&mut stage.programs)?);
    shared(stage, verdict, &present, "another one joins")?;

    stage.end_feeding()?;
    let done = stage.until_described("all is copied", PATIENCE, Group::is_at_the_end)?;
    stage.show("all is copied")?;
    let ends: i64 = done.offsets.iter().filter_map(|row| row.committed_offset).sum();
    let fed = stage.ledger.fed.len();
    let wrong = unless(i64::try_from(fed) == Ok(ends), || {
        format!("{ends} of {fed} inputs")
    });
    verdict.say("the group is where the inputs end", &wrong);
    stage.end_work()
}

/// Waits until these workers share everything and all of them commit, and says whether the lags are right.
fn shared(stage: &mut Stage, verdict: &mut Verdict, workers: &[usize], what: &str) -> Result<()> {
    let mut names: Vec<String> = workers.iter().map(|worker| stage.crew.name(*worker)).collect();
    names.sort_unstable();
    let begun: Vec<u32> = workers.iter().map(|worker| stage.crew.commits(*worker)).collect();
    // What is acknowledged now is there whenever the group is described from here on.
    let acknowledged = stage.ledger.acknowledged();
    let group = stage.until_described(what, PATIENCE, |group| group.is_shared_by(&names, PARTITIONS))?;
    stage.show(what)?;
    verdict.say(&format!("described: {what}"), &group.wrong_lags(&acknowledged));
    stage.until("all of them commit", PATIENCE, |stage| {
        let mut commits = workers
            .iter()
            .map(|worker| stage.crew.commits(*worker))
            .zip(&begun);
        Ok(commits.all(|(now, before)| now >= before + PROOF))
    })
}

/// What is not as if each input had been copied once and in order, by what the last reader found.
fn wrong_copies(ledger: &Ledger, topic: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for partition in 0..PARTITIONS {
        let found = ledger.at_the_end(topic);
        let found: Vec<&str> = found
            .filter(|seen| seen.place.partition == partition)
            .map(|seen| seen.record.as_str())
            .collect();
        let inputs = ledger.fed.range((partition, 0)..(partition + 1, 0));
        let expected: Vec<String> = inputs
            .map(|((_, offset), _)| format!("{partition}:{offset}"))
            .collect();
        if found.len() != expected.len() {
            wrong.push(format!(
                "partition {partition} has {} copies of {} inputs",
                found.len(),
                expected.len()
            ));
        }
        let pairs = found.iter().zip(&expected);
        wrong.extend(
            pairs
                .filter(|(found, expected)| *found != expected)
                .map(|(found, expected)| format!("{found} stands in place of {expected}")),
        );
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Entry, Said};

    fn ledger(copies: &[&str]) -> Ledger {
        let mut ledger = Ledger::default();
        let id = crate::programs::Id::of(1);
        ledger.add_reader(id, "the auditor");
        let said = |entry| Said { at: 0, entry };
        for offset in 0..3 {
            let value = "1 2 3".to_owned();
            let fed = Entry::Fed {
                partition: 2,
                offset,
                value,
            };
            ledger.enter(id, said(fed));
        }
        for (copy, offset) in copies.iter().zip(0..) {
            let saw = Entry::Saw {
                topic: "out".to_owned(),
                partition: 2,
                offset,
                transaction: "t".to_owned(),
                record: (*copy).to_owned(),
            };
            ledger.enter(id, said(saw));
        }
        ledger
    }

    #[test]
    fn copies_that_are_lost_doubled_or_out_of_order_are_wrong() {
        for (copies, is_wrong) in [
            (&["2:0", "2:1", "2:2"][..], false),
            (&["2:0", "2:1"], true),
            (&["2:0", "2:1", "2:1", "2:2"], true),
            (&["2:1", "2:0", "2:2"], true),
        ] {
            assert_eq!(
                !wrong_copies(&ledger(copies), "out").is_empty(),
                is_wrong,
                "{copies:?}"
            );
        }
    }
}
