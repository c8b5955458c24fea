//! Who is to have which partitions: the rules by which the coordinator divides the topics of a group among its members.
//!
//! Always holds: each partition of a topic that somebody subscribes to goes to exactly one member that subscribes to it; a member
//! gets nothing that it does not subscribe to. The result depends on the demand alone. It takes time that grows with the number
//! of partitions, and with the number of members times that of their topics.
//!
//! Next: `assignor/uniform.rs` when all subscribe to the same, `assignor/heterogeneous.rs` when they do not, `assignor/range.rs`.

mod heterogeneous;
mod range;
mod uniform;

use klamm_model::TopicId;

use super::partitions::Partitions;

/// The rules there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// The same number of partitions for everybody, moving as few as can be.
    Uniform,
    /// Of each topic a run of partitions for everybody: partitions of the same number of several topics come together.
    Range,
}

impl Assignor {
    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// What each member is to have, in the order of the members.
    pub fn assign(self, demand: &Demand<'_>) -> Vec<Partitions> {
        let owners = match self {
            Self::Range => range::owners(demand),
            Self::Uniform if demand.is_homogeneous() => uniform::owners(demand),
            Self::Uniform => heterogeneous::owners(demand),
        };
        demand.by_member(&owners)
    }
}

/// What is to be divided, and among whom.
#[derive(Debug, Default)]
pub struct Demand<'a> {
    /// The topics that somebody subscribes to, in the order of their ids.
    pub topics: Vec<Topic>,
    /// The different subscriptions there are: which of `topics`, in order.
    pub subscriptions: Vec<Vec<usize>>,
    /// In the order of their ids.
    pub members: Vec<Subscriber<'a>>,
}

/// A topic that is to be divided.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// The number of its partitions.
    pub partitions: usize,
}

/// A member among whom topics are divided.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber<'a> {
    /// Its id.
    pub member_id: &'a str,
    /// Its instance id, when it is a static member.
    pub instance_id: Option<&'a str>,
    /// Which of the subscriptions is its own.
    pub subscription: usize,
    /// What it was to have so far.
    pub target: &'a Partitions,
}

/// By topic and partition: the member that is to have it.
type Owners = Vec<Vec<u32>>;

const NOBODY: u32 = u32::MAX;

impl Demand<'_> {
    /// Whether all subscribe to the same topics.
    fn is_homogeneous(&self) -> bool {
        self.subscriptions.len() <= 1
    }

    fn nobody(&self) -> Owners {
        let topic = |topic: &Topic| vec![NOBODY; topic.partitions];
        self.topics.iter().map(topic).collect()
    }

    fn topics_of(&self, member: usize) -> &[usize] {
        &self.subscriptions[self.members[member].subscription]
    }

    /// The members that subscribe to each topic, in order.
    fn subscribers(&self) -> Vec<Vec<usize>> {
        let mut subscribers = vec![Vec::new(); self.topics.len()];
        for member in 0..self.members.len() {
            for topic in self.topics_of(member) {
                subscribers[*topic].push(member);
            }
        }
        subscribers
    }

    /// The partitions that a member was to have so far and may keep: of topics that it subscribes to, that exist, and that nobody
    /// before it has kept.
    fn kept<'a>(&'a self, member: usize, owners: &'a Owners) -> impl Iterator<Item = (usize, usize)> + 'a {
        let subscription = self.topics_of(member);
        let known = self.members[member].target.iter();
        // It goes by what the member has, which is little, and not by what it has subscribed to.
        let wanted = known.filter_map(move |(id, partitions)| {
            let topic = self.topics.binary_search_by_key(id, |topic| topic.id).ok()?;
            subscription.binary_search(&topic).ok()?;
            Some((topic, partitions))
        });
        wanted.flat_map(move |(topic, partitions)| {
            let owners = &owners[topic];
            let partitions = partitions
                .iter()
                .filter_map(|partition| usize::try_from(*partition).ok());
            let free = move |partition: &usize| owners.get(*partition) == Some(&NOBODY);
            partitions.filter(free).map(move |partition| (topic, partition))
        })
    }

    fn by_member(&self, owners: &Owners) -> Vec<Partitions> {
        let mut members = vec![Partitions::default(); self.members.len()];
        let mut numbers: Vec<Vec<i32>> = vec![Vec::new(); self.members.len()];
        let mut touched = Vec::new();
        for (topic, owners) in self.topics.iter().zip(owners) {
            for (partition, owner) in (0_i32..).zip(owners) {
                let Some(numbers) = numbers.get_mut(*owner as usize) else {
                    continue;
                };
                if numbers.is_empty() {
                    touched.push(*owner as usize);
                }
                numbers.push(partition);
            }
            for member in touched.drain(..) {
                members[member].insert(topic.id, std::mem::take(&mut numbers[member]));
            }
        }
        members
    }
}

fn index(member: usize) -> u32 {
    u32::try_from(member).expect("a group has fewer members than that")
}

#[cfg(test)]
mod tests;
