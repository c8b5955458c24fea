//! Which partition a record goes to: by its key as the Java client does it, or, without one, where batches are filling.
//!
//! Always holds: equal keys of one topic go to one partition as long as the number of partitions stays, from whichever
//! client they come.

use crate::metadata::Topic;

/// The 32-bit MurmurHash2 of Kafka's clients, with their seed.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().expect("chunks of four bytes"));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of `key` among `count` (more than none).
pub fn for_key(key: &[u8], count: usize) -> i32 {
    let positive = (murmur2(key) & 0x7fff_ffff) as usize;
    i32::try_from(positive % count.max(1)).expect("below the count of partitions, which is an i32")
}

/// The partition that records without a key go to at the moment: one until it has got enough of them, then another that
/// is drawn (KIP-794).
#[derive(Debug, Default)]
pub(crate) struct Sticky {
    current: Option<i32>,
    bytes: usize,
}

/// Bytes that go to one partition before the next is drawn.
const BYTES_PER_TURN: usize = 16 * 1024;

impl Sticky {
    /// The partition for a record of `bytes`; `draw` is a random number.
    pub(crate) fn next(&mut self, topic: &Topic, bytes: usize, draw: impl FnOnce() -> u64) -> i32 {
        let leads = |index: i32| topic.partition(index).is_some_and(|p| p.leader.is_some());
        let current = self
            .current
            .filter(|index| self.bytes < BYTES_PER_TURN && leads(*index));
        if let Some(index) = current {
            self.bytes += bytes;
            return index;
        }
        let led: Vec<i32> = topic
            .partitions
            .iter()
            .filter(|partition| partition.leader.is_some())
            .map(|partition| partition.index)
            .collect();
        let others: Vec<i32> = led
            .iter()
            .copied()
            .filter(|index| Some(*index) != self.current)
            .collect();
        let choice = if others.is_empty() { led } else { others };
        let index = match choice.len() {
            0 => 0,
            count => choice[(draw() % count as u64) as usize],
        };
        self.current = Some(index);
        self.bytes = bytes;
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Partition;
    use klamm_model::BrokerId;

    /// The values that Kafka's own tests hold its hash to.
    #[test]
    fn the_hash_is_that_of_the_java_client() {
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    fn topic(leaders: &[bool]) -> Topic {
        let partitions = (0..).zip(leaders).map(|(index, led)| Partition {
            index,
            leader: led.then_some(BrokerId(1)),
            leader_epoch: None,
            replicas: Vec::new(),
            isr: Vec::new(),
            offline: Vec::new(),
        });
        Topic {
            name: "t".into(),
            id: None,
            is_internal: false,
            partitions: partitions.collect(),
        }
    }

    #[test]
    fn a_partition_is_kept_for_a_while_and_then_another_is_drawn() {
        let topic = topic(&[true, true, false, true]);
        let mut sticky = Sticky::default();
        let first = sticky.next(&topic, 10_000, || 0);
        assert_eq!(first, 0);
        assert_eq!(sticky.next(&topic, 10_000, || 1), first);
        let second = sticky.next(&topic, 1, || 1);
        assert_eq!(second, 3, "the second of 1 and 3");
    }

    #[test]
    fn partitions_without_a_leader_are_left_out_while_there_are_others() {
        let mut sticky = Sticky::default();
        for draw in 0..5 {
            assert_eq!(sticky.next(&topic(&[false, true]), 20_000, || draw), 1);
        }
        assert_eq!(Sticky::default().next(&topic(&[false, false]), 1, || 7), 0);
    }
}
