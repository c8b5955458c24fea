//! The files of a journal, and the place in them where the next round goes.
//!
//! Always holds: files are used in the order of their sequence numbers, and the header of the newest says from which on rounds count;
//! that header is on the device before the first round behind it; a round is on the device when [`Ring::write`] returns, and
//! after a write or a sync that failed the log dir is out of service. One at a time works with the ring.
//!
//! ```text
//! made -> ready -> active -> full -> ready ...
//! ```

use std::collections::VecDeque;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use klamm_env::{File, OpenMode};
use klamm_model::Uuid;

use super::format::{BLOCK_BYTES, FileHeader, whole_blocks};
use super::write::{Piece, Place, round_bytes, write_round};
use crate::dir::LogDir;
use crate::error::LogError;

/// The folder of the journal in a log dir.
pub(crate) const FOLDER: &str = "klamm.journal";
/// Ends the name of a journal file.
pub(crate) const ENDING: &str = ".journal";
/// A file of this size has room for any round that forgets.
const SMALL_FILE_BYTES: u64 = 512 * 1024;
/// Zeros that are written at once when a file is made; each is synced, so that no commit waits behind all of them.
const ZEROS_BYTES: usize = 1024 * 1024;

/// One file.
#[derive(Debug)]
pub(crate) struct JournalFile {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    pub(crate) bytes: u64,
    /// Of its last use; 0: never used.
    pub(crate) sequence: u64,
}

impl JournalFile {
    /// Writes the header, and returns when it is on the device.
    pub(crate) fn write_header(&self, header: &FileHeader, dir_id: Uuid) -> Result<(), LogError> {
        let block = header.encode(dir_id);
        self.file
            .write_at(&[IoSlice::new(&block)], 0)
            .and_then(|()| self.file.sync_data())
            .map_err(LogError::io(&self.path))
    }

    fn room(&self) -> u64 {
        self.bytes - BLOCK_BYTES as u64
    }
}

/// How large the files are, and how many bytes all of them may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `klamm.journal.file.bytes`.
    pub file_bytes: u64,
    /// `klamm.journal.max.bytes`.
    pub max_bytes: u64,
}

impl Limits {
    /// With files of whole blocks, of which at least one is for rounds.
    pub(crate) fn in_blocks(self) -> Self {
        let blocks = self.file_bytes / BLOCK_BYTES as u64;
        Self {
            file_bytes: blocks.max(2) * BLOCK_BYTES as u64,
            ..self
        }
    }
}

/// A round that is on the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WrittenRound {
    /// Of the file.
    pub(crate) sequence: u64,
    pub(crate) bytes: u64,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    /// The files whose rounds may be needed, oldest first; the last is written to if `is_open`.
    pub(crate) live: VecDeque<JournalFile>,
    pub(crate) ready: VecDeque<JournalFile>,
    pub(crate) is_open: bool,
    /// Where the next round goes in the last file.
    pub(crate) position: u64,
    pub(crate) next_lsn: u64,
    pub(crate) next_sequence: u64,
    /// The number in the name of the next file.
    pub(crate) next_name: u64,
    pub(crate) buffer: Vec<u8>,
}

impl Ring {
    /// Whether the device has rounds that count.
    pub(crate) fn counts(&self) -> bool {
        !self.live.is_empty()
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.live.iter().chain(&self.ready).map(|file| file.bytes).sum()
    }

    /// How many files there are.
    pub(crate) fn file_count(&self) -> usize {
        self.live.len() + self.ready.len()
    }

    /// Whether another file should be there soon, since the one that is written to is half full, and may be.
    pub(crate) fn wants_another(&self, limits: Limits) -> bool {
        let half = |file: &JournalFile| self.position > file.bytes / 2;
        self.ready.is_empty()
            && (!self.is_open || self.live.back().is_none_or(half))
            && self.bytes() + limits.file_bytes <= limits.max_bytes
    }

    /// The oldest file, if it is not written to any more.
    pub(crate) fn oldest_full(&self) -> Option<u64> {
        let count = self.live.len() - usize::from(self.is_open && !self.live.is_empty());
        self.live.front().filter(|_| count > 0).map(|file| file.sequence)
    }

    /// Nobody needs the oldest file.
    pub(crate) fn free_oldest(&mut self, sequence: u64) {
        if self.oldest_full() == Some(sequence) {
            self.ready.extend(self.live.pop_front());
        }
    }

    /// Has a place for a round of `bytes`; `false` if there is none.
    pub(crate) fn take_room(&mut self, dir: &LogDir, bytes: u64, limits: Limits) -> Result<bool, LogError> {
        let bytes = whole_blocks(bytes);
        if self.is_open
            && self
                .live
                .back()
                .is_some_and(|file| self.position + bytes <= file.bytes)
        {
            return Ok(true);
        }
        let ready = self.ready.iter().position(|file| bytes <= file.room());
        match ready.and_then(|at| self.ready.remove(at)) {
            Some(file) => {
                self.activate(dir, file)?;
                self.remove_others(dir, limits);
                Ok(true)
            }
            None => {
                // Only so can it become free again; for a round that no file has room for it need not.
                self.is_open &= self.live.back().is_some_and(|file| bytes > file.room());
                Ok(false)
            }
        }
    }

    /// Has the next rounds written to `file`, from its beginning.
    pub(crate) fn activate(&mut self, dir: &LogDir, mut file: JournalFile) -> Result<(), LogError> {
        dir.check()?;
        let sequence = self.next_sequence.max(1);
        let live_from = self.live.front().map_or(sequence, |oldest| oldest.sequence);
        let header = FileHeader {
            sequence,
            live_from,
            first_lsn: self.next_lsn,
            file_bytes: file.bytes,
        };
        file.write_header(&header, dir.directory_id())
            .inspect_err(|error| dir.fail(error))?;
        file.sequence = sequence;
        self.next_sequence = sequence + 1;
        self.position = BLOCK_BYTES as u64;
        self.live.push_back(file);
        self.is_open = true;
        Ok(())
    }

    /// Removes ready files that another configuration has made, or that are too many. No round of theirs counts: the newest
    /// header says so.
    fn remove_others(&mut self, dir: &LogDir, limits: Limits) {
        let mut total = self.bytes();
        self.ready.retain(|file| {
            let keep = file.bytes == limits.file_bytes && total <= limits.max_bytes;
            if !keep {
                total -= file.bytes;
                if let Err(error) = dir.remove_file(&file.path) {
                    tracing::warn!(%error, "cannot remove a journal file that is not needed");
                }
            }
            keep
        });
    }

    /// Writes a round where room was found; returns when it is on the device.
    pub(crate) fn write(&mut self, dir: &LogDir, pieces: &[Piece<'_>]) -> Result<WrittenRound, LogError> {
        dir.check()?;
        assert!(self.is_open, "room was taken");
        let active = self.live.back().expect("an open ring has a file");
        let bytes = whole_blocks(round_bytes(pieces));
        assert!(self.position + bytes <= active.bytes, "room was taken");
        let place = Place {
            dir_id: dir.directory_id(),
            position: self.position,
            sequence: active.sequence,
            lsn: self.next_lsn,
        };
        let written = write_round(&*active.file, place, pieces, &mut self.buffer)
            .and_then(|end| {
                let synced = active.file.sync_data().map(|()| end);
                synced.map_err(LogError::io(&active.path))
            })
            .inspect_err(|error| dir.fail(error));
        self.position = written?;
        self.next_lsn += 1;
        Ok(WrittenRound {
            sequence: active.sequence,
            bytes,
        })
    }

    /// As [`Ring::take_room`], for a round that must be written: a small file is made if there is no other place.
    pub(crate) fn must_have_room(&mut self, dir: &LogDir, bytes: u64) -> Result<(), LogError> {
        let fits = self.is_open
            && self
                .live
                .back()
                .is_some_and(|file| self.position + whole_blocks(bytes) <= file.bytes);
        if fits {
            return Ok(());
        }
        if self.ready.iter().all(|file| file.room() < whole_blocks(bytes)) {
            let number = self.take_name();
            let file = make(dir, number, SMALL_FILE_BYTES)?;
            self.ready.push_back(file);
        }
        let place = self
            .ready
            .iter()
            .position(|file| whole_blocks(bytes) <= file.room());
        let file = place.and_then(|at| self.ready.remove(at)).expect("one was made");
        self.activate(dir, file)
    }

    /// The number for the name of a new file.
    pub(crate) fn take_name(&mut self) -> u64 {
        let number = self.next_name;
        self.next_name += 1;
        number
    }
}

/// Makes a file of zeros, and returns when it is on the device under its name. Blocks for long.
pub(crate) fn make(dir: &LogDir, number: u64, bytes: u64) -> Result<JournalFile, LogError> {
    dir.check()?;
    dir.mark_journaled()?;
    let folder = dir.path().join(FOLDER);
    dir.files()
        .create_dir_durably(&folder)
        .map_err(LogError::io(&folder))?;
    let path = folder.join(format!("{number:020}{ENDING}"));
    let mut temporary = path.clone().into_os_string();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let made = fill(dir, &temporary, bytes).and_then(|file| {
        let renamed = dir.files().rename(&temporary, &path);
        renamed.map_err(LogError::io(&path)).map(|()| file)
    });
    let file = made.inspect_err(|_| {
        if let Err(error) = dir.remove_file(&temporary) {
            tracing::warn!(%error, "cannot remove a journal file that was not finished");
        }
    })?;
    dir.sync_folder(&folder)?;
    Ok(JournalFile {
        path,
        file,
        bytes,
        sequence: 0,
    })
}

fn fill(dir: &LogDir, path: &std::path::Path, bytes: u64) -> Result<Arc<dyn File>, LogError> {
    dir.remove_file(path)?;
    let write = || {
        let file = dir.files().open(path, OpenMode::CreateNew)?;
        let zeros = vec![0; ZEROS_BYTES.min(usize::try_from(bytes).unwrap_or(ZEROS_BYTES))];
        let mut at = 0;
        while at < bytes {
            let count = usize::try_from(bytes - at)
                .unwrap_or(zeros.len())
                .min(zeros.len());
            file.write_at(&[IoSlice::new(&zeros[..count])], at)?;
            file.sync_data()?;
            at += count as u64;
        }
        let header = FileHeader {
            sequence: 0,
            live_from: 0,
            first_lsn: 0,
            file_bytes: bytes,
        };
        file.write_at(&[IoSlice::new(&header.encode(dir.directory_id()))], 0)?;
        file.sync_data()?;
        Ok(file)
    };
    write().map_err(LogError::io(path))
}
