//! One connection for each address.
//!
//! Always holds: whoever wants a connection that is being made waits for that attempt; after a failure the next attempt
//! waits for its turn, longer after each failure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use klamm_env::Env;
use parking_lot::Mutex;

use crate::address::HostPort;
use crate::backoff;
use crate::connection::{Connection, ConnectionOptions};
use crate::error::ConnectionError;

pub(super) struct Pool {
    env: Env,
    options: ConnectionOptions,
    slots: Mutex<BTreeMap<HostPort, Arc<Slot>>>,
}

#[derive(Default)]
struct Slot {
    /// Held while a connection is made.
    turn: tokio::sync::Mutex<Failures>,
    connection: Mutex<Option<Connection>>,
}

#[derive(Default)]
struct Failures {
    count: u32,
    not_before: Duration,
}

impl Pool {
    pub(super) fn new(env: Env, options: ConnectionOptions) -> Self {
        Self {
            env,
            options,
            slots: Mutex::default(),
        }
    }

    /// The connection to `address`, if it is open.
    pub(super) fn open_connection(&self, address: &HostPort) -> Option<Connection> {
        self.slots.lock().get(address)?.open()
    }

    /// The connection to `address`, made if there is none.
    pub(super) async fn connection(&self, address: &HostPort) -> Result<Connection, ConnectionError> {
        let slot = self.slots.lock().entry(address.clone()).or_default().clone();
        if let Some(connection) = slot.open() {
            return Ok(connection);
        }
        let mut failures = slot.turn.lock().await;
        // Somebody else may have made it while this call waited.
        if let Some(connection) = slot.open() {
            return Ok(connection);
        }
        let wait = failures.not_before.saturating_sub(self.env.monotonic());
        if !wait.is_zero() {
            self.env.sleep(wait).await;
        }
        match Connection::open(&self.env, address, &self.options).await {
            Ok(connection) => {
                *failures = Failures::default();
                *slot.connection.lock() = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                failures.count += 1;
                failures.not_before = self.env.monotonic() + backoff::pause(&self.env, failures.count);
                Err(error)
            }
        }
    }
}

impl Slot {
    fn open(&self) -> Option<Connection> {
        let mut connection = self.connection.lock();
        if connection.as_ref().is_some_and(Connection::is_closed) {
            *connection = None;
        }
        connection.clone()
    }
}
