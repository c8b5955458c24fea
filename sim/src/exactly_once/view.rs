//! What follows from a history, for all rules: who saw what where, and which transactions are known to have happened.
//!
//! Always holds: nothing is guessed. A transaction *happened* when its commit was answered, a reader saw something of it, or
//! the group has an offset that only this one can have committed.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{History, Outcome, Place, Sighting, Step, Transaction, Write};

/// A history, looked at from all sides.
pub(super) struct View<'a> {
    pub(super) history: &'a History,
    pub(super) readers: Vec<Read<'a>>,
    /// The transactions of which somebody saw something.
    pub(super) seen: BTreeSet<&'a str>,
    /// Those that happened.
    pub(super) happened: BTreeSet<&'a str>,
}

/// What one reader saw.
pub(super) struct Read<'a> {
    pub(super) name: &'a str,
    pub(super) places: BTreeMap<&'a Place, Column<'a>>,
    /// It has read everything there is at the end.
    pub(super) is_complete: bool,
}

/// What it saw in one place.
#[derive(Default)]
pub(super) struct Column<'a> {
    /// By offset; of two at one offset the later one.
    pub(super) seen: BTreeMap<i64, &'a Sighting>,
    /// All below was there to be seen.
    pub(super) next: i64,
}

impl<'a> View<'a> {
    pub(super) fn new(history: &'a History) -> Self {
        let readers: Vec<Read<'a>> = history
            .readers
            .iter()
            .map(|reader| {
                let mut read = Read {
                    name: &reader.name,
                    places: columns(&reader.steps),
                    is_complete: false,
                };
                read.is_complete = !history.ends.is_empty()
                    && history
                        .ends
                        .iter()
                        .all(|(place, end)| read.next(place) >= end.stable);
                read
            })
            .collect();
        let sightings = readers.iter().flat_map(Read::sightings);
        let seen: BTreeSet<&str> = sightings.map(|seen| seen.transaction.as_str()).collect();
        let answered = history.transactions.iter();
        let answered = answered.filter(|(_, one)| matches!(one.outcome, Outcome::Committed(_)));
        let mut happened: BTreeSet<&str> = answered.map(|(name, _)| name.as_str()).collect();
        happened.extend(&seen);
        let mut view = View {
            history,
            readers,
            seen,
            happened,
        };
        for (partition, offset) in view.committed_offsets() {
            if let [only] = view.committers(partition, offset)[..] {
                view.happened.insert(only);
            }
        }
        view
    }

    /// The offsets that the group was seen to have, each once.
    pub(super) fn committed_offsets(&self) -> BTreeSet<(i32, i64)> {
        let rows = self.history.offsets.iter().flat_map(|row| &row.offsets);
        rows.filter(|(_, offset)| **offset > 0)
            .map(|(partition, offset)| (*partition, *offset))
            .collect()
    }

    /// Who may have committed this offset: whose commit was asked for.
    pub(super) fn committers(&self, partition: i32, offset: i64) -> Vec<&'a str> {
        let transactions = self.history.transactions.iter();
        let candidates = transactions.filter(|(_, transaction)| {
            let is_asked = matches!(transaction.outcome, Outcome::Asked | Outcome::Committed(_));
            let mut taken = transaction.taken.iter();
            is_asked && taken.any(|taken| taken.partition == partition && taken.to == offset)
        });
        candidates.map(|(name, _)| name.as_str()).collect()
    }

    /// The transactions that happened, and what is known of them.
    pub(super) fn happened(&self) -> impl Iterator<Item = (&'a str, &'a Transaction)> {
        let names = self.happened.iter();
        names.filter_map(|name| Some((*name, self.history.transactions.get(*name)?)))
    }

    /// Somebody has read everything there is at the end.
    pub(super) fn is_complete(&self) -> bool {
        self.readers.iter().any(|reader| reader.is_complete)
    }

    /// The writes of a transaction that a reader should have seen, had it happened, and has not; who, and what.
    pub(super) fn missing(&self, name: &str, transaction: &'a Transaction) -> Vec<(&'a str, &'a Write)> {
        let mut missing = Vec::new();
        for reader in &self.readers {
            for write in &transaction.writes {
                if reader.misses(name, write) {
                    missing.push((reader.name, write));
                }
            }
        }
        missing
    }
}

impl<'a> Read<'a> {
    /// Where it reads on.
    pub(super) fn next(&self, place: &Place) -> i64 {
        self.places.get(place).map_or(0, |column| column.next)
    }

    /// Everything it saw, place by place in the order of offsets.
    pub(super) fn sightings(&self) -> impl Iterator<Item = &'a Sighting> {
        self.places
            .values()
            .flat_map(|column| column.seen.values().copied())
    }

    /// Whether it was past this write of a transaction and did not see it.
    fn misses(&self, name: &str, write: &Write) -> bool {
        let Some(offset) = write.offset else {
            // Nobody knows where it is; who has read everything has seen it somewhere.
            let mut all = self.sightings();
            return self.is_complete
                && !all.any(|seen| seen.transaction == name && seen.record == write.record);
        };
        let is_past = self.is_complete || self.next(&write.place) > offset;
        let column = self.places.get(&write.place);
        let there = column.and_then(|column| column.seen.get(&offset));
        is_past && there.is_none_or(|seen| seen.transaction != name || seen.record != write.record)
    }
}

fn columns(steps: &[Step]) -> BTreeMap<&Place, Column<'_>> {
    let mut columns: BTreeMap<&Place, Column<'_>> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Saw(sighting) => {
                let column = columns.entry(&sighting.place).or_default();
                column.seen.insert(sighting.offset, sighting);
                column.next = column.next.max(sighting.offset + 1);
            }
            Step::Passed { place, next } => {
                let column = columns.entry(place).or_default();
                column.next = column.next.max(*next);
            }
        }
    }
    columns
}
