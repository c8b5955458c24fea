//! How long a broker is away after a kill: from the start of its process to the first acknowledged record.
//!
//! Always holds: a broker is filled once and killed at once, and what it left is kept. Each measurement begins with a
//! copy of that on the device, and a client that tries without a pause until its one record, acks=all, is acknowledged.
//! The two brokers take turns, and only one of them runs at a time.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    probe,
    statistics::{Spread, order},
};
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
    let mut subjects = [
        Subject::fill(Kind::Klamm, &program, args)?,
        Subject::fill(Kind::Kafka, &program, args)?,
    ];
    let mut times = [Vec::new(), Vec::new()];
    for pair in 0..args.pairs {
        for index in order(pair, subjects.len()) {
            times[index].push(subjects[index].measure(&program)?.as_secs_f64());
        }
        println!(
            "pair {}: klamm {:.3} s, kafka {:.3} s",
            pair + 1,
            times[0][pair],
            times[1][pair]
        );
    }
    println!(
        "restart after a kill, {} records of {} bytes in {} partitions, {} pairs, klamm built with the profile interop: {}",
        args.records,
        args.bytes,
        args.partitions,
        args.pairs,
        summary(&times)
    );
    Ok(true)
}

/// The times of both, and the ratios within the pairs.
fn summary([klamm, kafka]: &[Vec<f64>; 2]) -> String {
    let (ours, theirs): (Vec<_>, Vec<_>) = (
        klamm.iter().copied().map(Some).collect(),
        kafka.iter().copied().map(Some).collect(),
    );
    let spell = |spread: Option<Spread>, unit| {
        spread.map_or_else(
            || "nothing".to_owned(),
            |Spread { median, least, most }| format!("{median:.3}{unit} [{least:.3}..{most:.3}]"),
        )
    };
    format!(
        "klamm {}, kafka {}, ratio {}",
        spell(Spread::of(klamm), " s"),
        spell(Spread::of(kafka), " s"),
        spell(Spread::of_ratios(&ours, &theirs), "")
    )
}

/// A broker, and what it left when it was killed.
struct Subject {
    broker: Broker,
    kept: PathBuf,
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
        Ok(Subject { broker, kept })
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
        let mut command = Command::new(program);
        command
            .args(["--bootstrap", address, "first"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        process::end_with_us(&mut command);
        let mut child = command.spawn().context("cannot run the client")?;
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

    /// What it has used so far; a client that has ended keeps that until it is dropped.
    pub(super) fn cpu(&self) -> Result<Duration> {
        probe::cpu(self.child.id())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_have_their_times_and_ratios_are_made_within_pairs() {
        let text = summary(&[vec![1.0, 20.0, 2.0], vec![4.0, 40.0, 8.0]]);
        let klamm = "klamm 2.000 s [1.000..20.000]";
        let ratio = "ratio 0.250 [0.250..0.500]";
        assert_eq!(text, format!("{klamm}, kafka 8.000 s [4.000..40.000], {ratio}"));
    }
}
