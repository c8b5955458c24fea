//! Opens the log dirs and finds out which cluster they belong to.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use klamm_config::BrokerConfig;
use klamm_env::{Env, Files};
use klamm_log::dir::meta::Meta;
use klamm_log::journal::Limits;
use klamm_log::{HandleCache, LogDir, LogError};
use klamm_model::{BrokerId, TopicId, TopicPartition, Uuid};
use tracing::info;

use super::{QUORUM_FOLDER, StartError};
use crate::replicas::{Committer, Store};
use crate::vitals::Vitals;

/// Segment files kept open unless the configuration says otherwise.
const OPEN_FILES: usize = 8_192;

/// The log dirs of a node.
pub(super) struct Dirs {
    pub(super) cluster_id: Uuid,
    dirs: Vec<Arc<LogDir>>,
    /// The partitions that lie in them: in which one, and of which topic.
    pub(super) found: BTreeMap<TopicPartition, (usize, Option<TopicId>)>,
}

impl Dirs {
    /// Opens all; those that are new become part of the cluster that the others belong to, or of a new one.
    pub(super) async fn open(env: &Env, config: &BrokerConfig) -> Result<Self, StartError> {
        let (files, paths) = (env.files().clone(), config.node.log_dirs.clone());
        let limit = config
            .housekeeping
            .open_files_max
            .map_or(OPEN_FILES, |limit| limit as usize);
        let node_id = config.node.id;
        let format_new = config.node.format_new_log_dirs;
        let quorum_folder = Path::new(&config.node.metadata_log_dir).join(QUORUM_FOLDER);
        let fresh: Vec<Uuid> = (0..=paths.len()).map(|_| env.random_uuid()).collect();
        env.blocking(move || {
            let handles = Arc::new(HandleCache::new(limit));
            let owner = format!("klamm, process {}", std::process::id());
            let open = |path: &String| LogDir::open(files.clone(), Path::new(path), handles.clone(), &owner);
            let dirs = paths.iter().map(open).collect::<Result<Vec<_>, LogError>>()?;
            let cluster_id = cluster_of(&dirs, node_id)?.unwrap_or(fresh[0]);
            let found = find(&dirs)?;
            let decided = has_files(&*files, &quorum_folder)?;
            check_all_there(&dirs, &found, decided, &quorum_folder, format_new)?;
            for (dir, directory_id) in dirs.iter().zip(&fresh[1..]) {
                if dir.meta().is_none() {
                    let meta = Meta {
                        cluster_id: cluster_id.to_string(),
                        node_id,
                        directory_id: *directory_id,
                    };
                    dir.format(meta)?;
                    info!(path = %dir.path().display(), cluster = %cluster_id, "log dir formatted");
                }
            }
            Ok(Self {
                cluster_id,
                dirs,
                found,
            })
        })
        .await
    }

    /// The directory ids, in order.
    pub(super) fn ids(&self) -> Vec<Uuid> {
        self.dirs
            .iter()
            .filter_map(|dir| dir.meta().map(|meta| meta.directory_id))
            .collect()
    }

    /// The dirs with a commit each; the node's failure when all have failed.
    pub(super) fn stores(&self, env: &Env, vitals: &Arc<Vitals>, limits: Limits) -> Vec<Store> {
        vitals.watch(&self.dirs);
        self.dirs
            .iter()
            .map(|dir| Store {
                dir: dir.clone(),
                committer: Committer::start(env, vitals, dir, limits),
                unopened: Default::default(),
            })
            .collect()
    }
}

fn has_files(files: &dyn Files, folder: &Path) -> Result<bool, StartError> {
    match files.read_dir(folder) {
        Ok(entries) => Ok(!entries.is_empty()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(StartError::Log(LogError::Io {
            path: folder.to_path_buf(),
            source,
        })),
    }
}

/// A disk that is not mounted leaves an empty folder behind: what was on it must not be replaced by nothing. A first start
/// that was cut short has neither decisions nor partitions yet, and goes on.
fn check_all_there(
    dirs: &[Arc<LogDir>],
    found: &BTreeMap<TopicPartition, (usize, Option<TopicId>)>,
    decided: bool,
    quorum_folder: &Path,
    format_new: bool,
) -> Result<(), StartError> {
    if let (false, Some((partition, (place, _)))) = (decided, found.first_key_value()) {
        let text = format!(
            "there is no metadata log in {}, but {partition} is in {}: is the disk of metadata.log.dir mounted?",
            quorum_folder.display(),
            dirs[*place].path().display()
        );
        return Err(StartError::Missing(text));
    }
    let unformatted = dirs.iter().find(|dir| dir.meta().is_none());
    match unformatted {
        Some(dir) if decided && !format_new => {
            let text = format!(
                "the log dir {} is empty, but the node has data elsewhere: is its disk mounted? If it is a new one, \
                 start once with --set klamm.log.dirs.unformatted=format",
                dir.path().display()
            );
            Err(StartError::Missing(text))
        }
        _ => Ok(()),
    }
}

/// The cluster that the formatted dirs belong to.
fn cluster_of(dirs: &[Arc<LogDir>], node_id: BrokerId) -> Result<Option<Uuid>, StartError> {
    let mut cluster: Option<(Uuid, &LogDir)> = None;
    for dir in dirs {
        let Some(meta) = dir.meta() else { continue };
        let path = dir.path().display();
        if meta.node_id != node_id {
            let text = format!(
                "{path} belongs to node {}, but node.id is {node_id}",
                meta.node_id
            );
            return Err(StartError::Dirs(text));
        }
        let id = meta
            .cluster_id
            .parse::<Uuid>()
            .map_err(|error| StartError::Dirs(format!("{path}: {error}")))?;
        match cluster {
            Some((other, first)) if other != id => {
                let first = first.path().display();
                let text = format!("{path} belongs to cluster {id}, but {first} to cluster {other}");
                return Err(StartError::Dirs(text));
            }
            _ => cluster = Some((id, dir)),
        }
    }
    Ok(cluster.map(|(id, _)| id))
}

fn find(dirs: &[Arc<LogDir>]) -> Result<BTreeMap<TopicPartition, (usize, Option<TopicId>)>, StartError> {
    let mut found = BTreeMap::new();
    for (place, dir) in dirs.iter().enumerate() {
        dir.remove_deleted()?;
        for folder in dir.partitions()? {
            let partition = folder.partition.to_string();
            if found.insert(folder.partition, (place, folder.topic_id)).is_some() {
                let text = format!(
                    "{partition} lies in two log dirs; one of them is {}",
                    dir.path().display()
                );
                return Err(StartError::Dirs(text));
            }
        }
    }
    Ok(found)
}
