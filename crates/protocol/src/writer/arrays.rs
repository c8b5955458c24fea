//! Arrays and nested structs.

use bytestring::ByteString;
use klamm_model::Uuid;

use super::Writer;
use crate::error::EncodeError;
use crate::message::Fields;

/// What an array can hold besides structs.
pub trait WritePrimitive {
    /// Writes one element.
    fn write_element(&self, w: &mut Writer, field: &'static str, flexible: bool) -> Result<(), EncodeError>;
}

macro_rules! primitive {
    ($($type:ty, $write:ident;)*) => {$(
        impl WritePrimitive for $type {
            fn write_element(&self, w: &mut Writer, _: &'static str, _: bool) -> Result<(), EncodeError> {
                w.$write(*self);
                Ok(())
            }
        }
    )*};
}

primitive! {
    i8, i8;
    i16, i16;
    i32, i32;
    i64, i64;
    Uuid, uuid;
}

impl WritePrimitive for ByteString {
    fn write_element(&self, w: &mut Writer, field: &'static str, flexible: bool) -> Result<(), EncodeError> {
        w.string(self, field, flexible)
    }
}

impl Writer {
    /// An array of structs.
    pub fn structs<T: Fields>(
        &mut self,
        values: &[T],
        flexible: bool,
        version: i16,
    ) -> Result<(), EncodeError> {
        self.length(values.len(), flexible)?;
        values.iter().try_for_each(|value| value.write(self, version))
    }

    /// An array of structs that may be missing.
    pub fn nullable_structs<T: Fields>(
        &mut self,
        values: &Option<Vec<T>>,
        flexible: bool,
        version: i16,
    ) -> Result<(), EncodeError> {
        match values {
            Some(values) => self.structs(values, flexible, version),
            None => {
                self.null(flexible);
                Ok(())
            }
        }
    }

    /// An array of numbers, ids or strings.
    pub fn primitives<T: WritePrimitive>(
        &mut self,
        values: &[T],
        field: &'static str,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        self.length(values.len(), flexible)?;
        values
            .iter()
            .try_for_each(|value| value.write_element(self, field, flexible))
    }

    /// An array of numbers, ids or strings that may be missing.
    pub fn nullable_primitives<T: WritePrimitive>(
        &mut self,
        values: &Option<Vec<T>>,
        field: &'static str,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        match values {
            Some(values) => self.primitives(values, field, flexible),
            None => {
                self.null(flexible);
                Ok(())
            }
        }
    }

    /// A struct that may be missing: a byte says so, -1 for "missing".
    pub fn nullable_struct<T: Fields>(&mut self, value: &Option<T>, version: i16) -> Result<(), EncodeError> {
        match value {
            Some(value) => {
                self.i8(1);
                value.write(self, version)
            }
            None => {
                self.i8(-1);
                Ok(())
            }
        }
    }

    /// As [`Writer::nullable_struct`] in a tagged field, where a variable-length 0 says "missing".
    pub fn nullable_tagged_struct<T: Fields>(
        &mut self,
        value: &Option<T>,
        version: i16,
    ) -> Result<(), EncodeError> {
        self.unsigned_varint(u32::from(value.is_some()));
        value.as_ref().map_or(Ok(()), |value| value.write(self, version))
    }
}
