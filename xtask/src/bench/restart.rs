//! How long a broker is away after a kill: from the start of its process to the first acknowledged record.
//!
//! Always holds: a broker is filled once and killed at once, and what it left is kept. Each measurement begins with a
//! copy of that on the device, and a client that tries without a pause until its one record, acks=all, is acknowledged.
//! The two brokers take turns, and only one of them runs at a time.

use std::{
    fmt,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    broker::{Broker, Jars, Kind},
    process, test,
};

/// What to compare on.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measurements of each broker
    #[arg(long, default_value_t = 5, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pairs: usize,
    /// Records in the topic
    #[arg(long, default_value_t = 500_000)]
    records: u64,
    /// Bytes of a record
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
    /// Partitions of the topic
    #[arg(long, default_value_t = 12)]
    partitions: u16,
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    if let Some(reason) = Jars::missing() {
        bail!("{reason}");
    }
    test::build_broker()?;
    let program = test::kill::build()?;
    let mut klamm = Subject::fill(Kind::Klamm, &program, args)?;
    let mut kafka = Subject::fill(Kind::Kafka, &program, args)?;
    for pair in 1..=args.pairs {
        let (one, other) = (klamm.measure(&program)?, kafka.measure(&program)?);
        println!("pair {pair}: klamm {one:.3?}, kafka {other:.3?}");
    }
    let (klamm, kafka) = (Times::of(klamm.times), Times::of(kafka.times));
    println!(
        "restart after a kill, {} records of {} bytes in {} partitions, {} pairs: klamm {klamm}, kafka {kafka}, ratio {:.4}",
        args.records,
        args.bytes,
        args.partitions,
        args.pairs,
        klamm.median.as_secs_f64() / kafka.median.as_secs_f64()
    );
    Ok(true)
}

/// A broker, and what it left when it was killed.
struct Subject {
    broker: Broker,
    kept: PathBuf,
    times: Vec<Duration>,
}

impl Subject {
    fn fill(kind: Kind, program: &Path, args: &Args) -> Result<Self> {
        println!("filling {}", kind.name());
        let mut broker = Broker::start(kind, args.partitions)?;
        let mut fill = Command::new(program);
        fill.args(["--bootstrap", broker.address(), "fill"])
            .args(["--records", &args.records.to_string()])
            .args(["--bytes", &args.bytes.to_string()])
            .args(["--partitions", &args.partitions.to_string()]);
        process::quietly(&mut fill)?;
        broker.kill()?;
        let kept = broker.log_dir().with_extension("kept");
        copy(&broker.log_dir(), &kept)?;
        Ok(Subject {
            broker,
            kept,
            times: Vec::new(),
        })
    }

    /// Starts the broker on what it left, once.
    fn measure(&mut self, program: &Path) -> Result<Duration> {
        let folder = self.broker.log_dir();
        std::fs::remove_dir_all(&folder)?;
        copy(&self.kept, &folder)?;
        let mut client = Waiting::start(program, self.broker.address())?;
        let begun = Instant::now();
        self.broker.restart()?;
        let time = client.acknowledged()? - begun;
        self.broker.kill()?;
        self.times.push(time);
        Ok(time)
    }
}

/// Copies a folder, and waits until the copy is on the device: its writing back would else be measured too.
fn copy(from: &Path, to: &Path) -> Result<()> {
    process::quietly(Command::new("cp").arg("-a").arg(from).arg(to))?;
    process::quietly(Command::new("sync").arg("-f").arg(to))
}

/// The client, at its attempts.
pub(super) struct Waiting {
    child: Child,
    lines: std::sync::mpsc::Receiver<(String, Instant)>,
}

impl Waiting {
    pub(super) fn start(program: &Path, address: &str) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["--bootstrap", address, "first"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run the client")?;
        let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let (sender, lines) = std::sync::mpsc::channel();
        // The moment counts at which the line is there, not the one at which somebody looks.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send((line, Instant::now())).is_err() {
                    break;
                }
            }
        });
        let mut waiting = Waiting { child, lines };
        waiting.expect("ready")?;
        Ok(waiting)
    }

    pub(super) fn acknowledged(&mut self) -> Result<Instant> {
        self.expect("acknowledged")
    }

    fn expect(&mut self, expected: &str) -> Result<Instant> {
        let (line, moment) = self.lines.recv_timeout(Duration::from_secs(120))?;
        ensure!(line == expected, "the client says {line}");
        Ok(moment)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // It has ended already, or nobody needs it any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The middle of some times, and how far they lie apart.
struct Times {
    median: Duration,
    least: Duration,
    most: Duration,
}

impl Times {
    /// Of at least one.
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Times {
            median: times[times.len() / 2],
            least: times[0],
            most: times[times.len() - 1],
        }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Times { median, least, most } = self;
        write!(f, "median {median:.3?} ({least:.3?} to {most:.3?})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        let times = Times::of([5, 1, 3].map(Duration::from_millis).to_vec());
        assert_eq!(times.to_string(), "median 3.000ms (1.000ms to 5.000ms)");
    }
}
