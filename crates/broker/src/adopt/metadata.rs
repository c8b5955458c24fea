//! Reads the metadata log of Apache Kafka: its newest snapshot, and the records behind that.
//!
//! Always holds: of the newest segment a torn end is left out, as Kafka does at its next start; any other damage is an error,
//! for a topic could be missed.
//!
//! ```text
//! __cluster_metadata-0/
//!   00000000000000000000.log              batches of records, and of control records, which are Raft's
//!   00000000000000004711-0000000005.checkpoint   a snapshot: what the records below offset 4711 make, in batches too
//! ```

use std::path::{Path, PathBuf};

use klamm_env::Files;
use klamm_log::LogError;
use klamm_log::adopt::KAFKA_METADATA;
use klamm_log::inspect::{InspectError, Segment};
use klamm_log::names::{self, FileKind};
use klamm_metadata::adopt::KafkaMetadata;
use klamm_model::Offset;

use super::AdoptError;

/// What a batch may unpack to.
const UNPACK_LIMIT_BYTES: u64 = 1 << 30;
const SNAPSHOT: &str = ".checkpoint";

/// Reads all of it. Blocks.
pub(super) fn read(files: &dyn Files, dir: &Path) -> Result<KafkaMetadata, AdoptError> {
    let folder = dir.join(KAFKA_METADATA);
    let entries = files.read_dir(&folder).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => AdoptError::Metadata {
            path: folder.clone(),
            what: "it is not there: is the metadata log in another log dir, or the controller another node?"
                .into(),
        },
        _ => AdoptError::Log(LogError::Io {
            path: folder.clone(),
            source,
        }),
    })?;
    let snapshots = entries
        .iter()
        .filter_map(|entry| Some((end_of_snapshot(&entry.name)?, entry.name.clone())));
    let mut metadata = KafkaMetadata::new();
    let mut next = Offset(0);
    if let Some((end, name)) = snapshots.max() {
        let path = folder.join(name);
        read_file(files, &path, IsNewest(false), |_, value| {
            take(&mut metadata, &path, end, value)
        })?;
        next = end;
    }
    let mut segments: Vec<Offset> = entries
        .iter()
        .filter_map(|entry| match names::parse_file(&entry.name) {
            Some((FileKind::Log, offset)) => Some(offset),
            _ => None,
        })
        .collect();
    segments.sort_unstable();
    if let Some(first) = segments.first().filter(|first| **first > next) {
        return Err(AdoptError::Metadata {
            path: folder,
            what: format!("offsets {next} to {first} are in no file"),
        });
    }
    for (place, segment) in segments.iter().enumerate() {
        let path = folder.join(FileKind::Log.name(*segment));
        let is_newest = IsNewest(place + 1 == segments.len());
        read_file(files, &path, is_newest, |offset, value| match offset < next {
            true => Ok(()),
            false => take(&mut metadata, &path, offset, value),
        })?;
    }
    Ok(metadata)
}

/// The offset in the name of a snapshot.
fn end_of_snapshot(name: &str) -> Option<Offset> {
    let (offset, epoch) = name.strip_suffix(SNAPSHOT)?.split_once('-')?;
    epoch.parse::<u32>().ok()?;
    offset.parse().ok().map(Offset)
}

fn take(
    metadata: &mut KafkaMetadata,
    path: &Path,
    offset: Offset,
    value: bytes::Bytes,
) -> Result<(), AdoptError> {
    let offset = u64::try_from(offset.0).map_err(|_| AdoptError::Metadata {
        path: path.to_path_buf(),
        what: format!("offset {offset}"),
    })?;
    Ok(metadata.take(offset, value)?)
}

/// Whether a torn end is to be expected.
struct IsNewest(bool);

/// Shows the value of every record that is not Raft's own.
fn read_file(
    files: &dyn Files,
    path: &Path,
    is_newest: IsNewest,
    mut show: impl FnMut(Offset, bytes::Bytes) -> Result<(), AdoptError>,
) -> Result<(), AdoptError> {
    let wrong = |what: String| AdoptError::Metadata {
        path: PathBuf::from(path),
        what,
    };
    for at in Segment::open(files, path).map_err(|error| wrong(error.to_string()))? {
        let at = match at {
            Err(InspectError::Batch { .. }) if is_newest.0 => break,
            at => at.map_err(|error| wrong(error.to_string()))?,
        };
        match at.checksum {
            Err(_) if is_newest.0 => break,
            checked => checked.map_err(|error| wrong(format!("position {}: {error}", at.position)))?,
        }
        if at.batch.header().is_control() {
            continue;
        }
        let fault = |error: String| wrong(format!("position {}: {error}", at.position));
        let records = at.batch.records(UNPACK_LIMIT_BYTES);
        for record in records.map_err(|error| fault(error.to_string()))? {
            let record = record.map_err(|error| fault(error.to_string()))?;
            show(record.offset, record.value.unwrap_or_default())?;
        }
    }
    Ok(())
}
