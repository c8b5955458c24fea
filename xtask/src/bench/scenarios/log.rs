//! The rows of the log: what durability costs, what a start takes, what lies at rest, what is old.

use std::time::Duration;

use super::{MB_PER_S, S2_NONE, load, other};
use crate::bench::{
    measured::Measured,
    scenario::{
        Amount, Cold, Compaction, Figure, Filling, Goal, Load, Partitions, Process, Scenario, Work, cost,
        own_cost, rate,
    },
    subject::Side,
    syncs::Durability,
};

const LOG: &str = "log";

pub(super) const DURABLE_1: Scenario = Scenario {
    figures: &durable_figures(&[Goal::RatioAtLeast(2.0)]),
    ..durable(
        "d1-1",
        "50 producers, every record synced before its ack, 1 partition",
        1,
    )
};

pub(super) const DURABLE_100: Scenario = Scenario {
    figures: &durable_figures(&[Goal::RatioAtLeast(15.0)]),
    ..durable("d1-100", "the same over 100 partitions", 100)
};

pub(super) const DURABLE_1000: Scenario = Scenario {
    figures: &durable_figures(&[Goal::RatioAtLeast(30.0)]),
    ..durable("d1-1000", "the same over 1,000 partitions", 1_000)
};

pub(super) const DURABLE_1_ACKS: Scenario = durable_acks(
    "d1-1-acks",
    "200 messages a second of 50 producers, every one synced before its ack, 1 partition",
    1,
);

pub(super) const DURABLE_100_ACKS: Scenario =
    durable_acks("d1-100-acks", "the same over 100 partitions", 100);

pub(super) const DURABLE_1000_ACKS: Scenario =
    durable_acks("d1-1000-acks", "the same over 1,000 partitions", 1_000);

pub(super) const THROUGHPUT: Scenario = Scenario {
    family: LOG,
    durability: Durability::Fsync,
    is_beside_unsynced: true,
    figures: &[
        rate(
            MB_PER_S,
            Measured::megabytes_per_second,
            &[Goal::RatioAtLeast(0.9)],
        ),
        own_cost(
            "bytes to the device per byte",
            Measured::device_bytes_per_byte,
            &[Goal::AtMost(2.1)],
        ),
        own_cost("the same, by process", Measured::process_bytes_per_byte, &[]),
        rate("ack p99 ms", Measured::ack_p99, &[]),
    ],
    ..other(
        "d2",
        "produce 1 KiB records, 16 a batch, lz4: ours synced before each ack, theirs in the page cache",
        Work::Written(Load {
            traced: None,
            topics: 1,
            partitions: 6,
            fill: None,
            command: "produce --connections 6 --in-flight 5 --record-bytes 1024 --batch-records 16 --codec lz4 \
                      --acks -1 --timed",
            // A half to a third of it as it is stored: under a quarter of 24 GB of memory.
            amount: Amount::Megabytes(10_000),
        }),
    )
};

pub(super) const START_1K: Scenario = Scenario {
    figures: &start_figures(&[Goal::RatioAtMost(0.1)]),
    ..start(
        "d3-1k",
        "from the start after a clean stop to the first ack, 1,000 partitions",
        1_000,
    )
};

pub(super) const START_10K: Scenario = Scenario {
    figures: &start_figures(&[Goal::RatioAtMost(0.1), Goal::AtMost(500.0)]),
    ..start("d3-10k", "the same on 10,000 partitions", 10_000)
};

pub(super) const KILLED_1G: Scenario = killed(
    "d4-1g",
    "from the start after a kill to the first ack: on 50 MB, and on 1 GB",
    50,
    1_000,
);

pub(super) const KILLED_20G: Scenario = Scenario {
    is_long: true,
    ..killed("d4-20g", "the same on 1 GB, and on 20 GB", 1_000, 20_000)
};

pub(super) const IDLE: Scenario = Scenario {
    family: LOG,
    figures: &[
        own_cost("KiB each", Measured::grown_kib_each, &[Goal::AtMost(1.0)]),
        cost(
            "idle CPU %",
            Measured::idle_cpu_percent,
            &[Goal::RatioAtMost(0.2)],
        ),
    ],
    ..other(
        "d5",
        "10,000 partitions at rest in a fresh process: memory of each behind the first 1,000, CPU of all in a minute",
        Work::Partitions(Partitions {
            before: 1_000,
            count: 9_000,
            process: Process::Fresh,
            // What both write by the clock, they write once a minute or more often.
            watched: Some(Duration::from_secs(60)),
        }),
    )
};

pub(super) const COLD_6G: Scenario = cold(
    "d6-6g",
    "a reader of 5 GB that are not in memory, beside a writer: 1,000 messages of 1 KiB a second",
    Cold {
        reader: cold_reader(6_000, 5_000),
        writer: writer_beside(3),
        memory_mb: None,
    },
);

pub(super) const COLD_24G: Scenario = Scenario {
    is_long: true,
    ..cold(
        "d6-24g",
        "a reader of 24 GB where 8 GB of memory are allowed, beside a writer",
        Cold {
            reader: cold_reader(26_000, 24_000),
            writer: writer_beside(20),
            memory_mb: Some(8_600),
        },
    )
};

pub(super) const COMPACTION: Scenario = Scenario {
    family: LOG,
    // How long a cleaner that has nothing to do sleeps.
    settings: &[("log.cleaner.backoff.ms", "1000")],
    figures: &[
        cost(
            "broker CPU s",
            Measured::cpu_seconds_used,
            &[Goal::RatioAtMost(0.5)],
        ),
        cost("peak MB", Measured::peak_mb, &[Goal::RatioAtMost(0.5)]),
        rate("s until all is compacted", Measured::seconds_passed, &[]),
    ],
    ..other(
        "d7",
        "10,000,000 updates of 1,000,000 keys are compacted",
        Work::Compact(Compaction {
            keys: 1_000_000,
            times: 10,
        }),
    )
};

pub(super) const STORED_PRODUCE: Scenario = stored(
    "d8-produce",
    "one 100 B record a request, 50 connections, to a topic of 100 GB beside one of 1 GB",
    Load {
        traced: None,
        topics: 1,
        partitions: 1,
        fill: None,
        command: "produce --connections 50 --in-flight 1 --record-bytes 100 --batch-records 1 --codec none --acks 1",
        amount: Amount::Seconds(3),
    },
);

pub(super) const STORED_FETCH: Scenario = stored(
    "d8-fetch",
    "fetches of 64 KiB, each from another place of a topic of 100 GB beside one of 1 GB",
    Load {
        traced: None,
        topics: 1,
        partitions: 1,
        fill: None,
        // The stride is that of the places at which the made segments begin.
        command: "fetch --connections 4 --shared --max-bytes 65536 --partition-max-bytes 65536 --places 96 \
                  --stride 1008",
        amount: Amount::Megabytes(4_000),
    },
);

const ACK_TIMES: &[Figure] = &[
    rate("ack p99 ms", Measured::ack_p99, &[Goal::RatioAtMost(0.2)]),
    rate("ack p50 ms", Measured::ack_p50, &[]),
];

const GROWTH: &[Figure] = &[
    own_cost("times as long on much", Measured::growth, &[Goal::AtMost(1.5)]),
    rate("ms to the first ack, little", Measured::earlier_ms, &[]),
    rate("ms to the first ack, much", Measured::milliseconds, &[]),
];

const OLD_BESIDE_NEW: &[Figure] = &[
    rate(
        "cold MB/s",
        Measured::megabytes_per_second,
        &[Goal::RatioAtLeast(1.0)],
    ),
    rate(
        "writer's ack p99 ms",
        Measured::beside_ack_p99,
        &[Goal::RatioAtMost(0.25)],
    ),
    rate("writer's ack p50 ms", Measured::beside_ack_p50, &[]),
    cost("broker CPU s/GB", Measured::cpu_per_gigabyte, &[]),
];

const OF_A_REQUEST: &[Figure] = &[
    cost(
        "broker us/request",
        Measured::cpu_us_per_request,
        &[Goal::RatioAtMost(1.05)],
    ),
    rate("requests/s", Measured::requests_per_second, &[]),
];

/// One record a request, and one request in flight on each connection: the shape of `s6-1`, beside which what safety takes can
/// be seen. With batches the figure would be that of how many records share a sync before they reach the broker.
const fn durable(name: &'static str, what: &'static str, partitions: u16) -> Scenario {
    Scenario {
        family: LOG,
        durability: Durability::Fsync,
        ..load(
            name,
            what,
            Load {
                traced: None,
                topics: 1,
                partitions,
                fill: None,
                command: "produce --connections 50 --in-flight 1 --record-bytes 100 --batch-records 1 --codec none \
                          --acks -1 --timed",
                amount: Amount::Seconds(5),
            },
        )
    }
}

const fn durable_figures(goals: &'static [Goal]) -> [Figure; 3] {
    [
        rate("messages/s", Measured::records_per_second, goals),
        rate("ack p99 ms, with 50 waiting", Measured::ack_p99, &[]),
        cost("broker us/request", Measured::cpu_us_per_request, &[]),
    ]
}

/// A closed loop would give the faster broker more to do: its times are those of fifty that wait for each other, so a rate that both
/// can carry says how long an ack takes.
const fn durable_acks(name: &'static str, what: &'static str, partitions: u16) -> Scenario {
    Scenario {
        family: LOG,
        durability: Durability::Fsync,
        figures: ACK_TIMES,
        ..load(
            name,
            what,
            Load {
                traced: Some("latency --alone --rate 50 --record-bytes 100 --acks -1 --connections 50"),
                topics: 1,
                partitions,
                fill: None,
                command: "latency --alone --rate 200 --record-bytes 100 --acks -1 --connections 50",
                amount: Amount::Seconds(20),
            },
        )
    }
}

/// Each side starts with what it promises by default: ours has to come to terms with its journal.
const fn start(name: &'static str, what: &'static str, partitions: u16) -> Scenario {
    Scenario {
        family: LOG,
        durability: Durability::Fsync,
        is_beside_unsynced: true,
        ..other(name, what, Work::StartOn { partitions })
    }
}

const fn start_figures(goals: &'static [Goal]) -> [Figure; 3] {
    [
        rate("ms to the first ack", Measured::milliseconds, goals),
        rate("ms until all partitions answer", Measured::served_ms, &[]),
        cost("resident MB", Measured::resident_mb, &[]),
    ]
}

const fn killed(name: &'static str, what: &'static str, little_mb: u64, much_mb: u64) -> Scenario {
    Scenario {
        family: LOG,
        durability: Durability::Fsync,
        is_beside_unsynced: true,
        is_beside_optional: true,
        figures: GROWTH,
        ..other(
            name,
            what,
            Work::StartKilled(Filling {
                command: "produce --connections 6 --in-flight 5 --record-bytes 1024 --batch-records 16 --codec none \
                          --acks -1",
                partitions: 12,
                little_mb,
                much_mb,
            }),
        )
    }
}

const fn cold(name: &'static str, what: &'static str, cold: Cold) -> Scenario {
    Scenario {
        family: LOG,
        figures: OLD_BESIDE_NEW,
        ..other(name, what, Work::Cold(cold))
    }
}

/// What is read is less than what is there, so that nobody comes to its end and begins again with what is in memory by then.
const fn cold_reader(written_mb: u64, read_mb: u64) -> Load {
    Load {
        traced: None,
        topics: 1,
        partitions: 6,
        fill: Some((S2_NONE, Amount::Megabytes(written_mb))),
        command: "fetch --connections 3 --max-bytes 1048576 --partition-max-bytes 1048576",
        amount: Amount::Megabytes(read_mb),
    }
}

const fn writer_beside(seconds: u32) -> Load {
    Load {
        traced: None,
        topics: 1,
        partitions: 6,
        fill: None,
        command: "latency --alone --rate 1000 --record-bytes 1024 --acks -1 --connections 2",
        amount: Amount::Seconds(seconds),
    }
}

const fn stored(name: &'static str, what: &'static str, load: Load) -> Scenario {
    Scenario {
        family: LOG,
        sides: [Side::KlammFull, Side::KlammEmpty],
        figures: OF_A_REQUEST,
        ..other(name, what, Work::Stored(load))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::stored;

    #[test]
    fn places_that_are_read_are_those_that_are_made() {
        let Work::Stored(load) = STORED_FETCH.work else {
            panic!("it reads what is stored");
        };
        let stride = format!("--stride {}", stored::STRIDE);
        assert!(load.command.ends_with(&stride), "{}", load.command);
    }
}
