//! The same bytes as another implementation: where the `kafka-protocol` crate knows the version, it reads what we read
//! and writes what we write.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use klamm_protocol::schema::sample::{self, Seed};
use klamm_protocol::schema::{self, Direction};

/// Versions that the crate lists for the API and refuses in the message: they are newer than its schemas.
const NOT_THEIRS: [(&str, i16); 3] = [
    ("InitProducerIdRequest", 6),
    ("OffsetCommitRequest", 10),
    ("OffsetFetchRequest", 10),
];

fn theirs(api: ApiKey, version: i16, direction: Direction, bytes: &[u8]) -> anyhow::Result<Bytes> {
    let mut input = Bytes::copy_from_slice(bytes);
    let mut out = BytesMut::new();
    match direction {
        Direction::Request => RequestKind::decode(api, &mut input, version)?.encode(&mut out, version)?,
        Direction::Response => ResponseKind::decode(api, &mut input, version)?.encode(&mut out, version)?,
    }
    anyhow::ensure!(input.is_empty(), "{} bytes are left", input.len());
    Ok(out.freeze())
}

#[test]
fn both_write_the_same_bytes() {
    let mut seed = Seed(2);
    let mut compared = 0;
    let mut different = Vec::new();
    for api in ApiKey::iter() {
        for direction in [Direction::Request, Direction::Response] {
            let Some(schema) = schema::of_api(api as i16, direction) else {
                continue;
            };
            for version in schema.versions.clone() {
                let known = api.valid_versions();
                if !(known.min..=known.max).contains(&version) || NOT_THEIRS.contains(&(schema.name, version))
                {
                    continue;
                }
                compared += 1;
                for _ in 0..20 {
                    let bytes = sample::random(schema, version, &mut seed, false);
                    let problem = match theirs(api, version, direction, &bytes) {
                        Ok(recoded) if recoded == bytes => continue,
                        Ok(_) => "other bytes".to_owned(),
                        Err(e) => format!("{e:#}"),
                    };
                    different.push(format!("{} {version}: {problem}", schema.name));
                    break;
                }
            }
        }
    }
    assert!(
        compared > 500,
        "only {compared} messages and versions were compared"
    );
    assert!(different.is_empty(), "of {compared}:\n{}", different.join("\n"));
}
