//! The bytes of one simulated file: what was written and what is on the device.
//!
//! Always holds:
//! - A write changes pages of 4 KiB in the cache and leaves the device alone; `sync` brings all of it there.
//! - Between two syncs the cache may write a page back at any moment, in any order. So after a power loss each page is
//!   in one of the versions it had since the last sync, or (torn) its sectors of 512 bytes come from two of them.
//! - Length and truncation are metadata, which file systems journal in order: some prefix of their changes is there.
//!   A page never shows what a truncation that is there has cut, nor what was written after one that is not there.
//! - A sync that failed leaves its pages neither dirty nor on the device: the next sync passes them over, unless they
//!   were written again. (So does Linux; a sync that is retried proves nothing.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::sim::clock::SeededRng;

pub(super) const PAGE_BYTES: usize = 4096;
const SECTOR_BYTES: usize = 512;
/// Versions of a page that are remembered between two syncs; of more, the oldest are forgotten.
const MAX_VERSIONS: usize = 8;

type Page = Arc<[u8; PAGE_BYTES]>;

/// A change of one page since the last sync.
struct Change {
    /// Its place among all changes of the file.
    sequence: u64,
    kind: Kind,
}

enum Kind {
    /// The page as a write left it.
    Written(Page),
    /// A truncation cut it at this byte.
    Cut(usize),
}

/// A change of the length since the last sync.
struct Resized {
    sequence: u64,
    len: u64,
}

/// The bytes of a file.
#[derive(Default)]
pub(super) struct Contents {
    len: u64,
    /// What reads see; a page that is missing is all zeros.
    pages: BTreeMap<u64, Page>,
    durable_len: u64,
    durable: BTreeMap<u64, Page>,
    /// Changes up to here are on the device, but for those of abandoned pages.
    durable_sequence: u64,
    sequence: u64,
    dirty: BTreeMap<u64, Vec<Change>>,
    resized: Vec<Resized>,
    /// Pages whose sync failed.
    abandoned: BTreeSet<u64>,
    /// Pages that a read would have to bring from the device.
    cold: BTreeSet<u64>,
}

impl Contents {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes it takes on the device.
    pub(super) fn stored_bytes(&self) -> u64 {
        (self.pages.len() * PAGE_BYTES) as u64
    }

    /// Bytes that a write of `len` bytes at `offset` can put into pages that are there already, or into `free_bytes` of
    /// new ones.
    pub(super) fn fits(&self, offset: u64, len: u64, free_bytes: u64) -> u64 {
        let mut free_pages = free_bytes / PAGE_BYTES as u64;
        let mut at = offset;
        while at < offset + len {
            if !self.pages.contains_key(&page_of(at)) {
                if free_pages == 0 {
                    break;
                }
                free_pages -= 1;
            }
            at = (page_of(at) + 1) * PAGE_BYTES as u64;
        }
        at.min(offset + len) - offset
    }

    /// Copies what is at `offset` into `buffer` and returns how much there was.
    pub(super) fn read(&mut self, buffer: &mut [u8], offset: u64) -> usize {
        let n = self.available(buffer.len(), offset);
        for (page, within, bytes) in split(offset, n) {
            self.cold.remove(&page);
            let target = &mut buffer[bytes.clone()];
            match self.pages.get(&page) {
                Some(page) => target.copy_from_slice(&page[within..within + bytes.len()]),
                None => target.fill(0),
            }
        }
        n
    }

    /// How much of `len` bytes at `offset` is in memory; `None` when the first byte is not.
    pub(super) fn resident(&self, len: usize, offset: u64) -> Option<usize> {
        let n = self.available(len, offset);
        let cold = split(offset, n).find(|(page, ..)| self.cold.contains(page));
        match cold {
            None => Some(n),
            Some((_, _, bytes)) if bytes.start == 0 => None,
            Some((_, _, bytes)) => Some(bytes.start),
        }
    }

    fn available(&self, len: usize, offset: u64) -> usize {
        let left = self.len.saturating_sub(offset);
        usize::try_from(left).unwrap_or(usize::MAX).min(len)
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        self.sequence += 1;
        for (number, within, range) in split(offset, bytes.len()) {
            let page = self
                .pages
                .entry(number)
                .or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[within..within + range.len()].copy_from_slice(&bytes[range]);
            let version = Kind::Written(page.clone());
            self.abandoned.remove(&number);
            self.cold.remove(&number);
            self.changed(number, version);
        }
        if offset + bytes.len() as u64 > self.len && !bytes.is_empty() {
            self.resize(offset + bytes.len() as u64);
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.sequence += 1;
        if len < self.len {
            let first = page_of(len);
            let within = (len % PAGE_BYTES as u64) as usize;
            if within > 0
                && let Some(page) = self.pages.get_mut(&first)
            {
                Arc::make_mut(page)[within..].fill(0);
            }
            let gone = if within > 0 { first + 1 } else { first };
            self.pages.split_off(&gone);
            let known = self.durable.range(first..).map(|(page, _)| *page);
            let known = known.chain(self.dirty.range(first..).map(|(page, _)| *page));
            for page in known.collect::<BTreeSet<u64>>() {
                self.changed(page, Kind::Cut(if page == first { within } else { 0 }));
            }
        }
        if len != self.len {
            self.resize(len);
        }
    }

    fn resize(&mut self, len: u64) {
        self.len = len;
        self.resized.push(Resized {
            sequence: self.sequence,
            len,
        });
    }

    fn changed(&mut self, page: u64, kind: Kind) {
        let changes = self.dirty.entry(page).or_default();
        changes.push(Change {
            sequence: self.sequence,
            kind,
        });
        let is_written = |change: &Change| matches!(change.kind, Kind::Written(_));
        if changes.iter().filter(|change| is_written(change)).count() > MAX_VERSIONS
            && let Some(oldest) = changes.iter().position(is_written)
        {
            changes.remove(oldest);
        }
    }

    /// Brings everything to the device.
    pub(super) fn sync(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        for (page, changes) in dirty {
            if self.abandoned.contains(&page) {
                self.dirty.insert(page, changes);
                continue;
            }
            match self.pages.get(&page) {
                Some(bytes) => self.durable.insert(page, bytes.clone()),
                None => self.durable.remove(&page),
            };
        }
        self.metadata_is_durable();
    }

    /// The sync failed: nothing came to the device, and nothing will.
    pub(super) fn sync_failed(&mut self) {
        self.abandoned.extend(self.dirty.keys());
    }

    fn metadata_is_durable(&mut self) {
        self.durable_len = self.len;
        self.durable_sequence = self.sequence;
        self.resized.clear();
    }

    /// Whether a power loss could change anything.
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.resized.is_empty()
    }

    /// Memory forgets the pages that are on the device too.
    pub(super) fn evict(&mut self) {
        let clean = self.pages.keys().filter(|page| !self.dirty.contains_key(page));
        self.cold = clean.copied().collect();
    }

    /// Power loss. Without `chance` nothing unsynced is left; with it, some of it is.
    pub(super) fn lose_power(&mut self, chance: Option<&SeededRng>) {
        let kept = chance.map_or(0, |rng| rng.below(self.resized.len() as u64 + 1) as usize);
        let (len, sequence) = match kept.checked_sub(1).map(|last| &self.resized[last]) {
            Some(resized) => (resized.len, resized.sequence),
            None => (self.durable_len, self.durable_sequence),
        };
        let mut pages = std::mem::take(&mut self.durable);
        for (number, changes) in std::mem::take(&mut self.dirty) {
            let before = pages.remove(&number);
            if let Some(page) = page_after(before.as_ref(), &changes, sequence, chance) {
                pages.insert(number, page);
            }
        }
        cut(&mut pages, len);
        let sequence = self.sequence;
        *self = Self {
            len,
            durable_len: len,
            durable: pages.clone(),
            cold: pages.keys().copied().collect(),
            pages,
            sequence,
            durable_sequence: sequence,
            ..Self::default()
        };
    }
}

/// What a page is after a power loss, when the metadata up to `sequence` is there; `None` for zeros.
fn page_after(
    durable: Option<&Page>,
    changes: &[Change],
    sequence: u64,
    chance: Option<&SeededRng>,
) -> Option<Page> {
    let is_lost_cut = |change: &&Change| matches!(change.kind, Kind::Cut(_)) && change.sequence > sequence;
    let reachable = changes.iter().take_while(|change| !is_lost_cut(change)).count();
    let changes = &changes[..reachable];
    // The versions it may have: that of the device, and that of each write.
    let written = |n: usize| match n.checked_sub(1) {
        None => (durable, 0),
        Some(n) => {
            let mut writes = changes
                .iter()
                .enumerate()
                .filter_map(|(at, change)| match &change.kind {
                    Kind::Written(page) => Some((Some(page), at + 1)),
                    Kind::Cut(_) => None,
                });
            writes.nth(n).expect("chosen among the writes")
        }
    };
    let version = |n: usize| {
        let (page, next) = written(n);
        let mut bytes = page.map_or([0; PAGE_BYTES], |page| **page);
        for change in &changes[next..] {
            if let Kind::Cut(within) = change.kind {
                bytes[within..].fill(0);
            }
        }
        bytes
    };
    let Some(rng) = chance else {
        return durable.map(|_| Arc::new(version(0)));
    };
    let writes = changes
        .iter()
        .filter(|change| matches!(change.kind, Kind::Written(_)))
        .count();
    let newer = rng.below(writes as u64 + 1) as usize;
    let mut bytes = version(newer);
    if newer > 0 && rng.one_in(2) {
        let older = version(rng.below(newer as u64) as usize);
        for sector in (0..PAGE_BYTES).step_by(SECTOR_BYTES) {
            if rng.one_in(2) {
                let sector = sector..sector + SECTOR_BYTES;
                bytes[sector.clone()].copy_from_slice(&older[sector]);
            }
        }
    }
    (durable.is_some() || newer > 0).then(|| Arc::new(bytes))
}

/// Takes away what lies behind `len`.
fn cut(pages: &mut BTreeMap<u64, Page>, len: u64) {
    let within = (len % PAGE_BYTES as u64) as usize;
    let last = page_of(len);
    if within > 0
        && let Some(page) = pages.get_mut(&last)
    {
        Arc::make_mut(page)[within..].fill(0);
    }
    pages.split_off(&if within > 0 { last + 1 } else { last });
}

fn page_of(offset: u64) -> u64 {
    offset / PAGE_BYTES as u64
}

/// The pieces of `len` bytes at `offset`: page, position within it, range of the bytes.
fn split(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % PAGE_BYTES as u64) as usize;
        let n = (PAGE_BYTES - within).min(len - done);
        let range = done..done + n;
        done += n;
        Some((page_of(at), within, range))
    })
}
