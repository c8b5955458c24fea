//! Writing what the journal has into the segments.
//!
//! Always holds: bytes are written where they stood, and the file is synced before [`Applying::finish`] returns; a partition
//! whose segments do not reach to where the bytes belong is left as it is from there on, and said to have a gap.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;

use klamm_env::{File, OpenMode};
use klamm_model::Offset;

use super::format::{Append, Whose};
use super::replay::{Names, Reading};
use super::walk::CHUNK_BYTES;
use crate::dir::LogDir;
use crate::error::LogError;
use crate::names::{self, FileKind};

/// Files that are open at once.
const OPEN_FILES: usize = 128;

/// See the head of the file.
pub(super) struct Applying<'a> {
    dir: &'a LogDir,
    reading: &'a Reading,
    names: &'a Names,
    targets: BTreeMap<Whose, Target>,
    open: BTreeMap<(Whose, Offset), Arc<dyn File>>,
    chunk: Vec<u8>,
    done: Done,
}

/// What was done.
#[derive(Default)]
pub(super) struct Done {
    pub(super) bytes: u64,
    /// Why partitions do not have what the journal has for them.
    pub(super) gaps: BTreeMap<Whose, String>,
}

/// A partition that is written to.
struct Target {
    /// What is below is in its segments, and may not be what it was.
    recovery_point: Offset,
    /// The segments that are there, with the sizes of their files.
    segments: BTreeMap<Offset, u64>,
}

impl<'a> Applying<'a> {
    pub(super) fn new(dir: &'a LogDir, reading: &'a Reading, names: &'a Names) -> Self {
        Self {
            dir,
            reading,
            names,
            targets: BTreeMap::new(),
            open: BTreeMap::new(),
            chunk: Vec::new(),
            done: Done::default(),
        }
    }

    /// Takes the bytes of an entry from `journal` at `at` to where they belong.
    pub(super) fn append(
        &mut self,
        append: &Append,
        lsn: u64,
        journal: &dyn File,
        at: u64,
    ) -> Result<(), LogError> {
        let whose = append.whose;
        if !self.reading.counts(&whose, lsn) || self.done.gaps.contains_key(&whose) {
            return Ok(());
        }
        let Some(target) = self.target(whose)? else {
            return Ok(());
        };
        if append.end_offset <= target.recovery_point {
            return Ok(());
        }
        let length = target.segments.get(&append.segment).copied();
        let is_last = target.segments.range(append.segment..).next().is_none();
        let name = FileKind::Log.name(append.segment);
        let gap = match length {
            // Retention has removed it.
            None if !is_last => return Ok(()),
            None => Some(format!("{name} is not there")),
            Some(length) if length < u64::from(append.position) => Some(format!("{name} has {length} bytes")),
            Some(_) => None,
        };
        if let Some(what) = gap {
            let text = format!(
                "the journal has offsets {} to {} for position {} of {name}, but {what}",
                append.base_offset, append.end_offset, append.position
            );
            self.done.gaps.insert(whose, text);
            return Ok(());
        }
        let end = u64::from(append.position) + u64::from(append.length);
        target
            .segments
            .insert(append.segment, length.unwrap_or(0).max(end));
        self.copy(append, journal, at)
    }

    fn target(&mut self, whose: Whose) -> Result<Option<&mut Target>, LogError> {
        let Some(name) = self.names.of(&whose) else {
            return Ok(None);
        };
        if !self.targets.contains_key(&whose) {
            let folder = self.dir.folder(name);
            let entries = self.dir.files().read_dir(&folder);
            let entries = entries.map_err(LogError::io(&folder))?;
            let segments = entries.iter().filter_map(|entry| {
                let (kind, base_offset) = names::parse_file(&entry.name)?;
                (kind == FileKind::Log).then_some((base_offset, entry.len))
            });
            let target = Target {
                recovery_point: self.dir.positions(name).recovery_point,
                segments: segments.collect(),
            };
            self.targets.insert(whose, target);
        }
        Ok(self.targets.get_mut(&whose))
    }

    fn copy(&mut self, append: &Append, journal: &dyn File, at: u64) -> Result<(), LogError> {
        let (file, path) = self.file(append)?;
        let (mut done, length) = (0, u64::from(append.length));
        while done < length {
            let count = usize::try_from(length - done)
                .unwrap_or(usize::MAX)
                .min(CHUNK_BYTES);
            self.chunk.resize(count, 0);
            journal
                .read_exact_at(&mut self.chunk, at + done)
                .map_err(LogError::io("a journal file".as_ref()))?;
            file.write_at(&[IoSlice::new(&self.chunk)], u64::from(append.position) + done)
                .map_err(LogError::io(&path))?;
            done += count as u64;
        }
        self.done.bytes += length;
        Ok(())
    }

    fn file(&mut self, append: &Append) -> Result<(Arc<dyn File>, std::path::PathBuf), LogError> {
        let name = self.names.of(&append.whose).expect("it has a target");
        let path = self.dir.folder(name).join(FileKind::Log.name(append.segment));
        let key = (append.whose, append.segment);
        if let Some(file) = self.open.get(&key) {
            return Ok((Arc::clone(file), path));
        }
        if self.open.len() >= OPEN_FILES {
            self.sync()?;
        }
        let file = self
            .dir
            .files()
            .open(&path, OpenMode::Write)
            .map_err(LogError::io(&path))?;
        self.open.insert(key, Arc::clone(&file));
        Ok((file, path))
    }

    fn sync(&mut self) -> Result<(), LogError> {
        for file in std::mem::take(&mut self.open).into_values() {
            file.sync_data()
                .map_err(LogError::io("a segment file".as_ref()))?;
        }
        Ok(())
    }

    /// Returns when everything is on the device.
    pub(super) fn finish(mut self) -> Result<Done, LogError> {
        self.sync()?;
        Ok(self.done)
    }
}
