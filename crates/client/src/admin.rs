//! Administers a cluster: topics, configurations, groups, transactions, the cluster itself.
//!
//! Always holds: what concerns several things answers for each of them; the words of a refusal are the broker's.
//!
//! Next: `admin/topics.rs`, `admin/configs.rs`, `admin/groups.rs`, `admin/transactions.rs`,
//! `admin/cluster.rs`.

pub mod cluster;
pub mod configs;
pub mod groups;
pub mod topics;
pub mod transactions;

use klamm_protocol::ApiKey;

use crate::client::Client;
use crate::error::{ClientError, Refusal};

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

/// What a broker said of the thing itself, apart from not having been able to ask it.
fn said<T>(result: Result<T, ClientError>) -> Result<Result<T, Refusal>, ClientError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(ClientError::Refused { api, refusal })
            if api != ApiKey::FindCoordinator && !refusal.code.is_retriable() =>
        {
            Ok(Err(refusal))
        }
        Err(error) => Err(error),
    }
}
