//! The decisions, on small clusters: a table per API with the answers that Kafka 4.4 gave, and a property over all of them.

mod brokers;
mod configs;
mod features;
mod partitions;
mod properties;
mod topics;

use klamm_config::Values;
use klamm_model::{BrokerId, Uuid};
use klamm_protocol::metadata_records::RegisterBrokerRecord;
use klamm_protocol::metadata_records::register_broker_record::BrokerFeature;

use super::*;
use crate::bootstrap;
use crate::image::{METADATA_VERSION, Position};

/// A cluster, and what decides about it.
pub(super) struct Cluster {
    pub(super) image: Image,
    pub(super) fixed: Values,
    draws: u64,
}

impl Cluster {
    /// `brokers` unfenced brokers with ids from 1 and one log dir each, at the features of Kafka 4.4.
    pub(super) fn new(brokers: i32) -> Self {
        let features = [
            (METADATA_VERSION, 33),
            ("transaction.version", 2),
            ("eligible.leader.replicas.version", 1),
        ];
        let mut cluster = Self {
            image: Image::default(),
            fixed: Values::new(),
            draws: 0,
        };
        cluster.commit(&bootstrap::records(&features, 1));
        for id in 1..=brokers {
            cluster.commit(&[broker(id, i64::from(id)).into()]);
        }
        cluster
    }

    pub(super) fn context<R>(&mut self, decide: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let draws = &mut self.draws;
        let mut draw = || {
            *draws += 1;
            draws.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7
        };
        let mut context = Context {
            image: &self.image,
            node: BrokerId(1),
            fixed: &self.fixed,
            draw: &mut draw,
        };
        decide(&mut context)
    }

    pub(super) fn commit(&mut self, records: &[MetadataRecord]) {
        let position = Position {
            index: self.image.position().index + 1,
            term: 1,
        };
        self.image = self.image.apply(position, records).unwrap().0;
    }

    /// Decides and commits.
    pub(super) fn does<R>(&mut self, decide: impl FnOnce(&mut Context<'_>) -> Decision<R>) -> R {
        let decision = self.context(decide);
        self.commit(&decision.records);
        decision.response
    }

    /// Decides and commits, in as many parts as it takes; gives their number too.
    pub(super) fn does_all<R>(
        &mut self,
        mut decide: impl FnMut(&mut Context<'_>) -> Decision<Option<R>>,
    ) -> (R, usize) {
        let mut parts = 1;
        loop {
            match self.does(&mut decide) {
                Some(response) => return (response, parts),
                None => parts += 1,
            }
        }
    }

    /// Makes a topic with these replicas.
    pub(super) fn topic(&mut self, name: &str, replicas: &[&[i32]], configs: &[(&str, &str)]) {
        use klamm_protocol::messages::create_topics_request::*;
        let assignments = replicas
            .iter()
            .zip(0..)
            .map(|(ids, number)| CreatableReplicaAssignment {
                partition_index: number,
                broker_ids: ids.to_vec(),
                ..Default::default()
            });
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..Default::default()
        });
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: assignments.collect(),
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        let response = self.does(|context| create_topics::decide(context, &request));
        assert_eq!(
            response.topics[0].error_code, 0,
            "{:?}",
            response.topics[0].error_message
        );
    }

    /// A partition as text: leader, ISR, ELR and last known ELR.
    pub(super) fn shown(&self, topic: &str, number: i32) -> String {
        let partition = self.image.partition_by_name(topic, number).unwrap();
        let ids = |ids: &[BrokerId]| {
            ids.iter()
                .map(|id| id.0.to_string())
                .collect::<Vec<_>>()
                .join(",")
        };
        let leader = partition.leader.map_or("none".to_owned(), |id| id.0.to_string());
        let mut shown = format!("leader {leader} isr {}", ids(&partition.isr));
        for (what, members) in [("elr", &partition.elr), ("last", &partition.last_known_elr)] {
            if !members.is_empty() {
                shown.push_str(&format!(" {what} {}", ids(members)));
            }
        }
        if partition.recovery != Default::default() {
            shown.push_str(" recovering");
        }
        shown
    }
}

/// The registration of an unfenced broker.
pub(super) fn broker(id: i32, epoch: i64) -> RegisterBrokerRecord {
    let feature = |name: &str, max| BrokerFeature {
        name: name.into(),
        min_supported_version: if name == METADATA_VERSION { 7 } else { 0 },
        max_supported_version: max,
        ..Default::default()
    };
    RegisterBrokerRecord {
        broker_id: id,
        broker_epoch: epoch,
        incarnation_id: Uuid([id as u8; 16]),
        features: vec![
            feature(METADATA_VERSION, 33),
            feature("transaction.version", 2),
            feature("group.version", 1),
        ],
        log_dirs: vec![Uuid([100 + id as u8; 16])],
        fenced: false,
        ..Default::default()
    }
}
