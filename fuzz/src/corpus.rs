//! Inputs in files: those kept from run to run, the one that is running, and those that failed.
//!
//! Always holds: kept inputs are no part of the project: they live in cargo's target folder and may go at any time. An
//! input that failed is written in hexadecimal, which an issue or a test can quote.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Inputs kept of one target.
const MOST_KEPT: usize = 4000;

/// The inputs of an earlier run, the short ones first.
pub fn load(folder: &Path) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut inputs: Vec<Vec<u8>> = files.filter_map(|file| fs::read(file.path()).ok()).collect();
    inputs.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    inputs
}

/// Puts `inputs` in the place of those kept before.
pub fn store(folder: &Path, inputs: &[Vec<u8>]) -> io::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    for (number, input) in inputs.iter().take(MOST_KEPT).enumerate() {
        fs::write(folder.join(format!("{number:05}")), input)?;
    }
    Ok(())
}

/// The input that is running, in a file, so that it outlives the process.
#[derive(Debug)]
pub struct Running(File);

impl Running {
    /// Notes inputs in `path`.
    pub fn create(path: &Path) -> io::Result<Self> {
        File::create(path).map(Self)
    }

    /// `input` is about to run.
    pub fn note(&mut self, input: &[u8]) {
        // What cannot be noted is run all the same.
        let length = (input.len() as u32).to_be_bytes();
        let _ = self.0.write_all_at(&[&length[..], input].concat(), 0);
    }

    /// The input that was noted last in `path`.
    pub fn last(path: &Path) -> Option<Vec<u8>> {
        let bytes = fs::read(path).ok()?;
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        rest.get(..u32::from_be_bytes(*length) as usize)
            .map(<[u8]>::to_vec)
    }
}

/// Writes an input that failed, and says where.
pub fn write_finding(folder: &Path, target: &str, input: &[u8]) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    // A name of its own for each input (FNV-1a).
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let path = folder.join(format!("{target}-{hash:016x}.hex"));
    fs::write(&path, to_hex(input))?;
    Ok(path)
}

/// `bytes` in hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

/// The bytes that `text` gives in hexadecimal, blanks left aside.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| u8::try_from(c.to_digit(16)?).ok())
        .collect();
    let (pairs, []) = digits.as_deref()?.as_chunks::<2>() else {
        return None;
    };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_there_and_back() {
        assert_eq!(to_hex(&[0, 0xab, 0x7f]), "00ab7f");
        assert_eq!(from_hex(" 00ab\n7F"), Some(vec![0, 0xab, 0x7f]));
        assert_eq!((from_hex("0"), from_hex("0g")), (None, None));
    }
}
