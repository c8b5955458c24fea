//! What the coming and going of brokers does to partitions.
//!
//! Always holds: a broker that goes leaves every ISR, and leads nothing afterwards; one that comes may lead at once what
//! nobody leads. One entry of the log holds a bounded number of changes: a broker of very many partitions goes and comes in
//! several, and what it is itself changes with the last of them, so that whoever takes over in between goes on.

use klamm_config::Value;
use klamm_model::{BrokerId, TopicId, Uuid};
use klamm_protocol::metadata_records::{BrokerRegistrationChangeRecord, PartitionChangeRecord};

use super::{Context, MAX_RECORDS_PER_REQUEST};
use crate::election::{self, Election, Rules, Target};
use crate::image::{BrokerRegistration, PartitionImage, TopicImage, directory};
use crate::record::MetadataRecord;

/// Changes that are more than one entry holds: the first of them. Those of the others are found when these are applied.
#[derive(Debug)]
pub(super) struct Part(pub(super) Vec<MetadataRecord>);

/// What happens to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It is fenced, shuts down or leaves, with all that it had.
    Goes(BrokerId),
    /// It crashed: where durability is the page cache's, it may have lost what it had.
    Crashed(BrokerId),
    /// It leaves the cluster for good.
    Leaves(BrokerId),
    /// It is there.
    Comes(BrokerId),
}

impl Context<'_> {
    /// The changes of all partitions that `event` concerns.
    pub(super) fn isr_changes(&self, event: Event) -> Result<Vec<MetadataRecord>, Part> {
        self.changes(&|partition| concerns(partition, event), event)
    }

    /// The changes of the partitions whose log dir on `broker` is not among those `online`.
    pub(super) fn directories_lost(
        &self,
        broker: BrokerId,
        online: &[Uuid],
    ) -> Result<Vec<MetadataRecord>, Part> {
        let lost = |partition: &PartitionImage| {
            let directory = partition.directory(broker);
            let known = directory.filter(|id| !matches!(*id, directory::UNASSIGNED | directory::MIGRATING));
            partition.isr.contains(&broker) && known.is_some_and(|id| !online.contains(&id))
        };
        self.changes(&lost, Event::Goes(broker))
    }

    /// The change of a partition that follows from where `broker` has just said that its replica lies.
    pub(super) fn replica_found(
        &self,
        topic: &TopicImage,
        number: i32,
        partition: &PartitionImage,
        broker: BrokerId,
    ) -> Option<PartitionChangeRecord> {
        let event = match self.is_directory_online(partition, broker) {
            true if partition.leader.is_none() && self.image.cluster().is_active(broker) => {
                Event::Comes(broker)
            }
            true => return None,
            false => Event::Goes(broker),
        };
        if !concerns(partition, event) {
            return None;
        }
        let settings = (self.usual_election(topic), self.min_isr(topic));
        self.change(topic.id, number, partition, settings, event)
    }

    fn changes(
        &self,
        concerned: &dyn Fn(&PartitionImage) -> bool,
        event: Event,
    ) -> Result<Vec<MetadataRecord>, Part> {
        let mut records = Vec::new();
        for topic in self.image.topics().iter() {
            let numbered = topic.partitions.iter().enumerate();
            let mut partitions = numbered.filter(|(_, partition)| concerned(partition)).peekable();
            if partitions.peek().is_none() {
                continue;
            }
            let event = self.seen_by(topic, event);
            // The same for all partitions of a topic, and much to find out.
            let settings = (self.usual_election(topic), self.min_isr(topic));
            let changes = partitions.filter_map(|(number, partition)| {
                self.change(topic.id, number as i32, partition, settings, event)
            });
            for change in changes {
                if records.len() == MAX_RECORDS_PER_REQUEST {
                    return Err(Part(records));
                }
                records.push(change.into());
            }
        }
        Ok(records)
    }

    /// A crash loses nothing of a topic whose acknowledgements wait for the disk.
    fn seen_by(&self, topic: &TopicImage, event: Event) -> Event {
        match event {
            Event::Crashed(id) if self.is_durable(topic) => Event::Goes(id),
            event => event,
        }
    }

    fn is_durable(&self, topic: &TopicImage) -> bool {
        self.topic_value(&topic.name, "klamm.durability") == Some(Value::Text("fsync".to_owned()))
    }

    fn change(
        &self,
        topic: TopicId,
        number: i32,
        partition: &PartitionImage,
        (election, min_isr): (Election, usize),
        event: Event,
    ) -> Option<PartitionChangeRecord> {
        let (gone, come) = match event {
            Event::Goes(id) | Event::Crashed(id) | Event::Leaves(id) => (Some(id), None),
            Event::Comes(id) => (None, Some(id)),
        };
        let acceptable = |id: BrokerId| {
            Some(id) != gone
                && (Some(id) == come || self.image.cluster().is_active(id))
                && self.is_directory_online(partition, id)
        };
        let mut target = Target::same(partition);
        target.isr.retain(|member| Some(*member) != gone);
        if let Event::Crashed(id) | Event::Leaves(id) = event {
            target.crashed.push(id);
        }
        let rules = Rules {
            keeps_elr: self.image.keeps_elr(),
            min_isr,
            election,
            acceptable: &acceptable,
        };
        election::change(topic, number, partition, target, &rules)
    }

    /// The election that a topic holds when it loses its leader.
    pub(super) fn usual_election(&self, topic: &TopicImage) -> Election {
        match self.topic_flag(&topic.name, "unclean.leader.election.enable") {
            true => Election::Unclean,
            false => Election::Online,
        }
    }

    pub(super) fn rules<'a>(
        &self,
        topic: &TopicImage,
        election: Election,
        acceptable: &'a dyn Fn(BrokerId) -> bool,
    ) -> Rules<'a> {
        Rules {
            keeps_elr: self.image.keeps_elr(),
            min_isr: self.min_isr(topic),
            election,
            acceptable,
        }
    }

    /// Whether the log dir of the replica is online, as far as the broker said where it is.
    pub(super) fn is_directory_online(&self, partition: &PartitionImage, id: BrokerId) -> bool {
        let Some(broker) = self.image.cluster().broker(id) else {
            return false;
        };
        match partition.directory(id) {
            None | Some(directory::UNASSIGNED | directory::MIGRATING) => true,
            Some(directory) => broker.directories.contains(&directory),
        }
    }
}

fn concerns(partition: &PartitionImage, event: Event) -> bool {
    match event {
        Event::Goes(id) => partition.isr.contains(&id) || partition.leader == Some(id),
        Event::Crashed(id) | Event::Leaves(id) => {
            partition.isr.contains(&id) || partition.elr.contains(&id) || partition.leader == Some(id)
        }
        Event::Comes(id) => partition.leader.is_none() && partition.is_replica(id),
    }
}

/// Fences a broker: its partitions first, so that the leaders are elected while it still counts as gone.
pub(super) fn fence(context: &Context<'_>, broker: &BrokerRegistration) -> Result<Vec<MetadataRecord>, Part> {
    let mut records = context.isr_changes(Event::Goes(broker.id))?;
    records.push(
        BrokerRegistrationChangeRecord {
            fenced: 1,
            ..change_of(broker)
        }
        .into(),
    );
    Ok(records)
}

/// Lets a broker lead.
pub(super) fn unfence(
    context: &Context<'_>,
    broker: &BrokerRegistration,
) -> Result<Vec<MetadataRecord>, Part> {
    let changes = context.isr_changes(Event::Comes(broker.id))?;
    let mut records = vec![
        BrokerRegistrationChangeRecord {
            fenced: -1,
            ..change_of(broker)
        }
        .into(),
    ];
    records.extend(changes);
    Ok(records)
}

/// Takes a broker's leaderships away before it stops.
pub(super) fn begin_shutdown(
    context: &Context<'_>,
    broker: &BrokerRegistration,
) -> Result<Vec<MetadataRecord>, Part> {
    let changes = context.isr_changes(Event::Goes(broker.id))?;
    let record = BrokerRegistrationChangeRecord {
        in_controlled_shutdown: 1,
        ..change_of(broker)
    };
    let mut records = vec![record.into()];
    records.extend(changes);
    Ok(records)
}

fn change_of(broker: &BrokerRegistration) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord {
        broker_id: broker.id.0,
        broker_epoch: broker.epoch,
        ..Default::default()
    }
}
