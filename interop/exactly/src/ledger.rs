//! The books of all clients, put together into one history.
//!
//! Always holds: who a sighting belongs to is the process that said it; each process that reads is a reader of its own.

use std::collections::BTreeMap;

use klamm_sim::exactly_once::{
    End, GroupOffsets, History, Outcome, Place, Reader, Sighting, Step, Taken, Write,
};

use crate::entry::{Entry, Said};
use crate::programs::Id;

/// What was heard so far.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) history: History,
    readers: BTreeMap<Id, usize>,
    /// The inputs by partition and offset.
    pub(crate) fed: BTreeMap<(i32, i64), String>,
}

/// How many transactions ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endings {
    pub(crate) committed: usize,
    pub(crate) aborted: usize,
    pub(crate) unanswered: usize,
    pub(crate) open: usize,
}

impl Ledger {
    /// From here on a process is a reader of this name.
    pub(crate) fn add_reader(&mut self, id: Id, name: &str) {
        self.readers.insert(id, self.history.readers.len());
        self.history.readers.push(Reader {
            name: name.to_owned(),
            steps: Vec::new(),
        });
    }

    /// Enters what a process said.
    pub(crate) fn enter(&mut self, by: Id, said: Said) {
        let history = &mut self.history;
        match said.entry {
            Entry::Began {
                transaction,
                writes,
                inputs,
            } => begin(history, &transaction, writes, inputs),
            Entry::Wrote { transaction, offsets } => history.wrote(&transaction, &offsets),
            Entry::Asked { transaction } => history.ended(&transaction, Outcome::Asked),
            Entry::Committed { transaction } => history.ended(&transaction, Outcome::Committed(said.at)),
            Entry::Aborted { transaction } => history.ended(&transaction, Outcome::Aborted),
            Entry::Saw {
                topic,
                partition,
                offset,
                transaction,
                record,
            } => {
                let sighting = Sighting {
                    place: Place { topic, partition },
                    offset,
                    transaction,
                    record,
                    at: said.at,
                };
                self.read(by, Step::Saw(sighting));
            }
            Entry::Passed {
                topic,
                partition,
                next,
            } => {
                let place = Place { topic, partition };
                self.read(by, Step::Passed { place, next });
            }
            Entry::Offsets {
                asked,
                answered,
                offsets,
            } => history.offsets.push(GroupOffsets {
                asked,
                answered,
                offsets: offsets.into_iter().collect(),
            }),
            Entry::Ends { ends } => {
                let ends = ends.into_iter();
                let ends = ends
                    .map(|(topic, partition, stable, end)| (Place { topic, partition }, End { stable, end }));
                history.ends = ends.collect();
            }
            Entry::Inputs { inputs } => history.inputs = inputs.into_iter().collect(),
            Entry::Fed {
                partition,
                offset,
                value,
            } => {
                if self.fed.insert((partition, offset), value).is_some() {
                    let fault = format!("input {offset} of partition {partition} was acknowledged twice");
                    history.faults.push(fault);
                }
            }
            Entry::Step { .. } | Entry::Trouble { .. } | Entry::Died { .. } | Entry::Done => {}
        }
    }

    fn read(&mut self, by: Id, step: Step) {
        match self.readers.get(&by) {
            Some(reader) => self.history.readers[*reader].steps.push(step),
            None => self.history.faults.push(format!("{by:?} reads and is no reader")),
        }
    }

    /// What the last reader saw of a topic: partition, offset and record, in its order.
    pub(crate) fn at_the_end(&self, topic: &str) -> impl Iterator<Item = &Sighting> {
        let steps = self.history.readers.last().map(|reader| &reader.steps);
        steps.into_iter().flatten().filter_map(move |step| match step {
            Step::Saw(seen) if seen.place.topic == topic => Some(seen),
            _ => None,
        })
    }

    /// Where the inputs of each partition end at least.
    pub(crate) fn acknowledged(&self) -> BTreeMap<i32, i64> {
        // In their order, the last one of a partition stays.
        self.fed
            .keys()
            .map(|(partition, offset)| (*partition, offset + 1))
            .collect()
    }

    /// What was not looked at although it was there: rules say nothing about it then.
    pub(crate) fn unseen(&self) -> Vec<String> {
        let saw = |reader: &Reader| reader.steps.iter().any(|step| matches!(step, Step::Saw(_)));
        let readers = self.history.readers.iter();
        let mut unseen: Vec<String> = readers
            .filter(|reader| !saw(reader))
            .map(|reader| format!("{} saw no record", reader.name))
            .collect();
        // The last one who asks is the auditor.
        let asked = self.history.offsets.last().map(|last| &last.offsets);
        if asked != Some(&self.history.inputs) {
            let inputs = &self.history.inputs;
            unseen.push(format!(
                "the group is at {asked:?} at last, the inputs end at {inputs:?}"
            ));
        }
        if self.endings().aborted == 0 {
            unseen.push("nothing was aborted".to_owned());
        }
        unseen
    }

    pub(crate) fn endings(&self) -> Endings {
        let mut endings = Endings::default();
        for transaction in self.history.transactions.values() {
            *match transaction.outcome {
                Outcome::Committed(_) => &mut endings.committed,
                Outcome::Aborted => &mut endings.aborted,
                Outcome::Asked => &mut endings.unanswered,
                Outcome::Open => &mut endings.open,
            } += 1;
        }
        endings
    }
}

/// Who writes what, and takes what.
fn begin(
    history: &mut History,
    name: &str,
    writes: Vec<(String, i32, String)>,
    inputs: Vec<(i32, i64, i64)>,
) {
    let writes = writes.into_iter().map(|(topic, partition, record)| Write {
        place: Place { topic, partition },
        record,
        offset: None,
    });
    let taken = inputs.into_iter();
    let taken = taken.map(|(partition, from, to)| Taken { partition, from, to });
    history.began(name, writes.collect(), taken.collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_looked_at_shows() {
        let (mut ledger, id) = (Ledger::default(), Id::of(1));
        let say = |ledger: &mut Ledger, entry| ledger.enter(id, Said { at: 0, entry });
        ledger.add_reader(id, "a reader");
        say(&mut ledger, Entry::Inputs { inputs: vec![(0, 3)] });
        assert_eq!(ledger.unseen().len(), 3, "{:?}", ledger.unseen());
        let saw = Entry::Saw {
            topic: "out".to_owned(),
            partition: 0,
            offset: 0,
            transaction: "t".to_owned(),
            record: "r".to_owned(),
        };
        say(&mut ledger, saw);
        assert_eq!(ledger.unseen().len(), 2, "{:?}", ledger.unseen());
        let begins = Entry::Began {
            transaction: "t".to_owned(),
            writes: Vec::new(),
            inputs: Vec::new(),
        };
        say(&mut ledger, begins);
        let transaction = "t".to_owned();
        say(&mut ledger, Entry::Aborted { transaction });
        for (offset, unseen) in [(2, 1), (3, 0)] {
            let offsets = Entry::Offsets {
                asked: 0,
                answered: 0,
                offsets: vec![(0, offset)],
            };
            say(&mut ledger, offsets);
            assert_eq!(ledger.unseen().len(), unseen, "{:?}", ledger.unseen());
        }
    }
}
