//! Where records go: the partitions of one or several topics, numbered through.
//!
//! Always holds: a partition has one number in the whole history, whatever topic it is of.

use std::collections::BTreeMap;

use klamm_model::Uuid;

/// The partitions that are written and read.
#[derive(Clone, Debug)]
pub struct Places {
    topics: Vec<Uuid>,
    each: u32,
}

impl Places {
    /// Topics of `each` partitions.
    pub fn new(topics: Vec<Uuid>, each: u32) -> Self {
        Self { topics, each }
    }

    /// How many partitions there are over all topics.
    pub fn count(&self) -> u32 {
        self.each * self.topics.len() as u32
    }

    /// The topic of a partition, and its index there.
    pub fn place(&self, partition: u32) -> (Uuid, i32) {
        let topic = self.topics[(partition / self.each) as usize];
        (topic, (partition % self.each) as i32)
    }

    /// The number of a partition; `None` when it is none of these.
    pub fn number(&self, topic: Uuid, index: i32) -> Option<u32> {
        let at = self.topics.iter().position(|known| *known == topic)? as u32;
        let index = u32::try_from(index).ok().filter(|index| *index < self.each)?;
        Some(at * self.each + index)
    }

    /// What belongs to partitions, by topic, each with the partition's index there.
    pub(crate) fn by_topic<T>(&self, items: impl Iterator<Item = (u32, T)>) -> BTreeMap<Uuid, Vec<(i32, T)>> {
        let mut topics: BTreeMap<Uuid, Vec<(i32, T)>> = BTreeMap::new();
        for (partition, item) in items {
            let (topic, index) = self.place(partition);
            topics.entry(topic).or_default().push((index, item));
        }
        topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_found_under_its_number() {
        let places = Places::new(vec![Uuid([1; 16]), Uuid([2; 16])], 3);
        assert_eq!(places.count(), 6);
        for number in 0..6 {
            let (topic, index) = places.place(number);
            assert_eq!(places.number(topic, index), Some(number));
        }
        assert_eq!(places.place(4), (Uuid([2; 16]), 1));
        assert_eq!(places.number(Uuid([2; 16]), 3), None);
        assert_eq!(places.number(Uuid([2; 16]), -1), None);
        assert_eq!(places.number(Uuid([3; 16]), 0), None);
    }
}
