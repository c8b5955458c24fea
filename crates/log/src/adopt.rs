//! Taking over a log dir of Apache Kafka: the files of its partitions are ours already, the folder around them is not yet.
//!
//! Always holds: until the very end the folder is not ours, and no broker of ours starts on it; a copy leaves what it copies as
//! it is. What the partitions are, the metadata says: that is read elsewhere.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::Path;

use klamm_env::{Files, OpenMode};
use klamm_model::{TopicId, TopicPartition};

use crate::checkpoint;
use crate::dir::meta::Meta;
use crate::dir::{self, CLEAN, HIGH_WATERMARKS, LOG_STARTS, META, RECOVERY_POINTS};
use crate::error::LogError;
use crate::names::{self, FolderKind};
use crate::verify::{CLEANED, is_unwritten};

/// Kafka's metadata log lies among the partitions.
pub const KAFKA_METADATA: &str = "__cluster_metadata-0";
/// What it is called once its content is in ours.
const KAFKA_METADATA_KEPT: &str = "__cluster_metadata-0.kafka";
/// Bytes that are copied at once.
const COPY_BYTES: usize = 1024 * 1024;

/// What speaks for all partitions of a log dir.
const CHECKPOINTS: [&str; 4] = [RECOVERY_POINTS, LOG_STARTS, HIGH_WATERMARKS, CLEANED];

/// A log dir of Apache Kafka.
#[derive(Clone, Debug)]
pub struct KafkaDir {
    /// Whose it is.
    pub meta: Meta,
    /// Whether Kafka ended in order.
    pub is_clean: bool,
    /// Its partitions, with the ids of their topics, and how many bytes they have.
    pub partitions: Vec<KafkaPartition>,
    /// Folders that are none of a partition in use.
    pub others: Vec<String>,
}

/// A partition's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaPartition {
    /// Its name.
    pub partition: TopicPartition,
    /// The id of its topic.
    pub topic_id: Option<TopicId>,
    /// The bytes of its files.
    pub bytes: u64,
}

/// Looks at the folder. Blocks.
pub fn look(files: &dyn Files, path: &Path) -> Result<KafkaDir, LogError> {
    let not_ours = |what: &str| LogError::NotOurs {
        path: path.to_path_buf(),
        what: what.to_owned(),
    };
    if dir::check_marker(files, path)? {
        return Err(not_ours("it is Klamm's already"));
    }
    let meta_path = path.join(META);
    let meta = dir::read_small(files, &meta_path)?
        .ok_or_else(|| not_ours("there is no meta.properties: this is no log dir of Apache Kafka"))?;
    let clean = path.join(CLEAN);
    let mut found = KafkaDir {
        meta: Meta::parse(&meta_path, &meta)?,
        is_clean: files.entry(&clean).map_err(LogError::io(&clean))?.is_some(),
        partitions: Vec::new(),
        others: Vec::new(),
    };
    for entry in files.read_dir(path).map_err(LogError::io(path))? {
        if !entry.is_dir || entry.name == KAFKA_METADATA {
            continue;
        }
        let FolderKind::Partition(partition) = names::parse_folder(&entry.name) else {
            found.others.push(entry.name);
            continue;
        };
        let folder = path.join(&entry.name);
        let inside = files.read_dir(&folder).map_err(LogError::io(&folder))?;
        found.partitions.push(KafkaPartition {
            partition,
            topic_id: dir::read_topic_id(files, &folder)?,
            bytes: inside.iter().map(|entry| entry.len).sum(),
        });
    }
    Ok(found)
}

/// Makes the folder ours where it is. Kafka's metadata log stays, under another name. Blocks.
pub fn in_place(files: &dyn Files, path: &Path, meta: &Meta) -> Result<(), LogError> {
    for name in CHECKPOINTS {
        let name = path.join(name);
        if is_unwritten(files, &name)? {
            files.remove_file(&name).map_err(LogError::io(&name))?;
        }
    }
    dir::format(files, path, meta)?;
    let (from, to) = (path.join(KAFKA_METADATA), path.join(KAFKA_METADATA_KEPT));
    match files.rename(&from, &to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(LogError::io(&from)(error)),
        _ => {}
    }
    files.sync_dir(path).map_err(LogError::io(path))
}

/// Copies the partitions into the new folder `to`, durably, with what the checkpoints say of them. `progress` is told of bytes.
/// Blocks.
pub fn copy(
    files: &dyn Files,
    from: &Path,
    to: &Path,
    partitions: &BTreeSet<TopicPartition>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), LogError> {
    for partition in partitions {
        let name = partition.to_string();
        copy_folder(files, &from.join(&name), &to.join(&name), progress)?;
    }
    for name in CHECKPOINTS {
        let path = from.join(name);
        if is_unwritten(files, &path)? {
            continue;
        }
        let mut offsets = checkpoint::read_offsets(files, &path)?;
        offsets.retain(|partition, _| partitions.contains(partition));
        checkpoint::write_offsets(files, &to.join(name), &offsets)?;
    }
    let clean = from.join(CLEAN);
    if files.entry(&clean).map_err(LogError::io(&clean))?.is_some() {
        copy_file(files, &clean, &to.join(CLEAN), progress)?;
    }
    files.sync_dir(to).map_err(LogError::io(to))
}

/// Marks what was copied as ours: the last thing that is done. Blocks.
pub fn finish(files: &dyn Files, path: &Path, meta: &Meta) -> Result<(), LogError> {
    dir::format(files, path, meta)
}

/// Makes the folder to copy into; an error if there is something in it. Blocks.
pub fn make_target(files: &dyn Files, path: &Path) -> Result<(), LogError> {
    files.create_dir_durably(path).map_err(LogError::io(path))?;
    let entries = files.read_dir(path).map_err(LogError::io(path))?;
    match entries.iter().find(|entry| entry.name != dir::LOCK) {
        None => Ok(()),
        Some(entry) => Err(LogError::NotOurs {
            path: path.to_path_buf(),
            what: format!("it is not empty: '{}' is there", entry.name),
        }),
    }
}

fn copy_folder(
    files: &dyn Files,
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), LogError> {
    files.create_dir_all(to).map_err(LogError::io(to))?;
    for entry in files.read_dir(from).map_err(LogError::io(from))? {
        if !entry.is_dir {
            copy_file(files, &from.join(&entry.name), &to.join(&entry.name), progress)?;
        }
    }
    files.sync_dir(to).map_err(LogError::io(to))
}

fn copy_file(
    files: &dyn Files,
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), LogError> {
    let source = files.open(from, OpenMode::Read).map_err(LogError::io(from))?;
    let target = files.open(to, OpenMode::CreateNew).map_err(LogError::io(to))?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut done = 0;
    loop {
        let read = source.read_at(&mut buffer, done).map_err(LogError::io(from))?;
        if read == 0 {
            return target.sync_data().map_err(LogError::io(to));
        }
        let written = target.write_at(&[IoSlice::new(&buffer[..read])], done);
        written.map_err(LogError::io(to))?;
        done += read as u64;
        progress(read as u64);
    }
}
