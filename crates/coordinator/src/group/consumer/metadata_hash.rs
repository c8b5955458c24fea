//! The hash of the topics that a group subscribes to (KIP-1101): when it changes, the group is assigned anew.
//!
//! ```text
//! topic: XXH3( 0 (1 byte), id (two numbers of 8 bytes), name, partitions (4),
//!              for each partition: its number (4), for each rack of its replicas, in order: length (4), rack )
//! group: XXH3( the hashes of its topics, in the order of their names )
//! ```
//! Numbers are little-endian; a text is its UTF-16 units (2 bytes each) and their count (4), and so is a rack's length.
//!
//! Always holds: the hash is Kafka's, bit by bit, as it is recorded. A topic that does not exist is not in it; a group without
//! topics has 0. Racks are part of it, so a group is assigned anew when replicas move between racks.

use klamm_metadata::Image;
use klamm_metadata::image::TopicImage;
use twox_hash::XxHash3_64;

const MAGIC: u8 = 0;

/// The hash of those of the topics that exist; `topics` come in order.
pub(super) fn of_group<'a>(topics: impl Iterator<Item = &'a str>, image: &Image) -> i64 {
    let mut hashes = Vec::new();
    let mut bytes = Vec::new();
    for topic in topics.filter_map(|topic| image.topics().by_name(topic)) {
        hashes.extend_from_slice(&of_topic(topic, image, &mut bytes).to_le_bytes());
    }
    if hashes.is_empty() {
        return 0;
    }
    XxHash3_64::oneshot(&hashes).cast_signed()
}

fn of_topic(topic: &TopicImage, image: &Image, bytes: &mut Vec<u8>) -> u64 {
    bytes.clear();
    bytes.push(MAGIC);
    for half in topic.id.0.chunks_exact(8) {
        bytes.extend(half.iter().rev());
    }
    put_text(bytes, &topic.name);
    put_count(bytes, topic.partitions.len());
    let mut racks: Vec<&str> = Vec::new();
    for (number, partition) in topic.partitions.iter().enumerate() {
        put_count(bytes, number);
        racks.clear();
        let brokers = partition
            .replicas
            .iter()
            .filter_map(|id| image.cluster().broker(*id));
        racks.extend(brokers.filter_map(|broker| broker.rack.as_deref()));
        racks.sort_unstable();
        for rack in &racks {
            put_count(bytes, rack.encode_utf16().count());
            put_text(bytes, rack);
        }
    }
    XxHash3_64::oneshot(bytes)
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("as many partitions or characters as fit into a message");
    bytes.extend_from_slice(&count.to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    put_count(bytes, text.encode_utf16().count());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::consumer::testing::Cluster;

    /// What Kafka's own class makes of the same topics.
    #[test]
    fn the_hash_is_kafkas() {
        let id = |high: u64, low: u64| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&high.to_be_bytes());
            id[8..].copy_from_slice(&low.to_be_bytes());
            klamm_model::Uuid(id)
        };
        let counting = id(0x0102_0304_0506_0708, 0x090a_0b0c_0d0e_0f10);
        let table = [
            (id(1, 2), 0, &[][..], 6_327_887_593_494_506_564_i64),
            (counting, 3, &[], 3_653_115_502_262_934_565),
            (counting, 40, &["r\u{e4}ck", "r1"], 4_216_141_110_569_615_309),
        ];
        for (id, partitions, racks, expected) in table {
            let mut cluster = Cluster::default();
            cluster.topic_with_id("orders", id, partitions, racks);
            let image = cluster.image();
            let topic = image.topics().by_name("orders").unwrap();
            assert_eq!(of_topic(topic, &image, &mut Vec::new()).cast_signed(), expected);
        }
        let hashes = [5_i64, -7].map(i64::to_le_bytes).concat();
        assert_eq!(
            XxHash3_64::oneshot(&hashes).cast_signed(),
            -4_646_943_608_980_624_969
        );
    }

    #[test]
    fn topics_that_do_not_exist_are_not_in_it() {
        let mut cluster = Cluster::default();
        cluster.topic("a", 2);
        let image = cluster.image();
        assert_eq!(of_group(["b"].into_iter(), &image), 0);
        let a = of_group(["a"].into_iter(), &image);
        assert_eq!(of_group(["a", "b"].into_iter(), &image), a);
        assert_ne!(a, 0);
    }
}
