//! The tagged fields at the end of a struct of a flexible version (KIP-482).
//!
//! Always holds: the order of tags is not checked and of equal tags the last one counts, as in Kafka; the announced
//! size of a known tag must be the size of its value, which Kafka does not check.

use klamm_model::limits::MAX_TAGGED_FIELDS;

use super::Reader;
use crate::error::DecodeError;
use crate::message::RawTaggedField;

impl Reader {
    /// Tagged fields, of which `known` reads those that it knows and says `false` about the others.
    pub fn tags(
        &mut self,
        unknown: &mut Vec<RawTaggedField>,
        mut known: impl FnMut(&mut Reader, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.tag_count(unknown)? {
            let (tag, size) = self.tag_and_size()?;
            let start = self.position;
            if !known(self, tag)? {
                self.unknown_tag(unknown, tag, size)?;
            } else if self.position - start != size {
                return Err(DecodeError::TagSize {
                    tag,
                    announced: size,
                    taken: self.position - start,
                });
            }
        }
        Ok(())
    }

    /// Tagged fields of a struct that knows none.
    pub fn unknown_tags(&mut self, unknown: &mut Vec<RawTaggedField>) -> Result<(), DecodeError> {
        for _ in 0..self.tag_count(unknown)? {
            let (tag, size) = self.tag_and_size()?;
            self.unknown_tag(unknown, tag, size)?;
        }
        Ok(())
    }

    fn tag_count(&mut self, unknown: &mut Vec<RawTaggedField>) -> Result<u32, DecodeError> {
        unknown.clear();
        let count = self.unsigned_varint()?;
        if count as usize > MAX_TAGGED_FIELDS.min(self.remaining()) {
            return Err(DecodeError::TooManyTaggedFields(count));
        }
        Ok(count)
    }

    fn tag_and_size(&mut self) -> Result<(u32, usize), DecodeError> {
        let tag = self.unsigned_varint()?;
        let size = self.unsigned_varint()? as usize;
        if size > self.remaining() {
            return Err(DecodeError::UnexpectedEnd {
                needed: size,
                remaining: self.remaining(),
            });
        }
        Ok((tag, size))
    }

    fn unknown_tag(
        &mut self,
        unknown: &mut Vec<RawTaggedField>,
        tag: u32,
        size: usize,
    ) -> Result<(), DecodeError> {
        if unknown.len() == unknown.capacity() {
            self.budget.grow(unknown, (unknown.len() * 2).max(4))?;
        }
        let data = self.slice(size)?;
        unknown.push(RawTaggedField { tag, data });
        Ok(())
    }

    /// The error for a known tag in a version that lacks it.
    pub fn wrong_tag(tag: u32, version: i16) -> Result<bool, DecodeError> {
        Err(DecodeError::TagNotInVersion { tag, version })
    }
}
