//! A node starts on a folder in which one file is gone, empty, cut or has a bit flipped: whatever it makes of that, no client is
//! told what is not so.
//!
//! What it does make of it is written down in `damage.txt`, one line for each file and damage. `KLAMM_WRITE_DOWN=1` writes the
//! file anew; whoever does that reads the difference.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test at the edge

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use klamm_sim::golden::damage::{self, Aftermath, Damage};

/// One of each kind; of segments the first, which is sealed, and the last, and of snapshots all.
const KINDS: &[&str] = &[
    "meta.properties",
    "klamm.format/version",
    ".kafka_cleanshutdown",
    "recovery-point-offset-checkpoint",
    "log-start-offset-checkpoint",
    "replication-offset-checkpoint",
    "klamm-metadata/",
    "segments-0/",
    "transactional-0/",
    "__transaction_state-0/",
];
/// What is not seen: formats of Apache Kafka that have nothing to see it by.
const NOT_SEEN: &[&str] = &[
    // The deleted records of the segment that is still there can be read again.
    "log-start-offset-checkpoint Missing",
    // Cut at the end of a batch: nothing says where a sealed segment ends.
    "segments-0/00000000000000000000.log Truncated",
    "segments-0/00000000000000000006.log Truncated",
    // No checksum covers the base offset of a batch.
    "segments-0/00000000000000000006.log Flipped",
    // An index of aborted transactions that is not there is one of a segment that has none.
    "transactional-0/00000000000000000006.txnindex Missing",
    "transactional-0/00000000000000000006.txnindex Empty",
    "transactional-0/00000000000000000006.txnindex Truncated",
];
const WRITTEN_DOWN: &str = "tests/damage.txt";

struct Folder {
    path: tempfile::TempDir,
    files: Vec<PathBuf>,
    sound: Aftermath,
}

fn folder() -> Folder {
    let path = tempfile::tempdir().unwrap();
    damage::make(path.path()).unwrap();
    let mut files = damage::files(path.path()).unwrap();
    files.retain(|file| KINDS.iter().any(|kind| file.to_string_lossy().starts_with(kind)));
    let [first, second] = damage::start_on(path.path(), None).unwrap();
    assert_eq!(first.refusal, None);
    assert_eq!(first.told, second.told, "an end without warning changes nothing");
    Folder {
        path,
        files,
        sound: first,
    }
}

impl Folder {
    fn length(&self, file: &Path) -> usize {
        fs::metadata(self.path.path().join(file)).unwrap().len() as usize
    }

    /// What two starts on the damaged folder came to; lies that clients are told are added to `lies`.
    fn start(&self, file: &Path, damage: Damage, lies: &mut Vec<String>) -> [Aftermath; 2] {
        let context = format!("{} {damage:?}", file.display());
        let both = damage::start_on(self.path.path(), Some((file, damage)))
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        for (life, aftermath) in both.iter().enumerate() {
            for lie in aftermath.lies(&self.sound) {
                let name = lie.split(':').next().unwrap_or_default();
                // What the first life said is gone may stay gone without another word.
                let is_new = life == 0 || aftermath.told.get(name) != both[0].told.get(name);
                let lie = format!("{context}, start {}: {lie}", life + 1);
                if is_new && !NOT_SEEN.iter().any(|known| lie.starts_with(known)) {
                    lies.push(lie);
                }
            }
        }
        both
    }
}

/// One line: what becomes of the node and of whom.
fn summary(aftermath: &Aftermath, sound: &Aftermath) -> String {
    if let Some(why) = &aftermath.refusal {
        return format!("does not start: {}", why.replace("/data/logs/", ""));
    }
    let mut text = String::new();
    let changed = aftermath.changed(sound);
    if changed.is_empty() {
        text.push_str("nothing is lost");
    }
    for name in &changed {
        let told = aftermath.told.get(name).map(Vec::as_slice).unwrap_or_default();
        let expected = sound.told.get(name).map(Vec::as_slice).unwrap_or_default();
        let other = told.iter().find(|line| !expected.contains(line));
        let other = other.map_or("less", |line| line.trim());
        write!(text, "{name} tells: {other}; ").unwrap();
    }
    let mut logged: Vec<String> = aftermath
        .logged
        .iter()
        .map(|line| line.replace("/data/logs/", ""))
        .collect();
    logged.dedup();
    if !logged.is_empty() {
        write!(text, " [{}]", logged.join(" | ")).unwrap();
    }
    text
}

#[test]
fn what_becomes_of_each_damaged_file_is_written_down() {
    let (mut text, mut lies) = (String::new(), Vec::new());
    let folder = folder();
    for file in &folder.files {
        let middle = folder.length(file) / 2;
        for damage in [
            Damage::Missing,
            Damage::Empty,
            Damage::Truncated,
            Damage::Flipped {
                at: middle,
                bits: 0x10,
            },
        ] {
            if folder.length(file) == 0 && damage != Damage::Missing {
                continue;
            }
            let both = folder.start(file, damage, &mut lies);
            let [first, second] = both.each_ref().map(|aftermath| summary(aftermath, &folder.sound));
            let name = match damage {
                Damage::Flipped { .. } => "Flipped".to_owned(),
                other => format!("{other:?}"),
            };
            writeln!(text, "{} {name}: {first}", file.display()).unwrap();
            if second != first {
                writeln!(text, "    and when started again: {second}").unwrap();
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(WRITTEN_DOWN);
    if std::env::var_os("KLAMM_WRITE_DOWN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert!(lies.is_empty(), "{}", lies.join("\n"));
    let known = fs::read_to_string(&path).unwrap_or_default();
    for (line, known) in text.lines().zip(known.lines()) {
        assert_eq!(line, known, "{}", path.display());
    }
    assert_eq!(text.lines().count(), known.lines().count(), "{}", path.display());
}
