//! Opens the log dirs and finds out which cluster they belong to.

use std::io;
use std::path::Path;
use std::sync::Arc;

use klamm_config::BrokerConfig;
use klamm_env::{Env, Files};
use klamm_log::dir::FoundFuture;
use klamm_log::dir::meta::Meta;
use klamm_log::journal::Limits;
use klamm_log::{HandleCache, LogDir, LogError};
use klamm_model::{BrokerId, Uuid};
use tracing::info;

use super::{QUORUM_FOLDER, StartError};
use crate::replicas::{Committer, Found, Lying, Store};
use crate::vitals::Vitals;

/// Segment files kept open unless the configuration says otherwise.
const OPEN_FILES: usize = 8_192;

/// The log dirs of a node.
pub(super) struct Dirs {
    pub(super) cluster_id: Uuid,
    dirs: Vec<Arc<LogDir>>,
    pub(super) found: Found,
    /// Copies that were being made.
    pub(super) futures: Vec<(usize, FoundFuture)>,
}

impl Dirs {
    /// Opens all; those that are new become part of the cluster that the others belong to, or of a new one. One that cannot be
    /// used is out of service, and the others serve; unless it has the metadata log, or is the only one.
    pub(super) async fn open(env: &Env, config: &BrokerConfig) -> Result<Self, StartError> {
        let limit = config
            .housekeeping
            .open_files_max
            .map_or(OPEN_FILES, |limit| limit as usize);
        let opening = Opening {
            files: env.files().clone(),
            paths: config.node.log_dirs.clone(),
            handles: Arc::new(HandleCache::new(limit)),
            node_id: config.node.id,
            format_new: config.node.format_new_log_dirs,
            metadata_dir: config.node.metadata_log_dir.clone(),
            fresh: (0..=config.node.log_dirs.len())
                .map(|_| env.random_uuid())
                .collect(),
        };
        env.blocking(move || opening.open()).await
    }

    /// The ids of the directories that are in service, in order.
    pub(super) fn ids(&self) -> Vec<Uuid> {
        let online = self.dirs.iter().filter(|dir| dir.failure().is_none());
        online
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
                id: dir.meta().map(|meta| meta.directory_id),
                cordoned: Default::default(),
                committer: Committer::start(env, vitals, dir, limits),
                unopened: Default::default(),
            })
            .collect()
    }
}

/// What the log dirs are opened with.
struct Opening {
    files: Arc<dyn Files>,
    paths: Vec<String>,
    handles: Arc<HandleCache>,
    node_id: BrokerId,
    format_new: bool,
    metadata_dir: String,
    /// Ids for a new cluster and for new directories.
    fresh: Vec<Uuid>,
}

impl Opening {
    fn open(self) -> Result<Dirs, StartError> {
        let mut dirs = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            dirs.push(match self.open_one(path) {
                Ok(dir) => dir,
                // What is wrong with it is wrong with the device: the others do not suffer.
                Err(error @ LogError::Io { .. }) if !self.is_needed(Path::new(path)) => {
                    LogDir::out_of_service(self.files.clone(), Path::new(path), self.handles.clone(), &error)
                }
                Err(error) => return Err(error.into()),
            });
        }
        let cluster_id = cluster_of(&dirs, self.node_id)?;
        let (found, futures) = self.find(&dirs)?;
        let quorum_folder = Path::new(&self.metadata_dir).join(QUORUM_FOLDER);
        let decided = has_files(&*self.files, &quorum_folder)?;
        check_metadata(&dirs, &found, decided, &quorum_folder)?;
        if decided && !self.format_new {
            self.leave_out_unformatted(&dirs)?;
        }
        let cluster_id = cluster_id.unwrap_or(self.fresh[0]);
        for (dir, directory_id) in dirs.iter().zip(&self.fresh[1..]) {
            if dir.meta().is_none() && dir.failure().is_none() {
                self.format(dir, cluster_id, *directory_id)?;
            }
        }
        let failures: Vec<_> = dirs.iter().filter_map(|dir| dir.failure()).collect();
        if failures.len() == dirs.len() {
            let text = format!("no log dir can be used: {}", failures.join("; "));
            return Err(StartError::Dirs(text));
        }
        Ok(Dirs {
            cluster_id,
            dirs,
            found,
            futures,
        })
    }

    fn open_one(&self, path: &str) -> Result<Arc<LogDir>, LogError> {
        let owner = format!("klamm, process {}", std::process::id());
        LogDir::open(self.files.clone(), Path::new(path), self.handles.clone(), &owner)
    }

    /// Whether there is no node without the log dir.
    fn is_needed(&self, path: &Path) -> bool {
        self.paths.len() == 1 || path == Path::new(&self.metadata_dir)
    }

    /// What lies in the log dirs. One that cannot be listed is out of service.
    fn find(&self, dirs: &[Arc<LogDir>]) -> Result<(Found, Vec<(usize, FoundFuture)>), StartError> {
        let (mut found, mut futures) = (Found::new(), Vec::new());
        for (place, dir) in dirs.iter().enumerate() {
            if dir.failure().is_some() {
                continue;
            }
            let listed = dir
                .remove_deleted()
                .and_then(|_| Ok((dir.partitions()?, dir.futures()?)));
            match listed {
                Ok((folders, copies)) => {
                    for folder in folders {
                        let lying = found.entry(folder.partition).or_default();
                        lying.push(Lying {
                            place,
                            topic_id: folder.topic_id,
                            moves: folder.moves,
                        });
                    }
                    futures.extend(copies.into_iter().map(|copy| (place, copy)));
                }
                Err(error @ LogError::Io { .. }) if !self.is_needed(dir.path()) => dir.fail(&error),
                Err(error) => return Err(error.into()),
            }
        }
        Ok((found, futures))
    }

    fn format(&self, dir: &LogDir, cluster_id: Uuid, directory_id: Uuid) -> Result<(), StartError> {
        let meta = Meta {
            cluster_id: cluster_id.to_string(),
            node_id: self.node_id,
            directory_id,
        };
        match dir.format(meta) {
            Ok(()) => info!(path = %dir.path().display(), cluster = %cluster_id, "log dir formatted"),
            Err(error) if self.is_needed(dir.path()) => return Err(error.into()),
            Err(error) => dir.fail(&error),
        }
        Ok(())
    }

    /// A disk that is not mounted leaves an empty folder behind: what was on it must not be replaced by nothing. A first start
    /// that was cut short has neither decisions nor partitions yet, and goes on.
    fn leave_out_unformatted(&self, dirs: &[Arc<LogDir>]) -> Result<(), StartError> {
        let is_usable = |dir: &LogDir| dir.meta().is_some() && dir.failure().is_none();
        for dir in dirs
            .iter()
            .filter(|dir| dir.failure().is_none() && dir.meta().is_none())
        {
            let path = dir.path().display();
            let text = format!(
                "the log dir {path} is empty, but the node has data elsewhere: is its disk mounted? If it is a new one, \
                 start once with --set klamm.log.dirs.unformatted=format"
            );
            if self.is_needed(dir.path()) || !dirs.iter().any(|dir| is_usable(dir)) {
                return Err(StartError::Missing(text));
            }
            dir.fail(&text);
        }
        Ok(())
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

/// Partitions without the decisions that made them would all be strays.
fn check_metadata(
    dirs: &[Arc<LogDir>],
    found: &Found,
    decided: bool,
    quorum_folder: &Path,
) -> Result<(), StartError> {
    match found.first_key_value() {
        Some((partition, lying)) if !decided => {
            let text = format!(
                "there is no metadata log in {}, but {partition} is in {}: is the disk of metadata.log.dir mounted?",
                quorum_folder.display(),
                dirs[lying[0].place].path().display()
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
