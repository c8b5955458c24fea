//! Newtypes for the numbers that must not be mixed up. The raw integer is public: the edge that reads or writes the
//! wire converts with `Offset(raw)` and `.0`.

use std::fmt;
use std::sync::Arc;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $raw);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// The position of a record in its partition; the first is 0.
    Offset(i64)
);
number!(
    /// How often the leadership of a partition has changed (KIP-101); the first leader has 0.
    LeaderEpoch(i32)
);
number!(
    /// A node of the cluster: `node.id`.
    BrokerId(i32)
);
number!(
    /// What the cluster calls an idempotent or transactional producer (KIP-98).
    ProducerId(i64)
);
number!(
    /// The incarnation of a [`ProducerId`]; a higher one fences a lower one.
    ProducerEpoch(i16)
);
number!(
    /// Milliseconds since 1970-01-01T00:00:00Z, as records carry them.
    TimestampMs(i64)
);

impl Offset {
    /// The offset `count` records further on.
    pub const fn plus(self, count: i64) -> Self {
        Self(self.0 + count)
    }
}

impl TimestampMs {
    /// This time moved by `ms` milliseconds, saturating.
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; negative when `earlier` is later.
    pub const fn ms_since(self, earlier: TimestampMs) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A partition by topic name and number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
