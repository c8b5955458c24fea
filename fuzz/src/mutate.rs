//! Changes an input: what the transport, a torn write or an attacker would make of it.
//!
//! Always holds: the result follows from the input, the other input and the seed, and has at most [`MOST_BYTES`].

use klamm_protocol::schema::sample::Seed;

/// The longest input.
pub(crate) const MOST_BYTES: usize = 64 * 1024;

/// Numbers at which something ends.
const EDGES: [i64; 22] = [
    0,
    1,
    -1,
    2,
    -2,
    4,
    16,
    61,
    127,
    128,
    255,
    256,
    32_767,
    32_768,
    65_535,
    1_000_001,
    i32::MAX as i64,
    i32::MIN as i64,
    u32::MAX as i64,
    i64::MAX,
    i64::MAX - 1,
    i64::MIN,
];

/// Changes `input` in one to four places. `other` is another input, to take pieces of.
pub(crate) fn mutate(input: &mut Vec<u8>, other: &[u8], seed: &mut Seed) {
    for _ in 0..=seed.below(4) {
        if input.is_empty() {
            input.push(seed.next_u64() as u8);
        }
        once(input, other, seed);
        input.truncate(MOST_BYTES);
    }
}

fn once(input: &mut Vec<u8>, other: &[u8], seed: &mut Seed) {
    let at = seed.below(input.len());
    match seed.below(13) {
        0 => input[at] ^= 1 << seed.below(8),
        1 => input[at] = [0x00, 0x01, 0x7f, 0x80, 0xff, seed.next_u64() as u8][seed.below(6)],
        2 => input.truncate(at),
        3 => drop(input.drain(at..at + piece(input.len() - at, seed))),
        4 => {
            let piece = input[at..at + piece(input.len() - at, seed)].to_vec();
            let times = [1, 1, 2, 3, 100][seed.below(5)];
            let to = seed.below(input.len() + 1);
            input.splice(to..to, piece.repeat(times)).for_each(drop);
        }
        5 => {
            let random: Vec<u8> = (0..=seed.below(8)).map(|_| seed.next_u64() as u8).collect();
            input.splice(at..at, random).for_each(drop);
        }
        6 if !other.is_empty() => {
            let from = seed.below(other.len());
            let piece = &other[from..from + piece(other.len() - from, seed)];
            // In the place of as many bytes, or of none.
            let end = if seed.below(2) == 0 {
                at
            } else {
                input.len().min(at + piece.len())
            };
            input.splice(at..end, piece.iter().copied()).for_each(drop);
        }
        6 | 7 => number(input, at, seed, |_, seed| EDGES[seed.below(EDGES.len())]),
        8 => number(input, at, seed, |old, seed| {
            old.wrapping_add(seed.below(33) as i64 - 16)
        }),
        9 => {
            // What looks like a length becomes the rest of the input, or nearly that.
            let rest = (input.len() - at) as i64;
            number(input, at, seed, |_, seed| rest - seed.below(24) as i64 + 4);
        }
        10 | 11 => varint(input, at, seed),
        _ => decimal(input, at, seed),
    }
}

/// The length of a piece of at most `most` bytes, more often short than long.
fn piece(most: usize, seed: &mut Seed) -> usize {
    let bound = [4, 16, 64, most][seed.below(4)].min(most);
    1 + seed.below(bound.max(1)).min(most.saturating_sub(1))
}

/// Changes the big-endian number of one, two, four or eight bytes that stands at `at`.
fn number(input: &mut [u8], at: usize, seed: &mut Seed, change: impl FnOnce(i64, &mut Seed) -> i64) {
    let width = [1, 2, 4, 8][seed.below(4)].min(input.len() - at);
    let place = &mut input[at..at + width];
    let old = place.iter().fold(0, |old, byte| old << 8 | i64::from(*byte));
    let new = change(old, seed).to_be_bytes();
    place.copy_from_slice(&new[8 - width..]);
}

/// Puts another variable-length integer in the place of the one that stands at `at`.
fn varint(input: &mut Vec<u8>, at: usize, seed: &mut Seed) {
    let more = input[at..]
        .iter()
        .take(9)
        .take_while(|byte| **byte & 0x80 != 0)
        .count();
    let end = input.len().min(at + more + 1);
    let mut value = match seed.below(3) {
        0 => EDGES[seed.below(EDGES.len())].cast_unsigned(),
        1 => u64::from(input[at] & 0x7f)
            .wrapping_add(seed.below(9) as u64)
            .wrapping_sub(4),
        _ => 2 * (input.len() - at) as u64,
    };
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    input.splice(at..end, bytes).for_each(drop);
}

/// Puts another number in the place of the next one that is written in digits.
fn decimal(input: &mut Vec<u8>, at: usize, seed: &mut Seed) {
    let Some(skip) = input[at..].iter().position(u8::is_ascii_digit) else {
        return;
    };
    let start = at + skip;
    let digits = input[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let text = EDGES[seed.below(EDGES.len())].to_string();
    input
        .splice(start..start + digits, text.into_bytes())
        .for_each(drop);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_mutations_and_all_kinds_of_them() {
        let mutated = |seed| {
            let mut seed = Seed(seed);
            let mut input = b"version 12, 345 lines \x80\x01 and a rest".to_vec();
            mutate(&mut input, b"another input", &mut seed);
            input
        };
        let all: Vec<_> = (0..2000).map(mutated).collect();
        assert_eq!(all, (0..2000).map(mutated).collect::<Vec<_>>());
        let has = |piece: &[u8]| {
            all.iter()
                .any(|input| input.windows(piece.len()).any(|w| w == piece))
        };
        assert!(has(b"another") && has(b"9223372036854775807") && has(&i32::MAX.to_be_bytes()));
        assert!(all.iter().any(|input| input.len() < 10) && all.iter().any(|input| input.len() > 100));
    }

    #[test]
    fn nothing_grows_for_ever() {
        let mut seed = Seed(1);
        let mut input = vec![1; MOST_BYTES - 1];
        for _ in 0..500 {
            mutate(&mut input, &[7; 5000], &mut seed);
            assert!(input.len() <= MOST_BYTES);
        }
    }
}
