//! Members that all subscribe to the same topics get the same number of partitions, but for one.
//!
//! Always holds: of what a member had, it keeps all that its share allows. So when a member goes, only its own partitions move,
//! and when one comes, it gets its share and nothing else moves.

use super::{Demand, NOBODY, Owners, index};

pub(super) fn owners(demand: &Demand<'_>) -> Owners {
    let mut owners = demand.nobody();
    let members = demand.members.len();
    if members == 0 {
        return owners;
    }
    let total: usize = demand.topics.iter().map(|topic| topic.partitions).sum();
    let share = total / members;
    let mut larger = total % members;

    let mut kept = vec![0; members];
    let mut keeps = Vec::new();
    for (member, kept) in kept.iter_mut().enumerate() {
        keeps.clear();
        keeps.extend(demand.kept(member, &owners).take(share + usize::from(larger > 0)));
        for (topic, partition) in &keeps {
            owners[*topic][*partition] = index(member);
        }
        *kept = keeps.len();
        if *kept > share {
            larger -= 1;
        }
    }

    // What nobody has kept, in order; and those whose share is not full, each of the first for one more.
    let free: Vec<(usize, usize)> = owners
        .iter()
        .enumerate()
        .flat_map(|(topic, owners)| {
            let free = owners.iter().enumerate().filter(|(_, owner)| **owner == NOBODY);
            free.map(move |(partition, _)| (topic, partition))
        })
        .collect();
    let mut free = free.into_iter();
    for (member, kept) in kept.into_iter().enumerate() {
        if kept > share {
            continue;
        }
        let more = usize::from(larger > 0);
        larger -= more;
        for (topic, partition) in free.by_ref().take(share + more - kept) {
            owners[topic][partition] = index(member);
        }
    }
    owners
}
