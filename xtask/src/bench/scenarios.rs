//! The scenarios: one row each. A new one is a new row.
//!
//! Always holds: a row says everything that differs between scenarios, and nothing else in this folder knows one by name.
//! Sizes are chosen so that a run takes some seconds, and so that what it writes fits the page cache of a small machine:
//! beyond that the disk would be measured, and the same disk stands behind both.

mod coordinated;
mod log;

use std::{collections::BTreeSet, time::Duration};

use super::{
    measured::Measured,
    scenario::{Amount, Figure, Goal, Load, Partitions, Process, Scenario, Work, cost, own_cost, rate},
    subject::Side,
    syncs::Durability,
};

/// The rows that a run without names takes, and the long ones.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        figures: &[
            cost(
                CPU_PER_GB,
                Measured::cpu_per_gigabyte,
                &[Goal::RatioAtMost(0.33), Goal::LimitAtMost(2.0)],
            ),
            rate(MB_PER_S, Measured::megabytes_per_second, &[]),
        ],
        has_limit: true,
        ..load(
            "s1",
            "produce 100 B records, 1,000 a batch, 6 partitions, acks 1",
            produce(
                "produce --connections 6 --in-flight 5 --record-bytes 100 --batch-records 1000 --codec none --acks 1",
                2_000,
            ),
        )
    },
    Scenario {
        has_limit: true,
        ..load(
            "s2-none",
            "produce 1 KiB records, 16 a batch, uncompressed",
            produce(S2_NONE, 2_000),
        )
    },
    load(
        "s2-lz4",
        "produce 1 KiB records, 16 a batch, lz4",
        produce(
            "produce --connections 6 --in-flight 5 --record-bytes 1024 --batch-records 16 --codec lz4 --acks 1",
            1_500,
        ),
    ),
    load(
        "s2-zstd",
        "produce 1 KiB records, 16 a batch, zstd",
        produce(
            "produce --connections 6 --in-flight 5 --record-bytes 1024 --batch-records 16 --codec zstd --acks 1",
            1_000,
        ),
    ),
    librdkafka(
        "s2-librdkafka-none",
        "1 KiB records through librdkafka, uncompressed",
        "none",
    ),
    librdkafka(
        "s2-librdkafka-lz4",
        "1 KiB records through librdkafka, lz4",
        "lz4",
    ),
    Scenario {
        figures: &[
            cost(
                CPU_PER_GB,
                Measured::cpu_per_gigabyte,
                &[Goal::RatioAtMost(1.0), Goal::LimitAtMost(1.1)],
            ),
            rate(MB_PER_S, Measured::megabytes_per_second, &[]),
        ],
        has_limit: true,
        ..load(
            "s2f",
            "fetch what s2 produces from the page cache, 3 connections",
            fetch(
                "fetch --connections 3 --max-bytes 1048576 --partition-max-bytes 1048576",
                8_000,
            ),
        )
    },
    Scenario {
        figures: &[
            cost(CPU_PER_GB, Measured::cpu_per_gigabyte, &[Goal::RatioAtMost(0.5)]),
            rate(MB_PER_S, Measured::megabytes_per_second, &[]),
        ],
        ..load(
            "s2n",
            "eight consumers of one topic, fetches of 64 KiB, of which whole batches count",
            fetch(
                "fetch --connections 8 --shared --max-bytes 65536 --partition-max-bytes 65536",
                4_000,
            ),
        )
    },
    Scenario {
        figures: END_TO_END,
        ..load(
            "s4-1k",
            "1,000 messages a second, linger 0",
            latency("latency --rate 1000 --record-bytes 100 --acks 1"),
        )
    },
    Scenario {
        figures: END_TO_END,
        ..load(
            "s4-10k",
            "10,000 messages a second, linger 0",
            latency("latency --rate 10000 --record-bytes 100 --acks 1 --connections 2"),
        )
    },
    Scenario {
        figures: END_TO_END,
        ..load(
            "s4-50k",
            "50,000 messages a second, linger 0: one a request, five requests in flight on each of ten connections",
            Load {
                traced: Some("latency --rate 1000 --record-bytes 100 --acks 1 --connections 10"),
                ..latency("latency --rate 50000 --record-bytes 100 --acks 1 --connections 10")
            },
        )
    },
    Scenario {
        figures: PER_REQUEST,
        has_limit: true,
        ..load(
            "s6-1",
            "one 100 B record a request, 50 connections",
            small_requests(S6_1),
        )
    },
    Scenario {
        figures: PER_REQUEST,
        has_limit: true,
        ..load(
            "s6-10",
            "ten 100 B records a request, 50 connections",
            small_requests(
                "produce --connections 50 --in-flight 1 --record-bytes 100 --batch-records 10 --codec none --acks 1",
            ),
        )
    },
    Scenario {
        sides: [Side::KlammTwoWorkers, Side::KlammOneWorker],
        figures: &[
            cost(
                "broker us/request",
                Measured::cpu_us_per_request,
                &[Goal::RatioAtMost(1.15)],
            ),
            rate("requests/s", Measured::requests_per_second, &[]),
        ],
        ..load(
            "s6-workers",
            "s6-1 with two worker threads beside one",
            small_requests(S6_1),
        )
    },
    Scenario {
        figures: &[cost("CPU %", Measured::cpu_percent, &[Goal::RatioAtMost(0.3)])],
        ..load(
            "s6l",
            "1,000 partitions fetched by one consumer, 1 message a second each",
            Load {
                traced: None,
                topics: 10,
                partitions: 100,
                fill: None,
                command: "follow --rate 1000",
                amount: Amount::Seconds(5),
            },
        )
    },
    Scenario {
        durability: Durability::Fsync,
        is_beside_optional: true,
        figures: &[
            rate("end to end p50 ms", Measured::seen_p50, &[Goal::AtMost(1.0)]),
            rate("end to end p99 ms", Measured::seen_p99, &[Goal::AtMost(3.0)]),
            rate("ack p50 ms", Measured::ack_p50, &[]),
            rate("ack p99 ms", Measured::ack_p99, &[]),
        ],
        ..load(
            "s6d",
            "1,000 messages a second, acks 1, every one synced (Kafka: a sync a message)",
            latency("latency --rate 1000 --record-bytes 100 --acks 1"),
        )
    },
    Scenario {
        figures: &[
            rate("create ms", Measured::milliseconds, &[Goal::RatioAtMost(0.2)]),
            cost("create CPU us each", Measured::cpu_us_each, &[]),
            cost(
                "idle CPU %",
                Measured::idle_cpu_percent,
                &[Goal::RatioAtMost(0.2)],
            ),
        ],
        ..other(
            "s7",
            "1,000 partitions: made, then at rest",
            thousand(Process::Warm, Some(Duration::from_secs(3))),
        )
    },
    Scenario {
        figures: &[own_cost(
            "KiB each",
            Measured::grown_kib_each,
            &[Goal::AtMost(1.0)],
        )],
        ..other(
            "s7-memory",
            "1,000 partitions, each written by an idempotent producer: memory added to a fresh process",
            thousand(Process::Fresh, None),
        )
    },
    connections("s8-100", "100 connections open", 100),
    connections("s8-1k", "1,000 connections open", 1_000),
    connections("s8-10k", "10,000 connections open", 10_000),
    connection_memory("s8-memory-100", "100 idle connections to a fresh process", 100),
    connection_memory("s8-memory-1k", "1,000 idle connections to a fresh process", 1_000),
    connection_memory(
        "s8-memory-10k",
        "10,000 idle connections to a fresh process",
        10_000,
    ),
    coordinated::OFFSETS,
    coordinated::GROUP_MEMORY,
    coordinated::GROUP_LOAD,
    coordinated::MEMBER_JOINS,
    coordinated::MEMBER_LEAVES,
    coordinated::TRANSACTIONS,
    coordinated::DURABLE_TRANSACTIONS,
    log::DURABLE_1,
    log::DURABLE_1_ACKS,
    log::DURABLE_100,
    log::DURABLE_100_ACKS,
    log::DURABLE_1000,
    log::DURABLE_1000_ACKS,
    log::THROUGHPUT,
    log::START_1K,
    log::START_10K,
    log::KILLED_1G,
    log::KILLED_20G,
    log::IDLE,
    log::COLD_6G,
    log::COLD_24G,
    log::COMPACTION,
    log::STORED_PRODUCE,
    log::STORED_FETCH,
    Scenario {
        figures: &[
            rate(
                "ms to the first ack",
                Measured::milliseconds,
                &[Goal::RatioAtMost(0.1), Goal::AtMost(100.0)],
            ),
            cost("resident MB", Measured::resident_mb, &[Goal::AtMost(30.0)]),
        ],
        ..other(
            "s11",
            "from the start of the process to the first acknowledged record",
            Work::Start,
        )
    },
    Scenario {
        figures: &[cost("resident MB", Measured::resident_mb, &[Goal::AtMost(100.0)])],
        is_long: true,
        ..other(
            "memory",
            "10 GB through, 50 producers",
            Work::Through(
                produce(
                    "produce --connections 50 --in-flight 1 --record-bytes 1024 --batch-records 16 --codec none \
                     --acks 1",
                    1_000,
                ),
                10,
            ),
        )
    },
];

const CPU_PER_GB: &str = "broker CPU s/GB";
const MB_PER_S: &str = "MB/s";

const S2_NONE: &str =
    "produce --connections 6 --in-flight 5 --record-bytes 1024 --batch-records 16 --codec none --acks 1";
const S6_1: &str =
    "produce --connections 50 --in-flight 1 --record-bytes 100 --batch-records 1 --codec none --acks 1";

const THROUGHPUT: &[Figure] = &[
    rate(
        MB_PER_S,
        Measured::megabytes_per_second,
        &[Goal::RatioAtLeast(1.3)],
    ),
    cost(CPU_PER_GB, Measured::cpu_per_gigabyte, &[Goal::RatioAtMost(0.4)]),
];

const END_TO_END: &[Figure] = &[
    rate("end to end p50 ms", Measured::seen_p50, &[Goal::RatioAtMost(0.6)]),
    rate("end to end p99 ms", Measured::seen_p99, &[Goal::RatioAtMost(0.4)]),
    rate(
        "end to end p99.9 ms",
        Measured::seen_p999,
        &[Goal::RatioAtMost(0.3)],
    ),
];

const PER_REQUEST: &[Figure] = &[
    cost(
        "broker us/request",
        Measured::cpu_us_per_request,
        &[Goal::RatioAtMost(0.4), Goal::LimitAtMost(1.5)],
    ),
    rate(
        "requests/s",
        Measured::requests_per_second,
        &[Goal::RatioAtLeast(1.6)],
    ),
];

/// Its rate is that of librdkafka, which is at its own limit beside a broker on a small machine: it is there to be seen.
const CROSS_CHECK: &[Figure] = &[
    cost(CPU_PER_GB, Measured::cpu_per_gigabyte, &[]),
    rate("MB/s of librdkafka", Measured::megabytes_per_second, &[]),
];

const CPU_EACH: &[Figure] = &[cost(
    "CPU us a connection",
    Measured::cpu_us_each,
    &[Goal::RatioAtMost(0.3)],
)];

const MEMORY_EACH: &[Figure] = &[own_cost(
    "KiB each",
    Measured::grown_kib_each,
    &[Goal::AtMost(8.0)],
)];

const fn load(name: &'static str, what: &'static str, load: Load) -> Scenario {
    other(name, what, Work::Load(load))
}

const fn other(name: &'static str, what: &'static str, work: Work) -> Scenario {
    Scenario {
        name,
        family: "",
        what,
        durability: Durability::PageCache,
        is_beside_unsynced: false,
        settings: &[],
        sides: [Side::Klamm, Side::Kafka],
        has_limit: false,
        is_beside_optional: false,
        is_long: false,
        work,
        figures: THROUGHPUT,
    }
}

const fn produce(command: &'static str, megabytes: u64) -> Load {
    Load {
        traced: None,
        topics: 1,
        partitions: 6,
        fill: None,
        command,
        amount: Amount::Megabytes(megabytes),
    }
}

const fn fetch(command: &'static str, megabytes: u64) -> Load {
    Load {
        traced: None,
        topics: 1,
        partitions: 6,
        fill: Some((S2_NONE, Amount::Megabytes(1_000))),
        command,
        amount: Amount::Megabytes(megabytes),
    }
}

const fn latency(command: &'static str) -> Load {
    Load {
        amount: Amount::Seconds(10),
        ..small_requests(command)
    }
}

const fn small_requests(command: &'static str) -> Load {
    Load {
        traced: None,
        topics: 1,
        partitions: 6,
        fill: None,
        command,
        amount: Amount::Seconds(3),
    }
}

const fn thousand(process: Process, watched: Option<Duration>) -> Work {
    Work::Partitions(Partitions {
        before: 10,
        count: 1_000,
        process,
        watched,
    })
}

const fn librdkafka(name: &'static str, what: &'static str, codec: &'static str) -> Scenario {
    Scenario {
        figures: CROSS_CHECK,
        is_long: true,
        ..other(
            name,
            what,
            Work::Librdkafka {
                records: 500_000,
                codec,
            },
        )
    }
}

const fn connections(name: &'static str, what: &'static str, count: u32) -> Scenario {
    let process = Process::Warm;
    Scenario {
        figures: CPU_EACH,
        ..other(name, what, Work::Connections { count, process })
    }
}

const fn connection_memory(name: &'static str, what: &'static str, count: u32) -> Scenario {
    let process = Process::Fresh;
    Scenario {
        figures: MEMORY_EACH,
        ..other(name, what, Work::Connections { count, process })
    }
}

/// What calls several rows that are named otherwise.
pub(super) fn families() -> Vec<&'static str> {
    let all = SCENARIOS.iter().map(|scenario| scenario.family);
    let all: BTreeSet<_> = all.filter(|family| !family.is_empty()).collect();
    all.into_iter().collect()
}

/// The rows with these names, in the order of the table: a name, the part of one before a dash, or a family. Without names,
/// all but the long ones. A long one is taken when it is named itself, or when `full` asks for them.
pub(super) fn select(names: &[String], full: bool) -> Result<Vec<&'static Scenario>, String> {
    let matches = |scenario: &Scenario, name: &str| {
        if scenario.family == name && !name.is_empty() {
            return true;
        }
        let rest = scenario.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    if let Some(unknown) = names
        .iter()
        .find(|name| !SCENARIOS.iter().any(|scenario| matches(scenario, name)))
    {
        let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        return Err(format!(
            "there is no scenario {unknown}; there are {}, the families {}, and restart, which goes alone",
            known.join(", "),
            families().join(", ")
        ));
    }
    // A family of which all are long is meant as it is.
    let is_of_long = |name: &str| {
        let mut family = SCENARIOS.iter().filter(|scenario| matches(scenario, name));
        family.all(|scenario| scenario.is_long)
    };
    let wanted = |scenario: &&Scenario| {
        let mut named = names.iter().filter(|name| matches(scenario, name));
        if full || !scenario.is_long {
            names.is_empty() || named.next().is_some()
        } else {
            named.any(|name| name == scenario.name || is_of_long(name))
        }
    };
    Ok(SCENARIOS.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str], full: bool) -> Vec<&'static str> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let rows = select(&names, full).unwrap();
        rows.iter().map(|scenario| scenario.name).collect()
    }

    #[test]
    fn names_are_given_once() {
        let names: BTreeSet<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
        assert!(!names.contains("restart"));
        assert!(families().iter().all(|family| !names.contains(family)));
    }

    #[test]
    fn a_name_calls_a_row_or_a_family() {
        assert_eq!(selected(&["s2f"], false), ["s2f"]);
        assert_eq!(selected(&["s4"], false), ["s4-1k", "s4-10k", "s4-50k"]);
        assert_eq!(selected(&["s4-1k", "s1"], false), ["s1", "s4-1k"]);
        assert_eq!(selected(&["memory"], false), ["memory"]);
        for unknown in ["s3", ""] {
            let error = select(&[unknown.to_owned()], false).err().unwrap();
            assert!(
                error.contains("no scenario") && error.contains("s6-10") && error.contains("groups"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_family_is_called_by_its_name() {
        let groups = ["g1", "g2-memory", "g2-load", "g3", "g4"];
        let transactions = ["t1", "t1d"];
        assert_eq!(selected(&["groups"], false), groups);
        assert_eq!(selected(&["transactions"], false), transactions);
        assert_eq!(
            selected(&["groups", "transactions"], false),
            [&groups[..], &transactions].concat()
        );
        assert_eq!(families(), ["groups", "log", "transactions"]);
        let durable = ["d1-100", "d1-100-acks"];
        assert_eq!(selected(&["d1-100"], false), durable);
        let log = selected(&["log"], false);
        assert!(
            log.contains(&"d1-1") && log.contains(&"d8-fetch") && !log.contains(&"d4-20g"),
            "{log:?}"
        );
        assert!(selected(&["log"], true).contains(&"d4-20g"));
    }

    #[test]
    fn long_rows_are_asked_for() {
        assert!(!selected(&[], false).contains(&"memory"));
        assert_eq!(selected(&[], true).len(), SCENARIOS.len());
        let short = ["s2-none", "s2-lz4", "s2-zstd"];
        let long = ["s2-librdkafka-none", "s2-librdkafka-lz4"];
        assert_eq!(selected(&["s2"], false), short);
        assert_eq!(selected(&["s2"], true), [&short[..], &long].concat());
        assert_eq!(selected(&["s2-librdkafka"], false), long);
        assert_eq!(selected(&["s2-librdkafka-lz4"], false), long[1..]);
    }

    #[test]
    fn what_the_limit_is_compared_in_it_can_do() {
        for scenario in SCENARIOS {
            let compares = scenario
                .figures
                .iter()
                .any(|figure| !figure.goals.iter().all(|goal| goal.is_plain()));
            assert!(!compares || scenario.has_limit, "{}", scenario.name);
        }
    }
}
