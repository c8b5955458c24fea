//! Writes values behind each other into one reusable buffer.
//!
//! Always holds: record batches, and bytes above [`INLINE_BYTES`], are not copied; the buffer gets their length, and a
//! [`Hole`] notes where they belong. What is sent is the buffer with its holes filled: [`Writer::pieces`].
//!
//! Arrays and structs are in `arrays`, tagged fields in `tags`.

mod arrays;
mod tags;

pub use arrays::WritePrimitive;
pub use tags::Tags;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use klamm_model::Uuid;
use klamm_model::limits::MAX_STRING_BYTES;

use crate::error::EncodeError;
use crate::records::Records;

/// Bytes up to this length are copied into the buffer: a piece of its own would cost more.
pub const INLINE_BYTES: usize = 1024;

/// A place of the buffer where bytes belong that were not copied into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// The position in the buffer. Several holes can have the same one; they follow each other as noted.
    pub at: usize,
    /// What belongs there.
    pub content: HoleContent,
}

/// What fills a [`Hole`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoleContent {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes elsewhere, of [`Records::External`].
    External {
        /// What the one who sends knows the bytes by.
        token: u32,
        /// Their length.
        len: usize,
    },
}

impl HoleContent {
    /// The number of bytes.
    pub fn len(&self) -> usize {
        match self {
            HoleContent::Bytes(bytes) => bytes.len(),
            HoleContent::External { len, .. } => *len,
        }
    }

    /// Whether there are no bytes; such holes are not noted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A part of what was written, in the order of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes of the writer's buffer.
    Buffer(&'a [u8]),
    /// Bytes in memory that were not copied.
    Bytes(&'a Bytes),
    /// Bytes elsewhere.
    External {
        /// What the one who sends knows the bytes by.
        token: u32,
        /// Their length.
        len: usize,
    },
}

/// A frame whose length is not known yet; see [`Writer::begin_frame`].
#[derive(Debug)]
#[must_use = "the length of the frame is written by end_frame"]
pub struct OpenFrame {
    at: usize,
    first_hole: usize,
    total: usize,
}

/// The buffer, and the holes in it.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: BytesMut,
    holes: Vec<Hole>,
    hole_bytes: usize,
    contiguous: bool,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty writer that copies all bytes into its buffer, and refuses those that lie elsewhere.
    pub fn contiguous() -> Self {
        Self {
            contiguous: true,
            ..Self::default()
        }
    }

    /// Forgets what was written, and keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.holes.clear();
        self.hole_bytes = 0;
    }

    /// Gives back the memory of a writer that is empty and takes more than `most` bytes.
    pub fn trim(&mut self, most: usize) {
        if self.is_empty() && self.capacity() > most {
            self.buffer = BytesMut::new();
            self.holes = Vec::new();
        }
    }

    /// The memory that the buffer and the list of holes take.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity() + self.holes.capacity() * size_of::<Hole>()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.holes.is_empty()
    }

    /// The bytes written, without those of the holes.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    /// The holes, in ascending order of their position.
    pub fn holes(&self) -> &[Hole] {
        &self.holes
    }

    /// The length of what was written, with the holes filled.
    pub fn total_len(&self) -> usize {
        self.buffer.len() + self.hole_bytes
    }

    /// What was written, holes filled, in the order of sending. No piece is empty.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let ends = self.holes.iter().map(|hole| hole.at).chain([self.buffer.len()]);
        let starts = std::iter::once(0).chain(self.holes.iter().map(|hole| hole.at));
        let contents = self.holes.iter().map(Some).chain([None]);
        starts.zip(ends).zip(contents).flat_map(|((start, end), hole)| {
            let before = (start < end).then(|| Piece::Buffer(&self.buffer[start..end]));
            let inside = hole.map(|hole| match &hole.content {
                HoleContent::Bytes(bytes) => Piece::Bytes(bytes),
                HoleContent::External { token, len } => Piece::External {
                    token: *token,
                    len: *len,
                },
            });
            [before, inside].into_iter().flatten()
        })
    }

    /// Takes out the buffer and the holes, to be sent while the writer goes on with the rest of the buffer's memory.
    pub fn take(&mut self) -> (BytesMut, Vec<Hole>) {
        self.hole_bytes = 0;
        (self.buffer.split(), std::mem::take(&mut self.holes))
    }

    /// The bytes written, when there can be no holes (of [`Writer::contiguous`]); those in memory are filled otherwise.
    ///
    /// # Panics
    ///
    /// When records that lie elsewhere were written.
    pub fn into_bytes(self) -> Bytes {
        if self.holes.is_empty() {
            return self.buffer.freeze();
        }
        let mut whole = BytesMut::with_capacity(self.total_len());
        for piece in self.pieces() {
            match piece {
                Piece::Buffer(bytes) => whole.extend_from_slice(bytes),
                Piece::Bytes(bytes) => whole.extend_from_slice(bytes),
                Piece::External { token, .. } => panic!("the records {token} lie outside of memory"),
            }
        }
        whole.freeze()
    }

    /// Begins a frame: four bytes for its length, which [`Writer::end_frame`] fills in.
    pub fn begin_frame(&mut self) -> OpenFrame {
        let (at, first_hole) = (self.buffer.len(), self.holes.len());
        self.i32(0);
        OpenFrame {
            at,
            first_hole,
            total: self.total_len(),
        }
    }

    /// Takes back all that was written since the frame began, and leaves what stands before it.
    pub fn abandon_frame(&mut self, frame: OpenFrame) {
        self.buffer.truncate(frame.at);
        self.holes.truncate(frame.first_hole);
        self.hole_bytes = self.holes.iter().map(|hole| hole.content.len()).sum();
    }

    /// Ends the frame: its length is that of all that was written since, holes included.
    pub fn end_frame(&mut self, frame: OpenFrame) -> Result<(), EncodeError> {
        let length = match length32(self.total_len() - frame.total) {
            Ok(length) => length,
            Err(error) => {
                self.abandon_frame(frame);
                return Err(error);
            }
        };
        self.buffer[frame.at..frame.at + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// 1 or 0.
    pub fn bool(&mut self, value: bool) {
        self.buffer.put_u8(u8::from(value));
    }

    /// A signed byte.
    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// Two bytes.
    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// Two bytes without a sign.
    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// Four bytes.
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// Four bytes without a sign.
    pub fn u32(&mut self, value: u32) {
        self.buffer.put_u32(value);
    }

    /// Eight bytes.
    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// An IEEE 754 number of eight bytes.
    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.extend_from_slice(&value.0);
    }

    /// One to five bytes, seven bits each, the lowest first.
    pub fn unsigned_varint(&mut self, value: u32) {
        let (bytes, length) = varint(value);
        self.buffer.extend_from_slice(&bytes[..length]);
    }

    /// The length of bytes, records or an array.
    fn length(&mut self, length: usize, flexible: bool) -> Result<(), EncodeError> {
        let length = length32(length)?;
        if flexible {
            self.unsigned_varint(length as u32 + 1);
        } else {
            self.i32(length);
        }
        Ok(())
    }

    fn null(&mut self, flexible: bool) {
        if flexible {
            self.unsigned_varint(0);
        } else {
            self.i32(-1);
        }
    }

    /// A string.
    pub fn string(&mut self, value: &str, field: &'static str, flexible: bool) -> Result<(), EncodeError> {
        let length = value.len();
        if length > MAX_STRING_BYTES {
            return Err(EncodeError::StringTooLong { field, length });
        }
        if flexible {
            self.unsigned_varint(length as u32 + 1);
        } else {
            self.i16(length as i16);
        }
        self.buffer.extend_from_slice(value.as_bytes());
        Ok(())
    }

    /// A string that may be missing.
    pub fn nullable_string(
        &mut self,
        value: &Option<ByteString>,
        field: &'static str,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.string(value, field, flexible)?,
            None if flexible => self.unsigned_varint(0),
            None => self.i16(-1),
        }
        Ok(())
    }

    /// Bytes; long ones become a [`Hole`].
    pub fn bytes(&mut self, value: &Bytes, flexible: bool) -> Result<(), EncodeError> {
        self.length(value.len(), flexible)?;
        if self.contiguous || value.len() <= INLINE_BYTES {
            self.buffer.extend_from_slice(value);
        } else {
            self.hole(HoleContent::Bytes(value.clone()));
        }
        Ok(())
    }

    /// Bytes that may be missing.
    pub fn nullable_bytes(&mut self, value: &Option<Bytes>, flexible: bool) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.bytes(value, flexible),
            None => {
                self.null(flexible);
                Ok(())
            }
        }
    }

    /// Record batches, which become a [`Hole`] unless they are short.
    pub fn records(&mut self, value: &Records, flexible: bool) -> Result<(), EncodeError> {
        match value {
            Records::Null => self.null(flexible),
            Records::Bytes(bytes) => self.bytes(bytes, flexible)?,
            Records::External { .. } if self.contiguous => return Err(EncodeError::ExternalRecords),
            Records::External { token, len } => {
                self.length(*len, flexible)?;
                if *len > 0 {
                    self.hole(HoleContent::External {
                        token: *token,
                        len: *len,
                    });
                }
            }
        }
        Ok(())
    }

    fn hole(&mut self, content: HoleContent) {
        self.hole_bytes += content.len();
        self.holes.push(Hole {
            at: self.buffer.len(),
            content,
        });
    }
}

fn length32(length: usize) -> Result<i32, EncodeError> {
    i32::try_from(length).map_err(|_| EncodeError::LengthTooLarge(length))
}

fn varint(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut length = 0;
    while value >= 0x80 {
        bytes[length] = value as u8 | 0x80;
        value >>= 7;
        length += 1;
    }
    bytes[length] = value as u8;
    (bytes, length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reader;

    #[test]
    fn varints_come_back() {
        for value in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            1 << 21,
            1 << 28,
            i32::MAX as u32,
            u32::MAX,
        ] {
            let mut w = Writer::contiguous();
            w.unsigned_varint(value);
            let mut r = Reader::new(w.into_bytes());
            assert_eq!(r.unsigned_varint(), Ok(value));
            assert_eq!(r.remaining(), 0, "{value}");
        }
    }

    #[test]
    fn an_abandoned_frame_leaves_the_one_before() {
        let mut w = Writer::new();
        let first = w.begin_frame();
        w.records(&Records::External { token: 1, len: 10 }, true).unwrap();
        w.end_frame(first).unwrap();
        let before = (w.buffer().to_vec(), w.holes().to_vec(), w.total_len());
        let second = w.begin_frame();
        w.records(&Records::External { token: 2, len: 20 }, true).unwrap();
        w.abandon_frame(second);
        assert_eq!((w.buffer().to_vec(), w.holes().to_vec(), w.total_len()), before);
        assert_eq!(before.0, [0, 0, 0, 11, 11]);
    }

    #[test]
    fn long_bytes_are_sent_from_where_they_lie() {
        let long = Bytes::from(vec![7; INLINE_BYTES + 1]);
        let mut w = Writer::new();
        let frame = w.begin_frame();
        w.bytes(&long, false).unwrap();
        w.records(&Records::External { token: 3, len: 5000 }, true)
            .unwrap();
        w.records(&Records::External { token: 4, len: 0 }, true).unwrap();
        w.bytes(&Bytes::from_static(b"short"), true).unwrap();
        w.end_frame(frame).unwrap();
        let length = 4 + 1025 + 2 + 5000 + 1 + 6;
        let pieces: Vec<_> = w.pieces().collect();
        let mut head = i32::to_be_bytes(length).to_vec();
        head.extend_from_slice(&1025i32.to_be_bytes());
        assert_eq!(
            pieces,
            [
                Piece::Buffer(&head),
                Piece::Bytes(&long),
                Piece::Buffer(&[0x89, 0x27]),
                Piece::External { token: 3, len: 5000 },
                Piece::Buffer(b"\x01\x06short"),
            ]
        );
        let Piece::Bytes(sent) = pieces[1] else { panic!() };
        assert_eq!(sent.as_ptr(), long.as_ptr());
        assert_eq!(w.total_len(), 4 + length as usize);
        let mut contiguous = Writer::contiguous();
        let external = Records::External { token: 0, len: 1 };
        assert_eq!(
            contiguous.records(&external, true),
            Err(EncodeError::ExternalRecords)
        );
    }
}
