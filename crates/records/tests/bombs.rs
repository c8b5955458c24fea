//! Small batches that unpack to much. Alone in its process, whose peak of memory it watches.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::Write;

use bytes::Bytes;
use klamm_model::{Offset, TimestampMs};
use klamm_records::compression::{Compressor, DecompressError, Decompressor};
use klamm_records::{
    Batch, BatchBuilder, BatchError, BatchHeader, Compression, Origin, Rejection, Rules, Scratch, validate,
    validate_briefly,
};

const LIMIT: u64 = 1 << 20;

/// One record of `zeros` zeros, packed.
fn bomb(compression: Compression, zeros: usize) -> Vec<u8> {
    let mut packer = Compressor::new(compression.into(), Vec::new()).unwrap();
    let length = 4 + varint(zeros).len() + zeros + 1;
    packer
        .write_all(&[&varint(length)[..], &[0, 0, 0, 1], &varint(zeros)].concat())
        .unwrap();
    for _ in 0..zeros / 4096 {
        packer.write_all(&[0; 4096]).unwrap();
    }
    packer.write_all(&[0]).unwrap();
    packer.finish().unwrap()
}

/// The same as one bare snappy block.
fn snappy_block_bomb(zeros: usize) -> Vec<u8> {
    let mut record = vec![0, 0, 0, 1];
    record.extend(varint(zeros));
    let length = varint(record.len() + zeros + 1);
    let literal = [&length[..], &record, &[0]].concat();
    let mut block = leb128(literal.len() + zeros);
    block.push(u8::try_from(literal.len() - 1).unwrap() << 2);
    block.extend(&literal);
    for _ in 0..zeros / 64 {
        block.extend([63 << 2 | 2, 1, 0]);
    }
    block
}

fn varint(value: usize) -> Vec<u8> {
    leb128(value * 2)
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The most memory (`VmHWM`) or address space (`VmPeak`) that this process ever had, in bytes.
fn peak(of: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(of)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn bombs_and_lies_take_no_more_memory_than_a_window() {
    lies();
    bombs();
}

/// Streams that announce gigabytes and hold nothing.
fn lies() {
    let block = [&leb128(u32::MAX as usize)[..], &[0, b'x']].concat();
    let in_frame = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x07"[..], &block].concat();
    let frame = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\x7f\xff\xff\xff"[..], &[0; 9]].concat();
    let window_of_4_gib = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 22 << 3, 0, 0, 0];
    let before = peak("VmPeak:");
    for (codec, stream) in [
        (Compression::Snappy, &block[..]),
        (Compression::Snappy, &in_frame),
        (Compression::Snappy, &frame),
        (Compression::Zstd, &window_of_4_gib),
    ] {
        let mut scratch = Scratch::new();
        let outcome = Decompressor::new(codec, stream, u64::MAX, &mut scratch).read_to_end(&mut Vec::new());
        assert!(outcome.is_err(), "{codec}");
    }
    let grown = peak("VmPeak:") - before;
    assert!(
        grown < 1024 * 1024 * 1024,
        "lies took {grown} bytes of address space"
    );
}

fn bombs() {
    const ZEROS: usize = 128 * 1024 * 1024;
    let mut bombs: Vec<_> = Compression::ALL[1..]
        .iter()
        .map(|codec| (*codec, bomb(*codec, ZEROS)))
        .collect();
    bombs.push((Compression::Snappy, snappy_block_bomb(ZEROS)));
    let mut builder = BatchBuilder::default();
    builder.append(TimestampMs(1), None, None, &[]);
    let mut header = BatchHeader::parse(&builder.build(Offset(0)).unwrap()).unwrap();
    for (codec, body) in bombs {
        header.set_compression(codec);
        header.batch_length = i32::try_from(body.len() + 49).unwrap();
        header.seal(&body);
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend(&body);
        let bytes = Bytes::from(bytes);
        let mut rules = Rules::defaults(Origin::Client { produce_version: 13 }, TimestampMs(1));
        rules.max_message_bytes = usize::MAX;

        let before = peak("VmHWM:");
        let accepted = validate(&bytes, &rules, &mut Scratch::new()).unwrap();
        assert_eq!(accepted.record_count, 1);
        rules.limits.batch_bytes = LIMIT;
        let refused = validate(&bytes, &rules, &mut Scratch::new()).map(drop);
        assert_eq!(
            refused,
            Err(Rejection::UnpacksTooLarge { limit: LIMIT }),
            "{codec}"
        );
        rules.limits.batch_bytes = u64::MAX;
        let briefly = validate_briefly(&bytes, &rules, LIMIT, &mut Scratch::new());
        assert!(briefly.is_none(), "{codec} takes long");
        let records = Batch::parse(&bytes).unwrap().records(LIMIT).map(drop);
        assert_eq!(
            records,
            Err(BatchError::Decompress(DecompressError::TooLarge { limit: LIMIT }))
        );
        let grown = peak("VmHWM:") - before;
        assert!(grown < 24 * 1024 * 1024, "{codec} took {grown} bytes");
    }
}
