use std::io::IoSlice;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn modes_decide_what_must_exist() {
    let folder = folder();
    let path = folder.path().join("a");
    let kind = |mode| {
        SystemFiles
            .open(&path, mode)
            .map_err(|error| error.kind())
            .map(drop)
    };
    assert_eq!(kind(OpenMode::Read), Err(io::ErrorKind::NotFound));
    assert_eq!(kind(OpenMode::Write), Err(io::ErrorKind::NotFound));
    assert_eq!(kind(OpenMode::CreateNew), Ok(()));
    assert_eq!(kind(OpenMode::CreateNew), Err(io::ErrorKind::AlreadyExists));
    let file = SystemFiles.open(&path, OpenMode::Write).unwrap();
    file.write_at(&[IoSlice::new(b"kept")], 0).unwrap();
    assert_eq!(
        SystemFiles.open(&path, OpenMode::Create).unwrap().len().unwrap(),
        4
    );
    let read_only = SystemFiles.open(&path, OpenMode::Read).unwrap();
    assert!(read_only.write_at(&[IoSlice::new(b"x")], 0).is_err());
}

#[test]
fn more_pieces_than_one_call_takes_are_written_in_order() {
    let folder = folder();
    let file = SystemFiles
        .open(&folder.path().join("a"), OpenMode::CreateNew)
        .unwrap();
    let pieces: Vec<Vec<u8>> = (0..2500_u32)
        .map(|n| n.to_le_bytes()[..(n % 5) as usize].to_vec())
        .collect();
    let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    file.write_at(&slices, 3).unwrap();
    file.sync_data().unwrap();
    let expected = [vec![0; 3], pieces.concat()].concat();
    assert_eq!(
        SystemFiles.read(&folder.path().join("a"), 10_000).unwrap(),
        expected
    );
    assert_eq!(file.len().unwrap(), expected.len() as u64);
    file.write_at(&[], 0).unwrap();
    file.write_at(&[IoSlice::new(b"")], 0).unwrap();
    assert!(
        SystemFiles.read(&folder.path().join("a"), 10).is_err(),
        "longer than the limit"
    );
}

#[test]
fn what_was_just_written_is_resident() {
    let folder = folder();
    let file = SystemFiles
        .open(&folder.path().join("a"), OpenMode::CreateNew)
        .unwrap();
    file.write_at(&[IoSlice::new(b"abc"), IoSlice::new(b"def")], 0)
        .unwrap();
    let mut buffer = [0; 16];
    assert_eq!(file.read_at_resident(&mut buffer, 2).unwrap(), Some(4));
    assert_eq!(&buffer[..4], b"cdef");
    assert_eq!(
        file.read_at_resident(&mut buffer, 6).unwrap(),
        Some(0),
        "the end of the file"
    );
    assert_eq!(file.read_at(&mut buffer, 100).unwrap(), 0);
    assert!(file.read_at_resident(&mut buffer, u64::MAX).is_err());
    assert!(file.as_fd().is_some());
}

#[test]
fn an_answer_of_residence_that_is_not_supported_is_a_plain_read() {
    let folder = folder();
    let file = SystemFile::open(&folder.path().join("a"), OpenMode::CreateNew).unwrap();
    file.write_at(&[IoSlice::new(b"abc")], 0).unwrap();
    file.residence_unknown.store(true, Ordering::Relaxed);
    let mut buffer = [0; 3];
    assert_eq!(file.read_at_resident(&mut buffer, 0).unwrap(), Some(3));
    assert!(is_unsupported(&Errno::OPNOTSUPP.into()));
    assert!(!is_unsupported(&Errno::AGAIN.into()));
}

#[test]
fn a_full_device_is_an_error() {
    let Ok(full) = SystemFiles.open(Path::new("/dev/full"), OpenMode::Write) else {
        return; // not everywhere
    };
    let error = full.write_at(&[IoSlice::new(b"x")], 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn folders_are_listed_sorted_and_absence_is_no_error() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    SystemFiles.create_dir_all(&at("d/e")).unwrap();
    SystemFiles.create_dir_all(&at("d/e")).unwrap();
    SystemFiles.write_atomically(&at("b"), b"12").unwrap();
    SystemFiles.write_atomically(&at("b"), b"345").unwrap();
    SystemFiles.open(&at("a"), OpenMode::CreateNew).unwrap();
    std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
    let entry = |name: &str, is_dir, len| DirEntry {
        name: name.to_owned(),
        is_dir,
        len,
    };
    let all = [
        entry("a", false, 0),
        entry("b", false, 3),
        entry("d", true, 0),
        entry("link", false, "nowhere".len() as u64),
    ];
    assert_eq!(SystemFiles.read_dir(folder.path()).unwrap(), all);
    assert_eq!(SystemFiles.entry(&at("b")).unwrap(), Some(entry("b", false, 3)));
    let modified = SystemFiles.modified(&at("b")).unwrap().0;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert!((now.as_millis() as i64 - modified).abs() < 60_000, "{modified}");
    assert_eq!(SystemFiles.entry(&at("c")).unwrap(), None);
    assert_eq!(SystemFiles.entry(&at("b/c")).unwrap(), None);
    SystemFiles.rename(&at("b"), &at("a")).unwrap();
    assert_eq!(SystemFiles.read(&at("a"), 3).unwrap(), b"345");
    SystemFiles.remove_dir_all(&at("d")).unwrap();
    SystemFiles.remove_file(&at("a")).unwrap();
    SystemFiles.remove_file(&at("link")).unwrap();
    SystemFiles.sync_dir(folder.path()).unwrap();
    assert_eq!(SystemFiles.read_dir(folder.path()).unwrap(), []);
    let gone = SystemFiles.read_dir(&at("d")).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_device_has_room() {
    let folder = folder();
    let space = SystemFiles.space(folder.path()).unwrap();
    assert!(space.usable_bytes > 0 && space.usable_bytes <= space.total_bytes);
}

#[test]
fn a_lock_is_held_once_and_names_its_holder() {
    let folder = folder();
    let take = |owner: &str| match SystemFiles.lock(folder.path(), ".lock", owner) {
        Ok(lock) => Ok(lock),
        Err(text) => Err(text.unwrap()),
    };
    let held = take("pid 1, a longer name").ok().unwrap();
    assert_eq!(take("pid 2").err().unwrap(), "pid 1, a longer name");
    assert_eq!(
        take("pid 3").err().unwrap(),
        "pid 1, a longer name",
        "asking does not loosen it"
    );
    drop(held);
    let again = take("pid 4").ok().unwrap();
    assert_eq!(take("pid 5").err().unwrap(), "pid 4");
    drop(again);
    let missing = SystemFiles
        .lock(&folder.path().join("no"), ".lock", "x")
        .err()
        .unwrap();
    assert_eq!(missing.unwrap_err().kind(), io::ErrorKind::NotFound);
}
