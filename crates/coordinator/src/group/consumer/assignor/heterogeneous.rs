//! Members that subscribe to different topics get as near to the same number of partitions as their subscriptions allow.
//!
//! Always holds: a member keeps what it had, unless a member with at least two partitions fewer subscribes to the topic too. What
//! is free goes to the subscriber that has least.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::{Demand, NOBODY, Owners, index};

/// How often all topics are gone through: each time the loads come nearer, and mostly the second time nothing moves.
const ROUNDS: usize = 16;

pub(super) fn owners(demand: &Demand<'_>) -> Owners {
    let subscribers = demand.subscribers();
    let mut division = Division {
        owners: demand.nobody(),
        loads: vec![0; demand.members.len()],
        subscribers: &subscribers,
    };
    for member in 0..demand.members.len() {
        let kept: Vec<_> = demand.kept(member, &division.owners).collect();
        division.loads[member] = kept.len();
        for (topic, partition) in kept {
            division.owners[topic][partition] = index(member);
        }
    }

    // Topics that leave least choice come first: those with most partitions for each subscriber.
    let mut order: Vec<usize> = (0..demand.topics.len()).collect();
    order.retain(|topic| !subscribers[*topic].is_empty());
    order.sort_by(|a, b| {
        let (partitions_a, partitions_b) = (demand.topics[*a].partitions, demand.topics[*b].partitions);
        let (members_a, members_b) = (subscribers[*a].len(), subscribers[*b].len());
        let by_share = (partitions_b * members_a).cmp(&(partitions_a * members_b));
        by_share.then(members_a.cmp(&members_b)).then(a.cmp(b))
    });
    order.iter().for_each(|topic| division.give(*topic));

    for _ in 0..ROUNDS {
        let moved: usize = order.iter().map(|topic| division.balance(*topic)).sum();
        if moved == 0 {
            break;
        }
    }
    division.owners
}

struct Division<'a> {
    owners: Owners,
    /// By member: how many partitions.
    loads: Vec<usize>,
    subscribers: &'a [Vec<usize>],
}

impl Division<'_> {
    /// Gives what nobody has of a topic.
    fn give(&mut self, topic: usize) {
        if !self.owners[topic].contains(&NOBODY) {
            return;
        }
        let loads = self.subscribers[topic]
            .iter()
            .map(|member| Reverse((self.loads[*member], *member)));
        let mut least: BinaryHeap<_> = loads.collect();
        for owner in self.owners[topic].iter_mut().filter(|owner| **owner == NOBODY) {
            let Some(Reverse((load, member))) = least.pop() else {
                return;
            };
            *owner = index(member);
            self.loads[member] = load + 1;
            least.push(Reverse((load + 1, member)));
        }
    }

    /// Moves partitions of a topic from subscribers that have most to those that have least; returns how many.
    fn balance(&mut self, topic: usize) -> usize {
        let subscribers = &self.subscribers[topic];
        let load = |member: usize| self.loads[member];
        // One that has much, but nothing of this topic, has nothing to give.
        let owners = self.owners[topic].iter().filter(|owner| **owner != NOBODY);
        let most = owners.map(|owner| load(*owner as usize)).max();
        let least = subscribers.iter().map(|member| load(*member)).min();
        if most.unwrap_or(0) <= least.unwrap_or(0) + 1 {
            return 0;
        }
        let mut partitions: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (partition, owner) in self.owners[topic].iter().enumerate() {
            if *owner != NOBODY {
                partitions.entry(*owner as usize).or_default().push(partition);
            }
        }
        let has_some = |partitions: &BTreeMap<usize, Vec<usize>>, member: usize| {
            partitions.get(&member).is_some_and(|own| !own.is_empty())
        };
        let mut all: BTreeSet<(usize, usize)> = subscribers
            .iter()
            .map(|member| (self.loads[*member], *member))
            .collect();
        // Those that can give one.
        let mut givers: BTreeSet<(usize, usize)> = all
            .iter()
            .copied()
            .filter(|(_, member)| has_some(&partitions, *member))
            .collect();
        let mut moved = 0;
        while let (Some(&(most, giver)), Some(&(least, taker))) = (givers.last(), all.first()) {
            if most <= least + 1 {
                break;
            }
            let own = partitions.get_mut(&giver);
            let partition = own.and_then(Vec::pop).expect("a giver has one");
            partitions.entry(taker).or_default().push(partition);
            self.owners[topic][partition] = index(taker);
            for (member, before, after) in [(giver, most, most - 1), (taker, least, least + 1)] {
                self.loads[member] = after;
                all.remove(&(before, member));
                all.insert((after, member));
                givers.remove(&(before, member));
                if has_some(&partitions, member) {
                    givers.insert((after, member));
                }
            }
            moved += 1;
        }
        moved
    }
}
