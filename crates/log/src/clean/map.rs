//! The last offset of each key, in bounded memory.
//!
//! Always holds: at most the given bytes are taken, and no more than the keys need; a key stands for 16 bytes of a hash
//! that is keyed with a secret, so that nobody can make two keys that are taken for one. The table never forgets: when it
//! has no room it says so.
//!
//! It is cut into shards that grow one by one: a table that grows as a whole would need the old and the new one at once.

use std::hash::Hasher;

use klamm_model::Offset;
use siphasher::sip128::{Hasher128, SipHasher13};

/// Shards at most.
const SHARDS: usize = 256;
/// Slots that a shard may grow to at least: the fuller of small ones would be full long before the others.
const SHARD_SLOTS: usize = 4096;
/// Slots that a shard begins with.
const FIRST_SLOTS: usize = 16;

/// Bytes of a key in the table.
const SLOT_BYTES: usize = size_of::<Slot>();

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: (u64, u64),
    /// The offset plus one; 0 in a slot that is free.
    place: u64,
}

#[derive(Debug, Default)]
struct Shard {
    slots: Vec<Slot>,
    used: usize,
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct KeyMap {
    keys: (u64, u64),
    shards: Vec<Shard>,
    /// Slots that a shard may have, and how many of them may be used.
    most_slots: usize,
    most_used: usize,
    len: usize,
}

impl KeyMap {
    /// A table of at most `bytes`, of which `load_factor` may be used; `keys` are the secret of the hash.
    pub(super) fn new(bytes: usize, load_factor: f64, keys: (u64, u64)) -> Self {
        let slots = (bytes / SLOT_BYTES).max(2);
        let shards = (slots / SHARD_SLOTS).clamp(1, SHARDS);
        let most_slots = slots / shards;
        // A probe needs a free slot to end at.
        let most_used = (most_slots as f64 * load_factor) as usize;
        Self {
            keys,
            shards: (0..shards).map(|_| Shard::default()).collect(),
            most_slots,
            most_used: most_used.clamp(1, most_slots - 1),
            len: 0,
        }
    }

    /// How much of the room for keys is taken.
    pub(super) fn utilization(&self) -> f64 {
        self.len as f64 / (self.most_slots * self.shards.len()) as f64
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        hasher.write(key);
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }

    fn shard(&self, hash: (u64, u64)) -> usize {
        // The upper bits of one half; the place in the shard comes from the other.
        ((u128::from(hash.1) * self.shards.len() as u128) >> 64) as usize
    }

    /// Notes that `key` stands at `offset`, above all offsets before. `false` if there is no room for another key.
    #[must_use]
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let (at, most_slots, most_used) = (self.shard(hash), self.most_slots, self.most_used);
        let shard = &mut self.shards[at];
        let place = offset.0 as u64 + 1;
        if let Some(slot) = shard.find(hash) {
            slot.place = place;
            return true;
        }
        if shard.used >= most_used {
            return false;
        }
        // Three quarters: beyond, probes get long. At its full size a shard is as full as it may be.
        if shard.slots.len() < most_slots && (shard.used + 1) * 4 > shard.slots.len() * 3 {
            shard.grow(most_slots);
        }
        shard.insert(Slot { hash, place });
        self.len += 1;
        true
    }

    /// The last offset of `key`, if it was put.
    pub(super) fn get(&mut self, key: &[u8]) -> Option<Offset> {
        let hash = self.hash(key);
        let at = self.shard(hash);
        let slot = self.shards[at].find(hash)?;
        Some(Offset(slot.place as i64 - 1))
    }
}

impl Shard {
    fn start(&self, hash: (u64, u64)) -> usize {
        ((u128::from(hash.0) * self.slots.len() as u128) >> 64) as usize
    }

    fn find(&mut self, hash: (u64, u64)) -> Option<&mut Slot> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = self.start(hash);
        while self.slots[at].place != 0 {
            if self.slots[at].hash == hash {
                return Some(&mut self.slots[at]);
            }
            at = (at + 1) % self.slots.len();
        }
        None
    }

    /// Takes in a slot that is not there; one at least is free and stays free.
    fn insert(&mut self, slot: Slot) {
        let mut at = self.start(slot.hash);
        while self.slots[at].place != 0 {
            at = (at + 1) % self.slots.len();
        }
        self.slots[at] = slot;
        self.used += 1;
    }

    fn grow(&mut self, most: usize) {
        let size = (self.slots.len() * 2).clamp(FIRST_SLOTS.min(most), most);
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); size]);
        self.used = 0;
        old.into_iter()
            .filter(|slot| slot.place != 0)
            .for_each(|slot| self.insert(slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> [u8; 8] {
        n.to_be_bytes()
    }

    fn slots(map: &KeyMap) -> usize {
        map.shards.iter().map(|shard| shard.slots.len()).sum()
    }

    #[test]
    fn the_last_offset_of_each_key_is_found() {
        for bytes in [1 << 14, 1 << 22] {
            let mut map = KeyMap::new(bytes, 0.9, (1, 2));
            for n in 0..600 {
                assert!(map.put(&key(n % 200), Offset(n as i64)), "{n}");
            }
            assert_eq!(map.len, 200);
            for n in 0..200 {
                assert_eq!(map.get(&key(n)), Some(Offset(400 + n as i64)));
            }
            assert_eq!(map.get(&key(200)), None);
            assert!(map.put(b"", Offset(0)), "an empty key and offset 0 count");
            assert_eq!(map.get(b""), Some(Offset(0)));
        }
    }

    #[test]
    fn a_table_takes_what_it_was_given_and_then_says_so() {
        for (bytes, load_factor) in [(0, 0.9), (100, 0.5), (10_000, 1.0), (1 << 20, 0.9)] {
            let mut map = KeyMap::new(bytes, load_factor, (3, 4));
            let count = (0..).take_while(|n| map.put(&key(*n), Offset(*n as i64))).count();
            let room = bytes / SLOT_BYTES;
            let wanted = room as f64 * load_factor;
            assert!(
                count >= 1 && (count as f64) <= wanted.max(1.0),
                "{bytes}: {count}"
            );
            assert!(count as f64 >= wanted * 0.8 - 2.0, "{bytes}: {count} of {wanted}");
            assert!(slots(&map) <= room.max(2), "{bytes}: {}", slots(&map));
            assert!(map.put(&key(0), Offset(99)), "a key that is known needs no room");
            for n in 1..count as u64 {
                assert_eq!(map.get(&key(n)), Some(Offset(n as i64)));
            }
        }
    }

    #[test]
    fn few_keys_take_little() {
        let mut map = KeyMap::new(1 << 27, 0.9, (5, 6));
        for n in 0..10_000 {
            assert!(map.put(&key(n), Offset(n as i64)));
        }
        let most = 3 * 10_000 + SHARDS * FIRST_SLOTS;
        assert!(slots(&map) <= most, "{} slots", slots(&map));
    }

    #[test]
    fn the_hash_is_keyed() {
        let (one, other) = (KeyMap::new(100, 0.9, (1, 1)), KeyMap::new(100, 0.9, (1, 2)));
        assert_ne!(one.hash(b"key"), other.hash(b"key"));
    }
}
