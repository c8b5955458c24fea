//! Arrays and nested structs, read over what the value already holds.
//!
//! Always holds: an array's memory is taken at once, after its count was found to fit the rest of the frame with the
//! smallest elements there can be, and after it was charged.

use bytestring::ByteString;
use klamm_model::Uuid;
use klamm_model::limits::MAX_ARRAY_ELEMENTS;

use super::Reader;
use crate::error::DecodeError;
use crate::message::Fields;

/// What an array can hold besides structs.
pub trait Primitive: Sized {
    /// The fewest bytes that an element takes.
    const MIN_BYTES: usize;

    /// Reads one element.
    fn read_element(r: &mut Reader, field: &'static str, flexible: bool) -> Result<Self, DecodeError>;
}

macro_rules! primitive {
    ($($type:ty, $bytes:literal, $read:ident;)*) => {$(
        impl Primitive for $type {
            const MIN_BYTES: usize = $bytes;

            fn read_element(r: &mut Reader, _: &'static str, _: bool) -> Result<Self, DecodeError> {
                r.$read()
            }
        }
    )*};
}

primitive! {
    i8, 1, i8;
    i16, 2, i16;
    i32, 4, i32;
    i64, 8, i64;
    Uuid, 16, uuid;
}

impl Primitive for ByteString {
    const MIN_BYTES: usize = 1;

    fn read_element(r: &mut Reader, field: &'static str, flexible: bool) -> Result<Self, DecodeError> {
        r.string(field, flexible)
    }
}

impl Reader {
    fn count(
        &mut self,
        field: &'static str,
        flexible: bool,
        min_bytes: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let Some(count) = self.length32(flexible)? else {
            return Ok(None);
        };
        if count > MAX_ARRAY_ELEMENTS {
            return Err(DecodeError::ArrayTooLong { field, count });
        }
        let remaining = self.remaining();
        if count * min_bytes > remaining {
            return Err(DecodeError::ArrayBeyondFrame {
                field,
                count,
                remaining,
            });
        }
        Ok(Some(count))
    }

    /// An array of structs.
    pub fn structs<T: Fields>(
        &mut self,
        into: &mut Vec<T>,
        field: &'static str,
        flexible: bool,
        version: i16,
    ) -> Result<(), DecodeError> {
        match self.count(field, flexible, T::MIN_BYTES)? {
            Some(count) => self.fill_structs(into, count, version),
            None => Err(DecodeError::Null { field }),
        }
    }

    /// An array of structs that may be missing, if `nullable`.
    pub fn nullable_structs<T: Fields>(
        &mut self,
        into: &mut Option<Vec<T>>,
        field: &'static str,
        flexible: bool,
        nullable: bool,
        version: i16,
    ) -> Result<(), DecodeError> {
        match self.count(field, flexible, T::MIN_BYTES)? {
            Some(count) => self.fill_structs(into.get_or_insert_default(), count, version),
            None => set_null(into, field, nullable),
        }
    }

    fn fill_structs<T: Fields>(
        &mut self,
        into: &mut Vec<T>,
        count: usize,
        version: i16,
    ) -> Result<(), DecodeError> {
        into.truncate(count);
        self.budget.grow(into, count)?;
        for element in into.iter_mut() {
            element.read(self, version)?;
        }
        for _ in into.len()..count {
            let mut element = T::default();
            element.read(self, version)?;
            into.push(element);
        }
        Ok(())
    }

    /// An array of numbers, ids or strings.
    pub fn primitives<T: Primitive>(
        &mut self,
        into: &mut Vec<T>,
        field: &'static str,
        flexible: bool,
    ) -> Result<(), DecodeError> {
        match self.count(field, flexible, T::MIN_BYTES)? {
            Some(count) => self.fill_primitives(into, count, field, flexible),
            None => Err(DecodeError::Null { field }),
        }
    }

    /// An array of numbers, ids or strings that may be missing, if `nullable`.
    pub fn nullable_primitives<T: Primitive>(
        &mut self,
        into: &mut Option<Vec<T>>,
        field: &'static str,
        flexible: bool,
        nullable: bool,
    ) -> Result<(), DecodeError> {
        match self.count(field, flexible, T::MIN_BYTES)? {
            Some(count) => self.fill_primitives(into.get_or_insert_default(), count, field, flexible),
            None => set_null(into, field, nullable),
        }
    }

    fn fill_primitives<T: Primitive>(
        &mut self,
        into: &mut Vec<T>,
        count: usize,
        field: &'static str,
        flexible: bool,
    ) -> Result<(), DecodeError> {
        into.clear();
        self.budget.grow(into, count)?;
        for _ in 0..count {
            into.push(T::read_element(self, field, flexible)?);
        }
        Ok(())
    }

    /// A struct that may be missing, if `nullable`: a byte says so, below 0 for "missing".
    pub fn nullable_struct<T: Fields>(
        &mut self,
        into: &mut Option<T>,
        field: &'static str,
        nullable: bool,
        version: i16,
    ) -> Result<(), DecodeError> {
        if self.i8()? < 0 {
            return set_null(into, field, nullable);
        }
        into.get_or_insert_default().read(self, version)
    }

    /// As [`Reader::nullable_struct`] in a tagged field, where a variable-length 0 says "missing".
    pub fn nullable_tagged_struct<T: Fields>(
        &mut self,
        into: &mut Option<T>,
        field: &'static str,
        nullable: bool,
        version: i16,
    ) -> Result<(), DecodeError> {
        let present = self.unsigned_varint()?;
        if !(1..1 << 31).contains(&present) {
            return set_null(into, field, nullable);
        }
        into.get_or_insert_default().read(self, version)
    }
}

fn set_null<T>(into: &mut Option<T>, field: &'static str, nullable: bool) -> Result<(), DecodeError> {
    *into = None;
    if nullable {
        Ok(())
    } else {
        Err(DecodeError::Null { field })
    }
}
