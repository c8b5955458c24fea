//! A bank of a hundred accounts: four workers move money in transactions, while they and the broker are killed at random.
//!
//! Always holds: one transfer is two postings, in partitions of their accounts, and a note in another topic that it was
//! applied; they and the offset of the input are in one transaction. So a transfer that is lost, doubled or half there
//! changes a sum, whoever's books are wrong. A follower reads meanwhile, a new reader at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use klamm_env::sim::SeededRng;

use crate::copy::draw_seed;
use crate::crew::Plan;
use crate::describe::Group;
use crate::ledger::Ledger;
use crate::stage::{Stage, Topics};
use crate::verdict::{Verdict, unless};
use crate::{Protocol, Surroundings};

const ACCOUNTS: i64 = 100;
/// What each account begins with.
const OPENING: i64 = 1_000;
const WORKERS: usize = 4;
/// Of the topic of transfers, and of that of postings.
const PARTITIONS: i32 = 8;
const POSTINGS: i32 = 6;
/// Transfers a second.
const RATE: f64 = 150.0;
/// One of so many is stopped in place of being killed.
const STOPS: u64 = 8;
/// In so many seconds at least one is, if not by chance then in the second half.
const STOPS_FROM: u64 = 30;
/// How long it may take until all work, and until all work is done.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is said how far they are.
const SAY: Duration = Duration::from_secs(5);

/// What to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How the workers share the partitions.
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// How long workers and broker are killed.
    #[arg(long, env = "KLAMM_BANK_SECONDS")]
    seconds: u64,
    /// Only the workers are killed.
    #[arg(long)]
    spare_the_broker: bool,
}

pub(crate) fn run(surroundings: Surroundings, args: &Args) -> Result<ExitCode> {
    let seed = surroundings.seed.unwrap_or_else(draw_seed);
    println!("seed {seed}");
    // Both protocols may play on one broker.
    let group = format!("bank-{}", args.protocol.name());
    let (postings, applied) = (format!("{group}-postings"), format!("{group}-applied"));
    let plan = Plan {
        task: "transfer",
        group: group.clone(),
        source: format!("{group}-transfers"),
        protocol: args.protocol,
        seed,
        postings: POSTINGS,
        at_once: 10,
        pause: Duration::from_millis(10),
        statics: statics(args.protocol),
    };
    let topics = Topics {
        source: (plan.source.clone(), PARTITIONS),
        targets: vec![(postings.clone(), POSTINGS), (applied.clone(), PARTITIONS)],
    };
    let mut stage = Stage::new(surroundings, topics, plan)?;
    stage.feed(RATE)?;
    stage.follow()?;
    for _ in 0..WORKERS {
        stage.crew.hire(&mut stage.programs)?;
    }
    stage.until("each of them commits", PATIENCE, |stage| {
        Ok((0..WORKERS).all(|worker| stage.crew.commits(worker) > 0))
    })?;
    let deaths = kill(&mut stage, seed, args)?;
    drain(&mut stage)?;
    if !args.spare_the_broker {
        // Whatever was answered is there in the next life.
        stage.kill_broker(Duration::ZERO)?;
        stage.until("the broker comes back", PATIENCE, |stage| {
            Ok(!stage.is_broker_down)
        })?;
    }
    stage.audit()?;
    let mut verdict = Verdict::default();
    verdict.rules(&stage.ledger.history);
    verdict.say("all was looked at", &stage.ledger.unseen());
    judge_books(&stage.ledger, &postings, &applied, &mut verdict);
    judge_lives(&stage, deaths, args, &mut verdict);
    Ok(verdict.code())
}

/// How many of the workers are static members. In the classic protocol all of them, whose next lives take over what they had: else
/// nobody would work while a member that died is waited for. In the consumer protocol the others work on, and a name is only given
/// to the next life when the session of the last one has run out.
fn statics(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::Classic => WORKERS as u32,
        Protocol::Consumer => 0,
    }
}

/// When the next one dies.
struct Fate {
    rng: SeededRng,
    worker: Instant,
    /// It is only stopped.
    stops: bool,
    broker: Option<Instant>,
}

impl Fate {
    fn draw(&self, from_ms: u64, to_ms: u64) -> Duration {
        Duration::from_millis(from_ms + self.rng.below(to_ms - from_ms))
    }

    fn choose(&self, workers: &[usize]) -> Option<usize> {
        let count = workers.len() as u64;
        (count > 0).then(|| workers[self.rng.below(count) as usize])
    }
}

/// Kills workers and broker for the time; how often the broker died.
fn kill(stage: &mut Stage, seed: u64, args: &Args) -> Result<u32> {
    let (begun, mut said, mut deaths) = (Instant::now(), Instant::now(), 0);
    let mut fate = Fate {
        rng: SeededRng::new(seed, "bank"),
        worker: begun,
        stops: false,
        broker: None,
    };
    fate.worker = begun + fate.draw(300, 2_000);
    fate.broker = (!args.spare_the_broker).then(|| begun + fate.draw(2_000, 6_000));
    let time = Duration::from_secs(args.seconds);
    while begun.elapsed() < time {
        stage.turn()?;
        let now = Instant::now();
        if now >= fate.worker {
            let is_due = begun.elapsed() * 2 > time && stage.crew.counts.stopped == 0;
            if strike(stage, &fate, fate.stops || is_due)? {
                fate.worker = now + fate.draw(300, 2_500);
                fate.stops = fate.rng.one_in(STOPS);
            }
        }
        if fate.broker.is_some_and(|broker| now >= broker) && !stage.is_broker_down {
            // A moment, or long enough for clients to notice that nobody is there.
            stage.kill_broker(fate.draw(0, 3_000))?;
            deaths += 1;
            fate.broker = Some(now + fate.draw(6_000, 12_000));
        }
        if said.elapsed() > SAY {
            said = Instant::now();
            let (seconds, fed, endings) = (
                begun.elapsed().as_secs(),
                stage.ledger.fed.len(),
                stage.ledger.endings(),
            );
            println!("{seconds} s: {fed} transfers, {endings:?}, the broker died {deaths} times");
        }
    }
    Ok(deaths)
}

/// Stops or kills a worker; whether it was the moment for it. Who is stopped is no victim before it has gone on.
fn strike(stage: &mut Stage, fate: &Fate, stops: bool) -> Result<bool> {
    let crew = &mut stage.crew;
    if stops {
        if let Some(victim) = fate.choose(&crew.awake(false)) {
            // Its session runs out and others go on with its part: when it wakes up it must not get through.
            crew.stop(victim, fate.draw(6_500, 9_000))?;
        }
        return Ok(true);
    }
    // Until somebody was killed in a transaction, as far as is heard, only who is in one is.
    let is_picky = crew.counts.killed_in_transactions == 0;
    let Some(victim) = fate.choose(&crew.awake(is_picky)) else {
        return Ok(!is_picky);
    };
    crew.kill(victim, Some(fate.draw(0, 1_500)))?;
    Ok(true)
}

/// Nobody is killed any more: all is applied, and all come to their end.
fn drain(stage: &mut Stage) -> Result<()> {
    stage.until("the broker comes back", PATIENCE, |stage| {
        Ok(!stage.is_broker_down)
    })?;
    stage.end_feeding()?;
    stage.until("all workers are there again", PATIENCE, |stage| {
        Ok(stage.crew.are_all_there())
    })?;
    stage.until_described("all is applied", PATIENCE, Group::is_at_the_end)?;
    stage.show("all is applied")?;
    stage.end_work()
}

/// Whether the money is where the transfers say.
fn judge_books(ledger: &Ledger, postings: &str, applied: &str, verdict: &mut Verdict) {
    let balances = balances(ledger, postings);
    match &balances {
        Ok(balances) => {
            let total: i64 = balances.values().sum();
            let wrong = unless(total == ACCOUNTS * OPENING, || {
                format!("{total}, not {}", ACCOUNTS * OPENING)
            });
            verdict.say("the total is conserved", &wrong);
            verdict.say(
                "each account has what the transfers say",
                &wrong_accounts(ledger, balances),
            );
        }
        Err(error) => verdict.say("the total is conserved", &[format!("{error:#}")]),
    }
    verdict.say("every transfer is applied once", &wrong_applied(ledger, applied));
}

/// Whether all of it happened while workers and the broker were killed.
fn judge_lives(stage: &Stage, deaths: u32, args: &Args, verdict: &mut Verdict) {
    let (ledger, counts) = (&stage.ledger, &stage.crew.counts);
    let endings = ledger.endings();
    println!(
        "{} transfers; {endings:?}; workers killed {}, of these in transactions {}; stopped {}, of these went on {}; the broker died {deaths} times",
        ledger.fed.len(),
        counts.killed,
        counts.killed_in_transactions,
        counts.stopped,
        counts.went_on
    );
    counts.judge(verdict);
    let least = u32::try_from(args.seconds / 5).unwrap_or(u32::MAX);
    let is_lively = counts.killed >= least && counts.killed_in_transactions > 0 && endings.committed > 0;
    let wrong = unless(is_lively, || format!("{counts:?}, {endings:?}"));
    verdict.say("workers were killed in transactions", &wrong);
    if args.seconds >= STOPS_FROM {
        let wrong = unless(counts.went_on > 0, || format!("{counts:?}"));
        verdict.say("a stopped worker went on", &wrong);
    }
    let wrong = unless(args.spare_the_broker || deaths > 0, || "it lived on".to_owned());
    verdict.say("the broker was killed", &wrong);
}

/// What the accounts have, by the postings that the last reader found.
fn balances(ledger: &Ledger, topic: &str) -> Result<BTreeMap<i64, i64>> {
    let mut balances: BTreeMap<i64, i64> = (0..ACCOUNTS).map(|account| (account, OPENING)).collect();
    for seen in ledger.at_the_end(topic) {
        let mut words = seen.record.split(' ').skip(1);
        let (account, change) = words
            .next()
            .zip(words.next())
            .context("a posting of other words")?;
        let account = balances
            .get_mut(&account.parse::<i64>()?)
            .context("a posting of no account")?;
        *account += change.parse::<i64>()?;
    }
    Ok(balances)
}

/// The accounts that do not have what the inputs alone say.
fn wrong_accounts(ledger: &Ledger, balances: &BTreeMap<i64, i64>) -> Vec<String> {
    let mut expected: BTreeMap<i64, i64> = (0..ACCOUNTS).map(|account| (account, OPENING)).collect();
    for value in ledger.fed.values() {
        let numbers: Vec<i64> = value.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [giver, taker, amount] = numbers[..] else {
            return vec![format!("'{value}' is no transfer")];
        };
        *expected.entry(giver).or_default() -= amount;
        *expected.entry(taker).or_default() += amount;
    }
    let pairs = expected
        .into_iter()
        .map(|(account, has)| (account, has, balances.get(&account)));
    pairs
        .filter(|(_, has, found)| *found != Some(has))
        .map(|(account, has, found)| format!("account {account} has {found:?}, not {has}"))
        .collect()
}

/// The transfers that were not applied once, by the notes that the last reader found.
fn wrong_applied(ledger: &Ledger, topic: &str) -> Vec<String> {
    let mut left: BTreeSet<String> = ledger
        .fed
        .keys()
        .map(|(partition, offset)| format!("{partition}:{offset}"))
        .collect();
    let notes = ledger.at_the_end(topic);
    let mut wrong: Vec<String> = notes
        .filter(|seen| !left.remove(&seen.record))
        .map(|seen| format!("{} was applied twice, or is no transfer", seen.record))
        .collect();
    wrong.extend(left.into_iter().map(|input| format!("{input} was not applied")));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Entry, Said};
    use crate::programs::Id;

    /// One transfer of 30 from account 1 to account 2, and what is found of it.
    fn ledger(found: &[(&str, &str)]) -> Ledger {
        let mut ledger = Ledger::default();
        let id = Id::of(1);
        ledger.add_reader(id, "the auditor");
        let fed = Entry::Fed {
            partition: 0,
            offset: 0,
            value: "1 2 30".to_owned(),
        };
        ledger.enter(id, Said { at: 0, entry: fed });
        for ((topic, record), offset) in found.iter().zip(0..) {
            let entry = Entry::Saw {
                topic: (*topic).to_owned(),
                partition: 0,
                offset,
                transaction: "t".to_owned(),
                record: (*record).to_owned(),
            };
            ledger.enter(id, Said { at: 0, entry });
        }
        ledger
    }

    #[test]
    fn a_transfer_that_is_lost_doubled_or_half_there_shows() {
        let (giver, taker, note) = (
            ("postings", "0:0 1 -30"),
            ("postings", "0:0 2 +30"),
            ("applied", "0:0"),
        );
        for (found, is_conserved, is_right, is_applied) in [
            (&[giver, taker, note][..], true, true, true),
            (&[], true, false, false),
            (&[giver, note], false, false, true),
            (&[giver, taker], true, true, false),
            (&[giver, taker, note, giver, taker, note], true, false, false),
        ] {
            let ledger = ledger(found);
            let balances = balances(&ledger, "postings").unwrap();
            let total: i64 = balances.values().sum();
            assert_eq!(total == ACCOUNTS * OPENING, is_conserved, "{found:?}");
            assert_eq!(
                wrong_accounts(&ledger, &balances).is_empty(),
                is_right,
                "{found:?}"
            );
            assert_eq!(
                wrong_applied(&ledger, "applied").is_empty(),
                is_applied,
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_posting_of_no_account_is_an_error() {
        assert!(balances(&ledger(&[("postings", "0:0 100 -30")]), "postings").is_err());
        assert!(balances(&ledger(&[("postings", "0:0")]), "postings").is_err());
    }
}
