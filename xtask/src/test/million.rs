//! The records of the scenario `million`, which every client moves over 3 topics of 12 partitions.
//!
//! Record `s` of partition `p` of topic `t` follows from these three numbers alone, so that a reader knows what must
//! come next: the key is `t-p-s`, the value is `t:p:s:CRC:BODY` with BODY a slice of a fixed text whose place and
//! length follow from p and s, and CRC the CRC-32 of BODY in hexadecimal. A partition that yields exactly the records
//! 0, 1, 2 ... has lost nothing, doubled nothing and kept the order. The client programs compute the same.

use anyhow::{Result, bail};
use crc_fast::{CrcAlgorithm::Crc32IsoHdlc, checksum};

pub(super) const TOPICS: usize = 3;
pub(super) const PARTITIONS: usize = 12;
/// All partitions, numbered `t * PARTITIONS + p`.
pub(super) const SLOTS: usize = TOPICS * PARTITIONS;

const TEXT_LEN: usize = 1200;

/// Makes and verifies records.
pub(super) struct Records {
    total: u64,
    text: String,
}

impl Records {
    pub(super) fn new(total: u64) -> Self {
        let text = (0..TEXT_LEN)
            .map(|i| char::from(33 + ((i * i * 7 + i * 13) % 90) as u8))
            .collect();
        Records { total, text }
    }

    /// How many records a slot gets.
    pub(super) fn count(&self, slot: usize) -> u64 {
        self.total / SLOTS as u64 + u64::from((slot as u64) < self.total % SLOTS as u64)
    }

    pub(super) fn key(slot: usize, sequence: u64) -> String {
        format!("{}-{}-{sequence}", slot / PARTITIONS, slot % PARTITIONS)
    }

    pub(super) fn value(&self, slot: usize, sequence: u64) -> String {
        let (topic, partition) = (slot / PARTITIONS, slot % PARTITIONS);
        let start = (sequence as usize * 31 + partition * 7) % 997;
        let body = &self.text[start..start + 40 + sequence as usize % 120];
        let crc = checksum(Crc32IsoHdlc, body.as_bytes()) as u32;
        format!("{topic}:{partition}:{sequence}:{crc:08x}:{body}")
    }
}

/// What a reader has seen so far.
pub(super) struct Reader<'a> {
    records: &'a Records,
    next: [u64; SLOTS],
}

impl<'a> Reader<'a> {
    pub(super) fn new(records: &'a Records) -> Self {
        Reader {
            records,
            next: [0; SLOTS],
        }
    }

    /// Takes the next record of a partition.
    pub(super) fn take(&mut self, topic: usize, partition: usize, key: &str, value: &str) -> Result<()> {
        let slot = topic * PARTITIONS + partition;
        let Some(sequence) = self.next.get_mut(slot) else {
            bail!("there is no partition {topic}/{partition}")
        };
        if key != Records::key(slot, *sequence) || value != self.records.value(slot, *sequence) {
            bail!("partition {topic}/{partition}: in place of record {sequence} stands {key} with {value}");
        }
        *sequence += 1;
        Ok(())
    }

    /// Nothing may be missing at the end.
    pub(super) fn finish(&self) -> Result<()> {
        for (slot, next) in self.next.iter().enumerate() {
            let expected = self.records.count(slot);
            if *next != expected {
                bail!(
                    "partition {}/{} has {next} records, not {expected}",
                    slot / PARTITIONS,
                    slot % PARTITIONS
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_add_up() {
        for total in [0, 1, 35, 36, 37, 100_000, 1_000_000] {
            let records = Records::new(total);
            assert_eq!((0..SLOTS).map(|slot| records.count(slot)).sum::<u64>(), total);
        }
    }

    #[test]
    fn a_value_as_every_client_makes_it() {
        let records = Records::new(36);
        assert_eq!(Records::key(13, 5), "1-1-5");
        assert_eq!(
            records.value(13, 0),
            r##"1:1:0:7ca1fe30:k-W5!u#9]5uik!?kK95?W#W?59Kk?!kiu5]9#u!5"##
        );
        assert!(records.value(35, 999_999).len() > 40);
    }

    #[test]
    fn a_reader_sees_loss_repetition_and_a_wrong_byte() {
        let records = Records::new(72);
        let take = |reader: &mut Reader<'_>, sequence| {
            reader.take(0, 3, &Records::key(3, sequence), &records.value(3, sequence))
        };
        let mut reader = Reader::new(&records);
        take(&mut reader, 0).unwrap();
        assert!(take(&mut reader, 0).is_err(), "twice");
        let mut reader = Reader::new(&records);
        assert!(take(&mut reader, 1).is_err(), "the first is lost");
        let wrong = records.value(3, 0).replace(':', ";");
        assert!(
            reader.take(0, 3, &Records::key(3, 0), &wrong).is_err(),
            "another byte"
        );
        assert!(reader.take(9, 9, "k", "v").is_err(), "no such partition");
        assert!(reader.finish().is_err(), "the last are lost");
    }
}
