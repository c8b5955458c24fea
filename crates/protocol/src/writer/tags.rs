//! The tagged fields at the end of a struct of a flexible version (KIP-482).
//!
//! Always holds: tags are written in ascending order, known ones and those that were kept without knowing them; a value
//! is written in place and moved behind its size afterwards, with the holes in it.

use super::{Writer, varint};
use crate::error::EncodeError;
use crate::message::RawTaggedField;

/// Tagged fields that are being written.
#[derive(Debug)]
#[must_use = "the unknown fields behind the last known one are written by end_tags"]
pub struct Tags<'a> {
    unknown: &'a [RawTaggedField],
    previous: Option<u32>,
}

impl Writer {
    /// Begins the tagged fields of a struct: `known` of those that will be written one by one, and all of `unknown`.
    pub fn begin_tags<'a>(
        &mut self,
        known: usize,
        unknown: &'a [RawTaggedField],
    ) -> Result<Tags<'a>, EncodeError> {
        let count = known + unknown.len();
        self.unsigned_varint(u32::try_from(count).map_err(|_| EncodeError::LengthTooLarge(count))?);
        Ok(Tags {
            unknown,
            previous: None,
        })
    }

    /// One known field.
    pub fn tag(
        &mut self,
        tags: &mut Tags<'_>,
        tag: u32,
        value: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.unknown_below(tags, Some(tag))?;
        self.unsigned_varint(tag);
        let (start, first_hole, total) = (self.buffer.len(), self.holes.len(), self.total_len());
        value(self)?;
        let size = super::length32(self.total_len() - total)?;
        self.insert_size(start, first_hole, size as u32);
        Ok(())
    }

    /// Ends the tagged fields of a struct.
    pub fn end_tags(&mut self, mut tags: Tags<'_>) -> Result<(), EncodeError> {
        self.unknown_below(&mut tags, None)
    }

    /// Refuses tagged fields in a version that cannot have any.
    pub fn no_tags(&mut self, unknown: &[RawTaggedField], version: i16) -> Result<(), EncodeError> {
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(EncodeError::TagsNotInVersion { version })
        }
    }

    fn unknown_below(&mut self, tags: &mut Tags<'_>, next: Option<u32>) -> Result<(), EncodeError> {
        while let Some((field, rest)) = tags.unknown.split_first() {
            match next {
                Some(next) if field.tag > next => return Ok(()),
                Some(next) if field.tag == next => return Err(EncodeError::TagOrder(next)),
                _ if tags.previous.is_some_and(|previous| previous >= field.tag) => {
                    return Err(EncodeError::TagOrder(field.tag));
                }
                _ => {}
            }
            self.unsigned_varint(field.tag);
            self.unsigned_varint(super::length32(field.data.len())? as u32);
            self.buffer.extend_from_slice(&field.data);
            tags.previous = Some(field.tag);
            tags.unknown = rest;
        }
        Ok(())
    }

    fn insert_size(&mut self, start: usize, first_hole: usize, size: u32) {
        let (bytes, length) = varint(size);
        let end = self.buffer.len();
        self.buffer.resize(end + length, 0);
        self.buffer.copy_within(start..end, start + length);
        self.buffer[start..start + length].copy_from_slice(&bytes[..length]);
        for hole in &mut self.holes[first_hole..] {
            hole.at += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn raw(tag: u32, data: &'static [u8]) -> RawTaggedField {
        RawTaggedField {
            tag,
            data: Bytes::from_static(data),
        }
    }

    fn with_known_five(unknown: &[RawTaggedField]) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new();
        let mut tags = w.begin_tags(1, unknown)?;
        w.tag(&mut tags, 5, |w| {
            w.i16(1);
            Ok(())
        })?;
        w.end_tags(tags)?;
        Ok(w.buffer().to_vec())
    }

    #[test]
    fn unknown_fields_are_merged_in_order() {
        type Case<'a> = (&'a [RawTaggedField], Result<&'a [u8], EncodeError>);
        let cases: [Case; 5] = [
            (&[], Ok(&[1, 5, 2, 0, 1])),
            (
                &[raw(0, b"a"), raw(9, b"")],
                Ok(&[3, 0, 1, b'a', 5, 2, 0, 1, 9, 0]),
            ),
            (&[raw(5, b"a")], Err(EncodeError::TagOrder(5))),
            (&[raw(3, b"a"), raw(2, b"")], Err(EncodeError::TagOrder(2))),
            (&[raw(9, b"a"), raw(2, b"")], Err(EncodeError::TagOrder(2))),
        ];
        for (unknown, expected) in cases {
            assert_eq!(
                with_known_five(unknown),
                expected.map(<[u8]>::to_vec),
                "{unknown:?}"
            );
        }
    }

    #[test]
    fn a_size_counts_the_holes_and_moves_them() {
        let long = Bytes::from(vec![1; 3000]);
        let mut w = Writer::new();
        let mut tags = w.begin_tags(1, &[]).unwrap();
        w.tag(&mut tags, 0, |w| w.bytes(&long, true)).unwrap();
        w.end_tags(tags).unwrap();
        assert_eq!(w.buffer(), [1, 0, 0xba, 0x17, 0xb9, 0x17]);
        assert_eq!(w.holes()[0].at, 6);
    }
}
