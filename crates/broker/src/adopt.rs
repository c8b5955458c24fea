//! Taking over the data of a stopped Apache Kafka broker that was alone: for `klamm log adopt`.
//!
//! Always holds: what will be done is known before anything is changed ([`plan`]), and what cannot be taken over is named; the
//! folder is ours only when everything else is done and durable, so that whatever ends it before leaves a folder on which
//! nothing of ours starts.
//!
//! The metadata becomes the first snapshot of our metadata log (`klamm_quorum::seed`), so that the first start is one like any
//! other.

mod metadata;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use klamm_env::Files;
use klamm_log::adopt::{self, KafkaDir};
use klamm_log::{LogError, repair};
use klamm_metadata::adopt::{AdoptError as MetadataError, Adopted, LeftOut};
use klamm_metadata::encode_decision;
use klamm_model::{TopicId, TopicPartition, Uuid};
use klamm_quorum::FileError;

use crate::features;
use crate::node::QUORUM_FOLDER;

/// Why a folder cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// A file or folder cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Our metadata log cannot be written.
    #[error(transparent)]
    Quorum(#[from] FileError),
    /// Kafka's metadata log cannot be read.
    #[error("{path}: {what}", path = path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// What the metadata says cannot be taken over.
    #[error(transparent)]
    Cluster(#[from] MetadataError),
    /// The cluster's id is none of ours.
    #[error("the cluster id '{0}' is not one that kafka-storage random-uuid makes")]
    ClusterId(String),
    /// Partitions that the metadata knows are not there.
    #[error("{count} partitions are not in the folder, {first} for instance")]
    Missing {
        /// How many.
        count: usize,
        /// One of them.
        first: TopicPartition,
    },
    /// A folder says that it is of another topic of this name.
    #[error("the folder {0} is of another topic than the metadata says")]
    OtherTopic(TopicPartition),
}

/// Where the data goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It stays, and the folder becomes ours.
    InPlace,
    /// Into this new folder; Kafka's stays as it is.
    CopyTo(PathBuf),
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// Kafka's log dir.
    pub from: PathBuf,
    /// Where the data goes.
    pub way: Way,
    /// Where our metadata log goes (`metadata.log.dir`), if not into the log dir.
    pub metadata_log_dir: Option<PathBuf>,
}

/// What will be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was found.
    pub dir: KafkaDir,
    cluster_id: Uuid,
    adopted: Adopted,
    /// The partitions that are taken over, and their bytes.
    pub partitions: BTreeMap<TopicPartition, u64>,
    /// Folders that the metadata does not know, and other folders: they are not taken over.
    pub left_folders: Vec<String>,
}

impl Plan {
    /// How many topics there are.
    pub fn topics(&self) -> usize {
        self.adopted.image.topics().len()
    }

    /// What of the metadata is not taken over, by its kind.
    pub fn left_out(&self) -> &LeftOut {
        &self.adopted.left_out
    }

    /// Features that are finalized there and not served here.
    pub fn left_features(&self) -> &[String] {
        &self.adopted.left_features
    }
}

impl Adoption {
    /// The log dir that comes out.
    pub fn target(&self) -> &Path {
        match &self.way {
            Way::InPlace => &self.from,
            Way::CopyTo(to) => to,
        }
    }
}

/// Reads what is there and decides what to do; changes nothing. Blocks.
pub fn plan(files: &dyn Files, adoption: &Adoption) -> Result<Plan, AdoptError> {
    let dir = adopt::look(files, &adoption.from)?;
    let cluster_id = dir
        .meta
        .cluster_id
        .parse::<Uuid>()
        .map_err(|_| AdoptError::ClusterId(dir.meta.cluster_id.clone()))?;
    let kafka = metadata::read(files, &adoption.from)?;
    let adopted = kafka.adopt(dir.meta.node_id, &features::initial())?;
    let mut known: BTreeMap<TopicPartition, TopicId> = klamm_metadata::adopt::partitions(&adopted.image)
        .map(|(topic, id, partition)| (TopicPartition::new(topic.name.clone(), partition), id))
        .collect();
    let mut partitions = BTreeMap::new();
    let mut left_folders = dir.others.clone();
    for found in &dir.partitions {
        match known.remove(&found.partition) {
            Some(id) if found.topic_id == Some(id) => {
                partitions.insert(found.partition.clone(), found.bytes);
            }
            Some(_) => return Err(AdoptError::OtherTopic(found.partition.clone())),
            None => left_folders.push(found.partition.to_string()),
        }
    }
    if let Some(first) = known.keys().next() {
        return Err(AdoptError::Missing {
            count: known.len(),
            first: first.clone(),
        });
    }
    Ok(Plan {
        dir,
        cluster_id,
        adopted,
        partitions,
        left_folders,
    })
}

/// Does what was planned. `owner` names this process to others; `progress` is told of bytes that are copied. Blocks.
pub fn carry_out(
    files: &Arc<dyn Files>,
    adoption: &Adoption,
    plan: &Plan,
    owner: &str,
    progress: &mut dyn FnMut(u64),
) -> Result<(), AdoptError> {
    let _from = repair::lock(&**files, &adoption.from, owner)?;
    let target = adoption.target();
    let _to = match &adoption.way {
        Way::InPlace => None,
        Way::CopyTo(to) => {
            adopt::make_target(&**files, to)?;
            let lock = repair::lock(&**files, to, owner)?;
            let partitions: BTreeSet<TopicPartition> = plan.partitions.keys().cloned().collect();
            adopt::copy(&**files, &adoption.from, to, &partitions, progress)?;
            Some(lock)
        }
    };
    let metadata = adoption.metadata_log_dir.as_deref().unwrap_or(target);
    klamm_quorum::seed(
        files.clone(),
        metadata.join(QUORUM_FOLDER),
        plan.cluster_id,
        plan.dir.meta.node_id.0,
        encode_decision(&plan.adopted.records),
    )?;
    match &adoption.way {
        Way::InPlace => adopt::in_place(&**files, target, &plan.dir.meta)?,
        Way::CopyTo(to) => adopt::finish(&**files, to, &plan.dir.meta)?,
    }
    Ok(())
}
