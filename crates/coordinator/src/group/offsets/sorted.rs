//! Values in the order of their keys: a vector while there are few, and a row of short ones once there are many.
//!
//! Always holds: to put a value in or to take one out moves [`MOST`] others at most, so that a group with very many topics costs no
//! more for each of them than one with a few. Few values, which is what most groups have, take the memory of a vector.
//!
//! Next: `offsets.rs`, which keeps the topics of groups and the offsets of topics in these.

/// The longest vector.
const MOST: usize = 512;

/// What a value is found by.
pub(super) trait Keyed {
    type Key: Ord + ?Sized;

    fn key(&self) -> &Self::Key;
}

/// See the head of the file.
#[derive(Debug)]
pub(super) enum Sorted<T> {
    Few(Vec<T>),
    Many(Box<Many<T>>),
}

/// None of them is empty; all of one are before all of the next.
#[derive(Debug)]
pub(super) struct Many<T>(Vec<Vec<T>>);

const _: () = assert!(
    size_of::<Sorted<u64>>() == size_of::<Vec<u64>>(),
    "there may be millions of them"
);

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<T: Keyed> Sorted<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.parts().is_empty() || self.parts()[0].is_empty()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.parts().iter().map(Vec::len).sum()
    }

    pub(super) fn get(&self, key: &T::Key) -> Option<&T> {
        let part = self.parts().get(self.part_of(key))?;
        Some(&part[place(part, key).ok()?])
    }

    pub(super) fn get_mut(&mut self, key: &T::Key) -> Option<&mut T> {
        let at = self.part_of(key);
        let part = self.parts_mut().get_mut(at)?;
        let at = place(part, key).ok()?;
        Some(&mut part[at])
    }

    /// In the order of the keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.parts().iter().flatten()
    }

    /// Puts a value in, in the place of the one with its key.
    pub(super) fn put(&mut self, value: T) -> &mut T {
        let mut at = self.part_of(value.key());
        if self.parts()[at].len() >= MOST && place(&self.parts()[at], value.key()).is_err() {
            self.split(at);
            at = self.part_of(value.key());
        }
        let part = &mut self.parts_mut()[at];
        let at = match place(part, value.key()) {
            Ok(at) => {
                part[at] = value;
                at
            }
            Err(at) => {
                insert_tightly(part, at, value);
                at
            }
        };
        &mut part[at]
    }

    pub(super) fn remove(&mut self, key: &T::Key) -> Option<T> {
        let at = self.part_of(key);
        let part = self.parts_mut().get_mut(at)?;
        let removed = part.remove(place(part, key).ok()?);
        if part.is_empty()
            && let Self::Many(many) = self
        {
            many.0.remove(at);
            if many.0.is_empty() {
                *self = Self::default();
            }
        }
        Some(removed)
    }

    fn parts(&self) -> &[Vec<T>] {
        match self {
            Self::Few(few) => std::slice::from_ref(few),
            Self::Many(many) => &many.0,
        }
    }

    fn parts_mut(&mut self) -> &mut [Vec<T>] {
        match self {
            Self::Few(few) => std::slice::from_mut(few),
            Self::Many(many) => &mut many.0,
        }
    }

    /// Where a key is, or would come.
    fn part_of(&self, key: &T::Key) -> usize {
        let parts = self.parts();
        let after = parts.partition_point(|part| part.first().is_some_and(|first| first.key() <= key));
        after.saturating_sub(1)
    }

    /// Makes two of a part.
    fn split(&mut self, at: usize) {
        if let Self::Few(few) = self {
            *self = Self::Many(Box::new(Many(vec![std::mem::take(few)])));
        }
        let Self::Many(many) = self else {
            unreachable!("it was made one");
        };
        let parts = &mut many.0;
        let later = parts[at].split_off(MOST / 2);
        parts[at].shrink_to_fit();
        parts.insert(at + 1, later);
    }
}

fn place<T: Keyed>(part: &[T], key: &T::Key) -> Result<usize, usize> {
    part.binary_search_by(|value| value.key().cmp(key))
}

/// Most groups have few topics, and most topics few partitions: room is made by a half, not doubled, from one on.
fn insert_tightly<T>(into: &mut Vec<T>, at: usize, value: T) {
    if into.len() == into.capacity() {
        into.reserve_exact(into.len() / 2 + 1);
    }
    into.insert(at, value);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Keyed for (u32, u8) {
        type Key = u32;

        fn key(&self) -> &u32 {
            &self.0
        }
    }

    impl Sorted<(u32, u8)> {
        fn check(&self) {
            let parts = self.parts();
            assert!(parts.iter().all(|part| part.len() <= MOST), "a part is too long");
            assert!(parts.len() == 1 || parts.iter().all(|part| !part.is_empty()));
        }
    }

    #[test]
    fn very_many_values_are_never_moved_all_together() {
        let n = 20_000;
        let orders: [&dyn Fn(u32) -> u32; 3] = [&|k| k, &|k| n - 1 - k, &|k| (k * 7) % n];
        for (into, out) in [(0, 0), (1, 0), (2, 1), (0, 2)] {
            let mut sorted = Sorted::default();
            for k in 0..n {
                sorted.put((orders[into](k), 0));
            }
            sorted.check();
            assert!(sorted.iter().map(|(key, _)| *key).eq(0..n));
            for k in 0..n {
                assert!(sorted.remove(&orders[out](k)).is_some());
                if k % 1_000 == 0 {
                    sorted.check();
                }
            }
            assert!(sorted.is_empty() && matches!(sorted, Sorted::Few(_)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_put_in_is_found(
            steps in proptest::collection::vec((0..2_000_u32, any::<u8>(), 0..4_u8), 1..6_000),
        ) {
            let (mut sorted, mut expected) = (Sorted::default(), BTreeMap::new());
            for (key, value, what) in steps {
                match what {
                    0 => prop_assert_eq!(sorted.remove(&key), expected.remove(&key).map(|value| (key, value))),
                    1 => {
                        let found = sorted.get_mut(&key).map(|found| *found);
                        prop_assert_eq!(found, expected.get(&key).map(|value| (key, *value)));
                    }
                    _ => {
                        prop_assert_eq!(*sorted.put((key, value)), (key, value));
                        expected.insert(key, value);
                    }
                }
                prop_assert_eq!(sorted.is_empty(), expected.is_empty());
            }
            sorted.check();
            let all: Vec<_> = sorted.iter().copied().collect();
            prop_assert_eq!(all, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
