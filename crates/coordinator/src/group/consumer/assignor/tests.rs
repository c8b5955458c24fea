use std::collections::BTreeMap;

use super::*;
use klamm_model::Uuid;

fn id(number: usize) -> TopicId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&(number as u64).to_be_bytes());
    Uuid(id)
}

/// A group whose members subscribe to topics by number.
#[derive(Clone, Default)]
struct Case {
    partitions: Vec<usize>,
    members: BTreeMap<String, Vec<usize>>,
    targets: BTreeMap<String, Partitions>,
}

impl Case {
    fn new(partitions: &[usize], members: &[(&str, &[usize])]) -> Self {
        let members = members
            .iter()
            .map(|(id, topics)| ((*id).to_owned(), topics.to_vec()));
        Self {
            partitions: partitions.to_vec(),
            members: members.collect(),
            targets: BTreeMap::new(),
        }
    }

    /// Everybody subscribes to everything.
    fn homogeneous(topics: usize, partitions: usize, members: usize) -> Self {
        let all: Vec<usize> = (0..topics).collect();
        Self {
            partitions: vec![partitions; topics],
            members: (0..members)
                .map(|member| (format!("m{member:05}"), all.clone()))
                .collect(),
            targets: BTreeMap::new(),
        }
    }

    fn assign(&mut self, assignor: Assignor) {
        self.divide(assignor);
        self.check();
    }

    fn divide(&mut self, assignor: Assignor) {
        let mut subscriptions: Vec<Vec<usize>> = Vec::new();
        let members = self.members.iter().map(|(member_id, topics)| {
            let subscription = subscriptions
                .iter()
                .position(|others| others == topics)
                .unwrap_or_else(|| {
                    subscriptions.push(topics.clone());
                    subscriptions.len() - 1
                });
            Subscriber {
                member_id,
                instance_id: member_id.strip_prefix("static-").filter(|id| !id.is_empty()),
                subscription,
                target: self.targets.get(member_id).unwrap_or(&NOTHING),
            }
        });
        let members: Vec<Subscriber<'_>> = members.collect();
        let all = self.members.values().flatten();
        let subscribed: std::collections::BTreeSet<usize> = all.copied().collect();
        let topics = self.partitions.iter().enumerate();
        let topics = topics.map(|(number, partitions)| Topic {
            id: id(number),
            partitions: if subscribed.contains(&number) {
                *partitions
            } else {
                0
            },
        });
        let demand = Demand {
            topics: topics.collect(),
            subscriptions,
            members,
        };
        let targets = assignor.assign(&demand);
        self.targets = self.members.keys().cloned().zip(targets).collect();
    }

    /// Everything that somebody subscribes to has one owner, who does.
    fn check(&self) {
        let mut owners = BTreeMap::new();
        for (member, target) in &self.targets {
            for (topic, partitions) in target.iter() {
                let number = (0..self.partitions.len())
                    .find(|number| id(*number) == *topic)
                    .unwrap();
                assert!(
                    self.members[member].contains(&number),
                    "{member} has not subscribed"
                );
                for partition in partitions {
                    assert!((*partition as usize) < self.partitions[number]);
                    assert_eq!(owners.insert((number, *partition), member), None);
                }
            }
        }
        let subscribed = (0..self.partitions.len())
            .filter(|topic| self.members.values().any(|topics| topics.contains(topic)))
            .map(|topic| self.partitions[topic]);
        assert_eq!(owners.len(), subscribed.sum::<usize>());
    }

    fn loads(&self) -> Vec<usize> {
        self.targets.values().map(Partitions::len).collect()
    }

    /// Partitions that are with another member than in `before`.
    fn moved_from(&self, before: &Self) -> usize {
        let kept = |(member, target): (&String, &Partitions)| {
            let now = self.targets.get(member);
            let kept = target.iter().map(|(topic, partitions)| {
                let now = now.map_or(&[][..], |now| now.of(topic));
                partitions
                    .iter()
                    .filter(|partition| now.contains(partition))
                    .count()
            });
            kept.sum::<usize>()
        };
        let had: usize = before.loads().iter().sum();
        had - before.targets.iter().map(kept).sum::<usize>()
    }
}

fn spread(loads: &[usize]) -> usize {
    loads.iter().max().unwrap() - loads.iter().min().unwrap()
}

static NOTHING: Partitions = Partitions::NONE;

struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

#[test]
fn a_member_that_leaves_moves_its_own_partitions_only() {
    for (topics, partitions, members) in [(1, 7, 3), (10, 10, 7), (3, 5, 20), (100, 100, 100)] {
        let mut case = Case::homogeneous(topics, partitions, members);
        case.assign(Assignor::Uniform);
        assert!(spread(&case.loads()) <= 1);
        let before = case.clone();
        let (_, gone) = case.targets.pop_first().unwrap();
        case.members.pop_first().unwrap();
        case.assign(Assignor::Uniform);
        assert!(spread(&case.loads()) <= 1);
        assert_eq!(case.moved_from(&before), gone.len());
    }
}

#[test]
fn a_member_that_comes_gets_its_share_and_nothing_else_moves() {
    for (topics, partitions, members) in [(1, 7, 3), (10, 10, 7), (3, 5, 20), (100, 100, 99)] {
        let mut case = Case::homogeneous(topics, partitions, members);
        case.assign(Assignor::Uniform);
        let before = case.clone();
        case.members.insert("a-new-one".to_owned(), (0..topics).collect());
        case.assign(Assignor::Uniform);
        assert!(spread(&case.loads()) <= 1);
        assert_eq!(case.moved_from(&before), case.targets["a-new-one"].len());
    }
}

#[test]
fn an_assignment_that_is_even_stays() {
    for assignor in [Assignor::Uniform, Assignor::Range] {
        let mut case = Case::homogeneous(5, 13, 4);
        case.assign(assignor);
        let before = case.clone();
        case.assign(assignor);
        assert_eq!(case.targets, before.targets);
    }
}

#[test]
fn what_is_gone_is_not_kept() {
    let mut case = Case::homogeneous(2, 4, 2);
    case.assign(Assignor::Uniform);
    case.partitions[1] = 1;
    case.targets
        .values_mut()
        .for_each(|target| target.insert(id(9), vec![-1, 0]));
    case.assign(Assignor::Uniform);
    assert_eq!(case.loads().iter().sum::<usize>(), 5);
    assert!(spread(&case.loads()) <= 1);
}

/// No partition could go from a member to another that has at least two fewer.
fn as_even_as_can_be(case: &Case) {
    for (giver, target) in &case.targets {
        for (taker, other) in &case.targets {
            let shared = target
                .iter()
                .any(|(topic, _)| case.members[taker].iter().any(|number| id(*number) == *topic));
            assert!(
                !shared || target.len() <= other.len() + 1,
                "{giver} {} {taker} {}",
                target.len(),
                other.len()
            );
        }
    }
}

#[test]
fn members_with_different_topics_get_as_near_as_can_be() {
    // (partitions of topics, members with their topics, loads)
    type Row<'a> = (&'a [usize], &'a [(&'a str, &'a [usize])], &'a [usize]);
    let table: [Row<'_>; 5] = [
        (&[6, 3], &[("a", &[0]), ("b", &[0, 1])], &[5, 4]),
        (&[6, 3], &[("a", &[0]), ("b", &[1])], &[6, 3]),
        (
            &[1, 1, 10],
            &[("a", &[0, 1, 2]), ("b", &[2]), ("c", &[0])],
            &[6, 5, 1],
        ),
        (&[4], &[("a", &[]), ("b", &[0]), ("c", &[0])], &[0, 2, 2]),
        (&[0, 2], &[("a", &[0]), ("b", &[0, 1])], &[0, 2]),
    ];
    for (partitions, members, loads) in table {
        let mut case = Case::new(partitions, members);
        case.assign(Assignor::Uniform);
        as_even_as_can_be(&case);
        let mut sorted = (case.loads(), loads.to_vec());
        sorted.0.sort_unstable();
        sorted.1.sort_unstable();
        assert_eq!(sorted.0, sorted.1, "{members:?}");
    }
}

#[test]
fn random_groups_are_divided_evenly_whatever_happens_to_them() {
    for seed in 0..300 {
        let mut rng = Rng(seed);
        let topics = 1 + rng.below(6);
        let mut case = Case {
            partitions: (0..topics).map(|_| rng.below(12)).collect(),
            ..Case::default()
        };
        for step in 0..12 {
            match rng.below(4) {
                0 if !case.members.is_empty() => {
                    let gone = case
                        .members
                        .keys()
                        .nth(rng.below(case.members.len()))
                        .unwrap()
                        .clone();
                    case.members.remove(&gone);
                    case.targets.remove(&gone);
                }
                1 => {
                    let grown = rng.below(topics);
                    case.partitions[grown] += rng.below(5);
                }
                _ => {
                    let subscribed = (0..topics).filter(|_| rng.below(2) == 0).collect();
                    let prefix = ["", "static-"][rng.below(2)];
                    case.members.insert(format!("{prefix}{step}"), subscribed);
                }
            }
            if rng.below(5) == 0 {
                case.assign(Assignor::Range);
            }
            case.assign(Assignor::Uniform);
            as_even_as_can_be(&case);
            let before = case.clone();
            case.assign(Assignor::Uniform);
            assert_eq!(case.moved_from(&before), 0, "seed {seed}");
        }
    }
}

#[test]
fn ranges_go_by_instance_then_by_member() {
    let members: &[(&str, &[usize])] = &[
        ("b", &[0, 1, 2]),
        ("static-z", &[0, 1]),
        ("a", &[0, 1, 2]),
        ("static-y", &[0, 1, 2]),
    ];
    let mut case = Case::new(&[6, 6, 2], members);
    case.assign(Assignor::Range);
    let table: [(&str, &[&[i32]]); 4] = [
        ("static-y", &[&[0, 1], &[0, 1], &[0]]),
        ("static-z", &[&[2, 3], &[2, 3], &[]]),
        ("a", &[&[4], &[4], &[1]]),
        ("b", &[&[5], &[5], &[]]),
    ];
    for (member, topics) in table {
        for (number, partitions) in topics.iter().enumerate() {
            assert_eq!(
                case.targets[member].of(&id(number)),
                *partitions,
                "{member} {number}"
            );
        }
    }
}
