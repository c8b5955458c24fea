//! Of each topic each subscriber gets a run of partitions, in the order of the members.
//!
//! Always holds: static members come first, by their instance ids, then the others by their ids; so a static member gets the same
//! runs again when it comes back under another id. The runs of a topic differ in length by one at most, the longer ones first.

use super::{Demand, Owners, index};

pub(super) fn owners(demand: &Demand<'_>) -> Owners {
    let mut order: Vec<usize> = (0..demand.members.len()).collect();
    order.sort_by_key(|member| {
        let member = &demand.members[*member];
        match member.instance_id {
            Some(instance_id) => (0, instance_id),
            None => (1, member.member_id),
        }
    });
    let mut subscribers = vec![0; demand.topics.len()];
    for member in &order {
        demand
            .topics_of(*member)
            .iter()
            .for_each(|topic| subscribers[*topic] += 1);
    }
    let mut owners = demand.nobody();
    // By topic: how many subscribers have come, and where the next run begins.
    let mut next = vec![(0, 0); demand.topics.len()];
    for member in &order {
        for topic in demand.topics_of(*member) {
            let partitions = &mut owners[*topic];
            let (before, start) = next[*topic];
            if start == partitions.len() {
                continue;
            }
            let longer = before < partitions.len() % subscribers[*topic];
            let end = start + partitions.len() / subscribers[*topic] + usize::from(longer);
            partitions[start..end].fill(index(*member));
            next[*topic] = (before + 1, end);
        }
    }
    owners
}
