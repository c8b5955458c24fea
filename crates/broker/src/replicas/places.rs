//! In which log dirs partitions are, and in which new ones are made.
//!
//! Always holds: a log dir that failed, or is cordoned while another one is not, gets no new partition.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use klamm_log::LogCell;
use klamm_model::TopicPartition;

use super::claims::Folder;
use super::partition::Partition;
use crate::broker::Broker;

/// In which log dir a partition is open.
pub(super) fn place_of(broker: &Broker, partition: &Partition) -> Option<usize> {
    let dir = partition.with(|log| log.dir().clone());
    broker
        .stores
        .iter()
        .position(|store| Arc::ptr_eq(&store.dir, &dir))
}

/// How many partitions each log dir holds, those included that a change is about to put there.
pub(super) struct Places(Vec<usize>);

impl Places {
    pub(super) fn of(broker: &Broker) -> Self {
        let mut counts = vec![0; broker.stores.len()];
        // With one there is no choice.
        if counts.len() > 1 {
            for partition in broker.replicas.partitions() {
                if let Some(place) = place_of(broker, &partition) {
                    counts[place] += 1;
                }
            }
        }
        Self(counts)
    }

    /// The log dir with the fewest partitions among those that are in service and not cordoned; where all are, the first that is
    /// in service: the cluster wants the partition here.
    fn next(&self, broker: &Broker) -> usize {
        let stores = &broker.stores;
        let mut alive = (0..self.0.len()).filter(|place| stores[*place].dir.failure().is_none());
        let open = alive
            .clone()
            .filter(|place| !stores[*place].cordoned.load(Ordering::Relaxed));
        open.min_by_key(|place| self.0[*place])
            .or_else(|| alive.next())
            .unwrap_or(0)
    }

    /// Chooses when a partition's turn has come: a log dir that failed meanwhile is not chosen any more.
    pub(super) fn choose(&mut self, folder: Folder, name: &TopicPartition, broker: &Broker) -> usize {
        let is_alive = |place: &usize| broker.stores[*place].dir.failure().is_none();
        let place = match folder {
            Folder::In(place) => place,
            Folder::New | Folder::Missing(_) => {
                let preferred = broker.moves.preferred(name).filter(is_alive);
                preferred.unwrap_or_else(|| self.next(broker))
            }
        };
        self.0[place] += 1;
        place
    }
}

/// These log dirs take no new partitions from now on, and the others do.
pub(super) fn cordon(broker: &Broker, paths: &[String]) {
    let mut is_changed = false;
    for store in &broker.stores {
        let cordoned = paths.iter().any(|path| Path::new(path) == store.dir.path());
        is_changed |= store.cordoned.swap(cordoned, Ordering::Relaxed) != cordoned;
    }
    if is_changed {
        broker.cordoned.notify_one();
    }
}
