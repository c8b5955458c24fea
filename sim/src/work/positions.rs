//! Where a member reads on in the partitions that are its own.
//!
//! Always holds: a position counts for as long as the member has the partition without a break. Whoever had it meanwhile may have
//! gone on, and what the group has committed says how far.

use std::collections::BTreeMap;
use std::time::Duration;

use super::line::{Line, Lost};
use super::member::{Member, Topic};
use super::offsets;

/// See the head of the file.
#[derive(Default)]
pub(crate) struct Positions {
    /// With the time since when the member has the partition.
    known: BTreeMap<i32, (Duration, i64)>,
}

impl Positions {
    /// Finds out what is not known. Those that are not told of, because a transaction is not decided, are left out.
    pub(crate) async fn locate(
        &mut self,
        line: &mut Line,
        group: (&'static str, Topic),
        member: &Member,
    ) -> Result<(), Lost> {
        self.known
            .retain(|partition, (since, _)| member.owned().get(partition) == Some(since));
        let unknown = member
            .owned()
            .keys()
            .copied()
            .filter(|partition| !self.known.contains_key(partition));
        let unknown: Vec<i32> = unknown.collect();
        if unknown.is_empty() {
            return Ok(());
        }
        for (partition, offset) in offsets::fetch(line, group, &unknown, true).await? {
            if let Some(since) = member.owned().get(&partition) {
                self.known.insert(partition, (*since, offset.unwrap_or(0)));
            }
        }
        Ok(())
    }

    pub(crate) fn all(&self) -> BTreeMap<i32, i64> {
        let known = self.known.iter();
        known
            .map(|(partition, (_, offset))| (*partition, *offset))
            .collect()
    }

    /// So far it is done.
    pub(crate) fn advance(&mut self, offsets: &BTreeMap<i32, i64>) {
        for (partition, offset) in offsets {
            if let Some((_, known)) = self.known.get_mut(partition) {
                *known = *offset;
            }
        }
    }

    /// Nothing is known any more.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }
}
