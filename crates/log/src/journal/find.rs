//! The files of a journal as a start finds them: which of them count, in which order.
//!
//! Always holds: nothing is changed here but unfinished files, which are removed; a file that is missing among those that
//! count, or that cannot be what it must be, is an error and never guessed at.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use klamm_env::{File, OpenMode};

use super::format::{BLOCK_BYTES, FILE_HEADER_BYTES, FileHeader, FoundHeader, VERSION};
use super::ring::{ENDING, JournalFile};
use super::walk::find_header;
use crate::dir::LogDir;
use crate::error::LogError;

/// A file that was found, with its header if that can be read.
#[derive(Debug)]
pub(crate) struct FoundFile {
    pub(crate) file: JournalFile,
    pub(crate) header: Option<FileHeader>,
}

/// All files of a journal.
#[derive(Debug, Default)]
pub(crate) struct FoundFiles {
    /// Those whose rounds count, oldest first.
    pub(crate) live: VecDeque<FoundFile>,
    pub(crate) ready: VecDeque<FoundFile>,
    pub(crate) next_sequence: u64,
    pub(crate) next_name: u64,
}

/// Lists and opens the files in `folder`. `None` if it does not exist.
pub(crate) fn find(dir: &LogDir, folder: &Path) -> Result<Option<FoundFiles>, LogError> {
    let files = dir.files();
    if files.entry(folder).map_err(LogError::io(folder))?.is_none() {
        return Ok(None);
    }
    let mut found = Vec::new();
    let mut next_name = 0;
    for entry in files.read_dir(folder).map_err(LogError::io(folder))? {
        let path = folder.join(&entry.name);
        if entry.name.ends_with(".tmp") {
            dir.remove_file(&path)?;
            continue;
        }
        let Some(number) = number_of(&entry.name) else {
            continue;
        };
        next_name = next_name.max(number.saturating_add(1));
        found.push(open(dir, &path)?);
    }
    // What is there from here on stays there.
    files.sync_dir(folder).map_err(LogError::io(folder))?;
    let mut sorted = sort(dir, found)?;
    sorted.next_name = next_name;
    Ok(Some(sorted))
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(ENDING)?;
    let canonical = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| canonical)
}

fn open(dir: &LogDir, path: &Path) -> Result<FoundFile, LogError> {
    let file = dir
        .files()
        .open(path, OpenMode::Write)
        .map_err(LogError::io(path))?;
    let bytes = file.len().map_err(LogError::io(path))?;
    if bytes < 2 * BLOCK_BYTES as u64 {
        return Err(LogError::corrupt(path, "a journal file that was cut"));
    }
    let mut head = [0; FILE_HEADER_BYTES];
    file.read_exact_at(&mut head, 0).map_err(LogError::io(path))?;
    let header = match FileHeader::parse(&head, dir.directory_id()) {
        FoundHeader::Valid(header) => Some(header),
        FoundHeader::Invalid => None,
        FoundHeader::Foreign => {
            return Err(LogError::corrupt(path, "a journal file of another log dir"));
        }
        FoundHeader::Newer(found) => {
            return Err(LogError::NewerFormat {
                path: path.to_path_buf(),
                found,
                known: VERSION,
            });
        }
    };
    if header.is_some_and(|header| header.file_bytes != bytes) {
        return Err(LogError::corrupt(path, "a journal file that was cut"));
    }
    let sequence = match header {
        Some(header) => header.sequence,
        None => sequence_by_rounds(dir, path, &*file, bytes)?,
    };
    Ok(FoundFile {
        file: JournalFile {
            path: path.to_path_buf(),
            file: Arc::clone(&file),
            bytes,
            sequence,
        },
        header,
    })
}

/// The power went while the header was written anew, or it is damaged: the rounds tell of which use they are.
fn sequence_by_rounds(dir: &LogDir, path: &Path, file: &dyn File, bytes: u64) -> Result<u64, LogError> {
    tracing::warn!(path = %path.display(), "the header of a journal file cannot be read");
    let first = find_header(file, bytes, BLOCK_BYTES as u64, dir.directory_id(), |_| true);
    let first = first.map_err(LogError::io(path))?;
    Ok(first.map_or(0, |(_, header)| header.sequence))
}

/// Tells the files that count from the others, by what the newest header says.
fn sort(dir: &LogDir, found: Vec<FoundFile>) -> Result<FoundFiles, LogError> {
    let newest = found
        .iter()
        .filter_map(|file| file.header)
        .max_by_key(|header| header.sequence);
    let highest = found.iter().map(|file| file.file.sequence).max().unwrap_or(0);
    let mut files = FoundFiles {
        next_sequence: highest.saturating_add(1),
        ..FoundFiles::default()
    };
    let newest = newest.unwrap_or(FileHeader {
        sequence: 0,
        live_from: 1,
        first_lsn: 0,
        file_bytes: 0,
    });
    let counting = newest.live_from.max(1)..=newest.sequence;
    let mut live = BTreeMap::new();
    for file in found {
        let (sequence, path) = (file.file.sequence, file.file.path.clone());
        if sequence > newest.sequence {
            let what = format!("rounds of file {sequence}, and no header that says so");
            return Err(LogError::corrupt(&path, what));
        }
        if !counting.contains(&sequence) {
            files.ready.push_back(file);
        } else if live.insert(sequence, file).is_some() {
            return Err(LogError::corrupt(
                &path,
                format!("two files with the number {sequence}"),
            ));
        }
    }
    // The numbers differ and lie in the range: so many are all.
    let count = (newest.sequence + 1).saturating_sub(*counting.start());
    // After an end in order nobody needs them.
    if live.len() as u64 != count && !dir.was_clean() {
        let what = format!(
            "of the journal files {} to {} only {} are there",
            counting.start(),
            counting.end(),
            live.len()
        );
        return Err(LogError::corrupt(&dir.path().join(super::ring::FOLDER), what));
    }
    files.live.extend(live.into_values());
    Ok(files)
}
