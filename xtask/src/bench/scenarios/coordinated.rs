//! The rows of what coordinators do: groups, their offsets, transactions.

use super::{load, other, small_requests};
use crate::bench::{
    measured::Measured,
    scenario::{Amount, Figure, Goal, Load, Rebalance, Scenario, Work, cost, rate},
    syncs::Durability,
};

const GROUPS: &str = "groups";
const TRANSACTIONS_FAMILY: &str = "transactions";

pub(super) const OFFSETS: Scenario = Scenario {
    family: GROUPS,
    figures: &[
        cost(
            "broker us/request",
            Measured::cpu_us_per_request,
            &[Goal::RatioAtMost(0.4)],
        ),
        rate("requests/s", Measured::requests_per_second, &[]),
    ],
    ..load(
        "g1",
        "offsets of ten partitions committed by a request, 50 connections, a group each",
        Load {
            partitions: 10,
            ..small_requests("commit --connections 50")
        },
    )
};

pub(super) const GROUP_MEMORY: Scenario = Scenario {
    family: GROUPS,
    figures: &[cost(
        "KiB each",
        Measured::grown_kib_each,
        &[Goal::RatioAtMost(0.3)],
    )],
    ..other(
        "g2-memory",
        "10,000 idle groups, each with offsets of ten partitions: memory added to a fresh process",
        Work::Groups { count: 10_000 },
    )
};

pub(super) const GROUP_LOAD: Scenario = Scenario {
    family: GROUPS,
    figures: &[
        rate("load ms", Measured::milliseconds, &[Goal::RatioAtMost(0.3)]),
        cost("CPU us a record, with the start", Measured::cpu_us_each, &[]),
    ],
    ..other(
        "g2-load",
        "1,000,000 records of offsets, of 10,000 groups: from the first answer of a process to the last group's offsets",
        Work::GroupLoad {
            groups: 10_000,
            records: 1_000_000,
        },
    )
};

pub(super) const MEMBER_JOINS: Scenario = Scenario {
    family: GROUPS,
    settings: &[
        // Kafka does not go below 5,000 unless it is allowed to.
        ("group.consumer.min.heartbeat.interval.ms", "500"),
        ("group.consumer.heartbeat.interval.ms", "500"),
        ("group.consumer.assignment.interval.ms", "0"),
    ],
    figures: &[
        rate(
            "ms until all settle",
            Measured::rebalance_p50,
            &[Goal::RatioAtMost(1.0)],
        ),
        cost(
            "broker CPU ms meanwhile",
            Measured::cpu_ms_each,
            &[Goal::RatioAtMost(0.3)],
        ),
    ],
    ..other(
        "g3",
        "consumer protocol: to 10 members with 900 partitions comes one more (heartbeats every 500 ms)",
        Work::Rebalance(Rebalance {
            command: "consumer-group --members 10",
            partitions: 900,
            rounds: 5,
        }),
    )
};

pub(super) const MEMBER_LEAVES: Scenario = Scenario {
    family: GROUPS,
    // Groups that are new wait for members: here for all of them, and not for long.
    settings: &[("group.initial.rebalance.delay.ms", "500")],
    figures: &[
        rate(
            "ms from the last join to the last sync",
            Measured::rebalance_p50,
            &[Goal::RatioAtMost(0.3)],
        ),
        cost("broker CPU ms from leave to sync", Measured::cpu_ms_each, &[]),
    ],
    ..other(
        "g4",
        "classic protocol: of 50 members with 500 partitions one leaves, and the others join again",
        Work::Rebalance(Rebalance {
            command: "classic-group --members 50",
            partitions: 500,
            rounds: 20,
        }),
    )
};

pub(super) const TRANSACTIONS: Scenario = Scenario {
    family: TRANSACTIONS_FAMILY,
    figures: &transaction_figures(&[Goal::RatioAtMost(0.5)]),
    ..load(
        "t1",
        "100 transactions a second of 3 partitions and offsets, 5 producers, page cache",
        transactions("transact --producers 5 --rate 100"),
    )
};

pub(super) const DURABLE_TRANSACTIONS: Scenario = Scenario {
    family: TRANSACTIONS_FAMILY,
    durability: Durability::Fsync,
    figures: &transaction_figures(&[Goal::RatioAtMost(0.3)]),
    ..load(
        "t1d",
        "20 transactions a second of 3 partitions and offsets, 5 producers, every append synced",
        transactions("transact --producers 5 --rate 20"),
    )
};

const fn transactions(command: &'static str) -> Load {
    Load {
        amount: Amount::Seconds(10),
        ..small_requests(command)
    }
}

const fn transaction_figures(goals: &'static [Goal]) -> [Figure; 4] {
    [
        rate("commit p50 ms", Measured::commit_p50, goals),
        rate("commit p99 ms", Measured::commit_p99, goals),
        rate("whole p50 ms", Measured::transaction_p50, &[]),
        rate("whole p99 ms", Measured::transaction_p99, &[]),
    ]
}
