//! `compact`: a topic that was written without compaction is told to be compacted, and watched until the cleaner is done.
//!
//! Always holds: the topic is as small as it was to become, and has not become smaller for some seconds, when it is called done. Its
//! size is what DescribeLogDirs says: both brokers sum up the `.log` files that a partition consists of.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use klamm_protocol::messages::describe_log_dirs_request::{DescribableLogDirTopic, DescribeLogDirsRequest};
use klamm_protocol::messages::describe_log_dirs_response::DescribeLogDirsResponse;

use crate::admin::{self, Admin, check};
use crate::clock;
use crate::configs::{self, Setting};
use crate::report::{self, Stopwatch};
use crate::topics::Where;

/// Short beside what a cleaner takes, and long beside what a look costs.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// No segment takes as long to clean as this, by far.
const QUIET: u64 = 5 * clock::SECOND;
/// How long a cleaner may take in all.
const LIMIT: u64 = 240 * clock::SECOND;

/// What to compact.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// Bytes that it has at most when the cleaner is done.
    #[arg(long)]
    below: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut admin = Admin::open(args.place.address()?)?;
    let topic = args.place.topic();
    let before = size(&mut admin, topic, args.partitions)?;
    ensure!(
        before > args.below,
        "{topic} has {before} bytes: there is nothing to compact"
    );
    report::gate("ready")?;
    let watch = Stopwatch::start();
    let compacted = Setting {
        key: "cleanup.policy".to_owned(),
        value: "compact".to_owned(),
    };
    configs::set(&mut admin, topic, &[compacted])?;
    let mut requests = 1;
    let mut watching = Watching::new(clock::now(), before, args.below);
    loop {
        thread::sleep(BETWEEN_LOOKS);
        let size = size(&mut admin, topic, args.partitions)?;
        requests += 1;
        match watching.look(clock::now(), size) {
            Look::Done => break,
            Look::On => {}
            Look::TooLong => anyhow::bail!(
                "{topic} has {size} bytes after {:.0} s, of {before}; at most {} were to be left",
                clock::seconds(LIMIT),
                args.below
            ),
        }
    }
    let mut done = watch.stop(requests);
    // What came behind the last change was only waiting.
    done.seconds = clock::seconds(watching.changed - watching.begun);
    done.bytes = Some(watching.size);
    report::say(&done)
}

/// What the size was seen to do.
struct Watching {
    begun: u64,
    size: u64,
    /// When it was seen to change for the last time.
    changed: u64,
    below: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Look {
    On,
    Done,
    TooLong,
}

impl Watching {
    fn new(now: u64, size: u64, below: u64) -> Self {
        Self {
            begun: now,
            size,
            changed: now,
            below,
        }
    }

    fn look(&mut self, now: u64, size: u64) -> Look {
        if size != self.size {
            (self.size, self.changed) = (size, now);
        }
        if self.size <= self.below && now >= self.changed + QUIET {
            return Look::Done;
        }
        if now > self.begun + LIMIT {
            return Look::TooLong;
        }
        Look::On
    }
}

/// The bytes of all partitions.
fn size(admin: &mut Admin, topic: &str, partitions: i32) -> Result<u64> {
    let request = DescribeLogDirsRequest {
        topics: Some(vec![DescribableLogDirTopic {
            topic: topic.into(),
            partitions: (0..partitions).collect(),
            ..DescribableLogDirTopic::default()
        }]),
        ..DescribeLogDirsRequest::default()
    };
    let answer = admin.call(admin::DESCRIBE_LOG_DIRS, &request)?;
    sum(&answer, topic, partitions)
}

fn sum(answer: &DescribeLogDirsResponse, topic: &str, partitions: i32) -> Result<u64> {
    check(answer.error_code, || "DescribeLogDirs".to_owned())?;
    let (mut bytes, mut found) = (0, 0);
    for dir in &answer.results {
        check(dir.error_code, || format!("DescribeLogDirs of {}", dir.log_dir))?;
        for told in dir.topics.iter().filter(|told| *told.name == *topic) {
            for partition in told.partitions.iter().filter(|one| !one.is_future_key) {
                bytes += u64::try_from(partition.partition_size)?;
                found += 1;
            }
        }
    }
    ensure!(
        found == partitions,
        "DescribeLogDirs tells of {found} partitions of {topic}, not {partitions}"
    );
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use klamm_protocol::messages::describe_log_dirs_response::{
        DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
    };

    use super::*;

    #[test]
    fn it_is_done_when_it_is_small_and_stays_so() {
        let at = |seconds: u64| seconds * clock::SECOND;
        let mut watching = Watching::new(at(0), 100, 20);
        for (seconds, size, expected) in [
            // It may take long to begin.
            (20, 100, Look::On),
            (21, 15, Look::On),
            (24, 12, Look::On),
            (28, 12, Look::On),
            (29, 12, Look::Done),
        ] {
            assert_eq!(watching.look(at(seconds), size), expected, "{seconds}");
        }
        assert_eq!((watching.changed, watching.size), (at(24), 12));
        let mut watching = Watching::new(at(0), 100, 20);
        assert_eq!(watching.look(at(241), 50), Look::TooLong);
    }

    #[test]
    fn all_partitions_are_summed_once() {
        let dir = |sizes: &[(i64, bool)]| DescribeLogDirsResult {
            topics: vec![DescribeLogDirsTopic {
                name: "t".into(),
                partitions: sizes
                    .iter()
                    .map(|(size, is_future)| DescribeLogDirsPartition {
                        partition_size: *size,
                        is_future_key: *is_future,
                        ..DescribeLogDirsPartition::default()
                    })
                    .collect(),
                ..DescribeLogDirsTopic::default()
            }],
            ..DescribeLogDirsResult::default()
        };
        let answer = DescribeLogDirsResponse {
            results: vec![dir(&[(5, false)]), dir(&[(7, false), (5, true)])],
            ..DescribeLogDirsResponse::default()
        };
        assert_eq!(sum(&answer, "t", 2).unwrap(), 12);
        assert!(sum(&answer, "t", 3).is_err() && sum(&answer, "u", 2).is_err());
    }
}
