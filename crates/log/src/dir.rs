//! A log dir: the folder that holds partitions, and the files that speak for all of them.
//!
//! Always holds: one process works on it (`.lock`); it belongs to one node of one cluster (`meta.properties`); after a
//! failed sync or write it is out of service until the process starts anew. `.kafka_cleanshutdown` exists only between
//! an orderly end and the next start.
//!
//! Neither product starts on the other's folder by accident: ours has a folder `klamm.format`, at whose name Apache Kafka
//! stops, and a folder of Kafka's is taken over only by [`LogDir::format`].

mod cleaned;
mod found;
mod fresh;
mod journaled;
mod leaving;
pub mod meta;
pub(crate) mod moves;
mod topic_id;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use klamm_env::Files;
use klamm_env::files::{DirEntry, FolderLock};
use klamm_model::{Offset, TopicPartition};
use parking_lot::Mutex;

use crate::checkpoint::{self, Offsets};
use crate::error::LogError;
use crate::handles::HandleCache;
use crate::journal::{self, Book};
use crate::names::{self, FolderKind};
pub use found::{FoundFuture, FoundPartition};
use fresh::FreshNames;
use meta::Meta;
pub(crate) use topic_id::{is_topic_id_file, read_topic_id, write_topic_id};

pub(crate) const LOCK: &str = ".lock";
pub(crate) const CLEAN: &str = ".kafka_cleanshutdown";
pub(crate) const META: &str = "meta.properties";
const MARKER: &str = "klamm.format";
const MARKER_VERSION: &str = "version";
pub(crate) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
pub(crate) const LOG_STARTS: &str = "log-start-offset-checkpoint";
pub(crate) const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
pub(crate) const CLEANED: &str = "cleaner-offset-checkpoint";
/// More than any of the small files has.
const SMALL_FILE_BYTES: u64 = 64 * 1024;

/// The newest version of the layout of a log dir and of everything in it that is ours: with a journal.
pub const FORMAT_VERSION: u32 = 2;
/// The version without one, which older binaries know.
const WITHOUT_JOURNAL: u32 = 1;

/// A log dir that this process holds.
pub struct LogDir {
    path: PathBuf,
    files: Arc<dyn Files>,
    handles: Arc<HandleCache>,
    failure: OnceLock<String>,
    on_failure: OnceLock<Box<dyn Fn() + Send + Sync>>,
    was_clean: bool,
    checkpoints: Mutex<Checkpoints>,
    fresh: FreshNames,
    meta: Mutex<Option<Meta>>,
    book: Book,
    /// None for a folder that was out of service from the start.
    _lock: Option<Box<dyn FolderLock>>,
}

impl std::fmt::Debug for LogDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogDir({})", self.path.display())
    }
}

#[derive(Clone, Debug, Default)]
struct Checkpoints {
    recovery_points: Offsets,
    log_starts: Offsets,
    high_watermarks: Offsets,
    /// Where the part begins that compaction has not gone over, of those that it has.
    cleaned: Offsets,
    /// A write failed: the files may say what they said before.
    is_uncertain: bool,
}

impl Checkpoints {
    /// Each with the name of its file.
    fn files(&self) -> [(&'static str, &Offsets); 4] {
        let [points, starts, watermarks] = self.positions();
        [points, starts, watermarks, (CLEANED, &self.cleaned)]
    }

    /// Those of [`Positions`].
    fn positions(&self) -> [(&'static str, &Offsets); 3] {
        [
            (RECOVERY_POINTS, &self.recovery_points),
            (LOG_STARTS, &self.log_starts),
            (HIGH_WATERMARKS, &self.high_watermarks),
        ]
    }
}

/// What the checkpoints of a log dir say of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// Everything below is known to be on the device and whole.
    pub recovery_point: Offset,
    /// The first offset that readers may ask for.
    pub log_start_offset: Offset,
    /// The high watermark.
    pub high_watermark: Offset,
}

impl LogDir {
    /// Takes the folder, which is made if it is missing. `owner` names this process to others. Blocks.
    ///
    /// A folder that holds data of Apache Kafka, or of a newer version, is refused.
    pub fn open(
        files: Arc<dyn Files>,
        path: &Path,
        handles: Arc<HandleCache>,
        owner: &str,
    ) -> Result<Arc<Self>, LogError> {
        files.create_dir_durably(path).map_err(LogError::io(path))?;
        let lock = files.lock(path, LOCK, owner).map_err(|error| match error {
            Ok(holder) => LogError::Locked {
                path: path.to_path_buf(),
                holder,
            },
            Err(error) => LogError::io(path)(error),
        })?;
        let marked = check_marker(&*files, path)?;
        let meta_path = path.join(META);
        let meta = read_small(&*files, &meta_path)?
            .map(|text| Meta::parse(&meta_path, &text))
            .transpose()?;
        if meta.is_some() && !marked {
            return Err(LogError::NotOurs {
                path: path.to_path_buf(),
                what: "a data folder of Apache Kafka, which Klamm does not touch unless told to take it over"
                    .into(),
            });
        }
        let clean_path = path.join(CLEAN);
        let was_clean = files
            .entry(&clean_path)
            .map_err(LogError::io(&clean_path))?
            .is_some();
        if was_clean {
            files
                .remove_file(&clean_path)
                .map_err(LogError::io(&clean_path))?;
        }
        // The names that are seen from here on are durable: whatever a killed process made and did not sync, this one
        // goes on from.
        files.sync_dir(path).map_err(LogError::io(path))?;
        let read = |name: &str| checkpoint::read_offsets(&*files, &path.join(name));
        let checkpoints = Checkpoints {
            recovery_points: read(RECOVERY_POINTS)?,
            log_starts: read(LOG_STARTS)?,
            high_watermarks: read(HIGH_WATERMARKS)?,
            cleaned: read(CLEANED)?,
            is_uncertain: false,
        };
        let mut dir = Self {
            path: path.to_path_buf(),
            handles,
            failure: OnceLock::new(),
            on_failure: OnceLock::new(),
            was_clean,
            checkpoints: Mutex::new(checkpoints),
            fresh: FreshNames::default(),
            meta: Mutex::new(meta),
            book: Book::default(),
            _lock: Some(lock),
            files,
        };
        dir.forget_missing()?;
        dir.book = journal::replay::open(&dir)?;
        Ok(Arc::new(dir))
    }

    /// A folder that could not be opened, out of service from the start. Nothing in it is touched.
    pub fn out_of_service(
        files: Arc<dyn Files>,
        path: &Path,
        handles: Arc<HandleCache>,
        reason: &dyn std::fmt::Display,
    ) -> Arc<Self> {
        let dir = Self {
            path: path.to_path_buf(),
            handles,
            failure: OnceLock::new(),
            on_failure: OnceLock::new(),
            was_clean: false,
            checkpoints: Mutex::default(),
            fresh: FreshNames::default(),
            meta: Mutex::default(),
            book: Book::default(),
            _lock: None,
            files,
        };
        dir.fail(reason);
        Arc::new(dir)
    }

    /// Takes partitions without a folder out of the checkpoints, durably: what these say of one must never be taken for the
    /// state of the next of its name. Whatever else has the name, a link to a disk that is not mounted perhaps, keeps it.
    fn forget_missing(&self) -> Result<(), LogError> {
        let present: BTreeSet<_> = self
            .entries()?
            .iter()
            .filter_map(|entry| match names::parse_folder(&entry.name) {
                FolderKind::Partition(partition) => Some(partition),
                _ => None,
            })
            .collect();
        let missing: BTreeSet<_> = {
            let checkpoints = self.checkpoints.lock();
            let named = checkpoints
                .files()
                .into_iter()
                .flat_map(|(_, offsets)| offsets.keys());
            named
                .filter(|partition| !present.contains(partition))
                .cloned()
                .collect()
        };
        if !missing.is_empty() {
            tracing::warn!(
                dir = %self.path.display(), partitions = missing.len(),
                "the checkpoints name partitions that have no folder: forgotten"
            );
        }
        self.forget(missing.iter())
    }

    /// Whose folder it is; `None` before it was formatted.
    pub fn meta(&self) -> Option<Meta> {
        self.meta.lock().clone()
    }

    /// Makes the folder one of this node, durably. Blocks.
    pub fn format(&self, meta: Meta) -> Result<(), LogError> {
        format(&*self.files, &self.path, &meta)?;
        *self.meta.lock() = Some(meta);
        Ok(())
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file system it is on.
    pub fn files(&self) -> &Arc<dyn Files> {
        &self.files
    }

    /// The cache of open files.
    pub fn handles(&self) -> &HandleCache {
        &self.handles
    }

    /// Whether the last process ended in order: then nothing needs to be read to be trusted.
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// Why the folder is out of service, if it is.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Takes the folder out of service: what the device holds is not known any more. The first reason stays.
    pub fn fail(&self, reason: &dyn std::fmt::Display) {
        if self.failure.set(reason.to_string()).is_ok() {
            tracing::error!(dir = %self.path.display(), %reason, "the log dir is taken out of service");
            if let Some(tell) = self.on_failure.get() {
                tell();
            }
        }
    }

    /// Calls `tell` when the folder is taken out of service; at once if it is. Once for a log dir, before it is used. May be
    /// called while a log is held: it must not look at one.
    pub fn on_failure(&self, tell: impl Fn() + Send + Sync + 'static) {
        let told = self.on_failure.set(Box::new(tell));
        assert!(told.is_ok(), "somebody else is told of failures");
        if let (Some(_), Some(tell)) = (self.failure(), self.on_failure.get()) {
            tell();
        }
    }

    /// An error if the folder is out of service.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        match self.failure.get() {
            None => Ok(()),
            Some(reason) => Err(LogError::DirFailed(reason.clone())),
        }
    }

    /// The folder of a partition.
    pub fn folder(&self, partition: &TopicPartition) -> PathBuf {
        self.path.join(partition.to_string())
    }

    fn entries(&self) -> Result<Vec<DirEntry>, LogError> {
        self.files.read_dir(&self.path).map_err(LogError::io(&self.path))
    }

    fn folders(&self) -> Result<Vec<String>, LogError> {
        let folders = self.entries()?.into_iter().filter(|entry| entry.is_dir);
        Ok(folders.map(|entry| entry.name).collect())
    }

    /// Removes the partitions that were being removed when the last process ended. Blocks.
    pub fn remove_deleted(&self) -> Result<usize, LogError> {
        let mut count = 0;
        for name in self.folders()? {
            if names::parse_folder(&name) == FolderKind::Delete {
                let path = self.path.join(name);
                self.files.remove_dir_all(&path).map_err(LogError::io(&path))?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Takes the partitions out of the checkpoints, durably.
    pub(crate) fn forget<'a>(&self, gone: impl Iterator<Item = &'a TopicPartition>) -> Result<(), LogError> {
        let mut checkpoints = self.checkpoints.lock();
        let mut changed = [false; 4];
        for partition in gone {
            changed[0] |= checkpoints.recovery_points.remove(partition).is_some();
            changed[1] |= checkpoints.log_starts.remove(partition).is_some();
            changed[2] |= checkpoints.high_watermarks.remove(partition).is_some();
            changed[3] |= checkpoints.cleaned.remove(partition).is_some();
        }
        for ((name, offsets), changed) in checkpoints.files().into_iter().zip(changed) {
            if changed {
                self.write_checkpoint(name, offsets)?;
            }
        }
        Ok(())
    }

    /// What the checkpoints said at the start, or say now, of a partition; zeros for an unknown one. Waits while
    /// checkpoints are written.
    pub fn positions(&self, partition: &TopicPartition) -> Positions {
        let checkpoints = self.checkpoints.lock();
        let of = |offsets: &Offsets| offsets.get(partition).copied().unwrap_or(Offset(0));
        Positions {
            recovery_point: of(&checkpoints.recovery_points),
            log_start_offset: of(&checkpoints.log_starts),
            high_watermark: of(&checkpoints.high_watermarks),
        }
    }

    /// Writes all checkpoints. `collect` names every log of the folder; it runs while no other checkpoint is written, so
    /// that a position never goes back to one collected earlier. Blocks.
    pub fn checkpoint(
        &self,
        collect: impl FnOnce() -> Vec<(TopicPartition, Positions)>,
    ) -> Result<(), LogError> {
        let mut checkpoints = self.checkpoints.lock();
        // What was not opened keeps what was said of it.
        let mut next = checkpoints.clone();
        for (partition, positions) in collect() {
            next.recovery_points
                .insert(partition.clone(), positions.recovery_point);
            next.log_starts
                .insert(partition.clone(), positions.log_start_offset);
            next.high_watermarks.insert(partition, positions.high_watermark);
        }
        *checkpoints = Checkpoints {
            is_uncertain: true,
            ..next
        };
        checkpoints
            .positions()
            .into_iter()
            .try_for_each(|(name, offsets)| self.write_checkpoint(name, offsets))?;
        checkpoints.is_uncertain = false;
        Ok(())
    }

    /// Notes what the checkpoints are to say of a partition that comes here from another log dir. Blocks.
    pub(crate) fn expect(&self, partition: &TopicPartition, positions: Positions) -> Result<(), LogError> {
        self.checkpoint(|| vec![(partition.clone(), positions)])
    }

    fn write_checkpoint(&self, name: &str, offsets: &Offsets) -> Result<(), LogError> {
        checkpoint::write_offsets(&*self.files, &self.path.join(name), offsets)
    }

    /// Notes that every log was closed in order; the last thing a process does with the folder. Blocks.
    pub fn mark_clean(&self, broker_epoch: i64) -> Result<(), LogError> {
        self.check()?;
        let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        self.write(&self.path.join(CLEAN), text.as_bytes())
    }

    /// Removes a file that may be gone already.
    pub(crate) fn remove_file(&self, path: &Path) -> Result<(), LogError> {
        match self.files.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LogError::io(path)(error)),
            _ => Ok(()),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), LogError> {
        self.files
            .write_atomically(path, bytes)
            .map_err(LogError::io(path))
    }
}

/// Marks the folder as ours, and as one of the node.
pub(crate) fn format(files: &dyn Files, path: &Path, meta: &Meta) -> Result<(), LogError> {
    let marker = path.join(MARKER);
    files.create_dir_all(&marker).map_err(LogError::io(&marker))?;
    let write = |path: PathBuf, text: String| {
        files
            .write_atomically(&path, text.as_bytes())
            .map_err(LogError::io(&path))
    };
    write(marker.join(MARKER_VERSION), format!("{WITHOUT_JOURNAL}\n"))?;
    write(path.join(META), meta.text())
}

/// Whether the folder is ours, of a version that is known here.
pub(crate) fn check_marker(files: &dyn Files, path: &Path) -> Result<bool, LogError> {
    let path = path.join(MARKER).join(MARKER_VERSION);
    let Some(text) = read_small(files, &path)? else {
        return Ok(false);
    };
    let found = text
        .trim()
        .parse()
        .map_err(|_| LogError::corrupt(&path, "no version number"))?;
    if found > FORMAT_VERSION {
        return Err(LogError::NewerFormat {
            path,
            found,
            known: FORMAT_VERSION,
        });
    }
    Ok(true)
}

/// The text of a small file; `None` if there is none.
pub(crate) fn read_small(files: &dyn Files, path: &Path) -> Result<Option<String>, LogError> {
    match files.read(path, SMALL_FILE_BYTES) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| LogError::corrupt(path, "not a text")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io(path)(error)),
    }
}

#[cfg(test)]
mod tests;
