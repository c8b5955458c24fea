//! The data folder of every release is read by this version: all that clients were told then, they are told now.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test at the edge

use std::fs;
use std::path::Path;

use klamm_sim::golden::{self, FOLDERS, TOLD};

fn releases() -> Vec<std::path::PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let entries = fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

#[test]
fn a_folder_of_every_release_is_started_on_and_holds_everything() {
    assert!(!releases().is_empty());
    for release in releases() {
        for (name, ending) in FOLDERS {
            let folder = release.join(name);
            let expected = fs::read_to_string(folder.with_extension(TOLD)).unwrap();
            let told = golden::read(&folder, ending).unwrap();
            assert_eq!(told, expected, "{}", folder.display());
        }
    }
}

/// A copy of the first folder in which `file` was changed.
fn changed(file: &str, change: impl FnOnce(&mut Vec<u8>)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let folder = releases().remove(0).join("stopped");
    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let to = copy.path().join(entry.file_name());
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to).unwrap();
            continue;
        }
        fs::create_dir(&to).unwrap();
        for entry in fs::read_dir(entry.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    let path = copy.path().join(file);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
    copy
}

/// A file, how it is changed, and the versions that the refusal names.
type Case = (&'static str, Box<dyn FnOnce(&mut Vec<u8>)>, [&'static str; 2]);

#[test]
fn a_folder_of_a_later_format_is_refused_with_both_versions() {
    let text = |from: &'static str, to: &'static str| {
        move |bytes: &mut Vec<u8>| {
            *bytes = String::from_utf8(bytes.clone())
                .unwrap()
                .replacen(from, to, 1)
                .into_bytes();
        }
    };
    let binary = |bytes: &mut Vec<u8>| bytes[7] += 6;
    let cases: [Case; 6] = [
        ("klamm.format/version", Box::new(text("1", "7")), ["7", "2"]),
        (
            "meta.properties",
            Box::new(text("version=1", "version=7")),
            ["7", "1"],
        ),
        (
            "recovery-point-offset-checkpoint",
            Box::new(text("0", "7")),
            ["7", "0"],
        ),
        ("klamm-metadata/vote", Box::new(binary), ["7", "1"]),
        (
            "klamm-metadata/00000000000000000000.raft",
            Box::new(binary),
            ["7", "1"],
        ),
        (
            "klamm-metadata/00000000000000000017.snapshot",
            Box::new(binary),
            ["7", "1"],
        ),
    ];
    for (file, change, [found, known]) in cases {
        let folder = changed(file, change);
        let refusal = golden::refusal(folder.path()).unwrap().unwrap_or_default();
        let (name, versions) = refusal.split_once("format version ").unwrap_or_default();
        assert!(name.contains(file), "{file}: {refusal}");
        assert!(
            versions.starts_with(&format!("{found},")) && versions.ends_with(&format!("up to {known}")),
            "{file}: {refusal}"
        );
    }
    assert_eq!(
        golden::refusal(changed("meta.properties", |_| ()).path()).unwrap(),
        None
    );
}

#[test]
fn a_folder_in_which_a_record_differs_is_noticed() {
    let folder = changed("codecs-0/00000000000000000000.log", |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    let expected = fs::read_to_string(releases().remove(0).join("stopped.txt")).unwrap();
    let told = golden::read(folder.path(), FOLDERS[0].1);
    assert!(told.is_err() || told.unwrap() != expected);
}
