//! What the clients did and saw: the only thing that the rules know.
//!
//! Always holds: what a client is about to do is written down before it does it, and what it knows after it knows it. So
//! an entry that a killed client did not write stands for something that it had not begun, or did not learn. All
//! moments are read off one clock.

use std::collections::BTreeMap;
use std::fmt;

/// A moment of the one clock of all clients, in any unit.
pub type Moment = u64;

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A record that a transaction is to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub place: Place,
    /// What: one place gets it once in all.
    pub record: String,
    /// Where it was said to stand, once that was said.
    pub offset: Option<i64>,
}

/// What a transaction takes from a partition of the source: it processes these inputs, and commits `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The partition.
    pub partition: i32,
    /// The offset of the first input.
    pub from: i64,
    /// The offset after the last one.
    pub to: i64,
}

/// What is known about the end of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody has asked for a commit: it must never show.
    #[default]
    Open,
    /// It was aborted, says the answer.
    Aborted,
    /// A commit was asked for, and there is no answer: it shows wholly or not at all.
    Asked,
    /// It was committed, says the answer that was there at that moment.
    Committed(Moment),
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Its records, in the order in which they are written.
    pub writes: Vec<Write>,
    /// Its inputs.
    pub taken: Vec<Taken>,
    /// What became of it.
    pub outcome: Outcome,
}

/// A record as a reader of committed records saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Where.
    pub place: Place,
    /// At which offset.
    pub offset: i64,
    /// The transaction that it names.
    pub transaction: String,
    /// What it is.
    pub record: String,
    /// When it was there.
    pub at: Moment,
}

/// What happened to a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It saw a record.
    Saw(Sighting),
    /// It is past everything below an offset, as far as there was anything to see.
    Passed {
        /// Where.
        place: Place,
        /// The offset at which it reads on.
        next: i64,
    },
}

/// A reader of committed records, from the beginning of all places on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    /// Who it is.
    pub name: String,
    /// In its order.
    pub steps: Vec<Step>,
}

/// An answer to who asked what the group has committed, with the demand that no transaction is pending there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffsets {
    /// When it was asked.
    pub asked: Moment,
    /// When the answer was there.
    pub answered: Moment,
    /// Of partitions of the source, 0 without a commit; one without an answer is left out.
    pub offsets: BTreeMap<i32, i64>,
}

/// The end of a place when all work was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The last stable offset.
    pub stable: i64,
    /// The end for who reads everything.
    pub end: i64,
}

/// All that happened, as far as the clients know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Of each partition of the source, how many inputs it has, counted when all work was over.
    pub inputs: BTreeMap<i32, i64>,
    /// The transactions by the names that their records carry.
    pub transactions: BTreeMap<String, Transaction>,
    /// The readers.
    pub readers: Vec<Reader>,
    /// What the group had committed, meanwhile and at the end.
    pub offsets: Vec<GroupOffsets>,
    /// The ends of the places; empty while work goes on.
    pub ends: BTreeMap<Place, End>,
    /// What no client should meet.
    pub faults: Vec<String>,
}

impl History {
    /// Somebody is about to do this in a transaction.
    pub fn began(&mut self, name: &str, writes: Vec<Write>, taken: Vec<Taken>) {
        let transaction = Transaction {
            writes,
            taken,
            outcome: Outcome::Open,
        };
        if self.transactions.insert(name.to_owned(), transaction).is_some() {
            self.faults.push(format!("{name} was begun twice"));
        }
    }

    /// Its records were acknowledged at these offsets, in their order.
    pub fn wrote(&mut self, name: &str, offsets: &[i64]) {
        let Some(transaction) = self.transactions.get_mut(name) else {
            return self.unknown(name);
        };
        for (write, offset) in transaction.writes.iter_mut().zip(offsets) {
            write.offset = Some(*offset);
        }
    }

    /// This is known of its end now.
    pub fn ended(&mut self, name: &str, outcome: Outcome) {
        match self.transactions.get_mut(name) {
            Some(transaction) => transaction.outcome = outcome,
            None => self.unknown(name),
        }
    }

    fn unknown(&mut self, name: &str) {
        self.faults.push(format!("{name} went on and was never begun"));
    }
}
