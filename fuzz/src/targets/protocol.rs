//! The generated messages.
//!
//! Always holds: an input is a selection (which message, which version; three bytes) and the bytes of the message. What
//! can be decoded can be encoded, and that decodes and encodes to the same again.

use std::sync::LazyLock;

use bytes::Bytes;
use klamm_model::limits::DECODE_ALLOWANCE_BYTES;
use klamm_protocol::record_frame::{RecordFrame, coordinator_key_type};
use klamm_protocol::schema::sample::{self, Seed};
use klamm_protocol::schema::{self, Direction, MessageSchema, fuzz_decode};
use klamm_protocol::{ApiKey, EncodeError, Reader, RequestHeader, RequestPrefix, ResponseHeader, Writer};

type Schemas = Vec<&'static MessageSchema>;

fn schemas(wanted: impl Fn(&MessageSchema) -> bool) -> Schemas {
    schema::messages()
        .iter()
        .copied()
        .filter(|schema| wanted(schema))
        .collect()
}

static REQUESTS: LazyLock<Schemas> =
    LazyLock::new(|| schemas(|schema| schema.group == "messages" && schema.name.ends_with("Request")));
static RESPONSES: LazyLock<Schemas> =
    LazyLock::new(|| schemas(|schema| schema.group == "messages" && !schema.name.ends_with("Request")));
static METADATA: LazyLock<Schemas> = LazyLock::new(|| schemas(|schema| schema.group == "metadata_records"));
static STORED: LazyLock<Schemas> =
    LazyLock::new(|| schemas(|schema| !["messages", "metadata_records"].contains(&schema.group)));

/// The budget of the decoder, three copies of what it shares memory with, and what an encoder grows by.
pub(super) fn allowance(len: usize) -> usize {
    DECODE_ALLOWANCE_BYTES + 12 * len + 64 * 1024
}

fn any(schemas: &Schemas, seed: &mut Seed) -> Vec<u8> {
    let index = seed.below(schemas.len());
    let schema = schemas[index];
    let versions = usize::from((schema.versions.end() - schema.versions.start()).cast_unsigned()) + 1;
    let offset = seed.below(versions);
    let mut input = (index as u16).to_be_bytes().to_vec();
    input.push(offset as u8);
    let unknown_tags = seed.below(2) == 0;
    input.extend(sample::random(
        schema,
        schema.versions.start() + offset as i16,
        seed,
        unknown_tags,
    ));
    input
}

/// The message and version that an input selects, and its bytes.
fn select<'a>(schemas: &Schemas, input: &'a [u8]) -> Option<(&'static MessageSchema, i16, &'a [u8])> {
    let ([high, low, offset], bytes) = input.split_first_chunk::<3>()?;
    let schema = schemas[usize::from(u16::from_be_bytes([*high, *low])) % schemas.len()];
    // One version too many is a version that nobody has.
    let versions = schema.versions.end() - schema.versions.start() + 2;
    Some((
        schema,
        schema.versions.start() + i16::from(*offset) % versions,
        bytes,
    ))
}

fn recode(schemas: &Schemas, input: &[u8]) {
    let Some((schema, version, bytes)) = select(schemas, input) else {
        return;
    };
    let again = |bytes: &[u8]| (schema.recode)(&mut Reader::new(Bytes::copy_from_slice(bytes)), version);
    let Ok(encoded) = again(bytes) else { return };
    let encoded = match encoded {
        Ok(encoded) => encoded,
        // As in Kafka, unknown tags are read in any order and written in theirs only.
        Err(EncodeError::TagOrder(_)) => return,
        Err(error) => panic!("{} {version} was decoded: {error}", schema.name),
    };
    match again(&encoded) {
        Ok(Ok(twice)) => assert_eq!(twice, encoded, "{} {version}", schema.name),
        other => panic!("{} {version} does not come back: {other:?}", schema.name),
    }
}

pub(super) fn sample_request(seed: &mut Seed) -> Vec<u8> {
    any(&REQUESTS, seed)
}

pub(super) fn run_request(input: &[u8]) {
    recode(&REQUESTS, input);
}

pub(super) fn sample_response(seed: &mut Seed) -> Vec<u8> {
    any(&RESPONSES, seed)
}

pub(super) fn run_response(input: &[u8]) {
    recode(&RESPONSES, input);
}

pub(super) fn sample_metadata_record(seed: &mut Seed) -> Vec<u8> {
    any(&METADATA, seed)
}

pub(super) fn run_metadata_record(input: &[u8]) {
    recode(&METADATA, input);
}

pub(super) fn sample_stored_record(seed: &mut Seed) -> Vec<u8> {
    any(&STORED, seed)
}

pub(super) fn run_stored_record(input: &[u8]) {
    recode(&STORED, input);
    let _ = coordinator_key_type(&mut Reader::new(Bytes::copy_from_slice(input)));
}

/// A request as it comes off the wire, the length left out.
pub(super) fn sample_frame(seed: &mut Seed) -> Vec<u8> {
    loop {
        let schema = REQUESTS[seed.below(REQUESTS.len())];
        let Some(api_key) = schema.api_key.and_then(ApiKey::from_i16) else {
            continue;
        };
        let versions = schema.versions.clone();
        let version = versions.start() + seed.below((versions.end() - versions.start() + 1) as usize) as i16;
        let header = RequestHeader {
            api_key,
            api_version: version,
            correlation_id: seed.next_u64() as i32,
            client_id: (seed.below(3) > 0).then(|| "a client".into()),
            unknown_tagged_fields: Vec::new(),
        };
        let mut w = Writer::contiguous();
        header.encode(&mut w).expect("the header is valid");
        let mut frame = w.into_bytes().to_vec();
        frame.extend(sample::random(schema, version, seed, false));
        return frame;
    }
}

pub(super) fn run_frame(input: &[u8]) {
    let frame = Bytes::copy_from_slice(input);
    let _ = RecordFrame::decode(&mut Reader::new(frame.clone()));
    let mut r = Reader::new(frame.clone());
    if let Ok(prefix) = RequestPrefix::decode(&mut r)
        && let Some(api_key) = ApiKey::from_i16(prefix.api_key)
    {
        let _ = ResponseHeader::decode(&mut r, api_key, prefix.api_version);
    }
    let mut r = Reader::new(frame.clone());
    let Ok(header) = RequestHeader::decode(&mut r) else {
        return;
    };
    let body = frame.slice(r.position()..);
    let mut w = Writer::contiguous();
    match header.encode(&mut w) {
        Ok(()) => {
            let again = RequestHeader::decode(&mut Reader::new(w.into_bytes()));
            assert_eq!(again.as_ref(), Ok(&header));
        }
        Err(EncodeError::TagOrder(_)) => {}
        Err(error) => panic!("a header that was decoded: {error}"),
    }
    let _ = fuzz_decode(
        header.api_key.to_i16(),
        header.api_version,
        Direction::Request,
        &body,
    );
}
