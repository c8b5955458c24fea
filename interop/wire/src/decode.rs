//! Reads an answer into a tree, by the tables of the schema rather than by the generated code.
//!
//! Always holds: it ends for every input; what is not as the schema says is an error that names the field.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use klamm_model::Uuid;
use klamm_protocol::schema::{FieldKind, FieldSchema, MessageSchema};

use crate::value::{Field, Value};

/// The whole of `bytes` as a message.
pub(crate) fn decode(schema: &'static MessageSchema, version: i16, bytes: &[u8]) -> Result<Value> {
    let mut decoder = Decoder {
        schema,
        version,
        flexible: schema.is_flexible(version),
        rest: bytes,
    };
    let value = decoder.structure(0).context(schema.name)?;
    ensure!(
        decoder.rest.is_empty(),
        "{} bytes stand behind the {} v{version}",
        decoder.rest.len(),
        schema.name
    );
    Ok(value)
}

/// Skips the tagged fields of a response header.
pub(crate) fn skip_tags(bytes: &[u8]) -> Result<&[u8]> {
    let (count, rest) = bytes.split_first().context("no header")?;
    ensure!(*count == 0, "tagged fields in the header of an answer");
    Ok(rest)
}

struct Decoder<'a> {
    schema: &'static MessageSchema,
    version: i16,
    flexible: bool,
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    fn structure(&mut self, place: usize) -> Result<Value> {
        let schema = &self.schema.structs[place];
        let mut fields = Vec::new();
        let version = self.version;
        let here = |f: &&FieldSchema| f.versions.contains(&version);
        for field in schema.fields.iter().filter(here) {
            if field.tag.is_none() {
                fields.push(self.field(field)?);
            }
        }
        if self.flexible {
            for _ in 0..self.varint()? {
                let tag = self.varint()?;
                let length = self.varint()? as usize;
                let data = self.take(length)?;
                let known = schema
                    .fields
                    .iter()
                    .find(|f| f.tag == Some(tag) && f.versions.contains(&self.version));
                let field = known.with_context(|| format!("{} with an unknown tag {tag}", schema.name))?;
                let rest = std::mem::replace(&mut self.rest, data);
                fields.push(self.field(field)?);
                ensure!(
                    self.rest.is_empty(),
                    "{} is shorter than its tag says",
                    field.name
                );
                self.rest = rest;
            }
        }
        Ok(Value::Struct(fields))
    }

    fn field(&mut self, field: &FieldSchema) -> Result<Field> {
        let nullable = field.nullable.contains(&self.version);
        let missing = if field.tag.is_some() { 0 } else { 0xff };
        let null = nullable && matches!(field.kind, FieldKind::Struct(_)) && self.bytes()? == [missing];
        let value = if null {
            Value::Null
        } else {
            self.value(field.kind).context(field.name)?
        };
        ensure!(nullable || value != Value::Null, "{} is null", field.name);
        Ok(Field {
            name: field.name,
            nullable,
            value,
        })
    }

    fn value(&mut self, kind: FieldKind) -> Result<Value> {
        Ok(match kind {
            FieldKind::Bool => Value::Bool(self.bytes::<1>()? != [0]),
            FieldKind::Int8 => Value::Int(i8::from_be_bytes(self.bytes()?).into()),
            FieldKind::Int16 => Value::Int(i16::from_be_bytes(self.bytes()?).into()),
            FieldKind::Uint16 => Value::Int(u16::from_be_bytes(self.bytes()?).into()),
            FieldKind::Int32 => Value::Int(i32::from_be_bytes(self.bytes()?).into()),
            FieldKind::Uint32 => Value::Int(u32::from_be_bytes(self.bytes()?).into()),
            FieldKind::Int64 => Value::Int(i64::from_be_bytes(self.bytes()?)),
            FieldKind::Float64 => Value::Float(f64::from_be_bytes(self.bytes()?)),
            FieldKind::Uuid => Value::Uuid(Uuid(self.bytes()?)),
            FieldKind::String => match self.length(true)? {
                Some(length) => Value::String(std::str::from_utf8(self.take(length)?)?.to_owned()),
                None => Value::Null,
            },
            FieldKind::Bytes => self.blob()?.map_or(Value::Null, Value::Bytes),
            FieldKind::Records => self.blob()?.map_or(Value::Null, Value::Records),
            FieldKind::Struct(place) => self.structure(place)?,
            FieldKind::Array(element) => match self.length(false)? {
                Some(count) => {
                    let elements: Result<Vec<_>> = (0..count).map(|_| self.value(*element)).collect();
                    Value::Array(elements?)
                }
                None => Value::Null,
            },
        })
    }

    fn blob(&mut self) -> Result<Option<Bytes>> {
        match self.length(false)? {
            Some(length) => Ok(Some(Bytes::copy_from_slice(self.take(length)?))),
            None => Ok(None),
        }
    }

    fn length(&mut self, short: bool) -> Result<Option<usize>> {
        if self.flexible {
            return Ok((self.varint()? as usize).checked_sub(1));
        }
        let length = if short {
            i16::from_be_bytes(self.bytes()?).into()
        } else {
            i32::from_be_bytes(self.bytes()?)
        };
        Ok(usize::try_from(length).ok())
    }

    fn varint(&mut self) -> Result<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.bytes()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        anyhow::bail!("a varint of more than five bytes")
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .context("the answer ends too early")?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use klamm_protocol::schema::{messages, sample};

    use super::*;

    #[test]
    fn every_message_is_read_to_its_end_and_a_cut_one_is_an_error() {
        for schema in messages() {
            for version in schema.versions.clone() {
                let bytes = sample::random(schema, version, &mut sample::Seed(7), false);
                decode(schema, version, &bytes)
                    .unwrap_or_else(|e| panic!("{} v{version}: {e:#}", schema.name));
                if let Some((_, cut)) = bytes.split_last() {
                    assert!(
                        decode(schema, version, cut).is_err(),
                        "{} v{version}",
                        schema.name
                    );
                }
            }
        }
    }
}
