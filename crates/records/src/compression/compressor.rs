//! Packs bytes as the Java client packs them, so that every client unpacks them.
//!
//! Always holds: the output is appended to the vector that was given, what stood in it before stays.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::snappy::XerialEncoder;
use super::{Codec, Compression};

/// Packs what is written to it. Nothing is complete before [`finish`](Self::finish).
pub struct Compressor(Encoder);

enum Encoder {
    None(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Snappy(Box<XerialEncoder>),
    Lz4(Box<FrameEncoder<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    /// Packs with `codec` to the end of `out`. Fails when the codec's context cannot be made.
    pub fn new(codec: Codec, out: Vec<u8>) -> io::Result<Self> {
        Ok(Self(match codec.compression {
            Compression::None => Encoder::None(out),
            Compression::Gzip => {
                let level = codec
                    .level
                    .filter(|level| *level >= 1)
                    .map_or(6, |level| level.min(9));
                let level = flate2::Compression::new(u32::try_from(level).expect("1 to 9"));
                Encoder::Gzip(GzEncoder::new(out, level))
            }
            Compression::Snappy => Encoder::Snappy(Box::new(XerialEncoder::new(out))),
            Compression::Lz4 => {
                let info = FrameInfo::new()
                    .block_mode(BlockMode::Independent)
                    .block_size(BlockSize::Max64KB);
                Encoder::Lz4(Box::new(FrameEncoder::with_frame_info(info, out)))
            }
            Compression::Zstd => {
                let range = zstd::compression_level_range();
                let level = codec.level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
                let level = level.clamp(*range.start(), *range.end());
                Encoder::Zstd(zstd::stream::write::Encoder::new(out, level)?)
            }
        }))
    }

    /// Bytes that the vector holds so far; the codec may keep some back.
    pub fn len(&self) -> usize {
        match &self.0 {
            Encoder::None(out) => out.len(),
            Encoder::Gzip(encoder) => encoder.get_ref().len(),
            Encoder::Snappy(encoder) => encoder.len(),
            Encoder::Lz4(encoder) => encoder.get_ref().len(),
            Encoder::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    /// Whether the vector holds nothing yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Completes the stream and gives back the vector.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self.0 {
            Encoder::None(out) => Ok(out),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Snappy(encoder) => encoder.finish(),
            Encoder::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl Write for Compressor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Encoder::None(out) => out.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Snappy(encoder) => encoder.write(bytes),
            Encoder::Lz4(encoder) => encoder.write(bytes),
            Encoder::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
