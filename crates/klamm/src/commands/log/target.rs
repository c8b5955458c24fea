//! What a path on the command line means: a log dir, a partition's folder, or a segment of one.
//!
//! Always holds: who changes files holds the log dir's lock as long as it does; who reads does so beside a broker as well, and
//! says that.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use klamm_env::Files;
use klamm_env::files::FolderLock;
use klamm_log::error::LogError;
use klamm_log::names::{self, FileKind, FolderKind};
use klamm_log::repair;
use klamm_log::verify::{self, DirFacts, Known, PartitionReport};
use klamm_model::{Offset, TopicPartition};

use crate::failure::Hinted;
use crate::output::printable;

/// The file that every formatted log dir has.
const META: &str = "meta.properties";

/// What is worked on.
pub(super) struct Target {
    /// The log dir, where there is one around.
    pub(super) dir: Option<PathBuf>,
    pub(super) facts: DirFacts,
    /// Its folders, with what their names say.
    pub(super) partitions: Vec<(PathBuf, Option<TopicPartition>)>,
    /// Only this segment of the one partition.
    pub(super) segment: Option<Offset>,
}

impl Target {
    /// Looks at `path`.
    pub(super) fn find(files: &dyn Files, path: &Path) -> anyhow::Result<Self> {
        let path = &absolute(path)?;
        let entry = files.entry(path)?;
        let Some(entry) = entry else {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        };
        if !entry.is_dir {
            let Some((FileKind::Log, segment)) = names::parse_file(&entry.name) else {
                return Err(not_understood());
            };
            let folder = path.parent().unwrap_or(path).to_path_buf();
            return Self::of_folder(files, folder, Some(segment));
        }
        let is_formatted = files.entry(&path.join(META))?.is_some();
        if is_formatted || !holds_segments(files, path)? {
            return Self::of_dir(files, path);
        }
        Self::of_folder(files, path.clone(), None)
    }

    fn of_dir(files: &dyn Files, path: &Path) -> anyhow::Result<Self> {
        let partitions = verify::of_dir(files, path)?;
        if partitions.is_empty() && files.entry(&path.join(META))?.is_none() {
            return Err(not_understood());
        }
        Ok(Self {
            dir: Some(path.to_path_buf()),
            facts: verify::facts(files, path)?,
            partitions: partitions
                .into_iter()
                .map(|partition| (path.join(partition.to_string()), Some(partition)))
                .collect(),
            segment: None,
        })
    }

    fn of_folder(files: &dyn Files, folder: PathBuf, segment: Option<Offset>) -> anyhow::Result<Self> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let partition = match names::parse_folder(&name) {
            FolderKind::Partition(partition) => Some(partition),
            _ => None,
        };
        let above = folder.parent().map(Path::to_path_buf);
        let dir = match above.filter(|_| partition.is_some()) {
            Some(above) if files.entry(&above.join(META))?.is_some() => Some(above),
            _ => None,
        };
        let facts = match &dir {
            Some(dir) => verify::facts(files, dir)?,
            None => DirFacts::default(),
        };
        Ok(Self {
            dir,
            facts,
            partitions: vec![(folder, partition)],
            segment,
        })
    }

    /// Bytes of the segments that will be read.
    pub(super) fn bytes(&self, files: &dyn Files) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for (folder, _) in &self.partitions {
            for entry in files.read_dir(folder)? {
                if let Some((FileKind::Log, offset)) = names::parse_file(&entry.name)
                    && self.segment.is_none_or(|only| only == offset)
                {
                    bytes += entry.len;
                }
            }
        }
        Ok(bytes)
    }

    /// Reads one of the partitions whole.
    pub(super) fn verify(
        &self,
        files: &dyn Files,
        (folder, partition): &(PathBuf, Option<TopicPartition>),
        progress: &mut dyn FnMut(u64),
    ) -> anyhow::Result<PartitionReport> {
        let report = match (&self.dir, partition) {
            (Some(dir), Some(partition)) => {
                verify::in_dir(files, dir, &self.facts, partition, self.segment, progress)
            }
            _ => verify::partition(files, folder, Known::CLOSED, self.segment, progress),
        };
        Ok(report?)
    }

    /// Locks the log dir for a change; an error while a broker runs on it.
    pub(super) fn lock(&self, files: &dyn Files) -> anyhow::Result<Option<Box<dyn FolderLock>>> {
        let Some(dir) = &self.dir else {
            return Ok(None);
        };
        match repair::lock(files, dir, &owner()) {
            Ok(lock) => Ok(Some(lock)),
            Err(error @ LogError::Locked { .. }) => Err(Hinted::error(
                error.to_string(),
                "stop the broker first: files cannot be changed under it",
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// Locks the log dir for reading, where nobody else has it; says so where a broker runs on it.
    pub(super) fn lock_for_reading(&self, files: &dyn Files) -> anyhow::Result<Option<Box<dyn FolderLock>>> {
        let Some(dir) = &self.dir else {
            return Ok(None);
        };
        match repair::lock(files, dir, &owner()) {
            Ok(lock) => Ok(Some(lock)),
            Err(error @ LogError::Locked { .. }) => {
                note(&format!(
                    "{error}: what it has not flushed yet is not judged, and a segment that it removes meanwhile fails this"
                ));
                Ok(None)
            }
            // Reading needs no right to write.
            Err(LogError::Io { source, .. })
                if matches!(
                    source.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Says something beside the data.
pub(super) fn note(text: &str) {
    // When nobody can read it, that is no failure.
    let _ = writeln!(io::stderr(), "note: {}", printable(text));
}

/// How a partition is called: by its name, or by its folder when that has none.
pub(super) fn name_of(folder: &Path, partition: Option<&TopicPartition>) -> String {
    match partition {
        Some(partition) => partition.to_string(),
        None => folder.display().to_string(),
    }
}

fn owner() -> String {
    format!("klamm log, process {}", std::process::id())
}

/// A path that has a folder above it.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}

fn holds_segments(files: &dyn Files, folder: &Path) -> io::Result<bool> {
    let is_segment = |name: &str| matches!(names::parse_file(name), Some((FileKind::Log, _)));
    Ok(files
        .read_dir(folder)?
        .iter()
        .any(|entry| is_segment(&entry.name)))
}

fn not_understood() -> anyhow::Error {
    Hinted::error(
        "this is no log dir, no partition's folder and no segment",
        "name a folder of log.dirs, one in it like orders-0, or a *.log in that",
    )
}
