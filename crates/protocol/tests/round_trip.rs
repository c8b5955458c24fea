//! Every message in every version: bytes written by the schema's table are read by the generated code and come back the
//! same.

use bytes::Bytes;
use klamm_protocol::Reader;
use klamm_protocol::schema::sample::{self, Seed};
use klamm_protocol::schema::{self, MessageSchema};

fn check(schema: &MessageSchema, version: i16, bytes: Vec<u8>) {
    let name = schema.name;
    let mut r = Reader::new(Bytes::from(bytes.clone()));
    let recoded = (schema.recode)(&mut r, version);
    let recoded =
        recoded.unwrap_or_else(|e| panic!("{name} {version} at {}: {e}: {bytes:02x?}", r.position()));
    let recoded =
        recoded.unwrap_or_else(|e| panic!("{name} {version} is not written again: {e}: {bytes:02x?}"));
    assert_eq!(recoded[..], bytes[..], "{name} {version}");
    assert_eq!(r.remaining(), 0, "{name} {version}");
}

#[test]
fn what_is_read_is_written_again() {
    let mut seed = Seed(1);
    for schema in schema::messages() {
        for version in schema.versions.clone() {
            check(schema, version, sample::minimal(schema, version));
            for round in 0..100 {
                let bytes = sample::random(schema, version, &mut seed, round % 2 == 1);
                check(schema, version, bytes);
            }
        }
    }
}
