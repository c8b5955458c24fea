//! What a row of the benchmark is made of: who is compared, what they do, what is read off, and what is to be reached.
//!
//! [`super::scenarios`] has the rows; [`super::work`] does what they say.

use std::time::Duration;

use super::{measured::Measured, subject::Side, syncs::Durability};

/// A row.
pub(super) struct Scenario {
    /// What it is called on the command line; a name before a dash calls all that begin with it.
    pub(super) name: &'static str,
    /// What calls it together with others that are named otherwise; empty when nothing does.
    pub(super) family: &'static str,
    pub(super) what: &'static str,
    /// On both sides, unless the next line says otherwise.
    pub(super) durability: Durability,
    /// Theirs stays in the page cache, whatever ours promise: each side has its own default.
    pub(super) is_beside_unsynced: bool,
    /// Lines of `server.properties` on both sides.
    pub(super) settings: &'static [(&'static str, &'static str)],
    /// Ours, and whom it stands beside.
    pub(super) sides: [Side; 2],
    /// The limit program can do this too.
    pub(super) has_limit: bool,
    /// They are there for information: when they cannot do it, ours are measured alone.
    pub(super) is_beside_optional: bool,
    /// Takes long, and is left out of a run that names no scenario.
    pub(super) is_long: bool,
    pub(super) work: Work,
    pub(super) figures: &'static [Figure],
}

impl Scenario {
    /// What a side promises.
    pub(super) fn durability_of(&self, side: Side) -> Durability {
        if self.is_beside_unsynced && !side.is_ours() {
            return Durability::PageCache;
        }
        self.durability
    }
}

/// What a run does.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// The load program works on a topic.
    Load(Load),
    /// Connections open, and are at rest.
    Connections { count: u32, process: Process },
    /// Partitions are made, and are at rest; of a fresh process each is written once by an idempotent producer.
    Partitions(Partitions),
    /// A process starts, on a topic that is there, until it acknowledges a record.
    Start,
    /// So many records of a KiB go through librdkafka, with a codec.
    Librdkafka { records: u64, codec: &'static str },
    /// Groups without members commit the offsets of ten partitions, once each, and are at rest.
    Groups { count: u32 },
    /// A process starts on so many records that groups have committed, until it tells the offsets of all.
    GroupLoad { groups: u32, records: u32 },
    /// A member joins a group, or leaves it, and comes or goes again.
    Rebalance(Rebalance),
    /// Much data goes through, in pieces, and leaves memory behind.
    Through(Load, u32),
    /// A load, until all of it is on the device.
    Written(Load),
    /// A process starts on so many partitions with data, after it has ended in order, until it acknowledges a record.
    StartOn { partitions: u16 },
    /// A process is killed and starts on little data, and then on much, until it acknowledges a record.
    StartKilled(Filling),
    /// Old data is read from the device beside a writer.
    Cold(Cold),
    /// A topic with updates of keys is compacted.
    Compact(Compaction),
    /// A load on a topic that holds much, or little, by the side. What is read is written before.
    Stored(Load),
}

/// Partitions that are made.
#[derive(Clone, Copy)]
pub(super) struct Partitions {
    /// Those that are there, of which the cost of the others begins.
    pub(super) before: u16,
    pub(super) count: u16,
    pub(super) process: Process,
    /// How long they are watched at rest.
    pub(super) watched: Option<Duration>,
}

/// What a process that is killed holds.
#[derive(Clone, Copy)]
pub(super) struct Filling {
    /// The command that writes, and its options.
    pub(super) command: &'static str,
    pub(super) partitions: u16,
    /// What it holds first.
    pub(super) little_mb: u64,
    /// What it holds later, in all.
    pub(super) much_mb: u64,
}

/// A reader of data that is not in memory, and a writer.
#[derive(Clone, Copy)]
pub(super) struct Cold {
    pub(super) reader: Load,
    pub(super) writer: Load,
    /// What the page cache has at most, if the data is to be more than that.
    pub(super) memory_mb: Option<u64>,
}

/// Updates that are compacted.
#[derive(Clone, Copy)]
pub(super) struct Compaction {
    pub(super) keys: u64,
    /// How often each key is written.
    pub(super) times: u64,
}

/// Whether a run goes to the process of the run before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    /// Yes, warmed: for what costs time.
    Warm,
    /// No: for memory, which an allocator does not give back.
    Fresh,
}

/// Work of the load program.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) topics: u16,
    pub(super) partitions: u16,
    /// What is written before, once, when this reads.
    pub(super) fill: Option<(&'static str, Amount)>,
    /// The command and its options.
    pub(super) command: &'static str,
    /// The same, for the run under `strace`, where a broker that makes many calls follows no high rate.
    pub(super) traced: Option<&'static str>,
    pub(super) amount: Amount,
}

/// Work of the load program on a group.
#[derive(Clone, Copy)]
pub(super) struct Rebalance {
    /// The command and its options.
    pub(super) command: &'static str,
    /// Of the topic that the members share.
    pub(super) partitions: u16,
    /// How often it is done in a run.
    pub(super) rounds: u32,
}

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amount {
    Megabytes(u64),
    Seconds(u32),
}

impl Amount {
    /// Enough to count in, not to measure.
    pub(super) fn short(self) -> Self {
        match self {
            Amount::Megabytes(count) => Amount::Megabytes(count.div_ceil(10)),
            Amount::Seconds(count) => Amount::Seconds(count.min(2)),
        }
    }

    /// Whether a load at a fixed rate took so much longer than it was to that it left a queue behind. One that kept up
    /// ends a moment after its last record was due; a fiftieth is more than such a moment.
    pub(super) fn is_overrun(self, seconds: f64) -> bool {
        match self {
            Amount::Megabytes(_) => false,
            Amount::Seconds(count) => seconds > f64::from(count) * 1.02,
        }
    }

    /// Enough to bring pages and branches in.
    fn brief(self) -> Self {
        match self {
            Amount::Megabytes(count) => Amount::Megabytes(count.min(200)),
            Amount::Seconds(count) => Amount::Seconds(count.min(1)),
        }
    }

    fn arguments(self) -> [String; 2] {
        match self {
            Amount::Megabytes(count) => ["--bytes".to_owned(), (count * 1_000_000).to_string()],
            Amount::Seconds(count) => ["--seconds".to_owned(), count.to_string()],
        }
    }
}

impl Work {
    pub(super) fn process(&self) -> Process {
        match self {
            Work::Load(_)
            | Work::Librdkafka { .. }
            | Work::Rebalance(_)
            | Work::Written(_)
            | Work::Cold(_)
            | Work::Compact(_)
            | Work::Stored(_) => Process::Warm,
            Work::Connections { process, .. } | Work::Partitions(Partitions { process, .. }) => *process,
            Work::Start
            | Work::Through(..)
            | Work::Groups { .. }
            | Work::GroupLoad { .. }
            | Work::StartOn { .. }
            | Work::StartKilled(_) => Process::Fresh,
        }
    }

    /// Whether every side writes the same number of records, so that two sides can be compared in it.
    pub(super) fn has_fixed_count(&self) -> bool {
        match self {
            Work::Load(load) => load.fill.is_none() && load.has_fixed_amount(),
            Work::Through(..) | Work::Librdkafka { .. } | Work::Written(_) => true,
            Work::Connections { .. }
            | Work::Partitions(_)
            | Work::Start
            | Work::Groups { .. }
            | Work::GroupLoad { .. }
            | Work::Rebalance(_)
            | Work::StartOn { .. }
            | Work::StartKilled(_)
            | Work::Cold(_)
            | Work::Compact(_)
            | Work::Stored(_) => false,
        }
    }

    /// How long what comes at a fixed rate is to last.
    pub(super) fn paced(&self) -> Option<Amount> {
        match self {
            Work::Load(load) => Some(load.amount),
            Work::Cold(cold) => Some(cold.writer.amount),
            _ => None,
        }
    }
}

impl Compaction {
    /// Records of a batch. The load program keeps all batches of one update of every key.
    const BATCH_RECORDS: u16 = 1_000;
    const VALUE_BYTES: u64 = 100;
    const KEY_BYTES: u64 = 8;

    /// What the load program is called with to write the updates.
    pub(super) fn fill_arguments(&self) -> Vec<String> {
        let payload = self.keys * self.times * (Self::VALUE_BYTES + Self::KEY_BYTES);
        let line = format!(
            "produce --connections 1 --in-flight 5 --record-bytes {} --batch-records {} --keys {} --acks -1 --bytes {payload}",
            Self::VALUE_BYTES,
            Self::BATCH_RECORDS,
            self.keys,
        );
        line.split_whitespace().map(str::to_owned).collect()
    }
}

impl Rebalance {
    /// What the load program is called with.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut all: Vec<String> = self.command.split_whitespace().map(str::to_owned).collect();
        all.extend(["--partitions".to_owned(), self.partitions.to_string()]);
        all.extend(["--rounds".to_owned(), self.rounds.to_string()]);
        all
    }
}

impl Load {
    /// Whether it is as much on every side: so many bytes, or so many a second.
    fn has_fixed_amount(&self) -> bool {
        let mut options = self.command.split_whitespace();
        matches!(self.amount, Amount::Megabytes(_)) || options.any(|option| option == "--rate")
    }

    /// What the load program is called with.
    pub(super) fn arguments(&self) -> Vec<String> {
        self.with(self.command, self.amount)
    }

    /// What it is called with to write what is read later.
    pub(super) fn fill_arguments(&self) -> Option<Vec<String>> {
        let (command, amount) = self.fill?;
        Some(self.with(command, amount))
    }

    /// The same, with less to do, for a broker that is traced.
    pub(super) fn short(self) -> Self {
        Load {
            command: self.traced.unwrap_or(self.command),
            amount: self.amount.short(),
            ..self
        }
    }

    /// The same, with so little to do that it only warms.
    pub(super) fn brief(self) -> Self {
        Load {
            amount: self.amount.brief(),
            ..self
        }
    }

    fn with(&self, command: &str, amount: Amount) -> Vec<String> {
        let mut all: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if self.topics > 1 {
            all.extend(["--topics".to_owned(), self.topics.to_string()]);
        }
        all.extend(["--partitions".to_owned(), self.partitions.to_string()]);
        all.extend(amount.arguments());
        all
    }
}

/// Something read off a run.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) read: fn(&Measured) -> Option<f64>,
    /// What the load program can spoil: when one of its threads had no rest, a rate or a time is its own and not the
    /// broker's. The CPU time of the broker per piece of work is not.
    pub(super) is_rate_or_time: bool,
    /// Theirs is of the same kind, so that one can be divided by the other.
    pub(super) has_ratio: bool,
    pub(super) goals: &'static [Goal],
}

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// Ours by theirs.
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// Ours by the limit's.
    LimitAtMost(f64),
    /// Ours, in the unit of the figure.
    AtMost(f64),
}

impl Goal {
    /// Whether it is one towards the other side, or towards nobody, and not towards the limit.
    pub(super) fn is_plain(self) -> bool {
        !matches!(self, Goal::LimitAtMost(_))
    }

    /// Whether it is reached, by the median of ours and the median ratio to whom it is about.
    pub(super) fn is_reached(self, ours: f64, ratio: Option<f64>) -> bool {
        match self {
            Goal::RatioAtMost(most) | Goal::LimitAtMost(most) => ratio.is_some_and(|ratio| ratio <= most),
            Goal::RatioAtLeast(least) => ratio.is_some_and(|ratio| ratio >= least),
            Goal::AtMost(most) => ours <= most,
        }
    }
}

/// A cost: CPU time or memory for a piece of work.
pub(super) const fn cost(
    name: &'static str,
    read: fn(&Measured) -> Option<f64>,
    goals: &'static [Goal],
) -> Figure {
    Figure {
        name,
        read,
        is_rate_or_time: false,
        has_ratio: true,
        goals,
    }
}

/// A cost that a virtual machine does not have in the same way: theirs stands beside it, and is not divided by.
pub(super) const fn own_cost(
    name: &'static str,
    read: fn(&Measured) -> Option<f64>,
    goals: &'static [Goal],
) -> Figure {
    Figure {
        has_ratio: false,
        ..cost(name, read, goals)
    }
}

/// A rate, or a time that passes.
pub(super) const fn rate(
    name: &'static str,
    read: fn(&Measured) -> Option<f64>,
    goals: &'static [Goal],
) -> Figure {
    Figure {
        name,
        read,
        is_rate_or_time: true,
        has_ratio: true,
        goals,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_spelled_out() {
        let load = Load {
            traced: None,
            topics: 1,
            partitions: 6,
            fill: Some(("produce --acks 1", Amount::Megabytes(3))),
            command: "fetch --connections 3",
            amount: Amount::Megabytes(20),
        };
        let line = load.arguments().join(" ");
        assert_eq!(line, "fetch --connections 3 --partitions 6 --bytes 20000000");
        let line = load.fill_arguments().unwrap().join(" ");
        assert_eq!(line, "produce --acks 1 --partitions 6 --bytes 3000000");
        assert_eq!(load.short().amount, Amount::Megabytes(2));
        assert_eq!(load.brief().amount, Amount::Megabytes(20));
        let many = Load {
            traced: None,
            topics: 10,
            fill: None,
            amount: Amount::Seconds(8),
            ..load
        };
        let line = many.short().arguments().join(" ");
        assert_eq!(
            line,
            "fetch --connections 3 --topics 10 --partitions 6 --seconds 2"
        );
        assert_eq!(many.fill_arguments(), None);
    }

    #[test]
    fn amounts_are_compared_where_they_are_fixed() {
        let load = |command, amount| {
            Work::Load(Load {
                traced: None,
                topics: 1,
                partitions: 6,
                fill: None,
                command,
                amount,
            })
        };
        for (work, fixed) in [
            (load("produce --acks 1", Amount::Megabytes(3)), true),
            (load("transact --rate 100", Amount::Seconds(3)), true),
            (load("commit --connections 50", Amount::Seconds(3)), false),
        ] {
            assert_eq!(work.has_fixed_count(), fixed);
        }
    }

    #[test]
    fn updates_are_as_many_as_keys_times_times() {
        let line = Compaction {
            keys: 2_000,
            times: 10,
        }
        .fill_arguments()
        .join(" ");
        assert!(line.contains("--batch-records 1000 --keys 2000"), "{line}");
        assert!(line.ends_with("--bytes 2160000"), "{line}");
    }

    #[test]
    fn a_rebalance_is_spelled_out() {
        let rebalance = Rebalance {
            command: "consumer-group --members 10",
            partitions: 900,
            rounds: 4,
        };
        let line = rebalance.arguments().join(" ");
        assert_eq!(line, "consumer-group --members 10 --partitions 900 --rounds 4");
    }

    #[test]
    fn goals_are_about_a_ratio_or_a_value() {
        for (goal, ours, ratio, reached) in [
            (Goal::RatioAtMost(0.4), 9.0, Some(0.4), true),
            (Goal::RatioAtMost(0.4), 0.1, Some(0.41), false),
            (Goal::RatioAtLeast(1.3), 9.0, Some(1.3), true),
            (Goal::RatioAtLeast(1.3), 9.0, Some(1.2), false),
            (Goal::LimitAtMost(2.0), 9.0, Some(1.9), true),
            (Goal::LimitAtMost(2.0), 9.0, None, false),
            (Goal::AtMost(30.0), 30.0, None, true),
            (Goal::AtMost(30.0), 31.0, Some(0.0), false),
        ] {
            assert_eq!(goal.is_reached(ours, ratio), reached, "{goal:?} {ours} {ratio:?}");
        }
    }
}
