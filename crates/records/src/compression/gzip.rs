//! Unpacks gzip members (RFC 1952), one after another, as Java's reader does.
//!
//! Always holds: the checksum and the length of every member are compared; bytes after the last member that do not begin
//! another one are ignored.

use std::ops::Range;

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::Compression;
use super::decompressor::{DecompressError, RUN_BYTES, Scratch};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const HEADER_CRC: u8 = 0x02;
const EXTRA: u8 = 0x04;
const NAME: u8 = 0x08;
const COMMENT: u8 = 0x10;
const RESERVED: u8 = 0xe0;

const TRUNCATED: DecompressError = DecompressError::Truncated(Compression::Gzip);
const DAMAGED: DecompressError = DecompressError::Damaged(Compression::Gzip);

pub(super) struct GzipReader<'a> {
    rest: &'a [u8],
    crc: Crc,
    state: State,
}

enum State {
    FirstHeader,
    Body,
    Ended,
}

impl<'a> GzipReader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self {
            rest: input,
            crc: Crc::new(),
            state: State::FirstHeader,
        }
    }

    pub(super) fn next_run(&mut self, scratch: &mut Scratch) -> Result<Range<usize>, DecompressError> {
        let inflate = scratch.inflate.get_or_insert_with(|| Decompress::new(false));
        scratch.run.resize(scratch.run.len().max(RUN_BYTES), 0);
        loop {
            match self.state {
                State::FirstHeader => self.open_member(inflate)?,
                State::Ended => return Ok(0..0),
                State::Body => {
                    let made = self.inflate(inflate, &mut scratch.run[..RUN_BYTES])?;
                    if made > 0 {
                        return Ok(0..made);
                    }
                }
            }
        }
    }

    /// Unpacks into the start of `run` and says how much.
    fn inflate(&mut self, inflate: &mut Decompress, run: &mut [u8]) -> Result<usize, DecompressError> {
        let (taken, made) = (inflate.total_in(), inflate.total_out());
        let status = inflate
            .decompress(self.rest, run, FlushDecompress::None)
            .map_err(|_| DAMAGED)?;
        let taken = usize::try_from(inflate.total_in() - taken).expect("not more than the input");
        let made = usize::try_from(inflate.total_out() - made).expect("not more than a run");
        self.rest = &self.rest[taken..];
        self.crc.update(&run[..made]);
        match status {
            Status::StreamEnd => self.close_member(inflate)?,
            Status::Ok | Status::BufError if taken == 0 && made == 0 => return Err(TRUNCATED),
            Status::Ok | Status::BufError => {}
        }
        Ok(made)
    }

    fn open_member(&mut self, inflate: &mut Decompress) -> Result<(), DecompressError> {
        self.skip_header()?;
        inflate.reset(false);
        self.crc = Crc::new();
        self.state = State::Body;
        Ok(())
    }

    fn close_member(&mut self, inflate: &mut Decompress) -> Result<(), DecompressError> {
        let trailer = self.take(8)?;
        let (sum, length) = trailer.split_at(4);
        let fits = sum == self.crc.sum().to_le_bytes() && length == self.crc.amount().to_le_bytes();
        if !fits {
            return Err(DAMAGED);
        }
        self.state = State::Ended;
        if self.rest.starts_with(&MAGIC) {
            self.open_member(inflate)?;
        }
        Ok(())
    }

    fn skip_header(&mut self) -> Result<(), DecompressError> {
        let fixed = self.take(10)?;
        let flags = fixed[3];
        if fixed[..2] != MAGIC || fixed[2] != DEFLATE || flags & RESERVED != 0 {
            return Err(DAMAGED);
        }
        if flags & EXTRA != 0 {
            let length = self.take(2)?;
            self.take(usize::from(u16::from_le_bytes([length[0], length[1]])))?;
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                let end = self.rest.iter().position(|byte| *byte == 0).ok_or(TRUNCATED)?;
                self.take(end + 1)?;
            }
        }
        if flags & HEADER_CRC != 0 {
            self.take(2)?;
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecompressError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }
}
