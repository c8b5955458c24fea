//! Tells the controller in which log dirs the partitions lie (KIP-858), where it does not know, or knows otherwise.
//!
//! Always holds: the last that was found of a partition is told in the end, unless the partition goes; what cannot be told for
//! the moment is told later. Nobody waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use klamm_env::Task;
use klamm_metadata::delta::LocalPartition;
use klamm_model::{BrokerId, ErrorCode, TopicId, Uuid};
use klamm_protocol::messages::AssignReplicasToDirsRequest;
use klamm_protocol::messages::assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::broker::Broker;

/// Partitions that one request tells of, as in Kafka.
const AT_ONCE: usize = 2_250;
/// The pause after a request that the controller did not take.
const PAUSE: Duration = Duration::from_millis(500);

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Assignments {
    untold: Mutex<BTreeMap<(TopicId, i32), Uuid>>,
    found: Notify,
}

impl Assignments {
    /// A partition lies in the log dir with the id `directory`.
    pub(super) fn found(&self, held: &LocalPartition, broker: BrokerId, directory: Option<Uuid>) {
        if let Some(directory) = directory.filter(|id| held.image.directory(broker) != Some(*id)) {
            self.lies_in(held.topic.id, held.partition, directory);
        }
    }

    /// The same of a partition that has moved.
    pub(super) fn lies_in(&self, topic: TopicId, partition: i32, directory: Uuid) {
        self.untold.lock().insert((topic, partition), directory);
        self.found.notify_one();
    }

    /// Tells of what is found, from now on. The broker is registered.
    pub(crate) fn tell(broker: &Arc<Broker>) -> Task<()> {
        let told = broker.clone();
        let work = async move {
            loop {
                let next = told.assignments.next();
                if next.is_empty() {
                    told.assignments.found.notified().await;
                    continue;
                }
                if let Err(code) = tell_of(&told, &next).await {
                    warn!(%code, "the controller cannot be told where partitions lie: tried again");
                    told.env.sleep(PAUSE).await;
                    continue;
                }
                told.assignments.told(&next);
            }
        };
        broker
            .vitals
            .spawn(&broker.env, "tells where partitions lie", work)
    }

    fn next(&self) -> Vec<((TopicId, i32), Uuid)> {
        let untold = self.untold.lock();
        untold.iter().take(AT_ONCE).map(|(at, id)| (*at, *id)).collect()
    }

    /// Forgets what was told, unless it is otherwise by now.
    fn told(&self, told: &[((TopicId, i32), Uuid)]) {
        let mut untold = self.untold.lock();
        for (at, directory) in told {
            if untold.get(at) == Some(directory) {
                untold.remove(at);
            }
        }
    }
}

async fn tell_of(broker: &Broker, found: &[((TopicId, i32), Uuid)]) -> Result<(), ErrorCode> {
    let request = AssignReplicasToDirsRequest {
        broker_id: broker.id.0,
        broker_epoch: broker.router.broker_epoch(),
        directories: by_directory(found),
        ..Default::default()
    };
    let response = broker.router.to_controller_as_broker(request).await?;
    match ErrorCode::from_code(response.error_code) {
        Some(ErrorCode::None) => {}
        code => return Err(code.unwrap_or(ErrorCode::UnknownServerError)),
    }
    for topic in response
        .directories
        .iter()
        .flat_map(|directory| &directory.topics)
    {
        for partition in topic
            .partitions
            .iter()
            .filter(|partition| partition.error_code != 0)
        {
            // It is gone by now.
            debug!(topic = %topic.topic_id, partition = partition.partition_index, "not assigned to its log dir");
        }
    }
    Ok(())
}

fn by_directory(found: &[((TopicId, i32), Uuid)]) -> Vec<DirectoryData> {
    let mut sorted: BTreeMap<Uuid, BTreeMap<TopicId, Vec<PartitionData>>> = BTreeMap::new();
    for ((topic, partition_index), directory) in found {
        let partitions = sorted.entry(*directory).or_default().entry(*topic).or_default();
        partitions.push(PartitionData {
            partition_index: *partition_index,
            ..Default::default()
        });
    }
    let topics = |topics: BTreeMap<TopicId, Vec<PartitionData>>| {
        let topics = topics.into_iter().map(|(topic_id, partitions)| TopicData {
            topic_id,
            partitions,
            ..Default::default()
        });
        topics.collect()
    };
    let directories = sorted.into_iter().map(|(id, of_topics)| DirectoryData {
        id,
        topics: topics(of_topics),
        ..Default::default()
    });
    directories.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_was_found_of_a_partition_is_told_and_each_once() {
        let assignments = Assignments::default();
        let (topic, one, two) = (Uuid([1; 16]), Uuid([101; 16]), Uuid([102; 16]));
        assignments.lies_in(topic, 0, one);
        assignments.lies_in(topic, 1, one);
        let first = assignments.next();
        assert_eq!(by_directory(&first)[0].topics[0].partitions.len(), 2);
        assignments.lies_in(topic, 1, two);
        assignments.told(&first);
        assert_eq!(
            assignments.next(),
            [((topic, 1), two)],
            "it moved while it was told"
        );
        for number in 0..2 * AT_ONCE as i32 {
            assignments.lies_in(topic, number, two);
        }
        assert_eq!(assignments.next().len(), AT_ONCE);
    }
}
