//! What the records hold: text that compresses like text, the same in every run.
//!
//! Words are drawn from a small vocabulary, some far more often than others, with a number between them now and then, as
//! in log lines and JSON. So lz4 makes it two to three times smaller, which a test holds.

const WORDS: usize = 100;

/// An endless text. Equal seeds make equal texts.
pub(crate) struct Text {
    state: u64,
    words: Vec<Vec<u8>>,
    /// What is left of the current word.
    rest: Vec<u8>,
}

impl Text {
    pub(crate) fn new(seed: u64) -> Self {
        // The vocabulary is that of every text.
        let mut text = Self {
            state: 0,
            words: Vec::new(),
            rest: Vec::new(),
        };
        text.words = (0..WORDS).map(|_| text.word()).collect();
        text.state = seed.wrapping_add(1);
        text
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            if self.rest.is_empty() {
                self.rest = self.next_word();
            }
            let part = self.rest.len().min(length - bytes.len());
            bytes.extend(self.rest.drain(..part));
        }
        bytes
    }

    fn next_word(&mut self) -> Vec<u8> {
        let mut word = if self.below(16) == 0 {
            self.below(100_000).to_string().into_bytes()
        } else {
            // The least of two draws: early words come more often.
            let index = self.below(WORDS).min(self.below(WORDS));
            self.words[index].clone()
        };
        word.push(b' ');
        word
    }

    fn word(&mut self) -> Vec<u8> {
        let length = 3 + self.below(9);
        (0..length)
            .map(|_| b'a' + u8::try_from(self.below(26)).expect("a letter"))
            .collect()
    }

    /// A number below `bound`. The generator is splitmix64, whose outputs are equally distributed.
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use klamm_model::{Offset, TimestampMs};
    use klamm_records::{BatchBuilder, Compression};

    use super::*;

    #[test]
    fn lz4_makes_batches_two_to_three_times_smaller() {
        for (record_bytes, records) in [(100, 1000), (1024, 16), (1024, 100)] {
            let mut text = Text::new(7);
            let mut builder = BatchBuilder::new(Compression::Lz4);
            for _ in 0..records {
                builder.append(TimestampMs(0), None, Some(&text.take(record_bytes)), &[]);
            }
            let packed = builder.build(Offset(0)).unwrap().len() as f64;
            let ratio = (record_bytes * records) as f64 / packed;
            assert!(
                (2.0..3.0).contains(&ratio),
                "{records} records of {record_bytes} bytes: {ratio}"
            );
        }
    }

    #[test]
    fn a_text_is_the_same_every_time_and_another_with_another_seed() {
        let mut pieces = Text::new(1);
        let whole = Text::new(1).take(1000);
        assert_eq!(
            [pieces.take(1), pieces.take(600), pieces.take(399)].concat(),
            whole
        );
        assert_ne!(Text::new(2).take(1000), whole);
    }
}
