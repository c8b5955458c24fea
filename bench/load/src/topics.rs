//! The topics that a command works on: made, deleted, found, and what the broker says is in them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use klamm_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use klamm_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use klamm_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use klamm_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use klamm_protocol::messages::metadata_response::MetadataResponse;

use crate::admin::{self, Admin, check};
use crate::clock;
use crate::configs::Setting;
use crate::produce_frame::Producer;
use crate::report::{self, Stopwatch};

/// Topics in one request.
const AT_ONCE: usize = 100;
/// The wait between two looks, short beside what is measured.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);
/// Stands for the offset after the last record.
const LATEST: i64 = -1;

/// Where the broker is, and which topics of it are meant.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Where {
    /// The broker.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) bootstrap: String,
    /// The topic, or what the names of several begin with.
    #[arg(long, default_value = "load")]
    topic: String,
    /// Ask for no versions and no metadata: the bootstrap address leads, topic ids are zero, offsets are not compared.
    #[arg(long)]
    pub(crate) blind: bool,
    /// Seconds that the broker may take to show what it has promised.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    patience: f64,
}

/// Topics of one size, all led by one broker.
pub(crate) struct Topics {
    /// Their leader.
    pub(crate) leader: SocketAddr,
    /// Their ids, in the order of their names.
    pub(crate) ids: Vec<Uuid>,
    /// Partitions of each.
    pub(crate) partitions: i32,
    names: Vec<String>,
    admin: Option<Admin>,
    patience: u64,
}

impl Where {
    /// Where to connect first.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        resolve(&self.bootstrap)
    }

    /// The topic, or what the names of several begin with.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    fn patience(&self) -> u64 {
        (self.patience * clock::SECOND as f64) as u64
    }

    fn names(&self, topics: usize) -> Vec<String> {
        match topics {
            1 => vec![self.topic.clone()],
            _ => (0..topics)
                .map(|index| format!("{}-{index}", self.topic))
                .collect(),
        }
    }

    /// Finds topics that exist, and waits until each of their partitions answers.
    pub(crate) fn find(&self, topics: usize, partitions: i32) -> Result<Topics> {
        let names = self.names(topics);
        let bootstrap = self.address()?;
        if self.blind {
            return Ok(Topics {
                leader: bootstrap,
                ids: vec![Uuid::ZERO; topics],
                partitions,
                names,
                admin: None,
                patience: self.patience(),
            });
        }
        let mut admin = Admin::open(bootstrap)?;
        let metadata = metadata(&mut admin, &names)?;
        if let Some(missing) = missing(&metadata, &names, partitions) {
            bail!("{missing}");
        }
        let leader = resolve(&only_leader(&metadata)?)?;
        let found = |name: &String| {
            let topic = metadata
                .topics
                .iter()
                .find(|topic| topic.name.as_deref() == Some(name));
            topic.expect("looked for above").topic_id
        };
        let mut topics = Topics {
            leader,
            ids: names.iter().map(found).collect(),
            partitions,
            names,
            admin: Some(admin),
            patience: self.patience(),
        };
        topics.ends()?;
        Ok(topics)
    }
}

impl Topics {
    /// The name of the first.
    pub(crate) fn name(&self) -> &str {
        &self.names[0]
    }

    /// The offset after the last record of each partition, topic by topic; zeros when the broker is not asked.
    pub(crate) fn ends(&mut self) -> Result<Vec<i64>> {
        match self.admin {
            Some(_) => patiently(self.patience, "the partitions do not answer", || self.try_ends()),
            None => Ok(vec![0; self.ids.len() * usize::try_from(self.partitions)?]),
        }
    }

    /// How many records the broker says are in the topics; `None` when it is not asked.
    pub(crate) fn records(&mut self) -> Result<Option<i64>> {
        match self.admin {
            Some(_) => Ok(Some(self.ends()?.iter().sum())),
            None => Ok(None),
        }
    }

    /// Makes sure that `acknowledged` records came to the `before` that were there, no fewer and no more.
    pub(crate) fn expect(&mut self, before: Option<i64>, acknowledged: u64) -> Result<()> {
        let Some(before) = before else { return Ok(()) };
        let expected = before + i64::try_from(acknowledged)?;
        let deadline = clock::now() + self.patience;
        loop {
            let records = self.records()?.context("asked before")?;
            if records == expected {
                return Ok(());
            }
            // Fewer may be on their way to the disk; more will not go away.
            if records > expected || clock::now() > deadline {
                let came = records - before;
                bail!("{acknowledged} records were acknowledged, and the offsets say that {came} came");
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// A new idempotent producer.
    pub(crate) fn producer(&mut self) -> Result<Producer> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        let partitions = usize::try_from(self.partitions)?;
        let admin = self
            .admin
            .as_mut()
            .context("a producer id needs to be asked for")?;
        patiently(self.patience, "the broker gives no producer id", || {
            let answer = admin.call(admin::INIT_PRODUCER_ID, &request)?;
            if ErrorCode::from_code(answer.error_code).is_some_and(ErrorCode::is_retriable) {
                return Ok(None);
            }
            check(answer.error_code, || "InitProducerId".to_owned())?;
            Ok(Some(Producer {
                id: answer.producer_id,
                epoch: answer.producer_epoch,
                sequences: vec![0; partitions],
            }))
        })
    }

    /// `None` while a partition has no leader that knows.
    fn try_ends(&mut self) -> Result<Option<Vec<i64>>> {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: self
                .names
                .iter()
                .map(|name| ListOffsetsTopic {
                    name: name.as_str().into(),
                    partitions: (0..self.partitions)
                        .map(|index| ListOffsetsPartition {
                            partition_index: index,
                            current_leader_epoch: -1,
                            timestamp: LATEST,
                            ..ListOffsetsPartition::default()
                        })
                        .collect(),
                    ..ListOffsetsTopic::default()
                })
                .collect(),
            ..ListOffsetsRequest::default()
        };
        let admin = self.admin.as_mut().context("the broker is not asked")?;
        let answer = admin.call(admin::LIST_OFFSETS, &request)?;
        let mut ends = BTreeMap::new();
        for topic in &answer.topics {
            for partition in &topic.partitions {
                if ErrorCode::from_code(partition.error_code).is_some_and(ErrorCode::is_retriable) {
                    return Ok(None);
                }
                check(partition.error_code, || "ListOffsets".to_owned())?;
                ends.insert((topic.name.as_ref(), partition.partition_index), partition.offset);
            }
        }
        // In the order asked for, whatever the order of the answer.
        let all = self
            .names
            .iter()
            .flat_map(|name| (0..self.partitions).map(move |index| (name.as_str(), index)));
        let end = |key| {
            ends.get(&key)
                .copied()
                .context("ListOffsets leaves out a partition")
        };
        all.map(end).collect::<Result<_>>().map(Some)
    }
}

/// Makes `topics` topics, and waits until all have leaders if `is_patient`.
pub(crate) fn create(
    place: &Where,
    topics: usize,
    partitions: i32,
    configs: &[Setting],
    is_patient: bool,
) -> Result<()> {
    let configs: Vec<_> = configs
        .iter()
        .map(|setting| CreatableTopicConfig {
            name: setting.key.as_str().into(),
            value: Some(setting.value.as_str().into()),
            ..CreatableTopicConfig::default()
        })
        .collect();
    let names = place.names(topics);
    let mut admin = Admin::open(place.address()?)?;
    report::gate("ready")?;
    let watch = Stopwatch::start();
    let mut requests = 0;
    for names in names.chunks(AT_ONCE) {
        let request = CreateTopicsRequest {
            topics: names
                .iter()
                .map(|name| CreatableTopic {
                    name: name.as_str().into(),
                    num_partitions: partitions,
                    replication_factor: -1,
                    configs: configs.clone(),
                    ..CreatableTopic::default()
                })
                .collect(),
            timeout_ms: 60_000,
            ..CreateTopicsRequest::default()
        };
        let answer = admin.call(admin::CREATE_TOPICS, &request)?;
        requests += 1;
        for topic in &answer.topics {
            check(topic.error_code, || format!("cannot create {}", topic.name))?;
        }
        if answer.topics.len() != names.len() {
            bail!("{} of {} topics are answered", answer.topics.len(), names.len());
        }
    }
    for names in names.chunks(AT_ONCE).filter(|_| is_patient) {
        patiently(place.patience(), "topics have no leaders", || {
            let metadata = metadata(&mut admin, names)?;
            requests += 1;
            Ok(missing(&metadata, names, partitions).is_none().then_some(()))
        })?;
    }
    report::say(&watch.stop(requests))
}

/// Deletes `topics` topics.
pub(crate) fn delete(place: &Where, topics: usize) -> Result<()> {
    let names = place.names(topics);
    let mut admin = Admin::open(place.address()?)?;
    report::gate("ready")?;
    let watch = Stopwatch::start();
    let mut requests = 0;
    for names in names.chunks(AT_ONCE) {
        let request = DeleteTopicsRequest {
            topics: names
                .iter()
                .map(|name| DeleteTopicState {
                    name: Some(name.as_str().into()),
                    ..DeleteTopicState::default()
                })
                .collect(),
            timeout_ms: 60_000,
            ..DeleteTopicsRequest::default()
        };
        let answer = admin.call(admin::DELETE_TOPICS, &request)?;
        requests += 1;
        for topic in &answer.responses {
            let name = topic.name.as_deref().unwrap_or_default();
            check(topic.error_code, || format!("cannot delete {name}"))?;
        }
        if answer.responses.len() != names.len() {
            bail!(
                "{} of {} topics are answered",
                answer.responses.len(),
                names.len()
            );
        }
    }
    report::say(&watch.stop(requests))
}

fn metadata(admin: &mut Admin, names: &[String]) -> Result<MetadataResponse> {
    let request = MetadataRequest {
        topics: Some(
            names
                .iter()
                .map(|name| MetadataRequestTopic {
                    name: Some(name.as_str().into()),
                    ..MetadataRequestTopic::default()
                })
                .collect(),
        ),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    admin.call(admin::METADATA, &request)
}

/// What is wrong with the topics of these names, if anything is.
fn missing(metadata: &MetadataResponse, names: &[String], partitions: i32) -> Option<String> {
    names.iter().find_map(|name| {
        let mut well = metadata.topics.iter().filter(|topic| topic.error_code == 0);
        let Some(topic) = well.find(|topic| topic.name.as_deref() == Some(name)) else {
            return Some(format!("there is no topic {name}"));
        };
        let count = topic.partitions.len();
        if i32::try_from(count) != Ok(partitions) {
            return Some(format!("{name} has {count} partitions, not {partitions}"));
        }
        let mut partitions = topic.partitions.iter();
        let led = partitions.all(|partition| partition.error_code == 0 && partition.leader_id >= 0);
        (!led).then(|| format!("{name} has a partition without a leader"))
    })
}

/// The address of the broker that leads all partitions: this program drives one broker.
fn only_leader(metadata: &MetadataResponse) -> Result<String> {
    let mut partitions = metadata.topics.iter().flat_map(|topic| &topic.partitions);
    let leader = partitions.next().context("no partition")?.leader_id;
    if partitions.any(|partition| partition.leader_id != leader) {
        bail!("several brokers lead these partitions, and this program drives one");
    }
    let broker = metadata.brokers.iter().find(|broker| broker.node_id == leader);
    let broker = broker.with_context(|| format!("the leader {leader} has no address"))?;
    Ok(format!("{}:{}", broker.host, broker.port))
}

fn resolve(address: &str) -> Result<SocketAddr> {
    let mut found = address
        .to_socket_addrs()
        .with_context(|| format!("cannot resolve {address}"))?;
    found.next().ok_or_else(|| anyhow!("{address} has no address"))
}

/// Looks until there is something to see.
fn patiently<T>(patience: u64, otherwise: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = clock::now() + patience;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if clock::now() > deadline {
            bail!("{otherwise}");
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}
