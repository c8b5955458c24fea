//! Writes a request that a scenario gives as JSON, by the tables of the schema rather than by the generated code.
//!
//! Always holds: a field that a scenario does not name has its default; one that the version does not have is left out,
//! so that one text serves all versions; a name that no version has is an error of the scenario. `null` is written where
//! the schema forbids it too: what a broker does then is a question of the table.
//!
//! Ids are texts of 22 characters, bytes and records texts of hexadecimal digits.

use anyhow::{Context, Result, bail, ensure};
use klamm_model::Uuid;
use klamm_protocol::schema::{FieldKind, FieldSchema, MessageSchema};
use serde_json::Value as Json;

/// The body of a message.
pub(crate) fn encode(schema: &MessageSchema, version: i16, json: &Json) -> Result<Vec<u8>> {
    let mut encoder = Encoder {
        schema,
        version,
        flexible: schema.is_flexible(version),
        out: Vec::new(),
    };
    encoder.structure(0, json)?;
    Ok(encoder.out)
}

/// Bytes as a scenario's JSON has them.
pub(crate) fn hex(bytes: &[u8]) -> Json {
    Json::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    ensure!(text.len().is_multiple_of(2), "half a byte");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).context("no hexadecimal digits"))
        .collect()
}

struct Encoder<'a> {
    schema: &'a MessageSchema,
    version: i16,
    flexible: bool,
    out: Vec<u8>,
}

impl Encoder<'_> {
    fn structure(&mut self, place: usize, json: &Json) -> Result<()> {
        let schema = &self.schema.structs[place];
        let given = json
            .as_object()
            .with_context(|| format!("{} is no object: {json}", schema.name))?;
        if let Some(name) = given
            .keys()
            .find(|name| schema.fields.iter().all(|f| f.name != name.as_str()))
        {
            bail!("{} has no field {name}", schema.name);
        }
        let mut tagged = Vec::new();
        let version = self.version;
        for field in schema.fields.iter().filter(|f| f.versions.contains(&version)) {
            let value = given.get(field.name);
            match (field.tag, value) {
                (Some(tag), Some(value)) => tagged.push((tag, field, value)),
                (Some(_), None) => {}
                (None, value) => self.field(field, value)?,
            }
        }
        if self.flexible {
            self.varint(tagged.len());
            tagged.sort_by_key(|(tag, ..)| *tag);
            for (tag, field, value) in tagged {
                let before = std::mem::take(&mut self.out);
                self.field(field, Some(value))?;
                let data = std::mem::replace(&mut self.out, before);
                self.varint(tag as usize);
                self.varint(data.len());
                self.out.extend(data);
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &FieldSchema, value: Option<&Json>) -> Result<()> {
        let default = default_of(field);
        let value = value.unwrap_or(&default);
        if matches!(field.kind, FieldKind::Struct(_)) && field.nullable.contains(&self.version) {
            let (missing, present) = if field.tag.is_some() { (0, 1) } else { (0xff, 1) };
            self.out.push(if value.is_null() { missing } else { present });
            if value.is_null() {
                return Ok(());
            }
        }
        self.value(field.kind, value)
            .with_context(|| field.name.to_owned())
    }

    fn value(&mut self, kind: FieldKind, json: &Json) -> Result<()> {
        match kind {
            FieldKind::Bool => self.out.push(u8::from(json.as_bool().context("no boolean")?)),
            FieldKind::Int8 => self.out.extend(i8::try_from(int(json)?)?.to_be_bytes()),
            FieldKind::Int16 => self.out.extend(i16::try_from(int(json)?)?.to_be_bytes()),
            FieldKind::Uint16 => self.out.extend(u16::try_from(int(json)?)?.to_be_bytes()),
            FieldKind::Int32 => self.out.extend(i32::try_from(int(json)?)?.to_be_bytes()),
            FieldKind::Uint32 => self.out.extend(u32::try_from(int(json)?)?.to_be_bytes()),
            FieldKind::Int64 => self.out.extend(int(json)?.to_be_bytes()),
            FieldKind::Float64 => self.out.extend(json.as_f64().context("no number")?.to_be_bytes()),
            FieldKind::Uuid => self.out.extend(text(json)?.parse::<Uuid>()?.0),
            FieldKind::String => match json {
                Json::Null => self.length(None, true),
                _ => {
                    self.length(Some(text(json)?.len()), true);
                    self.out.extend(text(json)?.as_bytes());
                }
            },
            FieldKind::Bytes | FieldKind::Records => match json {
                Json::Null => self.length(None, false),
                _ => {
                    let bytes = unhex(text(json)?)?;
                    self.length(Some(bytes.len()), false);
                    self.out.extend(bytes);
                }
            },
            FieldKind::Struct(place) => self.structure(place, json)?,
            FieldKind::Array(element) => match json {
                Json::Null => self.length(None, false),
                _ => {
                    let elements = json.as_array().context("no array")?;
                    self.length(Some(elements.len()), false);
                    for value in elements {
                        self.value(*element, value)?;
                    }
                }
            },
        }
        Ok(())
    }

    fn length(&mut self, length: Option<usize>, short: bool) {
        if self.flexible {
            return self.varint(length.map_or(0, |length| length + 1));
        }
        let length = length.map_or(-1, |length| length as i64);
        if short {
            self.out.extend((length as i16).to_be_bytes());
        } else {
            self.out.extend((length as i32).to_be_bytes());
        }
    }

    fn varint(&mut self, mut value: usize) {
        while value > 0x7f {
            self.out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

fn int(json: &Json) -> Result<i64> {
    json.as_i64().with_context(|| format!("no number: {json}"))
}

fn text(json: &Json) -> Result<&str> {
    json.as_str().with_context(|| format!("no text: {json}"))
}

fn default_of(field: &FieldSchema) -> Json {
    match (field.default, field.kind) {
        ("null", _) => Json::Null,
        ("", FieldKind::Bool) => false.into(),
        ("", FieldKind::Uuid) => Uuid::ZERO.to_string().into(),
        ("", FieldKind::String | FieldKind::Bytes | FieldKind::Records) => "".into(),
        ("", FieldKind::Struct(_)) => Json::Object(serde_json::Map::new()),
        ("", FieldKind::Array(_)) => Json::Array(Vec::new()),
        ("", _) => 0.into(),
        (given, FieldKind::String) => given.into(),
        (given, _) => given.parse().unwrap_or(Json::Null),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use klamm_protocol::Reader;
    use klamm_protocol::schema::{Direction, messages, of_api};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_of_defaults_is_read_by_the_generated_code() {
        for schema in messages().iter().filter(|m| m.group == "messages") {
            for version in schema.versions.clone() {
                let bytes = encode(schema, version, &json!({})).unwrap();
                let mut reader = Reader::new(Bytes::from(bytes));
                (schema.decode)(&mut reader, version)
                    .unwrap_or_else(|e| panic!("{} v{version}: {e}", schema.name));
                assert_eq!(reader.remaining(), 0, "{} v{version}", schema.name);
            }
        }
    }

    #[test]
    fn fields_of_other_versions_are_left_out_and_unknown_ones_refused() {
        let schema = of_api(3, Direction::Request).unwrap();
        let topics = json!({"Topics": [], "AllowAutoTopicCreation": false});
        assert_eq!(encode(schema, 1, &topics).unwrap(), [0, 0, 0, 0]);
        assert_eq!(encode(schema, 4, &topics).unwrap(), [0, 0, 0, 0, 0]);
        assert_eq!(
            encode(schema, 4, &json!({"Topics": null})).unwrap(),
            [0xff, 0xff, 0xff, 0xff, 1]
        );
        assert!(encode(schema, 4, &json!({"Topic": []})).is_err());
    }

    #[test]
    fn hexadecimal_digits_are_bytes() {
        assert_eq!(hex(&[0, 0xab]), json!("00ab"));
        assert_eq!(unhex("00ab").unwrap(), [0, 0xab]);
        assert!(unhex("0").is_err());
        assert!(unhex("zz").is_err());
    }
}
