//! What goes by itself: offsets that have had their time, groups of which nothing is left then, and offsets of topics that are gone.
//!
//! Always holds: one decision looks at so much, and writes so much, whatever there is; the next one goes on behind the group where
//! it ended. Others are decided on in between.
//!
//! Next: `offsets/expire.rs`, `offsets/delete.rs`.

use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use klamm_metadata::{Delta, TopicChange};
use klamm_model::{TimestampMs, TopicId};

use super::classic::record;
use super::config::GroupConfig;
use super::offsets::GroupOffsets;
use super::offsets::expire::Ageing;
use super::shard::{Group, GroupResult, GroupShard, Timer};
use crate::contract::TimerChange;

/// The most that is looked at in one decision, in groups and offsets.
const LOOKED_AT_ONCE: usize = 5_000;

/// After which time offsets of a topic that is gone, which had to wait for a transaction, are looked for again.
const LEFT_AGAIN_MS: i64 = 60_000;

/// What one decision has left to look at. A group is looked at as a whole.
struct Budget(usize);

impl Budget {
    fn spend(&mut self, offsets: Option<&GroupOffsets>) {
        let spent = 1 + offsets.map_or(0, GroupOffsets::len);
        self.0 = self.0.saturating_sub(spent);
    }

    fn is_spent(&self) -> bool {
        self.0 == 0
    }
}

/// A group by its name, with what there is of it.
type Whole<'a> = (&'a Arc<str>, Option<&'a Group>, Option<&'a GroupOffsets>);

/// Lists in the order of their keys as one. Of those in the last there is nothing any more.
fn merged<'a>(
    groups: impl Iterator<Item = (&'a Arc<str>, &'a Group)>,
    offsets: impl Iterator<Item = (&'a Arc<str>, &'a GroupOffsets)>,
    emptied: impl Iterator<Item = &'a Arc<str>>,
) -> impl Iterator<Item = Whole<'a>> {
    let (mut groups, mut offsets) = (groups.peekable(), offsets.peekable());
    let mut emptied = emptied.peekable();
    std::iter::from_fn(move || {
        let next = [
            groups.peek().map(|(id, _)| *id),
            offsets.peek().map(|(id, _)| *id),
            emptied.peek().copied(),
        ];
        let id = next.into_iter().flatten().min()?;
        emptied.next_if_eq(&id);
        Some((id, take(&mut groups, id), take(&mut offsets, id)))
    })
}

fn take<'a, T>(from: &mut Peekable<impl Iterator<Item = (&'a Arc<str>, T)>>, id: &Arc<str>) -> Option<T> {
    from.next_if(|(next, _)| *next == id).map(|(_, value)| value)
}

impl GroupShard {
    /// All groups behind `after`, in the order of their names.
    fn behind(&self, after: Option<&str>) -> impl Iterator<Item = Whole<'_>> {
        let bounds = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        merged(
            self.groups.range::<str, _>(bounds),
            self.offsets.groups_in(bounds),
            self.emptied.range::<str, _>(bounds),
        )
    }

    /// Takes back the offsets that have had their time, and groups that are empty and have none left, whether they were recorded or
    /// had offsets only: of those behind `after`.
    pub(super) fn sweep(&self, now: TimestampMs, config: &GroupConfig, after: Option<&str>) -> GroupResult {
        let mut result = GroupResult {
            atomic: false,
            ..GroupResult::default()
        };
        let interval_ms =
            i64::try_from(config.offsets_retention_check_interval.as_millis()).unwrap_or(i64::MAX);
        let mut next = TimerChange::At(Timer::ExpireOffsets, now.plus_ms(interval_ms));
        let mut budget = Budget(LOOKED_AT_ONCE);
        for (id, group, offsets) in self.behind(after) {
            match group {
                Some(Group::Classic(group)) => {
                    let (ageing, subscribed) = group.ageing();
                    let wanted = |topic: &str| subscribed.may_want(topic);
                    let records = &mut result.records;
                    let nothing_left = self.offsets.expire(id, (ageing, wanted), now, config, records);
                    if nothing_left && group.is_empty() && group.pending.is_empty() {
                        self.tombstone_of(id, group, &mut result);
                    }
                }
                Some(Group::Consumer(group)) => {
                    let wanted = |topic: &str| group.is_subscribed_to(topic);
                    let (ageing, records) = (Ageing::SinceCommit, &mut result.records);
                    if self.offsets.expire(id, (ageing, wanted), now, config, records) && group.is_empty() {
                        result.records.extend(group.tombstones());
                    }
                }
                None => {
                    let since_commit = (Ageing::SinceCommit, |_: &str| false);
                    let records = &mut result.records;
                    if self.offsets.expire(id, since_commit, now, config, records) {
                        records.push(record::tombstone(id));
                    }
                }
            }
            budget.spend(offsets);
            if budget.is_spent() {
                next = TimerChange::At(Timer::ExpireOffsetsBehind(id.clone()), now);
                break;
            }
        }
        result.timers.push(next);
        result
    }

    /// Topics are gone, and with them their offsets.
    pub(super) fn topics_changed(&self, now: TimestampMs, delta: &Delta) -> GroupResult {
        let mut result = GroupResult {
            atomic: false,
            ..GroupResult::default()
        };
        let mut budget = Budget(LOOKED_AT_ONCE);
        for change in delta.topics() {
            if let TopicChange::Deleted(topic) = change {
                self.delete_offsets_of(now, (&topic.name, topic.id), None, &mut budget, &mut result);
            }
        }
        result
    }

    /// The offsets of a topic that is gone go on going, in the groups behind `after`.
    pub(super) fn topic_deleted(
        &self,
        now: TimestampMs,
        topic: (&Arc<str>, TopicId),
        after: Option<&str>,
    ) -> GroupResult {
        let mut result = GroupResult {
            atomic: false,
            ..GroupResult::default()
        };
        let mut budget = Budget(LOOKED_AT_ONCE);
        self.delete_offsets_of(now, topic, after, &mut budget, &mut result);
        result
    }

    /// Takes back the offsets of a topic that is gone, in the groups behind `after`; what is too much for now, and what has to wait for
    /// a transaction to end, with the timer.
    fn delete_offsets_of(
        &self,
        now: TimestampMs,
        (name, id): (&Arc<str>, TopicId),
        after: Option<&str>,
        budget: &mut Budget,
        result: &mut GroupResult,
    ) {
        let at = |after: Option<Arc<str>>, at: TimestampMs| {
            let name = name.clone();
            TimerChange::At(Timer::TopicDeleted { name, id, after }, at)
        };
        if budget.is_spent() {
            result.timers.push(at(after.map(Into::into), now));
            return;
        }
        let (offsets, records) = (&self.offsets, &mut result.records);
        let mut all = after.is_some() || offsets.delete_pending_of_topic(name, id, records);
        let bounds = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        for (group, of_group) in offsets.groups_in(bounds) {
            all &= of_group.delete_topic(group, (name, id), offsets.pending(), records);
            // Of a group only one topic is looked at.
            budget.0 = budget.0.saturating_sub(1 + of_group.partitions(name).count());
            if budget.is_spent() {
                result.timers.push(at(Some(group.clone()), now));
                break;
            }
        }
        if !all {
            result.timers.push(at(None, now.plus_ms(LEFT_AGAIN_MS)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use klamm_metadata::{Image, MetadataRecord, Position};
    use klamm_model::Uuid;
    use klamm_protocol::metadata_records::{RemoveTopicRecord, TopicRecord};

    use super::*;
    use crate::group::driver::{Driver, commit_of};
    use crate::group::request::Request;

    const GROUPS: usize = 2_000;
    const TOPIC: Uuid = Uuid([1; 16]);
    const RETENTION_MS: i64 = 1_800_000;

    /// Groups of which there are three offsets each and nothing else.
    fn with_groups() -> Driver {
        let mut driver = Driver::new();
        for number in 0..GROUPS {
            let mut request = commit_of(-1, "", &[(0, 1), (1, 1), (2, 1)]);
            request.group_id = format!("group-{number:05}").into();
            request.topics[0].topic_id = TOPIC;
            driver.at_once(Request::OffsetCommit {
                version: 9,
                request: request.into(),
            });
        }
        driver.config.offsets_retention = Duration::from_millis(RETENTION_MS.unsigned_abs());
        driver.most_written = 0;
        driver
    }

    fn offsets_left(driver: &Driver) -> usize {
        let groups = driver.shard.offsets.groups();
        groups.map(|(_, offsets)| offsets.len()).sum()
    }

    #[test]
    fn a_sweep_looks_at_so_much_at_once_and_goes_on() {
        let mut driver = with_groups();
        driver.pass(600_000);
        assert_eq!(driver.rung, (GROUPS * 4).div_ceil(LOOKED_AT_ONCE));
        assert_eq!(offsets_left(&driver), GROUPS * 3);
        driver.pass(RETENTION_MS);
        assert_eq!(offsets_left(&driver), 0);
        assert!((1..=LOOKED_AT_ONCE).contains(&driver.most_written));
        assert!(driver.timers.keys().eq([&Timer::ExpireOffsets]));
    }

    #[test]
    fn offsets_of_topics_that_are_gone_go_so_many_at_once() {
        let mut driver = with_groups();
        let ids = [TOPIC, Uuid([2; 16])];
        let made = ids.iter().zip(["t", "u"]).map(|(id, name)| {
            MetadataRecord::Topic(TopicRecord {
                name: name.into(),
                topic_id: *id,
                ..Default::default()
            })
        });
        let removed = ids.map(|topic_id| {
            MetadataRecord::RemoveTopic(RemoveTopicRecord {
                topic_id,
                ..Default::default()
            })
        });
        let at = |index| Position { index, term: 1 };
        let made: Vec<_> = made.collect();
        let (with_topics, _) = Image::default().apply(at(1), &made).unwrap();
        driver.change(with_topics.clone());
        driver.change(with_topics.apply(at(2), &removed).unwrap().0);
        assert!((1..=LOOKED_AT_ONCE).contains(&driver.most_written));
        assert_eq!(offsets_left(&driver), GROUPS * 3 - driver.most_written);
        driver.pass(0);
        assert_eq!(offsets_left(&driver), 0);
        assert_eq!(driver.rung, 2, "what was left of the first topic, and the second");
        assert!(driver.most_written <= LOOKED_AT_ONCE);
        assert!(driver.timers.keys().eq([&Timer::ExpireOffsets]));
    }
}
