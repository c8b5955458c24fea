//! Reads values out of one frame, under a budget.
//!
//! Always holds: every length is compared with its limit and with the rest of the frame before anything is allocated,
//! and what is allocated was charged to the [`DecodeBudget`] first. Strings, bytes and records are slices of the frame.
//!
//! Arrays and structs are in `arrays`, tagged fields in `tags`.

mod arrays;
mod tags;

pub use arrays::Primitive;

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use klamm_model::Uuid;
use klamm_model::limits::{DECODE_ALLOWANCE_BYTES, MAX_STRING_BYTES};

use crate::budget::{DecodeBudget, MemoryPool};
use crate::error::DecodeError;
use crate::records::Records;

/// A place in a frame, and what decoding the rest may still take.
#[derive(Debug)]
pub struct Reader {
    frame: Bytes,
    position: usize,
    budget: DecodeBudget,
}

impl Reader {
    /// Reads `frame` with the allowance of a request: the frame's length and [`DECODE_ALLOWANCE_BYTES`].
    pub fn new(frame: Bytes) -> Self {
        let budget = DecodeBudget::new(frame.len() + DECODE_ALLOWANCE_BYTES);
        Self::with_budget(frame, budget)
    }

    /// As [`Reader::new`], with the memory taken from `pool`.
    pub fn with_pool(frame: Bytes, pool: Arc<dyn MemoryPool>) -> Self {
        let budget = DecodeBudget::with_pool(frame.len() + DECODE_ALLOWANCE_BYTES, pool);
        Self::with_budget(frame, budget)
    }

    /// Reads `frame` with an allowance of its own.
    pub fn with_budget(frame: Bytes, budget: DecodeBudget) -> Self {
        Self {
            frame,
            position: 0,
            budget,
        }
    }

    /// Bytes read so far: after an error, where it was noticed.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> usize {
        self.frame.len() - self.position
    }

    /// Memory charged so far.
    pub fn charged(&self) -> usize {
        self.budget.charged()
    }

    /// Gives up reading, but not the memory that was charged: it is given back when the budget is dropped.
    pub fn into_budget(self) -> DecodeBudget {
        self.budget
    }

    /// Refuses bytes behind the message. Kafka does so for records of the metadata log, and not for requests.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes(left)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.frame[self.position..].first_chunk::<N>() {
            Some(chunk) => {
                self.position += N;
                Ok(*chunk)
            }
            None => Err(DecodeError::UnexpectedEnd {
                needed: N,
                remaining: self.remaining(),
            }),
        }
    }

    fn slice(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(DecodeError::UnexpectedEnd {
                needed: length,
                remaining: self.remaining(),
            });
        }
        if length == 0 {
            return Ok(Bytes::new());
        }
        let start = self.position;
        self.position += length;
        Ok(self.frame.slice(start..self.position))
    }

    /// A byte; anything but 0 is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.array::<1>()? != [0])
    }

    /// A signed byte.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array().map(i8::from_be_bytes)
    }

    /// Two bytes.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    /// Two bytes without a sign.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    /// Four bytes without a sign.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// An IEEE 754 number of eight bytes.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.array().map(f64::from_be_bytes)
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.array().map(Uuid)
    }

    /// One to five bytes, seven bits each, the lowest first. Bits beyond the 32nd are lost, as in Kafka.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// A length plus one; 0, and what Kafka would take as negative, is null.
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        let raw = self.unsigned_varint()?;
        Ok(if (1..=1 << 31).contains(&raw) {
            Some(raw as usize - 1)
        } else {
            None
        })
    }

    fn length32(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            self.compact_length()
        } else {
            Ok(usize::try_from(self.i32()?).ok())
        }
    }

    fn maybe_string(
        &mut self,
        field: &'static str,
        flexible: bool,
    ) -> Result<Option<ByteString>, DecodeError> {
        let length = if flexible {
            self.compact_length()?
        } else {
            usize::try_from(self.i16()?).ok()
        };
        let Some(length) = length else {
            return Ok(None);
        };
        if length > MAX_STRING_BYTES {
            return Err(DecodeError::StringTooLong { field, length });
        }
        let bytes = self.slice(length)?;
        ByteString::try_from(bytes)
            .map(Some)
            .map_err(|_| DecodeError::NotUtf8 { field })
    }

    /// A string.
    pub fn string(&mut self, field: &'static str, flexible: bool) -> Result<ByteString, DecodeError> {
        self.maybe_string(field, flexible)?
            .ok_or(DecodeError::Null { field })
    }

    /// A string that may be missing, if `nullable`.
    pub fn nullable_string(
        &mut self,
        field: &'static str,
        flexible: bool,
        nullable: bool,
    ) -> Result<Option<ByteString>, DecodeError> {
        let value = self.maybe_string(field, flexible)?;
        present(value, field, nullable)
    }

    /// Bytes.
    pub fn bytes(&mut self, field: &'static str, flexible: bool) -> Result<Bytes, DecodeError> {
        match self.length32(flexible)? {
            Some(length) => self.slice(length),
            None => Err(DecodeError::Null { field }),
        }
    }

    /// Bytes that may be missing, if `nullable`.
    pub fn nullable_bytes(
        &mut self,
        field: &'static str,
        flexible: bool,
        nullable: bool,
    ) -> Result<Option<Bytes>, DecodeError> {
        let value = match self.length32(flexible)? {
            Some(length) => Some(self.slice(length)?),
            None => None,
        };
        present(value, field, nullable)
    }

    /// Record batches, which may be missing if `nullable`.
    pub fn records(
        &mut self,
        field: &'static str,
        flexible: bool,
        nullable: bool,
    ) -> Result<Records, DecodeError> {
        let value = self.nullable_bytes(field, flexible, nullable)?;
        Ok(value.map_or(Records::Null, Records::Bytes))
    }
}

fn present<T>(value: Option<T>, field: &'static str, nullable: bool) -> Result<Option<T>, DecodeError> {
    if value.is_none() && !nullable {
        Err(DecodeError::Null { field })
    } else {
        Ok(value)
    }
}
