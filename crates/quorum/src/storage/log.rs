//! The segments: appending, cutting the end, dropping the beginning. Everything here blocks.
//!
//! Always holds: entries stand in the segments without gaps, in the order of their indexes; a method that returned
//! `Ok` has made its effect durable; after an `Err` the log is not used again.

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use klamm_env::{File, OpenMode};

use crate::error::FileError;
use crate::storage::frame::{SEGMENT_HEADER_BYTES, SegmentHeader, decode_frame, put_frame};
use crate::storage::scan::{Scanned, scan};
use crate::storage::{Folder, number_in};
use crate::types::{Entry, LogId, log_id, term_of};

const SUFFIX: &str = ".raft";
/// Bytes of a segment that is read at the start.
const MAX_SEGMENT_BYTES: u64 = 1024 * 1024 * 1024;

/// A segment's file.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    name: String,
    path: PathBuf,
    file: Arc<dyn File>,
    first: u64,
}

/// Where an entry stands.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    segment: Arc<SegmentFile>,
    position: u64,
    frame_bytes: u64,
}

impl Place {
    /// Bytes of the entry on disk.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.frame_bytes as usize
    }

    /// Reads the entry back. Blocks.
    pub(crate) fn read(&self) -> Result<Entry, FileError> {
        let path = &self.segment.path;
        let mut bytes = vec![0; self.frame_bytes as usize];
        let read = self.segment.file.read_exact_at(&mut bytes, self.position);
        read.map_err(FileError::io(path))?;
        match decode_frame(&Bytes::from(bytes)) {
            Ok((_, entry)) => Ok(entry),
            Err(error) => Err(Folder::corrupt(path, self.position, error.to_string())),
        }
    }
}

/// What the start found.
#[derive(Default)]
pub(crate) struct Recovered {
    /// The entry before the first one, `None` when there never was one.
    pub(crate) purged: Option<LogId>,
    /// All entries.
    pub(crate) entries: Vec<(Entry, Place)>,
    /// One more than the last index that was known to be committed; 0 for none.
    pub(crate) committed_end: u64,
    /// Bytes that were cut from a torn tail.
    pub(crate) torn_bytes: u64,
}

/// The segments on disk.
pub(crate) struct DiskLog {
    folder: Folder,
    segment_bytes: u64,
    /// In the order of their indexes; the last one is written to.
    segments: Vec<Arc<SegmentFile>>,
    /// Where the next entry goes in the last segment. All before it is durable.
    end: u64,
}

impl DiskLog {
    /// Reads all segments. `snapshot` is the last entry of the snapshot in force: what it holds may be missing.
    pub(crate) fn open(
        folder: Folder,
        segment_bytes: u64,
        snapshot: Option<LogId>,
    ) -> Result<(Self, Recovered), FileError> {
        let mut log = Self {
            folder,
            segment_bytes,
            segments: Vec::new(),
            end: 0,
        };
        let mut recovered = Recovered::default();
        let snapshot_end = snapshot.map_or(0, |id| id.index + 1);
        let names = log.folder.names_with(SUFFIX)?;
        let firsts = names
            .iter()
            .filter_map(|name| number_in(name, SUFFIX))
            .collect::<Vec<_>>();
        for (at, first) in firsts.iter().enumerate() {
            let (segment, scanned, length) = log.read_segment(*first, at + 1 == firsts.len())?;
            log.check_order(&mut recovered, &scanned.header, snapshot_end)?;
            log.end = scanned.end;
            recovered.torn_bytes = length - scanned.end;
            for found in scanned.entries {
                recovered.committed_end = recovered.committed_end.max(found.header.committed_end);
                let place = Place {
                    segment: segment.clone(),
                    position: found.position,
                    frame_bytes: found.header.frame_bytes(),
                };
                recovered.entries.push((found.entry, place));
            }
            log.segments.push(segment);
        }
        log.settle(recovered.torn_bytes)?;
        Ok((log, recovered))
    }

    fn read_segment(&self, first: u64, is_last: bool) -> Result<(Arc<SegmentFile>, Scanned, u64), FileError> {
        let segment = self.open_segment(first)?;
        let bytes = self.folder.files.read(&segment.path, MAX_SEGMENT_BYTES);
        let bytes = Bytes::from(bytes.map_err(FileError::io(&segment.path))?);
        let scanned = scan(&segment.path, &bytes, self.folder.cluster_id, is_last)?;
        if scanned.header.first != first {
            let what = format!("begins with entry {}, unlike its name", scanned.header.first);
            return Err(Folder::corrupt(&segment.path, 0, what));
        }
        Ok((segment, scanned, bytes.len() as u64))
    }

    /// Checks that the segment with `header` goes on where the ones before it end. Where it does not, it was begun
    /// behind a snapshot that holds all that is missing, and a crash left the ones before it: they go.
    fn check_order(
        &mut self,
        recovered: &mut Recovered,
        header: &SegmentHeader,
        snapshot_end: u64,
    ) -> Result<(), FileError> {
        let last = recovered
            .entries
            .last()
            .map(|(entry, _)| entry.log_id)
            .or(recovered.purged);
        let next = last.map_or(0, |id| id.index + 1);
        let follows = header.first == next && header.previous_term == last.map(|id| term_of(&id));
        if !self.segments.is_empty() && follows {
            return Ok(());
        }
        let from = next.max(snapshot_end);
        if header.first > from {
            return Err(FileError::Gap {
                path: self.folder.path.clone(),
                from,
                to: header.first - 1,
            });
        }
        if header.first > snapshot_end || (header.first < next && !self.segments.is_empty()) {
            let path = self.folder.path.join(format!("{:020}{SUFFIX}", header.first));
            return Err(Folder::corrupt(
                &path,
                0,
                "does not go on where the segment before it ends",
            ));
        }
        for old in std::mem::take(&mut self.segments) {
            self.folder.remove(&old.name)?;
        }
        recovered.entries.clear();
        recovered.purged = header
            .previous_term
            .and_then(|term| Some(log_id(term, header.first.checked_sub(1)?)));
        Ok(())
    }

    /// Cuts a torn tail, and makes durable what a process that was killed left in the page cache.
    fn settle(&mut self, torn_bytes: u64) -> Result<(), FileError> {
        if let Some(last) = self.segments.last() {
            if torn_bytes > 0 {
                last.file.set_len(self.end).map_err(FileError::io(&last.path))?;
            }
            last.file.sync_data().map_err(FileError::io(&last.path))?;
        }
        self.folder.sync()
    }

    fn open_segment(&self, first: u64) -> Result<Arc<SegmentFile>, FileError> {
        let name = format!("{first:020}{SUFFIX}");
        let path = self.folder.path.join(&name);
        let file = self
            .folder
            .files
            .open(&path, OpenMode::Write)
            .map_err(FileError::io(&path))?;
        Ok(Arc::new(SegmentFile {
            name,
            path,
            file,
            first,
        }))
    }

    /// Begins a segment with the entry after `previous`.
    fn begin_segment(&mut self, first: u64, previous: Option<LogId>) -> Result<(), FileError> {
        let header = SegmentHeader {
            first,
            previous_term: previous.map(|id| term_of(&id)),
        };
        let name = format!("{first:020}{SUFFIX}");
        self.folder
            .write_atomically(&name, &header.encode(self.folder.cluster_id))?;
        self.segments.push(self.open_segment(first)?);
        self.end = SEGMENT_HEADER_BYTES as u64;
        Ok(())
    }

    /// Appends entries that follow `previous`, durably, with one sync (one more for each segment that gets full).
    pub(crate) fn append(
        &mut self,
        mut previous: Option<LogId>,
        entries: &[Entry],
        committed_end: u64,
    ) -> Result<Vec<Place>, FileError> {
        let mut places = Vec::with_capacity(entries.len());
        let mut buffer = BytesMut::new();
        for entry in entries {
            let full = self.end + buffer.len() as u64 >= self.segment_bytes;
            if full || self.segments.is_empty() {
                self.write(&mut buffer)?;
                self.begin_segment(entry.log_id.index, previous)?;
            }
            let position = self.end + buffer.len() as u64;
            put_frame(&mut buffer, entry, committed_end, self.end);
            places.push(Place {
                segment: self.segments.last().expect("begun above").clone(),
                position,
                frame_bytes: self.end + buffer.len() as u64 - position,
            });
            previous = Some(entry.log_id);
        }
        self.write(&mut buffer)?;
        Ok(places)
    }

    fn write(&mut self, buffer: &mut BytesMut) -> Result<(), FileError> {
        let (Some(segment), false) = (self.segments.last(), buffer.is_empty()) else {
            return Ok(());
        };
        let write = segment.file.write_at(&[IoSlice::new(buffer)], self.end);
        write
            .and_then(|()| segment.file.sync_data())
            .map_err(FileError::io(&segment.path))?;
        self.end += buffer.len() as u64;
        buffer.clear();
        Ok(())
    }

    /// Cuts the entry at `place` and all after it. Files go from the end on, one durable step after the other, so that
    /// a crash leaves no gap.
    pub(crate) fn cut(&mut self, place: &Place) -> Result<(), FileError> {
        while let Some(last) = self
            .segments
            .pop_if(|segment| segment.first > place.segment.first)
        {
            self.folder.remove(&last.name)?;
            self.folder.sync()?;
        }
        let segment = &place.segment;
        let cut = segment.file.set_len(place.position);
        cut.and_then(|()| segment.file.sync_data())
            .map_err(FileError::io(&segment.path))?;
        self.end = place.position;
        Ok(())
    }

    /// Drops the files that hold nothing after `upto`. When `upto` is at or behind the last entry, a segment that goes
    /// on after it comes first.
    pub(crate) fn purge(&mut self, upto: LogId, last: Option<LogId>) -> Result<(), FileError> {
        if last.is_none_or(|last| last.index <= upto.index) {
            let next = upto.index + 1;
            // An empty segment of that name may follow another entry than `upto`: it is replaced.
            self.segments.pop_if(|segment| segment.first == next);
            self.begin_segment(next, Some(upto))?;
        }
        let kept = self
            .segments
            .iter()
            .skip(1)
            .take_while(|next| next.first <= upto.index + 1)
            .count();
        for old in self.segments.drain(..kept) {
            self.folder.remove(&old.name)?;
        }
        self.folder.sync()
    }
}
