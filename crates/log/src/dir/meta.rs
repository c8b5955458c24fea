//! `meta.properties`: whose folder this is.
//!
//! Always holds: version 1 with all four keys, as Kafka writes it since it has directory ids.

use std::path::Path;

use klamm_model::{BrokerId, Uuid};

use crate::error::LogError;

const VERSION: u32 = 1;

/// Whose folder it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The cluster.
    pub cluster_id: String,
    /// The node of the cluster.
    pub node_id: BrokerId,
    /// The folder itself: it keeps this id wherever it is mounted.
    pub directory_id: Uuid,
}

impl Meta {
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, LogError> {
        let field = |name: &str| {
            text.lines()
                .map(str::trim)
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split_once('='))
                .find(|(key, _)| key.trim() == name)
                .map(|(_, value)| value.trim())
                .ok_or_else(|| LogError::corrupt(path, format!("'{name}' is missing")))
        };
        let wrong = |name: &str| LogError::corrupt(path, format!("the value of '{name}' cannot be read"));
        let version: u32 = field("version")?.parse().map_err(|_| wrong("version"))?;
        if version > VERSION {
            return Err(LogError::NewerFormat {
                path: path.to_path_buf(),
                found: version,
                known: VERSION,
            });
        }
        Ok(Self {
            cluster_id: field("cluster.id")?.to_owned(),
            node_id: BrokerId(field("node.id")?.parse().map_err(|_| wrong("node.id"))?),
            directory_id: field("directory.id")?
                .parse()
                .map_err(|_| wrong("directory.id"))?,
        })
    }

    pub(crate) fn text(&self) -> String {
        format!(
            "version={VERSION}\ncluster.id={}\nnode.id={}\ndirectory.id={}\n",
            self.cluster_id, self.node_id, self.directory_id
        )
    }
}
