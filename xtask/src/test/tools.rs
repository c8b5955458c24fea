//! The group `tools`: the command-line tools that Kafka ships, as an operator types them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::{
    check::Checks,
    group::{Ready, Scenario},
    patience::Patience,
};
use crate::{
    broker::{Broker, Jars},
    process,
};

pub(super) fn prepare() -> Result<Ready> {
    if let Some(reason) = Jars::missing() {
        return Ok(Ready::Missing(reason.to_owned()));
    }
    let tools = Tools { jars: Jars::tools()? };
    Ok(Ready::Scenarios(vec![Scenario::calm(
        "tools",
        move |broker, checks| {
            tools.run(broker, checks);
            Ok(())
        },
    )]))
}

struct Tools {
    jars: Jars,
}

/// One run of a tool, and what it must print.
struct Row {
    name: &'static str,
    class: &'static str,
    arguments: &'static [&'static str],
    prints: &'static [&'static str],
}

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const TRANSACTIONS: &str = "org.apache.kafka.tools.TransactionsCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";

/// In order: later rows build on the topic that earlier ones made.
const ROWS: &[Row] = &[
    Row {
        name: "topics-create",
        class: TOPICS,
        arguments: &[
            "--create",
            "--topic",
            "tools",
            "--partitions",
            "3",
            "--config",
            "segment.bytes=1048576",
        ],
        prints: &["Created topic tools."],
    },
    Row {
        name: "topics-create-again",
        class: TOPICS,
        arguments: &["--create", "--topic", "tools", "--if-not-exists"],
        prints: &[],
    },
    Row {
        name: "topics-alter",
        class: TOPICS,
        arguments: &["--alter", "--topic", "tools", "--partitions", "4"],
        prints: &[],
    },
    Row {
        name: "topics-describe",
        class: TOPICS,
        arguments: &["--describe", "--topic", "tools"],
        prints: &[
            "PartitionCount: 4",
            "ReplicationFactor: 1",
            "segment.bytes=1048576",
            "Partition: 3\tLeader: 1",
        ],
    },
    Row {
        name: "topics-list",
        class: TOPICS,
        arguments: &["--list"],
        prints: &["tools\n"],
    },
    Row {
        name: "configs-alter",
        class: CONFIGS,
        arguments: &[
            "--alter",
            "--topic",
            "tools",
            "--add-config",
            "retention.ms=7200000,max.message.bytes=2000000",
        ],
        prints: &["Completed updating config for topic tools."],
    },
    Row {
        name: "configs-describe",
        class: CONFIGS,
        arguments: &["--describe", "--topic", "tools"],
        prints: &[
            "retention.ms=7200000",
            "max.message.bytes=2000000",
            "DYNAMIC_TOPIC_CONFIG:retention.ms=7200000",
        ],
    },
    Row {
        name: "configs-describe-all",
        class: CONFIGS,
        arguments: &["--describe", "--all", "--broker", "1"],
        prints: &[
            "log.retention.hours=168",
            "num.partitions=12",
            "STATIC_BROKER_CONFIG:num.partitions=12",
        ],
    },
    Row {
        name: "configs-delete",
        class: CONFIGS,
        arguments: &["--alter", "--topic", "tools", "--delete-config", "retention.ms"],
        prints: &["Completed updating config for topic tools."],
    },
    Row {
        name: "producer-perf-test",
        class: "org.apache.kafka.tools.ProducerPerformance",
        arguments: &[
            "--topic",
            "tools",
            "--num-records",
            "50000",
            "--record-size",
            "200",
            "--throughput",
            "-1",
            "--producer-props",
            "acks=all",
            "compression.type=lz4",
        ],
        prints: &["50000 records sent"],
    },
    Row {
        name: "topics-create-transactions",
        class: TOPICS,
        arguments: &["--create", "--topic", "tools-transactions", "--partitions", "1"],
        prints: &["Created topic tools-transactions."],
    },
    Row {
        name: "producer-perf-transactions",
        class: "org.apache.kafka.tools.ProducerPerformance",
        arguments: &[
            "--topic",
            "tools-transactions",
            "--num-records",
            "2000",
            "--record-size",
            "100",
            "--throughput",
            "2000",
            "--transactional-id",
            "tools-transaction",
            "--transaction-duration-ms",
            "50",
            "--producer-props",
        ],
        prints: &["2000 records sent"],
    },
    Row {
        name: "transactions-list",
        class: TRANSACTIONS,
        arguments: &["list"],
        prints: &["tools-transaction", "CompleteCommit"],
    },
    Row {
        name: "transactions-list-by-pattern",
        class: TRANSACTIONS,
        arguments: &["list", "--transactional-id-pattern", "tools-.*"],
        prints: &["tools-transaction"],
    },
    Row {
        name: "transactions-describe",
        class: TRANSACTIONS,
        arguments: &["describe", "--transactional-id", "tools-transaction"],
        prints: &["tools-transaction", "CompleteCommit"],
    },
    Row {
        name: "transactions-describe-producers",
        class: TRANSACTIONS,
        arguments: &[
            "describe-producers",
            "--topic",
            "tools-transactions",
            "--partition",
            "0",
        ],
        prints: &["LatestCoordinatorEpoch"],
    },
    Row {
        name: "transactions-find-hanging",
        class: TRANSACTIONS,
        arguments: &["find-hanging", "--broker-id", "1"],
        prints: &["Topic"],
    },
    Row {
        name: "log-dirs",
        class: "org.apache.kafka.tools.LogDirsCommand",
        arguments: &["--describe", "--topic-list", "tools"],
        prints: &["\"partition\":\"tools-3\"", "\"error\":null"],
    },
    Row {
        name: "metadata-quorum-status",
        class: "org.apache.kafka.tools.MetadataQuorumCommand",
        arguments: &["describe", "--status"],
        prints: &["LeaderId:", "CurrentVoters:"],
    },
    Row {
        name: "metadata-quorum-replication",
        class: "org.apache.kafka.tools.MetadataQuorumCommand",
        arguments: &["describe", "--replication"],
        prints: &["NodeId", "Leader"],
    },
    Row {
        name: "features-describe",
        class: "org.apache.kafka.tools.FeatureCommand",
        arguments: &["describe"],
        prints: &["Feature: metadata.version"],
    },
    Row {
        name: "broker-api-versions",
        class: "org.apache.kafka.tools.BrokerApiVersionsCommand",
        arguments: &[],
        prints: &[
            "Produce(0): 0 to 13",
            "Fetch(1): 4 to 18",
            "ApiVersions(18): 0 to ",
        ],
    },
    Row {
        name: "groups-configs-alter",
        class: CONFIGS,
        arguments: &[
            "--alter",
            "--group",
            "tools-group",
            "--add-config",
            "consumer.session.timeout.ms=50000",
        ],
        prints: &["Completed updating config for group tools-group."],
    },
    Row {
        name: "groups-configs-describe",
        class: CONFIGS,
        arguments: &["--describe", "--group", "tools-group"],
        prints: &["consumer.session.timeout.ms=50000"],
    },
    Row {
        name: "console-consumer-in-a-group",
        class: "org.apache.kafka.tools.consumer.ConsoleConsumer",
        arguments: &[
            "--topic",
            "tools",
            "--group",
            "tools-group",
            "--from-beginning",
            "--max-messages",
            "10",
            "--timeout-ms",
            "60000",
            "--consumer-property",
            "group.protocol=consumer",
        ],
        prints: &["\n"],
    },
    Row {
        name: "groups-list",
        class: GROUPS,
        arguments: &["--list", "--type", "consumer"],
        prints: &["tools-group"],
    },
    Row {
        name: "groups-describe",
        class: GROUPS,
        arguments: &["--describe", "--group", "tools-group"],
        prints: &["tools-group", "CURRENT-OFFSET"],
    },
    Row {
        name: "groups-describe-state",
        class: GROUPS,
        arguments: &["--describe", "--state", "--group", "tools-group"],
        prints: &["uniform", "Empty"],
    },
    Row {
        name: "groups-reset-offsets",
        class: GROUPS,
        arguments: &[
            "--reset-offsets",
            "--group",
            "tools-group",
            "--topic",
            "tools:0",
            "--to-earliest",
            "--execute",
        ],
        prints: &["tools-group"],
    },
    Row {
        name: "groups-delete",
        class: GROUPS,
        arguments: &["--delete", "--group", "tools-group"],
        prints: &["was successful"],
    },
    Row {
        name: "topics-delete",
        class: TOPICS,
        arguments: &["--delete", "--topic", "tools"],
        prints: &[],
    },
];

impl Tools {
    fn run(&self, broker: &Broker, checks: &mut Checks) {
        let mut patience = Patience::with(broker.kind());
        for row in ROWS {
            if row.name == "topics-delete" {
                checks.check("get-offsets", || self.get_offsets(broker));
                checks.check("dump-log", || self.dump_log(broker));
                checks.check("dump-transactions", || self.dump_transactions(broker));
            }
            checks.check(row.name, || {
                patience.wait_for(|| {
                    let printed = self.tool(broker, row.class, row.arguments)?;
                    for expected in row.prints {
                        ensure!(printed.contains(expected), "{expected:?} is not in\n{printed}");
                    }
                    Ok(())
                })
            });
        }
    }

    fn tool(&self, broker: &Broker, class: &str, arguments: &[&str]) -> Result<String> {
        let mut java = self.jars.java();
        java.arg(class).args(arguments);
        match class.ends_with("ProducerPerformance") {
            true => java.arg(format!("bootstrap.servers={}", broker.address())),
            // Not last: the arguments may end with a sub-command and its flags, which this is not one of.
            false => {
                java = self.jars.java();
                java.arg(class)
                    .args(["--bootstrap-server", broker.address()])
                    .args(arguments)
            }
        };
        process::output(&mut java)
    }

    /// The ends of the four partitions add up to what `producer-perf-test` sent.
    fn get_offsets(&self, broker: &Broker) -> Result<()> {
        let printed = self.tool(
            broker,
            "org.apache.kafka.tools.GetOffsetShell",
            &["--topic", "tools"],
        )?;
        let ends: Vec<u64> = printed
            .lines()
            .map(|line| line.rsplit(':').next().unwrap_or_default().parse())
            .collect::<Result<_, _>>()
            .with_context(|| printed.clone())?;
        ensure!(ends.len() == 4 && ends.iter().sum::<u64>() == 50_000, "{printed}");
        Ok(())
    }

    /// Kafka's own reader finds every record of the segment files, and indexes that agree with them.
    fn dump_log(&self, broker: &Broker) -> Result<()> {
        let mut records = 0;
        for partition in 0..4 {
            let files = segment_files(&broker.log_dir().join(format!("tools-{partition}")))?;
            let list: Vec<String> = files
                .iter()
                .map(|file| file.to_string_lossy().into_owned())
                .collect();
            let mut java = self.jars.java();
            java.args([
                "org.apache.kafka.tools.DumpLogSegments",
                "--deep-iteration",
                "--print-data-log",
                "--files",
            ]);
            let printed = process::output(java.arg(list.join(",")))?;
            records += printed
                .lines()
                .filter(|line| line.starts_with("| offset: "))
                .count();
            ensure!(!printed.contains("isvalid: false"), "a batch has a wrong CRC");
            for complaint in [
                "Mismatches in",
                "Non-consecutive offsets",
                "out of order",
                "corrupt",
            ] {
                ensure!(
                    !printed.contains(complaint),
                    "{}",
                    process::last_lines(&printed, 10)
                );
            }
        }
        ensure!(records == 50_000, "{records} records were found");
        Ok(())
    }

    /// Kafka's own reader understands what is recorded of transactions.
    fn dump_transactions(&self, broker: &Broker) -> Result<()> {
        let mut logs = Vec::new();
        for partition in 0..50 {
            let folder = broker.log_dir().join(format!("__transaction_state-{partition}"));
            let files = segment_files(&folder)?.into_iter();
            let filled = |file: &PathBuf| fs::metadata(file).is_ok_and(|file| file.len() > 0);
            let named = files.filter(|file| file.extension().is_some_and(|end| end == "log") && filled(file));
            logs.extend(named.map(|file| file.to_string_lossy().into_owned()));
        }
        let mut java = self.jars.java();
        java.args([
            "org.apache.kafka.tools.DumpLogSegments",
            "--transaction-log-decoder",
            "--files",
        ]);
        let printed = process::output(java.arg(logs.join(",")))?;
        for expected in ["tools-transaction", "\"topic\":\"tools-transactions\""] {
            ensure!(printed.contains(expected), "{expected:?} is not in\n{printed}");
        }
        Ok(())
    }
}

/// The `.log`, `.index` and `.timeindex` files of a partition, in order.
fn segment_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|end| ["log", "index", "timeindex"].iter().any(|kind| end == *kind))
        {
            files.push(path);
        }
    }
    files.sort();
    ensure!(
        files.len() >= 3,
        "{} holds {} segment files",
        folder.display(),
        files.len()
    );
    Ok(files)
}
