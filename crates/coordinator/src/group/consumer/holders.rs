//! How many members have each partition, to be read or to be let go: one at most, unless somebody else has recorded otherwise.
//!
//! Always holds: nothing is counted that nobody has.

use std::collections::BTreeMap;

use klamm_model::TopicId;

use super::member::Current;

/// See the head of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Holders(BTreeMap<(TopicId, i32), u32>);

impl Holders {
    /// A member that had `before` now has `after`.
    pub(super) fn change(&mut self, before: Option<&Current>, after: Option<&Current>) {
        for partition in after.into_iter().flat_map(held) {
            *self.0.entry(partition).or_default() += 1;
        }
        for partition in before.into_iter().flat_map(held) {
            match self.0.get_mut(&partition) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    self.0.remove(&partition);
                }
            }
        }
    }

    /// Whether anybody has the partition but this member.
    pub(super) fn others_hold(&self, own: &Current, topic: &TopicId, partition: i32) -> bool {
        let holdings = [&own.assigned, &own.revoking];
        let own = holdings
            .iter()
            .filter(|holdings| holdings.since(topic, partition).is_some());
        let all = self.0.get(&(*topic, partition)).copied().unwrap_or(0);
        all as usize > own.count()
    }
}

fn held(current: &Current) -> impl Iterator<Item = (TopicId, i32)> {
    let topics = current.assigned.iter().chain(current.revoking.iter());
    topics.flat_map(|(topic, held)| held.iter().map(|held| (*topic, held.partition)))
}

#[cfg(test)]
mod tests {
    use klamm_model::Uuid;

    use super::*;
    use crate::group::consumer::{Held, Holdings};

    const TOPIC: TopicId = Uuid([1; 16]);

    fn having(assigned: &[i32], revoking: &[i32]) -> Current {
        let holdings = |partitions: &[i32]| {
            let held = partitions.iter().map(|partition| Held {
                partition: *partition,
                since: 1,
            });
            let mut holdings = Holdings::default();
            holdings.insert(TOPIC, held.collect());
            holdings
        };
        Current {
            assigned: holdings(assigned),
            revoking: holdings(revoking),
            ..Current::default()
        }
    }

    #[test]
    fn what_a_member_has_is_no_other_member_s() {
        let (one, other) = (having(&[0, 1], &[2]), having(&[3], &[]));
        let mut holders = Holders::default();
        holders.change(None, Some(&one));
        holders.change(None, Some(&other));
        let of_others = |holders: &Holders, own: &Current| -> Vec<i32> {
            let partitions = 0..5;
            partitions
                .filter(|partition| holders.others_hold(own, &TOPIC, *partition))
                .collect()
        };
        assert_eq!(of_others(&holders, &one), [3]);
        assert_eq!(of_others(&holders, &other), [0, 1, 2]);
        assert_eq!(of_others(&holders, &Current::default()), [0, 1, 2, 3]);
        let next = having(&[0, 3], &[]);
        holders.change(Some(&one), Some(&next));
        assert_eq!(of_others(&holders, &next), [3], "both have it");
        holders.change(Some(&other), None);
        assert_eq!(of_others(&holders, &next), [] as [i32; 0]);
        holders.change(Some(&next), None);
        assert_eq!(holders, Holders::default());
    }
}
