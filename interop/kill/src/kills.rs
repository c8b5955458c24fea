//! The proof: eight idempotent producers, a broker that dies again and again, and books that must agree at the end.
//!
//! Always holds: the broker is killed by the harness, which this program asks with a line `kill` and which answers `again`
//! when the next life has begun; a client learns of it only by its connection. What was sent is sent until it is
//! acknowledged, so at the end nothing is open.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use klamm_env::{Env, Task};
use klamm_sim::checkers::{self, Counts};
use klamm_sim::observer::{self, Subject};
use klamm_sim::producer::{self, Plan};
use klamm_sim::topics::{self, NewTopic};
use klamm_sim::wire::Address;
use klamm_sim::{Books, History, Places, Violation};

use crate::schedule::{self, Kill};

/// Producers, each with five requests in flight; their names give them different codecs.
const PRODUCERS: u32 = 8;
/// Readers that follow all partitions.
const OBSERVERS: u32 = 2;
/// Records in a batch, at most.
const BATCH_RECORDS: u32 = 8;
/// The longest pause of a producer before a request.
const PAUSE: Duration = Duration::from_millis(8);
/// How long the broker may take to acknowledge something again, and the clients to come to their end.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether something was acknowledged.
const LOOK: Duration = Duration::from_millis(2);
/// Breaches of a rule that are shown.
const SHOWN: usize = 5;

/// What to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often the broker is killed.
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// What draws the moments; by default another one each time.
    #[arg(long, env = "KLAMM_SEED")]
    seed: Option<u64>,
    /// A topic, by its configs (repeatable): KEY=VALUE, several with commas between, or nothing.
    #[arg(long = "topic", value_name = "CONFIGS")]
    topics: Vec<String>,
    /// A rule that the broker is known to break, which is not judged (repeatable).
    #[arg(long, value_name = "RULE")]
    except: Vec<String>,
    /// Partitions of each topic.
    #[arg(long, default_value_t = 4)]
    partitions: u32,
}

pub(crate) async fn run(env: Env, address: Address, args: Args) -> Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(|| env.random_u64() >> 32);
    println!("seed {seed}: {} kills under {PRODUCERS} producers", args.kills);
    let places = create(&env, &address, &args).await?;
    let subject = Subject { address, places };
    let serving = env.timeout(PATIENCE, observer::wait(&env, &subject)).await;
    serving.context("the topics cannot be read")?;
    let work = Work::start(&env, subject);
    let mut idle = 0;
    for (kill, done) in schedule::draw(seed, args.kills).into_iter().zip(1_u32..) {
        idle += u32::from(!work.live_until(kill).await?);
        kill_broker(&env).await?;
        println!("progress {done} {}", args.kills);
    }
    let history = work.finish().await?;
    println!(
        "{} kills, {idle} of them before the broker had acknowledged anything",
        args.kills
    );
    // Half a schedule of lives without work is a broker that does not come back.
    let lives = (args.kills > 4 && idle * 2 > args.kills).then_some("it hardly ever acknowledged anything");
    Ok(report(&history, lives, &args.except))
}

async fn create(env: &Env, address: &Address, args: &Args) -> Result<Places> {
    let mut ids = Vec::new();
    for (configs, at) in args.topics.iter().zip(0..) {
        let topic = NewTopic {
            name: format!("events-{at}"),
            partitions: i32::try_from(args.partitions)?,
            configs: parse_configs(configs)?,
        };
        let id = env.timeout(PATIENCE, topics::create(env, address, &topic)).await;
        ids.push(id.with_context(|| format!("{} cannot be made", topic.name))?);
    }
    ensure!(!ids.is_empty(), "there is no topic to write to");
    Ok(Places::new(ids, args.partitions))
}

fn parse_configs(text: &str) -> Result<Vec<(String, String)>> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (key, value) = pair
            .split_once('=')
            .with_context(|| format!("{pair} is no config"))?;
        Ok((key.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

/// Asks the harness to kill the broker and to start it again; the next life has begun when this returns.
async fn kill_broker(env: &Env) -> Result<()> {
    println!("kill");
    io::stdout().flush()?;
    let answer = env.blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    match answer.await?.trim() {
        "again" => Ok(()),
        other => bail!("the harness was asked to kill the broker and says '{other}'"),
    }
}

/// The clients at their work.
struct Work {
    env: Env,
    subject: Subject,
    books: Books,
    clients: Vec<(String, Task<()>)>,
}

impl Work {
    fn start(env: &Env, subject: Subject) -> Self {
        let Subject { address, places } = subject.clone();
        let books = Books::default();
        books.write(|history| history.partitions = places.count());
        let mut clients = Vec::new();
        for name in 0..PRODUCERS {
            let plan = Plan {
                name,
                address: address.clone(),
                places: places.clone(),
                batch_records: BATCH_RECORDS,
                pause: PAUSE,
            };
            let task = env.spawn(producer::run(env.clone(), plan, books.clone()));
            clients.push((format!("producer-{name}"), task));
        }
        for name in 0..OBSERVERS {
            let task = env.spawn(observer::follow(
                env.clone(),
                name,
                subject.clone(),
                books.clone(),
            ));
            clients.push((format!("observer-{name}"), task));
        }
        let churn = env.spawn(topics::churn(env.clone(), address, books.clone()));
        clients.push(("admin".to_owned(), churn));
        Self {
            env: env.clone(),
            subject,
            books,
            clients,
        }
    }

    fn acks(&self) -> usize {
        self.books.write(|history| history.acks.len())
    }

    /// Waits for the moment of the next kill; whether anything was acknowledged in this life.
    async fn live_until(&self, kill: Kill) -> Result<bool> {
        let before = self.acks();
        match kill {
            Kill::AtTheStart(time) => self.env.sleep(time).await,
            Kill::AtWork(time) => {
                let working = async {
                    while self.acks() == before {
                        self.env.sleep(LOOK).await;
                    }
                };
                let is_working = self.env.timeout(PATIENCE, working).await;
                is_working
                    .with_context(|| format!("the broker acknowledges nothing for {PATIENCE:?}: {}", self))?;
                self.env.sleep(time).await;
            }
        }
        Ok(self.acks() > before)
    }

    /// Lets the clients finish, has the broker killed once more, and reads everything.
    async fn finish(self) -> Result<History> {
        self.books.finish();
        for (name, client) in self.clients {
            let ended = self.env.timeout(PATIENCE, client).await;
            let ended = ended.with_context(|| format!("{name} does not come to its end"))?;
            ended.with_context(|| format!("{name} panicked"))?;
        }
        kill_broker(&self.env).await?;
        let address = self.subject.address.clone();
        let reading = async {
            observer::wait(&self.env, &self.subject).await;
            observer::read_all(self.env.clone(), self.subject, self.books.clone()).await;
            topics::describe(self.env.clone(), address, self.books.clone()).await;
        };
        let read = self.env.timeout(PATIENCE, reading).await;
        read.context("the reader does not come to its end")?;
        Ok(self.books.take())
    }
}

/// What the clients know so far, for the message of a failure.
impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.books.write(|history| {
            let (refusals, faults) = (&history.refusals, &history.faults);
            write!(f, "answers to try again {refusals:?}, faults {faults:?}")
        })
    }
}

/// Prints the results, one for each rule, and the counts.
fn report(history: &History, lives: Option<&str>, except: &[String]) -> ExitCode {
    let mut violations = checkers::check(history);
    violations.retain(|violation| !except.iter().any(|rule| rule == violation.rule));
    for rule in checkers::rules().filter(|rule| !except.iter().any(|except| except == rule)) {
        print_result(rule, &of_rule(&violations, rule));
    }
    print_result("lives", &lives.into_iter().map(str::to_owned).collect::<Vec<_>>());
    let sent = history.sent.values().map(|count| u64::from(*count)).sum::<u64>();
    let acknowledged = history.acknowledged();
    let open = (acknowledged != sent).then(|| format!("{acknowledged} of {sent} records"));
    print_result(
        "all that was sent is acknowledged",
        &open.iter().cloned().collect::<Vec<_>>(),
    );
    let Counts { lost, doubled, gaps } = checkers::count(history);
    let looks = history.looks.len();
    println!("{acknowledged} records acknowledged, {looks} reads meanwhile");
    println!("{lost} lost, {doubled} doubled, {gaps} gaps in sequence");
    if violations.is_empty() && lives.is_none() && open.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn of_rule(violations: &[Violation], rule: &str) -> Vec<String> {
    let found = violations.iter().filter(|violation| violation.rule == rule);
    found.map(|violation| violation.what.clone()).collect()
}

fn print_result(name: &str, wrong: &[String]) {
    if wrong.is_empty() {
        println!("ok {name}");
    } else {
        let shown = wrong[..wrong.len().min(SHOWN)].join("; ");
        println!("not ok {name}: {} breaches: {shown}", wrong.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_of_a_topic() {
        assert_eq!(parse_configs("").unwrap(), []);
        let two = parse_configs("a=1,b=x=y").unwrap();
        assert_eq!(
            two,
            [
                ("a".to_owned(), "1".to_owned()),
                ("b".to_owned(), "x=y".to_owned())
            ]
        );
        assert!(parse_configs("a").is_err());
    }

    #[test]
    fn a_history_that_breaks_a_rule_fails() {
        let mut history = History::default();
        assert_eq!(report(&history, None, &[]), ExitCode::SUCCESS);
        assert_eq!(report(&history, Some("none"), &[]), ExitCode::FAILURE);
        history.sent.insert((0, 0), 1);
        assert_eq!(report(&history, None, &[]), ExitCode::FAILURE);
        history.sent.clear();
        history.faults.push("an answer that must not be".to_owned());
        assert_eq!(report(&history, None, &[]), ExitCode::FAILURE);
        let except = ["contents".to_owned()];
        assert_eq!(report(&history, None, &except), ExitCode::SUCCESS);
    }
}
