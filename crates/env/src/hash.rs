//! Hash maps whose seed is part of the world.
//!
//! Two wishes stand against each other. What peers choose (client ids, topic names, member ids) ends up as keys, so the
//! hash must be keyed with a secret, or they choose keys that collide (HashDoS). And the order in which a map is walked
//! follows from that key, so under a random one no run can be repeated. Hence: SipHash-1-3, keyed at random per process
//! in the real world; keyed by the simulator's seed, per thread, in a simulation ([`seed_thread`]).
//!
//! Always holds: two maps of one thread have different keys (else filling one from the walk of the other is quadratic).
//! An order that leaves the node (a response, a file) must not come from these maps all the same: sort it, or keep a
//! `BTreeMap`.
#![allow(clippy::disallowed_types)] // with a hasher of their own they are what this module is for

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// A hash map. Make it by `Map::default()`.
pub type Map<K, V> = HashMap<K, V, Seed>;
/// A hash set. Make it by `Set::default()`.
pub type Set<K> = HashSet<K, Seed>;

thread_local! {
    /// The keys of the next map of this thread; random before the first one.
    static NEXT: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// The secret of one map.
#[derive(Clone, Debug)]
pub struct Seed {
    keys: (u64, u64),
}

impl Default for Seed {
    fn default() -> Self {
        let keys = NEXT.get().unwrap_or_else(random_keys);
        NEXT.set(Some((keys.0.wrapping_add(1), keys.1)));
        Self { keys }
    }
}

impl BuildHasher for Seed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.keys.0, self.keys.1)
    }
}

fn random_keys() -> (u64, u64) {
    let mut bytes = [0; 16];
    crate::real::fill_random(&mut bytes);
    let both = u128::from_le_bytes(bytes);
    (both as u64, (both >> 64) as u64)
}

/// Until the guard is dropped, the maps of this thread are keyed from `seed`, the first as the first and so on.
pub fn seed_thread(seed: u64) -> ThreadSeed {
    ThreadSeed {
        before: NEXT.replace(Some((seed, !seed.rotate_left(32)))),
    }
}

/// Gives the thread its former keys back when dropped; of use on the thread that made it.
#[derive(Debug)]
#[must_use = "the seed is in force only while this lives"]
pub struct ThreadSeed {
    before: Option<(u64, u64)>,
}

impl Drop for ThreadSeed {
    fn drop(&mut self) {
        NEXT.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk() -> Vec<u32> {
        let map: Map<u32, ()> = (0..200).map(|key| (key, ())).collect();
        map.into_keys().collect()
    }

    #[test]
    fn one_seed_gives_one_order() {
        let in_order_of = |seed| {
            let _guard = seed_thread(seed);
            (walk(), walk())
        };
        assert_eq!(in_order_of(7), in_order_of(7));
        assert_ne!(in_order_of(7), in_order_of(8));
        let (first, second) = in_order_of(7);
        assert_ne!(first, second, "each map has keys of its own");
    }

    #[test]
    fn the_guard_restores_what_was_before() {
        let outer = seed_thread(1);
        let before = NEXT.get();
        drop(seed_thread(2));
        assert_eq!(NEXT.get(), before);
        drop(outer);
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // a thread, to see that it differs
    fn threads_have_secrets_of_their_own() {
        let other = std::thread::spawn(walk).join().unwrap();
        assert_ne!(walk(), other);
    }
}
