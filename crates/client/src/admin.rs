//! Administers a cluster: topics, configurations, the cluster itself.
//!
//! Always holds: what concerns several things answers for each of them; the words of a refusal are the broker's.
//!
//! Next: `admin/topics.rs`, `admin/configs.rs`, `admin/groups.rs`, `admin/cluster.rs`.

pub mod cluster;
pub mod configs;
pub mod groups;
pub mod topics;

use crate::client::Client;

/// The administration of the cluster that a client is connected to.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

impl Admin {
    /// Administers through `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.client.config().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}
