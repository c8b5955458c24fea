//! Which brokers hold the replicas of new partitions.
//!
//! Always holds: the replicas of a partition are different brokers, the first one is unfenced, and as many racks hold one
//! as can; leaderships and replicas are spread evenly over racks and over the brokers of a rack. Fenced brokers come last in
//! their rack. The random start is an argument: equal draws, equal placement.
//!
//! Brokers stand in one row per rack, in random order. Each partition begins one rack further, takes the next broker of
//! that rack as its leader, and goes on round the racks. When every unfenced broker has led once, all rows are shuffled
//! again, so that a broker's partitions are not always shared with the same others.

use std::collections::BTreeMap;

use klamm_model::BrokerId;

use crate::image::Cluster;

/// Why partitions cannot be placed. The words are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Less than one replica.
    #[error("Invalid replication factor {0}: the replication factor must be positive.")]
    NotPositive(i16),
    /// More replicas than brokers.
    #[error(
        "The target replication factor of {wanted} cannot be reached because only {usable} broker(s) are registered or \
         some brokers have all their log directories cordoned."
    )]
    TooFewBrokers {
        /// The replicas asked for.
        wanted: i16,
        /// The brokers that could take one.
        usable: usize,
    },
    /// Nobody could lead.
    #[error("All brokers are currently fenced, or have all their log directories cordoned.")]
    AllFenced,
}

/// The brokers of one rack.
#[derive(Default)]
struct Rack {
    unfenced: Vec<BrokerId>,
    fenced: Vec<BrokerId>,
}

impl Rack {
    /// The brokers in the order of this turn: unfenced ones first, each part beginning one further each turn.
    fn row(&self, turn: usize) -> impl Iterator<Item = BrokerId> {
        rotated(&self.unfenced, turn).chain(rotated(&self.fenced, turn))
    }
}

fn rotated(brokers: &[BrokerId], turn: usize) -> impl Iterator<Item = BrokerId> {
    let start = turn % brokers.len().max(1);
    brokers[start..].iter().chain(&brokers[..start]).copied()
}

/// The replicas of `count` partitions, the preferred leader first.
pub fn place(
    cluster: &Cluster,
    count: usize,
    replication_factor: i16,
    draw: &mut dyn FnMut() -> u64,
) -> Result<Vec<Vec<BrokerId>>, PlacementError> {
    let mut racks = racks(cluster);
    let unfenced: usize = racks.iter().map(|rack| rack.unfenced.len()).sum();
    let usable = unfenced + racks.iter().map(|rack| rack.fenced.len()).sum::<usize>();
    let wanted = usize::try_from(replication_factor).unwrap_or(0);
    if wanted == 0 {
        return Err(PlacementError::NotPositive(replication_factor));
    }
    if unfenced == 0 {
        return Err(PlacementError::AllFenced);
    }
    if usable < wanted {
        return Err(PlacementError::TooFewBrokers {
            wanted: replication_factor,
            usable,
        });
    }
    let mut placed = Vec::with_capacity(count.min(klamm_model::limits::MAX_PARTITIONS_PER_REQUEST));
    for partition in 0..count {
        let turn = partition % unfenced;
        if turn == 0 {
            shuffle_all(&mut racks, draw);
        }
        placed.push(one(&racks, turn, wanted));
    }
    Ok(placed)
}

fn one(racks: &[Rack], turn: usize, wanted: usize) -> Vec<BrokerId> {
    let first = turn % racks.len();
    let in_rack = turn / racks.len();
    let mut order: Vec<usize> = (first..racks.len()).chain(0..first).collect();
    // The first rack from here on that has someone to lead.
    let leads = order.iter().position(|rack| !racks[*rack].unfenced.is_empty());
    order.rotate_left(leads.expect("a broker is unfenced"));
    let mut rows: Vec<_> = order.iter().map(|rack| racks[*rack].row(in_rack)).collect();
    let mut replicas = Vec::with_capacity(wanted);
    while replicas.len() < wanted {
        replicas.extend(rows.iter_mut().filter_map(Iterator::next));
    }
    replicas.truncate(wanted);
    replicas
}

fn racks(cluster: &Cluster) -> Vec<Rack> {
    let mut racks: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
    let usable = cluster
        .brokers()
        .filter(|broker| !broker.in_controlled_shutdown && !broker.all_cordoned());
    for broker in usable {
        let rack = racks.entry(broker.rack.as_deref()).or_default();
        if broker.fenced {
            &mut rack.fenced
        } else {
            &mut rack.unfenced
        }
        .push(broker.id);
    }
    racks.into_values().collect()
}

fn shuffle_all(racks: &mut [Rack], draw: &mut dyn FnMut() -> u64) {
    for rack in racks.iter_mut() {
        shuffle(&mut rack.unfenced, draw);
        shuffle(&mut rack.fenced, draw);
    }
    shuffle(racks, draw);
}

fn shuffle<T>(items: &mut [T], draw: &mut dyn FnMut() -> u64) {
    for last in (1..items.len()).rev() {
        items.swap(last, (draw() % (last as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::image::BrokerRegistration;

    /// Brokers with ids from 0: (rack, fenced).
    fn cluster(brokers: &[(Option<u8>, bool)]) -> Cluster {
        let mut cluster = Cluster::default();
        for (id, (rack, fenced)) in brokers.iter().enumerate() {
            let broker = BrokerRegistration {
                id: BrokerId(id as i32),
                incarnation: Default::default(),
                epoch: 1,
                endpoints: Vec::new(),
                features: BTreeMap::new(),
                rack: rack.map(|rack| rack.to_string().into()),
                fenced: *fenced,
                in_controlled_shutdown: false,
                directories: Vec::new(),
                cordoned: None,
            };
            cluster.brokers.insert(broker.id, Arc::new(broker));
        }
        cluster
    }

    fn draws(mut seed: u64) -> impl FnMut() -> u64 {
        move || {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            seed >> 33
        }
    }

    #[test]
    fn impossible_placements_are_refused() {
        let up = (None, false);
        let down = (None, true);
        let cases: &[(&[_], i16, PlacementError)] = &[
            (&[up], 0, PlacementError::NotPositive(0)),
            (&[up], -1, PlacementError::NotPositive(-1)),
            (&[up], 2, PlacementError::TooFewBrokers { wanted: 2, usable: 1 }),
            (&[down], 1, PlacementError::AllFenced),
            (&[], 1, PlacementError::AllFenced),
        ];
        for (brokers, factor, error) in cases {
            assert_eq!(place(&cluster(brokers), 1, *factor, &mut draws(1)), Err(*error));
        }
    }

    #[test]
    fn racks_and_leaderships_are_spread() {
        let racks: Vec<_> = (0..6).map(|id| (Some(id % 3), false)).collect();
        let placed = place(&cluster(&racks), 60, 3, &mut draws(7)).unwrap();
        for id in 0..6 {
            let led = placed
                .iter()
                .filter(|replicas| replicas[0] == BrokerId(id))
                .count();
            assert_eq!(led, 10, "broker {id}");
        }
        for replicas in &placed {
            let racks: BTreeSet<i32> = replicas.iter().map(|id| id.0 % 3).collect();
            assert_eq!(racks.len(), 3, "{replicas:?}");
        }
    }

    proptest! {
        #[test]
        fn replicas_are_different_brokers_and_the_first_is_unfenced(
            brokers in proptest::collection::vec((proptest::option::of(0..3u8), any::<bool>()), 1..9),
            count in 0..20usize,
            factor in 1..5i16,
            seed in any::<u64>(),
        ) {
            let cluster = cluster(&brokers);
            let Ok(placed) = place(&cluster, count, factor, &mut draws(seed)) else { return Ok(()) };
            prop_assert_eq!(placed.len(), count);
            for replicas in placed {
                prop_assert_eq!(replicas.len(), factor as usize);
                prop_assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), factor as usize);
                prop_assert!(cluster.is_unfenced(replicas[0]));
            }
        }
    }
}
