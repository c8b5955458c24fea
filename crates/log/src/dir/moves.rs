//! `klamm.moves`: how often a partition was moved between log dirs.
//!
//! ```text
//! version: 0
//! moves: 3
//! ```
//!
//! Always holds: a move to another log dir counts one more before the copy gets the partition's name, and where the copy may
//! have got it although the move failed, the original counts on: of two folders of one partition the one with more moves is
//! newer. Without the file there was none. Kafka takes no notice of it.

use std::path::Path;

use klamm_env::Files;

use super::read_small;
use crate::error::LogError;

const MOVES: &str = "klamm.moves";

/// How often the partition in a folder was moved. Blocks.
pub(crate) fn read(files: &dyn Files, folder: &Path) -> Result<u64, LogError> {
    let path = folder.join(MOVES);
    let Some(text) = read_small(files, &path)? else {
        return Ok(0);
    };
    let field = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == name)
            .and_then(|(_, value)| value.trim().parse::<u64>().ok())
    };
    match field("version") {
        Some(0) => field("moves").ok_or_else(|| LogError::corrupt(&path, "no count")),
        Some(found) => Err(LogError::NewerFormat {
            path,
            found: u32::try_from(found).unwrap_or(u32::MAX),
            known: 0,
        }),
        None => Err(LogError::corrupt(&path, "no version")),
    }
}

/// Notes it, durably. Blocks.
pub(crate) fn write(files: &dyn Files, folder: &Path, moves: u64) -> Result<(), LogError> {
    let path = folder.join(MOVES);
    let text = format!("version: 0\nmoves: {moves}\n");
    files
        .write_atomically(&path, text.as_bytes())
        .map_err(LogError::io(&path))
}
