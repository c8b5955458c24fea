//! Where lines come from: files, or standard input.
//!
//! Always holds: a line is what stands between two newlines, byte for byte; the last one need not end. What was read goes
//! on at once, so that a person who types sees it arrive.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::failure::Hinted;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;
/// The longest line: no broker takes a larger record.
const MAX_LINE_BYTES: usize = 256 * 1024 * 1024;
/// Blocks of lines that wait to be sent.
const BLOCKS: usize = 8;

/// The lines of some reads, or the error that ended them.
pub(super) type Block = io::Result<Vec<Bytes>>;

/// Opens the input, and says whether it is a person at a terminal. Files are all opened before anything is sent.
pub(super) fn open(files: Vec<PathBuf>) -> anyhow::Result<(mpsc::Receiver<Block>, bool)> {
    let (sender, receiver) = mpsc::channel(BLOCKS);
    let stdin = Path::new("-");
    let is_stdin = files.is_empty() || files.iter().any(|file| file == stdin);
    let mut inputs: Vec<Box<dyn Read + Send>> = Vec::new();
    for file in &files {
        if file == stdin {
            inputs.push(Box::new(io::stdin()));
        } else {
            let opened = File::open(file).map_err(|error| {
                let message = format!("cannot read {}: {error}", file.display());
                Hinted::error(message, "without a file, klamm produce reads standard input")
            })?;
            inputs.push(Box::new(opened));
        }
    }
    if inputs.is_empty() {
        inputs.push(Box::new(io::stdin()));
    }
    // A thread of its own: a read of a terminal or pipe cannot be ended.
    std::thread::spawn(move || {
        for input in inputs {
            if let Err(error) = read_all(input, |block| sender.blocking_send(Ok(block)).is_ok()) {
                // Whoever sends has given up.
                let _ = sender.blocking_send(Err(error));
                return;
            }
        }
    });
    Ok((receiver, is_stdin && io::stdin().is_terminal()))
}

/// Gives the lines of `input` to `take`, until that returns `false`.
fn read_all(mut input: impl Read, mut take: impl FnMut(Vec<Bytes>) -> bool) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        let begin = buffer.len();
        buffer.resize(begin + READ_BYTES, 0);
        let read = loop {
            match input.read(&mut buffer[begin..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        buffer.truncate(begin + read);
        if read == 0 {
            if !buffer.is_empty() {
                take(vec![buffer.freeze()]);
            }
            return Ok(());
        }
        let lines = split(&mut buffer, begin);
        if buffer.len() > MAX_LINE_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a line is longer than {MAX_LINE_BYTES} bytes"),
            ));
        }
        if !lines.is_empty() && !take(lines) {
            return Ok(());
        }
    }
}

/// Takes the whole lines out of `buffer`, which has none before `searched`.
fn split(buffer: &mut BytesMut, searched: usize) -> Vec<Bytes> {
    let Some(last) = buffer[searched..].iter().rposition(|byte| *byte == b'\n') else {
        return Vec::new();
    };
    let whole = buffer.split_to(searched + last + 1).freeze();
    let mut lines = Vec::new();
    let mut begin = 0;
    for (place, byte) in whole.iter().enumerate() {
        if *byte == b'\n' {
            lines.push(whole.slice(begin..place));
            begin = place + 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of this length.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len());
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn lines_are_cut_at_newlines_only() {
        let cases: [(&[u8], &[&[u8]]); 7] = [
            (b"", &[]),
            (b"a", &[b"a"]),
            (b"a\n", &[b"a"]),
            (b"a\nb", &[b"a", b"b"]),
            (b"\n\n", &[b"", b""]),
            (b"a\r\nb\0\xff\n", &[b"a\r", b"b\0\xff"]),
            (b"one\ntwo\nthree", &[b"one", b"two", b"three"]),
        ];
        for (text, expected) in cases {
            for piece in 1..=text.len().max(1) {
                let mut seen = Vec::new();
                let take = |block: Vec<Bytes>| {
                    seen.extend(block);
                    true
                };
                read_all(Pieces(text, piece), take).unwrap();
                assert_eq!(seen, expected, "{text:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_with_its_name() {
        let error = open(vec!["/nowhere/at all".into()]).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/at all"));
    }
}
