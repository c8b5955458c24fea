//! The producers of a log by their ids: none or one for most logs, and a map for the others.
//!
//! Always holds: in the order of the ids, whichever way they are kept.

use std::collections::BTreeMap;

use klamm_model::ProducerId;

use super::ProducerEntry;

/// See the head of the file.
#[derive(Clone, Debug, Default)]
#[expect(clippy::box_collection, reason = "a word in the many logs that have none")]
pub(super) enum Entries {
    #[default]
    None,
    One(ProducerId, Box<ProducerEntry>),
    // Boxed, the entries too: a node of the map has room for eleven.
    Many(Box<BTreeMap<ProducerId, Box<ProducerEntry>>>),
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        match self {
            Entries::None => 0,
            Entries::One(..) => 1,
            Entries::Many(map) => map.len(),
        }
    }

    pub(super) fn get(&self, id: ProducerId) -> Option<&ProducerEntry> {
        match self {
            Entries::One(one, entry) if *one == id => Some(entry),
            Entries::None | Entries::One(..) => None,
            Entries::Many(map) => map.get(&id).map(|entry| &**entry),
        }
    }

    /// The entry of `id`, which is made for `epoch` if there is none.
    pub(super) fn of(&mut self, id: ProducerId, epoch: i16) -> &mut ProducerEntry {
        if self.get(id).is_none() {
            self.insert(id, ProducerEntry::new(epoch));
        }
        match self {
            Entries::One(_, entry) => entry,
            Entries::Many(map) => map.get_mut(&id).expect("looked for or made above"),
            Entries::None => unreachable!("one was made above"),
        }
    }

    pub(super) fn insert(&mut self, id: ProducerId, entry: ProducerEntry) {
        let entry = Box::new(entry);
        match self {
            Entries::None => *self = Entries::One(id, entry),
            Entries::One(one, old) if *one == id => *old = entry,
            Entries::One(..) => {
                let mut map = BTreeMap::from([(id, entry)]);
                if let Entries::One(one, old) = std::mem::take(self) {
                    map.insert(one, old);
                }
                *self = Entries::Many(Box::new(map));
            }
            Entries::Many(map) => drop(map.insert(id, entry)),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        let (one, many) = match self {
            Entries::None => (None, None),
            Entries::One(id, entry) => (Some((*id, &**entry)), None),
            Entries::Many(map) => (None, Some(map.iter().map(|(id, entry)| (*id, &**entry)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&ProducerEntry) -> bool) {
        match self {
            Entries::None => {}
            Entries::One(_, entry) => {
                if !keep(entry) {
                    *self = Entries::None;
                }
            }
            Entries::Many(map) => {
                map.retain(|_, entry| keep(entry));
                if map.len() <= 1 {
                    *self = map
                        .pop_first()
                        .map_or(Entries::None, |(id, entry)| Entries::One(id, entry));
                }
            }
        }
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Entries {}
