//! The codecs of Kafka: none, gzip, snappy, lz4, zstd.
//!
//! Always holds: what unpacks has a limit and works in runs of bounded size; a batch is never unpacked whole unless a
//! reader asks for its records. A hostile stream is an error, never a panic.
//!
//! [`Compressor`] packs, [`Decompressor`] unpacks, [`Scratch`] keeps the memory of both ways from batch to batch.

mod compressor;
mod decompressor;
mod gzip;
mod lz4;
mod snappy;
mod zstandard;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub use compressor::Compressor;
pub use decompressor::{DecompressError, Decompressor, Scratch};

/// A codec, by its number in the attributes of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// The records as they are.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in the frame of snappy-java (xerial); a bare block is read as well.
    Snappy,
    /// The LZ4 frame format with independent blocks.
    Lz4,
    /// RFC 8878.
    Zstd,
}

/// A number in the attributes that names no codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("unknown compression type {0}")]
pub struct UnknownCompression(pub u8);

/// A name that names no codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a codec is none, gzip, snappy, lz4 or zstd")]
pub struct UnknownCompressionName;

impl Compression {
    /// Every codec, in the order of the numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec with this number.
    pub const fn from_id(id: u8) -> Result<Self, UnknownCompression> {
        match id {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(UnknownCompression(other)),
        }
    }

    /// The number in the attributes.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The name as configurations write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = UnknownCompressionName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or(UnknownCompressionName)
    }
}

/// A codec and how hard it tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codec {
    /// Which one.
    pub compression: Compression,
    /// `compression.gzip.level` (1 to 9) or `compression.zstd.level` (to 22), brought into that range; `None` for the
    /// codec's own default. The lz4 encoder has one level, and takes any for it.
    pub level: Option<i32>,
}

impl Codec {
    /// `compression` at `level`.
    pub const fn with_level(compression: Compression, level: i32) -> Self {
        Self {
            compression,
            level: Some(level),
        }
    }
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        Self {
            compression,
            level: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_inverse() {
        for codec in Compression::ALL {
            assert_eq!(Compression::from_id(codec.id()), Ok(codec));
            assert_eq!(codec.name().parse(), Ok(codec));
        }
        assert_eq!(Compression::from_id(5), Err(UnknownCompression(5)));
        assert_eq!("producer".parse::<Compression>(), Err(UnknownCompressionName));
    }
}
