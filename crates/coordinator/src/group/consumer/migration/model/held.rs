//! What must hold of the clients of this model: at any time, and when all go on undisturbed for a while.

use super::*;

impl World {
    pub(super) fn check(&self) {
        let mut readers: BTreeMap<Partition, usize> = BTreeMap::new();
        for (number, client) in &self.clients {
            for partition in &client.reads {
                if let Some(other) = readers.insert(*partition, *number) {
                    panic!(
                        "{partition:?} is read by {other} and {number}\n{:#?}\n{:#?}",
                        self.clients, self.driver.shard.groups
                    );
                }
            }
        }
    }

    /// Everybody goes on for a while, and nothing else happens.
    pub(super) fn settle(&mut self, seconds: usize) {
        self.is_calm = true;
        for client in self.clients.values_mut() {
            client.busy_until = 0;
        }
        for _ in 0..seconds {
            for number in self.numbers() {
                self.turn(number);
            }
            self.pass(1_000);
        }
        let topics: BTreeSet<&str> = self
            .clients
            .values()
            .flat_map(|client| client.topics.clone())
            .collect();
        let wanted: BTreeSet<Partition> = TOPICS
            .into_iter()
            .filter(|(name, _)| topics.contains(name))
            .flat_map(|(name, _)| (0..self.partitions_of(name)).map(move |partition| (name, partition)))
            .collect();
        let read: BTreeSet<Partition> = self
            .clients
            .values()
            .flat_map(|client| client.reads.clone())
            .collect();
        assert_eq!(
            read, wanted,
            "{:#?}\n{:#?}",
            self.clients, self.driver.shard.groups
        );
    }
}
