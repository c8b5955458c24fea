//! A folder of files as an input, and back.
//!
//! Always holds: any bytes are a folder. A file is: the length of its name (one byte), the name, the length of its
//! contents (four bytes), the contents; the last one may be cut.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc_fast::{CrcAlgorithm, checksum};
use klamm_env::{Files, OpenMode};

/// A file's place in the folder, and its contents.
pub(super) type NamedFile = (String, Vec<u8>);

/// The files under `folder`, those of its folders too.
pub(super) fn read(files: &dyn Files, folder: &Path) -> Vec<NamedFile> {
    let mut found = Vec::new();
    read_into(files, folder, "", &mut found);
    found
}

fn read_into(files: &dyn Files, folder: &Path, prefix: &str, found: &mut Vec<NamedFile>) {
    for entry in files.read_dir(folder).expect("the folder is there") {
        let path = folder.join(&entry.name);
        let name = format!("{prefix}{}", entry.name);
        if entry.is_dir {
            read_into(files, &path, &format!("{name}/"), found);
        } else {
            found.push((name, files.read(&path, u64::MAX).expect("the file can be read")));
        }
    }
}

/// Appends `files` to `input`.
pub(super) fn pack(files: &[NamedFile], input: &mut Vec<u8>) {
    for (name, contents) in files {
        input.push(name.len() as u8);
        input.extend(name.as_bytes());
        input.extend((contents.len() as u32).to_be_bytes());
        input.extend(contents);
    }
}

/// The files in `input`.
pub(super) fn unpack(mut input: &[u8]) -> Vec<NamedFile> {
    let mut files = Vec::new();
    let mut take = |count: usize| {
        let piece;
        (piece, input) = input.split_at(count.min(input.len()));
        piece
    };
    while let [length] = take(1) {
        let name = String::from_utf8_lossy(take(usize::from(*length))).into_owned();
        let Ok(length) = take(4).try_into() else { break };
        let contents = take(u32::from_be_bytes(length) as usize).to_vec();
        files.push((name, contents));
    }
    files
}

/// Puts `files` into `folder`, durably, as far as their names allow it.
pub(super) fn write(files: &[NamedFile], disk: &Arc<dyn Files>, folder: &Path) {
    for (name, contents) in files {
        let path: PathBuf = folder.join(name.trim_start_matches('/'));
        let parent = path.parent().unwrap_or(folder);
        let written = disk
            .create_dir_all(parent)
            .and_then(|()| disk.open(&path, OpenMode::Create))
            .and_then(|file| file.write_at(&[IoSlice::new(contents)], 0));
        // A name that no file can have is no file.
        drop(written);
    }
}

/// The checksum of all our files.
pub(super) fn crc32c(bytes: &[u8]) -> [u8; 4] {
    (checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_back_and_any_bytes_are_one() {
        let files = vec![("a".to_owned(), vec![1, 2]), ("b/c".to_owned(), Vec::new())];
        let mut input = Vec::new();
        pack(&files, &mut input);
        assert_eq!(unpack(&input), files);
        for end in 0..input.len() {
            assert!(unpack(&input[..end]).len() <= 2);
        }
        assert_eq!(
            unpack(&[1, b'x', 0xff, 0xff, 0xff, 0xff, 7]),
            vec![("x".to_owned(), vec![7])]
        );
    }
}
