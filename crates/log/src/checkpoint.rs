//! Kafka's checkpoint files: a version, a count, and so many lines.
//!
//! Always holds: a file is replaced as a whole, so a reader sees the old or the new one; reading one takes memory in
//! proportion to its bytes, never to a number in it.
//!
//! ```text
//! 0                      version
//! 2                      number of lines that follow
//! orders 0 1200          topic, partition, offset           (offset checkpoints)
//! orders 1 980
//! ```
//! The leader epoch checkpoint has `epoch start-offset` in a line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use klamm_env::Files;
use klamm_model::{LeaderEpoch, Offset, TopicPartition};

use crate::error::LogError;

/// The only version that Kafka ever wrote.
const VERSION: u32 = 0;
/// More than a million partitions with the longest names.
const LIMIT_BYTES: u64 = 512 * 1024 * 1024;

/// Offsets by partition, as an offset checkpoint holds them.
pub type Offsets = BTreeMap<TopicPartition, Offset>;

/// Reads an offset checkpoint; one that does not exist is empty.
pub fn read_offsets(files: &dyn Files, path: &Path) -> Result<Offsets, LogError> {
    let mut offsets = Offsets::new();
    for line in read_lines(files, path)? {
        // A topic name has no blank, so three fields are three fields.
        let fields: Vec<&str> = line.split(' ').collect();
        let entry = match fields[..] {
            [topic, partition, offset] => partition
                .parse()
                .ok()
                .zip(offset.parse().ok().filter(|offset| *offset >= 0))
                .map(|(partition, offset): (i32, i64)| {
                    (TopicPartition::new(topic, partition), Offset(offset))
                }),
            _ => None,
        };
        let (partition, offset) = entry.ok_or_else(|| {
            LogError::corrupt(path, format!("a line is no topic, partition, offset: '{line}'"))
        })?;
        offsets.insert(partition, offset);
    }
    Ok(offsets)
}

/// Replaces an offset checkpoint. Blocks until it is on the device.
pub fn write_offsets(files: &dyn Files, path: &Path, offsets: &Offsets) -> Result<(), LogError> {
    let mut text = format!("{VERSION}\n{}\n", offsets.len());
    for (at, offset) in offsets {
        writeln!(text, "{} {} {offset}", at.topic, at.partition).expect("a String takes everything");
    }
    files
        .write_atomically(path, text.as_bytes())
        .map_err(LogError::io(path))
}

/// Reads a leader epoch checkpoint; one that does not exist is empty.
pub(crate) fn read_epochs(files: &dyn Files, path: &Path) -> Result<Vec<(LeaderEpoch, Offset)>, LogError> {
    let mut epochs = Vec::new();
    for line in read_lines(files, path)? {
        let entry = line.split_once(' ').and_then(|(epoch, offset)| {
            let (epoch, offset): (i32, i64) = (epoch.parse().ok()?, offset.parse().ok()?);
            (epoch >= 0 && offset >= 0).then_some((LeaderEpoch(epoch), Offset(offset)))
        });
        let entry =
            entry.ok_or_else(|| LogError::corrupt(path, format!("a line is no epoch, offset: '{line}'")))?;
        epochs.push(entry);
    }
    Ok(epochs)
}

/// Replaces a leader epoch checkpoint. Blocks until it is on the device.
pub(crate) fn write_epochs(
    files: &dyn Files,
    path: &Path,
    epochs: &[(LeaderEpoch, Offset)],
) -> Result<(), LogError> {
    let mut text = format!("{VERSION}\n{}\n", epochs.len());
    for (epoch, offset) in epochs {
        writeln!(text, "{epoch} {offset}").expect("a String takes everything");
    }
    files
        .write_atomically(path, text.as_bytes())
        .map_err(LogError::io(path))
}

fn read_lines(files: &dyn Files, path: &Path) -> Result<Vec<String>, LogError> {
    let bytes = match files.read(path, LIMIT_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(LogError::io(path)(error)),
    };
    let text = String::from_utf8(bytes).map_err(|_| LogError::corrupt(path, "not a text"))?;
    let mut lines = text.lines();
    let version: u32 = number(path, lines.next(), "version")?;
    if version != VERSION {
        return Err(LogError::NewerFormat {
            path: path.to_path_buf(),
            found: version,
            known: VERSION,
        });
    }
    let count: usize = number(path, lines.next(), "number of lines")?;
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    if lines.len() != count {
        let what = format!("{count} lines announced, {} there", lines.len());
        return Err(LogError::corrupt(path, what));
    }
    Ok(lines)
}

fn number<N: std::str::FromStr>(path: &Path, line: Option<&str>, what: &str) -> Result<N, LogError> {
    line.and_then(|text| text.parse().ok())
        .ok_or_else(|| LogError::corrupt(path, format!("the {what} is no number: '{}'", line.unwrap_or(""))))
}
