//! The folders of a simulated disk: which names there are, and which of them are on the device.
//!
//! Always holds:
//! - A change of a name is at once seen by all, and is on the device after a sync of its folder. A rename is one change:
//!   it is there or not, never half; a sync of either folder brings it.
//! - After a power loss some of the unsynced changes are there, in any order between unrelated names, but of two
//!   changes of one name never the later alone.
//!
//! This is less than a journaling file system promises, and what POSIX does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};

use crate::sim::clock::SeededRng;

/// A file or folder, whatever its name.
pub(super) type Inode = u64;
/// A name in a folder.
pub(super) type Place = (Inode, String);

pub(super) const ROOT: Inode = 0;

type Tree = BTreeMap<Inode, BTreeMap<String, Inode>>;

/// A change of names that is not on the device.
enum Change {
    Add(Place, Inode),
    Remove(Place),
    Move { from: Place, to: Place, inode: Inode },
}

impl Change {
    fn places(&self) -> impl Iterator<Item = &Place> {
        let (first, second) = match self {
            Self::Add(place, _) | Self::Remove(place) => (place, None),
            Self::Move { from, to, .. } => (from, Some(to)),
        };
        std::iter::once(first).chain(second)
    }

    fn apply(&self, tree: &mut Tree) {
        match self {
            Self::Add(at, inode) => add(tree, at, *inode),
            Self::Remove(at) => remove(tree, at),
            Self::Move { from, to, inode } => {
                remove(tree, from);
                add(tree, to, *inode);
            }
        }
    }
}

fn add(tree: &mut Tree, (folder, name): &Place, inode: Inode) {
    tree.entry(*folder).or_default().insert(name.clone(), inode);
}

fn remove(tree: &mut Tree, (folder, name): &Place) {
    if let Some(names) = tree.get_mut(folder) {
        names.remove(name);
    }
}

/// All folders.
pub(super) struct Names {
    current: Tree,
    durable: Tree,
    unsynced: Vec<Change>,
}

impl Default for Names {
    fn default() -> Self {
        let root = Tree::from([(ROOT, BTreeMap::new())]);
        Self {
            current: root.clone(),
            durable: root,
            unsynced: Vec::new(),
        }
    }
}

impl Names {
    pub(super) fn is_folder(&self, inode: Inode) -> bool {
        self.current.contains_key(&inode)
    }

    pub(super) fn list(&self, folder: Inode) -> io::Result<&BTreeMap<String, Inode>> {
        self.current
            .get(&folder)
            .ok_or_else(|| io::ErrorKind::NotADirectory.into())
    }

    /// What stands at `place`.
    pub(super) fn at(&self, place: &Place) -> Option<Inode> {
        self.current.get(&place.0)?.get(&place.1).copied()
    }

    /// What `path` names.
    pub(super) fn find(&self, path: &Path) -> io::Result<Inode> {
        let mut inode = ROOT;
        for name in components(path)? {
            inode = *self.list(inode)?.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(inode)
    }

    /// The folder that has, or would have, the last name of `path`; and that name.
    pub(super) fn place(&self, path: &Path) -> io::Result<Place> {
        let mut names = components(path)?;
        let last = names.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let mut folder = ROOT;
        for name in names {
            folder = *self.list(folder)?.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        self.list(folder)?;
        Ok((folder, last.to_owned()))
    }

    pub(super) fn add_file(&mut self, place: Place, inode: Inode) {
        self.change(Change::Add(place, inode));
    }

    pub(super) fn add_folder(&mut self, place: Place, inode: Inode) {
        self.current.insert(inode, BTreeMap::new());
        self.change(Change::Add(place, inode));
    }

    pub(super) fn remove(&mut self, place: Place) {
        self.change(Change::Remove(place));
    }

    pub(super) fn rename(&mut self, from: Place, to: Place, inode: Inode) {
        self.change(Change::Move { from, to, inode });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.unsynced.push(change);
    }

    /// Brings the changes of this folder to the device, and those before them that they build on.
    pub(super) fn sync(&mut self, folder: Inode) {
        let mut needed: BTreeSet<Place> = BTreeSet::new();
        let mut chosen = vec![false; self.unsynced.len()];
        for (at, change) in self.unsynced.iter().enumerate().rev() {
            if change
                .places()
                .any(|place| place.0 == folder || needed.contains(place))
            {
                chosen[at] = true;
                needed.extend(change.places().cloned());
            }
        }
        let mut at = 0;
        let durable = &mut self.durable;
        self.unsynced.retain(|change| {
            let chosen = chosen[at];
            at += 1;
            if chosen {
                change.apply(durable);
            }
            !chosen
        });
    }

    /// Brings all changes to the device.
    pub(super) fn sync_all(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// Power loss. Without `chance` no unsynced change is left; with it, some are.
    pub(super) fn lose_power(&mut self, chance: Option<&SeededRng>) {
        let mut lost: BTreeSet<Place> = BTreeSet::new();
        for change in self.unsynced.drain(..) {
            let kept = chance.is_some_and(|rng| rng.one_in(2));
            if kept && !change.places().any(|place| lost.contains(place)) {
                change.apply(&mut self.durable);
            } else {
                lost.extend(change.places().cloned());
            }
        }
        // What cannot be reached any more is gone.
        let mut reached = Tree::new();
        let mut ahead = vec![ROOT];
        while let Some(folder) = ahead.pop() {
            let names = self.durable.remove(&folder).unwrap_or_default();
            let below = names.values().filter(|inode| self.current.contains_key(inode));
            ahead.extend(below);
            reached.insert(folder, names);
        }
        self.durable = reached.clone();
        self.current = reached;
    }

    /// Everything that has a name, or would have one after a power loss.
    pub(super) fn named(&self) -> BTreeSet<Inode> {
        let trees = [&self.current, &self.durable];
        let held = trees.into_iter().flat_map(|tree| tree.values());
        let held = held.flat_map(|names| names.values().copied());
        let unsynced = self.unsynced.iter().filter_map(|change| match change {
            Change::Add(_, inode) | Change::Move { inode, .. } => Some(*inode),
            Change::Remove(_) => None,
        });
        held.chain(unsynced).collect()
    }
}

fn components(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir => drop(names.pop()),
            Component::Normal(name) => names.push(name.to_str().ok_or(io::ErrorKind::InvalidInput)?),
            Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(names)
}
