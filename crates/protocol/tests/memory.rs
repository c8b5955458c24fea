//! No input tried here makes a decoder panic or take more memory than its allowance, and decoding again takes none. Tried
//! are, for every message and version: all inputs of one byte, those of two with a
//! byte at an edge, random ones, valid messages with changes, valid
//! messages with a huge length at each offset, and messages as dense as they come. Others are for fuzzing to find.
//!
//! The allocator counts per thread, so that the tests can run beside each other.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use klamm_model::limits::DECODE_ALLOWANCE_BYTES;
use klamm_protocol::messages::{FetchRequest, FetchResponse, ProduceRequest, fetch_response};
use klamm_protocol::record_frame::RecordFrame;
use klamm_protocol::schema::sample::{self, Seed};
use klamm_protocol::schema::{self, MessageSchema};
use klamm_protocol::{ApiKey, Message, Reader, Records, RequestHeader, Writer, encode_response};

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn note(change: isize) {
    let live = LIVE.get() + change;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
    COUNT.set(COUNT.get() + usize::from(change > 0));
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that `work` held at once, and how often it asked for some.
fn measured<T>(work: impl FnOnce() -> T) -> (T, usize, usize) {
    let (before, count) = (LIVE.get(), COUNT.get());
    PEAK.set(before);
    let result = work();
    (result, (PEAK.get() - before) as usize, COUNT.get() - count)
}

/// What sharing a frame may take, whatever is in it.
const SHARING_BYTES: usize = 64;

/// Decodes, and says whether that succeeded.
fn decodes(schema: &MessageSchema, version: i16, frame: &[u8], what: &str) -> bool {
    let allowance = frame.len() + DECODE_ALLOWANCE_BYTES;
    let mut r = Reader::new(Bytes::copy_from_slice(frame));
    let (result, peak, _) = measured(|| (schema.decode)(&mut r, version));
    assert!(
        peak <= allowance + SHARING_BYTES,
        "{} {version}, {what}: {peak} of {allowance} bytes",
        schema.name
    );
    assert!(
        peak <= r.charged() + SHARING_BYTES,
        "{} {version}, {what}: {peak} bytes, charged {}",
        schema.name,
        r.charged()
    );
    result.is_ok()
}

#[test]
fn short_inputs_are_harmless() {
    let mut seed = Seed(3);
    for schema in schema::messages() {
        for version in schema.versions.clone() {
            for _ in 0..300 {
                let mut input: Vec<u8> = (0..seed.below(65)).map(|_| seed.next_u64() as u8).collect();
                if let Some(byte) = input.first_mut().filter(|_| version % 2 == 0) {
                    *byte = 0;
                }
                decodes(schema, version, &input, "random");
            }
            for byte in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                decodes(schema, version, &[byte; 64], "one byte");
            }
        }
    }
}

/// Where lengths, counts and varints change their meaning.
const EDGES: [u8; 7] = [0x00, 0x01, 0x02, 0x7f, 0x80, 0x81, 0xff];

#[test]
fn inputs_of_up_to_two_bytes_are_harmless() {
    for schema in schema::messages() {
        for version in schema.versions.clone() {
            decodes(schema, version, &[], "nothing");
            for byte in 0..=u8::MAX {
                decodes(schema, version, &[byte], "one byte");
                for edge in EDGES {
                    decodes(schema, version, &[byte, edge], "two bytes");
                    decodes(schema, version, &[edge, byte], "two bytes");
                }
            }
        }
    }
}

#[test]
fn a_huge_length_anywhere_in_a_valid_message_is_harmless() {
    // The largest lengths of each form: 16 bits, 32 bits, and the varint with and without its last bit.
    let bombs: [&[u8]; 5] = [
        &[0x7f, 0xff],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x00, 0x0f, 0x42, 0x40],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
    ];
    let mut seed = Seed(7);
    for schema in schema::messages() {
        for version in schema.versions.clone() {
            let valid = sample::random(schema, version, &mut seed, true);
            // A message repeats its fields: its front has each length once or more.
            for at in 0..valid.len().min(100) {
                for bomb in bombs {
                    let cut = [&valid[..at], bomb].concat();
                    decodes(schema, version, &cut, "a length at the end");
                    let rest = valid.get(at + bomb.len()..).unwrap_or(&[]);
                    decodes(schema, version, &[&cut, rest].concat(), "a length within");
                }
            }
        }
    }
}

#[test]
fn short_headers_are_harmless() {
    let mut seed = Seed(6);
    for _ in 0..20_000 {
        let mut input: Vec<u8> = (0..seed.below(65)).map(|_| seed.next_u64() as u8).collect();
        if let [high, low, ..] = &mut input[..] {
            (*high, *low) = (0, *low % 96);
        }
        let frame = Bytes::from(input);
        let allowance = frame.len() + DECODE_ALLOWANCE_BYTES + SHARING_BYTES;
        let (_, peak, _) = measured(|| {
            let header = RequestHeader::decode(&mut Reader::new(frame.clone()));
            let record = RecordFrame::decode(&mut Reader::new(frame));
            (header.is_ok(), record.is_ok())
        });
        assert!(peak <= allowance, "{peak}");
    }
}

#[test]
fn mutations_of_valid_messages_are_harmless() {
    let mut seed = Seed(4);
    for schema in schema::messages() {
        for version in schema.versions.clone() {
            for round in 0..60 {
                let valid = sample::random(schema, version, &mut seed, round % 2 == 0);
                assert!(
                    decodes(schema, version, &valid, "valid"),
                    "{} {version}",
                    schema.name
                );
                for _ in 0..4 {
                    decodes(schema, version, &mutated(valid.clone(), &mut seed), "mutated");
                }
            }
        }
    }
}

fn mutated(mut input: Vec<u8>, seed: &mut Seed) -> Vec<u8> {
    for _ in 0..=seed.below(3) {
        if input.is_empty() {
            break;
        }
        let at = seed.below(input.len());
        match seed.below(5) {
            0 => input.truncate(at),
            1 => input[at] ^= 1 << seed.below(8),
            2 => input[at] = [0x00, 0x7f, 0x80, 0xff][seed.below(4)],
            3 => input
                .splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x0f])
                .for_each(drop),
            _ => input.splice(at..at, (i32::MAX - 1).to_be_bytes()).for_each(drop),
        }
    }
    input
}

#[test]
fn dense_frames_stay_within_their_allowance() {
    let (mut accepted, mut refused) = (0, 0);
    for schema in schema::messages() {
        // The newest version has the most fields, and the oldest perhaps the other form of lengths.
        let (oldest, newest) = (*schema.versions.start(), *schema.versions.end());
        let other = (schema.is_flexible(oldest) != schema.is_flexible(newest)).then_some(oldest);
        for version in other.into_iter().chain([newest]) {
            for (path, frame) in sample::dense(schema, version, 1 << 20) {
                if decodes(schema, version, &frame, &path) {
                    accepted += 1;
                } else {
                    refused += 1;
                }
            }
        }
    }
    assert!(
        accepted > 100 && refused > 100,
        "{accepted} accepted, {refused} refused"
    );
}

fn takes_nothing_the_second_time<M: Message>(version: i16) {
    let mut seed = Seed(5);
    let schema = schema::messages()
        .iter()
        .find(|s| s.name == M::NAME)
        .expect("it is generated");
    for _ in 0..20 {
        let frame = Bytes::from(sample::random(schema, version, &mut seed, false));
        // The first slice of a frame makes it shared, once.
        let _shared = frame.slice(..1);
        let mut message = M::decode(&mut Reader::new(frame.clone()), version).expect("it is valid");
        let (result, _, count) = measured(|| message.decode_into(&mut Reader::new(frame.clone()), version));
        result.expect("it is valid");
        assert_eq!(count, 0, "{} {version}", M::NAME);
    }
}

#[test]
fn decoding_again_takes_no_memory() {
    for version in ProduceRequest::VERSIONS {
        takes_nothing_the_second_time::<ProduceRequest>(version);
    }
    for version in FetchRequest::VERSIONS {
        takes_nothing_the_second_time::<FetchRequest>(version);
    }
}

#[test]
fn encoding_again_takes_no_memory() {
    let records = Records::Bytes(Bytes::from_static(&[7; 5000]));
    let partition = fetch_response::PartitionData {
        records,
        ..Default::default()
    };
    let topic = fetch_response::FetchableTopicResponse {
        partitions: vec![partition; 50],
        ..Default::default()
    };
    let response = FetchResponse {
        responses: vec![topic; 3],
        ..Default::default()
    };
    for version in FetchResponse::VERSIONS {
        let mut w = Writer::new();
        encode_response(&mut w, ApiKey::Fetch, 1, version, &response).expect("it is valid");
        w.clear();
        let (result, _, count) = measured(|| encode_response(&mut w, ApiKey::Fetch, 1, version, &response));
        result.expect("it is valid");
        assert_eq!((count, w.holes().len()), (0, 150), "{version}");
    }
}
