//! What a start does with the journal: after an unclean end every round that counts is brought to the segments it speaks of.
//!
//! Always holds: nothing in a segment above the recovery point on disk is trusted, what the journal has is written over it and
//! synced; a start that is cut short is repeated; a round that was durable and is damaged is an error and never skipped.
//! The journal goes on where it ended: its files become free as all do, when the logs were flushed.

use std::collections::BTreeMap;
use std::path::Path;

use klamm_model::{Offset, TopicPartition};
use parking_lot::Mutex;

use super::Book;
use super::apply::Applying;
use super::find::{FoundFile, FoundFiles, find};
use super::format::{Entry, Whose};
use super::needs::{Floor, Needs};
use super::ring::{FOLDER, Ring};
use super::walk::{CHUNK_BYTES, FoundRound, Rounds, entries, find_header};
use crate::dir::LogDir;
use crate::error::LogError;
use crate::names::{self, FolderKind};

/// What the rounds say of one partition.
#[derive(Debug, Default)]
struct Said {
    /// Rounds below this one do not count.
    forgotten_below: u64,
    /// Up to where its bytes are in each file.
    ends: Vec<(u64, Offset)>,
}

impl Said {
    fn end(&self) -> Option<Offset> {
        self.ends.iter().map(|(_, end)| *end).max()
    }
}

/// Everything that a first reading finds.
#[derive(Default)]
pub(super) struct Reading {
    said: BTreeMap<Whose, Said>,
    next_lsn: u64,
    /// Where the last file goes on, and its last round.
    position: u64,
    last: Option<FoundRound>,
}

/// Opens the journal of a log dir, and replays it if that is needed. Blocks.
pub(crate) fn open(dir: &LogDir) -> Result<Book, LogError> {
    let Some(mut found) = find(dir, &dir.path().join(FOLDER))? else {
        return Ok(Book::default());
    };
    if dir.was_clean() {
        return begin_anew(dir, found);
    }
    let reading = read(dir, &found)?;
    keep_last(&found, &reading)?;
    let needs = replay(dir, &found, &reading)?;
    let mut ring = ring_of(&mut found);
    ring.is_open = ring.counts();
    (ring.position, ring.next_lsn) = (reading.position, reading.next_lsn);
    Ok(Book {
        ring: Mutex::new(ring),
        needs: Mutex::new(needs),
    })
}

fn ring_of(found: &mut FoundFiles) -> Ring {
    Ring {
        live: found.live.drain(..).map(|found| found.file).collect(),
        ready: found.ready.drain(..).map(|found| found.file).collect(),
        next_sequence: found.next_sequence,
        next_name: found.next_name,
        ..Ring::default()
    }
}

/// After an end in order everything is in the segments, and no round counts: from here on none does on the device either, since
/// later truncations would not be known to them.
fn begin_anew(dir: &LogDir, mut found: FoundFiles) -> Result<Book, LogError> {
    let was_used = found.live.iter().filter_map(|file| file.header).next_back();
    let mut ring = ring_of(&mut found);
    ring.ready.extend(ring.live.drain(..));
    if let Some(header) = was_used
        && let Some(first) = ring.ready.pop_front()
    {
        // Beyond any that a round of the last use can have.
        ring.next_lsn = header.first_lsn.saturating_add(header.file_bytes);
        ring.activate(dir, first)?;
    }
    Ok(Book {
        ring: Mutex::new(ring),
        needs: Mutex::default(),
    })
}

/// Reads all rounds that count, and checks that none is missing.
fn read(dir: &LogDir, found: &FoundFiles) -> Result<Reading, LogError> {
    let mut reading = Reading::default();
    let mut expected = None;
    for FoundFile { file, header } in &found.live {
        let path = &file.path;
        let first = header.map(|header| header.first_lsn);
        if let (Some(first), Some(expected)) = (first, expected)
            && first != expected
        {
            return Err(damaged(
                path,
                0,
                &format!("rounds {expected} to {first} are missing"),
                &reading,
            ));
        }
        let lsn = first.or(expected);
        let mut rounds = Rounds::new(&*file.file, file.bytes, dir.directory_id(), file.sequence, lsn);
        reading.last = None;
        while let Some(round) = rounds.next().map_err(LogError::io(path))? {
            note(&mut reading, path, file.sequence, &*file.file, &round)?;
            reading.last = Some(round);
        }
        let (position, lsn) = (rounds.position, rounds.lsn);
        let later = find_header(&*file.file, file.bytes, position, dir.directory_id(), |header| {
            header.sequence == file.sequence && lsn.is_none_or(|lsn| header.lsn > lsn)
        });
        if let Some((at, header)) = later.map_err(LogError::io(path))? {
            let what = format!(
                "no whole round stands there, but round {} does at position {at}",
                header.lsn
            );
            return Err(damaged(path, position, &what, &reading));
        }
        (expected, reading.position) = (lsn, position);
    }
    reading.next_lsn = expected.unwrap_or(0);
    Ok(reading)
}

/// Takes in what a round says.
fn note(
    reading: &mut Reading,
    path: &Path,
    sequence: u64,
    file: &dyn klamm_env::File,
    round: &FoundRound,
) -> Result<(), LogError> {
    for entry in entries(file, round) {
        let Some((entry, _)) = entry.map_err(LogError::io(path))? else {
            return Err(damaged(path, round.position, "an entry cannot be read", reading));
        };
        match entry {
            Entry::Append(append) => {
                let said = reading.said.entry(append.whose).or_default();
                match said.ends.last_mut() {
                    Some((file, end)) if *file == sequence => *end = append.end_offset.max(*end),
                    _ => said.ends.push((sequence, append.end_offset)),
                }
            }
            Entry::Forget(whose) => {
                let said = reading.said.entry(whose).or_default();
                said.forgotten_below = round.header.lsn + 1;
                said.ends.clear();
            }
        }
    }
    Ok(())
}

/// Says which partitions may be concerned, as far as that is known.
fn damaged(path: &Path, position: u64, what: &str, reading: &Reading) -> LogError {
    let known: Vec<String> = reading
        .said
        .iter()
        .filter(|(_, said)| !said.ends.is_empty())
        .take(20)
        .map(|((topic, partition), _)| format!("{topic}-{partition}"))
        .collect();
    let text = format!(
        "the journal is damaged at position {position}: {what}; rounds before it speak of partitions (topic id-number) {}",
        known.join(", ")
    );
    LogError::corrupt(path, text)
}

/// Writes the newest header and the newest round once more: a process may have died of a failed sync, after which memory has
/// what the device does not.
fn keep_last(found: &FoundFiles, reading: &Reading) -> Result<(), LogError> {
    let Some(FoundFile { file, .. }) = found.live.back() else {
        return Ok(());
    };
    let again = |from: u64, to: u64| {
        let (mut at, mut chunk) = (from, Vec::new());
        while at < to {
            let count = usize::try_from(to - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            chunk.resize(count, 0);
            file.file.read_exact_at(&mut chunk, at)?;
            file.file.write_at(&[std::io::IoSlice::new(&chunk)], at)?;
            at += count as u64;
        }
        Ok(())
    };
    let kept = again(0, super::format::BLOCK_BYTES as u64)
        .and_then(|()| {
            reading
                .last
                .map_or(Ok(()), |last| again(last.position, last.end()))
        })
        .and_then(|()| file.file.sync_data());
    kept.map_err(LogError::io(&file.path))
}

/// Brings what the rounds say to the segments, and tells what has to be there from now on.
fn replay(dir: &LogDir, found: &FoundFiles, reading: &Reading) -> Result<Needs, LogError> {
    let mut needs = Needs::default();
    if reading.said.is_empty() {
        return Ok(needs);
    }
    let names = Names::list(dir)?;
    let mut applying = Applying::new(dir, reading, &names);
    for FoundFile { file, header } in &found.live {
        let lsn = header.map(|header| header.first_lsn);
        let mut rounds = Rounds::new(&*file.file, file.bytes, dir.directory_id(), file.sequence, lsn);
        while let Some(round) = rounds.next().map_err(LogError::io(&file.path))? {
            for entry in entries(&*file.file, &round) {
                let entry = entry.map_err(LogError::io(&file.path))?;
                if let Some((Entry::Append(append), position)) = entry {
                    applying.append(&append, round.header.lsn, &*file.file, position)?;
                }
            }
        }
    }
    let done = applying.finish()?;
    tell(dir, done.bytes, done.gaps.len());
    for (whose, said) in &reading.said {
        let Some(end) = said.end() else {
            continue;
        };
        let name = names.of(whose);
        if name.is_none() && !names.has_unknown {
            needs.add_gone(*whose);
            continue;
        }
        if name.is_some_and(|name| end <= dir.positions(name).recovery_point) {
            continue;
        }
        let floor = match done.gaps.get(whose) {
            Some(gap) => Floor::Gap(gap.clone()),
            None => Floor::End(end),
        };
        needs.add_found(name, *whose, &said.ends, floor);
    }
    Ok(needs)
}

fn tell(dir: &LogDir, bytes: u64, gaps: usize) {
    tracing::info!(dir = %dir.path().display(), bytes, "the journal was replayed");
    if gaps > 0 {
        tracing::error!(
            dir = %dir.path().display(), partitions = gaps,
            "the journal does not continue the segments of some partitions: they cannot be opened"
        );
    }
}

impl Reading {
    /// Whether what round `lsn` says of the partition counts.
    pub(super) fn counts(&self, whose: &Whose, lsn: u64) -> bool {
        self.said
            .get(whose)
            .is_some_and(|said| lsn >= said.forgotten_below)
    }
}

/// The folders of a log dir, by whose they are.
pub(super) struct Names {
    of: BTreeMap<Whose, TopicPartition>,
    /// There are folders, or links to nowhere, that do not say of which topic they are.
    has_unknown: bool,
}

impl Names {
    fn list(dir: &LogDir) -> Result<Self, LogError> {
        let mut names = Self {
            of: BTreeMap::new(),
            has_unknown: dir.has_partition_that_is_no_folder()?,
        };
        for found in dir.partitions()? {
            match found.topic_id {
                Some(id) => drop(names.of.insert((id, found.partition.partition), found.partition)),
                None => names.has_unknown = true,
            }
        }
        Ok(names)
    }

    pub(super) fn of(&self, whose: &Whose) -> Option<&TopicPartition> {
        self.of.get(whose)
    }
}

impl LogDir {
    fn has_partition_that_is_no_folder(&self) -> Result<bool, LogError> {
        let is_partition = |name: &str| matches!(names::parse_folder(name), FolderKind::Partition(_));
        let entries = self
            .files()
            .read_dir(self.path())
            .map_err(LogError::io(self.path()))?;
        Ok(entries
            .iter()
            .any(|entry| !entry.is_dir && is_partition(&entry.name)))
    }
}
