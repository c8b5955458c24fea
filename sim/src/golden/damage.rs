//! What becomes of a node whose folder somebody has damaged while it was down: a file that is gone, empty, cut, or has a bit
//! flipped.
//!
//! Always holds: each node starts on a folder of its own, in a world of its own, with nothing in memory. What its clients are
//! told is compared with what they are told of the folder as it was, partition by partition. [`Aftermath::lies`] is the one rule for all
//! damage: a client gets what was written, or an error, or the node says in its log what is gone; never something else.
//!
//! Next: `sim/tests/damage.rs` goes through the kinds of files; `transactions` adds to the script what has aborted records.

mod transactions;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use klamm_env::sim::Disk;
use klamm_env::{Files, OpenMode};
use parking_lot::Mutex;
use tracing::Level;

use super::{Ending, GoldenError, LATER_MS, Told, World, folder, listing, script};
use crate::stage::{BROKER, LOGS};

/// More than any file of the folder has.
const MOST_BYTES: u64 = 1 << 20;
/// A node that refuses to start has said so by then, in simulated time.
const START: Duration = Duration::from_secs(2);

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It is removed.
    Missing,
    /// It has no bytes.
    Empty,
    /// The second half of its bytes is gone.
    Truncated,
    /// These bits of the byte at this place are others.
    Flipped {
        /// The place.
        at: usize,
        /// The bits.
        bits: u8,
    },
}

/// What a start on a folder came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// Why there was none, or why the node ended.
    pub refusal: Option<String>,
    /// What clients are told, by topic and partition.
    pub told: BTreeMap<String, Vec<String>>,
    /// What the node warned of.
    pub logged: Vec<String>,
}

impl Aftermath {
    /// The topics and partitions of which clients are told something else than `sound` tells.
    pub fn changed(&self, sound: &Self) -> BTreeSet<String> {
        let names = self.told.keys().chain(sound.told.keys());
        names
            .filter(|name| self.told.get(*name) != sound.told.get(*name))
            .cloned()
            .collect()
    }

    /// Where clients are told something that is not so, and get no error, and nothing in the log tells either.
    pub fn lies(&self, sound: &Self) -> Vec<String> {
        if self.refusal.is_some() {
            return Vec::new();
        }
        let names = self.changed(sound).into_iter();
        names
            .filter_map(|name| self.lie(&name, sound).map(|what| format!("{name}: {what}")))
            .collect()
    }

    fn lie(&self, name: &str, sound: &Self) -> Option<String> {
        let empty = Vec::new();
        let told = self.told.get(name).unwrap_or(&empty);
        let expected = sound.told.get(name).unwrap_or(&empty);
        let is_data = |line: &&String| line.starts_with("  batch ") || line.starts_with("    ");
        let invented = told.iter().filter(is_data).find(|line| !expected.contains(line));
        if let Some(line) = invented {
            return Some(format!("nobody wrote {line:?}"));
        }
        let is_error = |line: &String| {
            let code = line.rsplit_once("error ").map(|(_, code)| code);
            code.is_some_and(|code| code != "0")
        };
        // A partition is `topic-N`, and the log names it so.
        let is_logged = self.logged.iter().any(|line| line.contains(name));
        if told.iter().any(is_error) || is_logged {
            return None;
        }
        let missing = expected.iter().find(|line| !told.contains(line));
        let other = told.iter().find(|line| !expected.contains(line));
        Some(format!("instead of {missing:?} clients are told {other:?}"))
    }
}

/// Makes a folder on this machine to be damaged: that of a release, and transactions. Its node was stopped in order.
pub fn make(to: &Path) -> Told<()> {
    let mut world = World::new(0, script::START);
    script::play(&mut world, Ending::Stopped)?;
    world.start();
    world.ask(transactions::play)?;
    world.stop()?;
    Ok(folder::to_machine(&world.disk(), to)?)
}

/// The files of a folder that [`make`] made, by their paths in it.
pub fn files(of: &Path) -> Told<Vec<PathBuf>> {
    let world = World::new(1, script::START);
    folder::to_disk(of, &world.disk())?;
    let mut found = Vec::new();
    list(&world.disk(), Path::new(LOGS), &mut found)?;
    let within = |path: PathBuf| path.strip_prefix(LOGS).map(Path::to_path_buf).ok();
    Ok(found.into_iter().filter_map(within).collect())
}

fn list(disk: &Disk, folder: &Path, found: &mut Vec<PathBuf>) -> Told<()> {
    for entry in disk.read_dir(folder)? {
        let path = folder.join(&entry.name);
        if entry.is_dir {
            list(disk, &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// Starts a node on a copy of the folder in which `damage` was done to `file`, and asks it for everything; `None` for the folder as it
/// is. Then the node is ended without warning and started again, which is the second of the two.
pub fn start_on(folder: &Path, damaged: Option<(&Path, Damage)>) -> Told<[Aftermath; 2]> {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_max_level(Level::WARN)
        .with_ansi(false)
        .without_time()
        .finish();
    let _logs = tracing::subscriber::set_default(subscriber);
    let mut world = World::new(1, script::START.plus_ms(LATER_MS));
    folder::to_disk(folder, &world.disk())?;
    if let Some((file, damage)) = damaged {
        spoil(&world.disk(), &Path::new(LOGS).join(file), damage)?;
    }
    let mut live = || {
        let mut lived = life(&mut world)?;
        world.kill();
        let said = std::mem::take(&mut *logged.0.lock());
        let lines = String::from_utf8_lossy(&said);
        lived.logged = lines.lines().map(|line| line.trim().to_owned()).collect();
        Ok::<_, GoldenError>(lived)
    };
    Ok([live()?, live()?])
}

/// What the node logs.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn spoil(disk: &Disk, path: &Path, damage: Damage) -> Told<()> {
    let bytes = disk.read(path, MOST_BYTES)?;
    let open = || disk.open(path, OpenMode::Write);
    match damage {
        Damage::Missing => disk.remove_file(path)?,
        Damage::Empty => open()?.set_len(0)?,
        Damage::Truncated => open()?.set_len(bytes.len() as u64 / 2)?,
        Damage::Flipped { at, bits } => {
            let byte = bytes.get(at).copied().unwrap_or_default() ^ bits;
            open()?.write_at(&[IoSlice::new(&[byte])], at as u64)?;
        }
    }
    disk.sync_all();
    Ok(())
}

/// One life of the node, with a page cache that holds nothing.
fn life(world: &mut World) -> Told<Aftermath> {
    world.disk().evict_page_cache();
    world.start();
    world.simulation.run_for(START)?;
    let told = match world.simulation.ended(BROKER) {
        None => world.ask(listing::all),
        Some(ended) => {
            return Ok(Aftermath {
                refusal: Some(ended.err().unwrap_or_else(|| "it ended well".to_owned())),
                ..Aftermath::default()
            });
        }
    };
    Ok(Aftermath {
        told: by_partition(&told?),
        ..Aftermath::default()
    })
}

/// The lines of a listing, by topic and partition.
fn by_partition(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut topic, mut at) = (String::new(), "cluster".to_owned());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("topic ") {
            topic = name.split(' ').next().unwrap_or_default().to_owned();
            at.clone_from(&topic);
        } else if let Some(index) = line.strip_prefix("partition ") {
            at = format!("{topic}-{index}");
        }
        told.entry(at.clone()).or_default().push(line.to_owned());
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aftermath(lines: &[&str], logged: &[&str]) -> Aftermath {
        let own = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        Aftermath {
            told: [("t-0".to_owned(), own(lines))].into(),
            logged: own(logged),
            ..Aftermath::default()
        }
    }

    #[test]
    fn what_is_wrong_without_a_word_is_a_lie() {
        let sound = aftermath(&["  from 0 to 2, error 0", "  batch 0", "  batch 1"], &[]);
        for (lines, logged, lies) in [
            (
                &["  from 0 to 2, error 0", "  batch 0", "  batch 1"][..],
                &[][..],
                0,
            ),
            (&["  from 0 to 1, error 0", "  batch 0"], &[], 1),
            (&["  from 0 to 1, error 0", "  batch 0"], &["WARN t-0 was cut"], 0),
            (
                &[
                    "  from 0 to 2, error 0",
                    "  batch 0",
                    "  nothing from 1 on, error 56",
                ],
                &[],
                0,
            ),
            (
                &["  from 0 to 2, error 0", "  batch 0", "  batch 7"],
                &["WARN t-0 was cut"],
                1,
            ),
            (&[], &[], 1),
        ] {
            assert_eq!(aftermath(lines, logged).lies(&sound).len(), lies, "{lines:?}");
        }
        let refused = Aftermath {
            refusal: Some("no".to_owned()),
            ..Aftermath::default()
        };
        assert_eq!(refused.lies(&sound), [""; 0]);
    }

    #[test]
    fn a_listing_falls_into_partitions() {
        let told = by_partition("cluster x\n\ntopic t id\n  a = b\npartition 0\n  from 0\npartition 1\n");
        let names: Vec<&str> = told.keys().map(String::as_str).collect();
        assert_eq!(names, ["cluster", "t", "t-0", "t-1"]);
        assert_eq!(told["t-0"], ["partition 0", "  from 0"]);
    }
}
