//! The way to the broker that coordinates one group, or the transactions of one transactional id.
//!
//! Always holds: a coordinator that says that it is none any more, or whose connection fails, is looked up again at the next
//! call. A member's requests have a connection of their own, because a broker answers a JoinGroup when the others have
//! joined, and everything behind it on the same connection waits.
//!
//! Next: [`crate::offsets`] for what a group has committed, [`crate::group`] for its members,
//! [`crate::producer::transaction`] for transactions.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use klamm_model::{BrokerId, ErrorCode};
use klamm_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use klamm_protocol::messages::find_coordinator_response::FindCoordinatorResponse;
use klamm_protocol::{ApiKey, Request};
use parking_lot::Mutex;

use crate::address::HostPort;
use crate::client::{Client, Target};
use crate::connection::{Connection, ConnectionOptions};
use crate::error::{ClientError, Refusal};
use crate::metadata::Broker;

/// What a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyType {
    Group = 0,
    Transaction = 1,
}

/// The first FindCoordinator that asks for something else than groups.
const FIRST_WITH_KEY_TYPES: i16 = 1;
/// The first FindCoordinator that asks for several keys at once.
const FIRST_WITH_MANY_KEYS: i16 = 4;

/// The way to a coordinator.
#[derive(Clone, Debug)]
pub(crate) struct Coordinator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    key: ByteString,
    key_type: KeyType,
    /// Whether the connection is not the client's.
    is_apart: bool,
    found: Mutex<Option<Found>>,
}

#[derive(Clone, Debug)]
struct Found {
    broker: Broker,
    /// Made when it is needed; only where it is not the client's.
    connection: Option<Connection>,
}

impl Coordinator {
    /// That of a group, on the client's connections.
    pub(crate) fn of_group(client: &Client, group: &str) -> Self {
        Self::with(client, KeyType::Group, group, false)
    }

    /// That of a group, on a connection of its own.
    pub(crate) fn of_group_apart(client: &Client, group: &str) -> Self {
        Self::with(client, KeyType::Group, group, true)
    }

    /// That of a transactional id, on the client's connections.
    pub(crate) fn of_transactions(client: &Client, transactional_id: &str) -> Self {
        Self::with(client, KeyType::Transaction, transactional_id, false)
    }

    fn with(client: &Client, key_type: KeyType, key: &str, is_apart: bool) -> Self {
        let shared = Shared {
            client: client.clone(),
            key: key.into(),
            key_type,
            is_apart,
            found: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The client.
    pub(crate) fn client(&self) -> &Client {
        &self.shared.client
    }

    /// The group, or the transactional id.
    pub(crate) fn key(&self) -> &ByteString {
        &self.shared.key
    }

    /// Looks the coordinator up again at the next call, and connects again.
    pub(crate) fn forget(&self) {
        *self.shared.found.lock() = None;
    }

    /// Who coordinates: as it is known, or asked for once.
    pub(crate) async fn broker(&self) -> Result<Broker, ClientError> {
        if let Some(found) = &*self.shared.found.lock() {
            return Ok(found.broker.clone());
        }
        let broker = self.find().await?;
        *self.shared.found.lock() = Some(Found {
            broker: broker.clone(),
            connection: None,
        });
        Ok(broker)
    }

    /// The connection to the coordinator.
    pub(crate) async fn connection(&self) -> Result<Connection, ClientError> {
        let broker = self.broker().await?;
        let connected = match self.shared.is_apart {
            false => self.client().connection_at(&broker.address).await,
            true => self.own_connection(&broker.address).await,
        };
        connected.inspect_err(|_| self.forget())
    }

    async fn own_connection(&self, address: &HostPort) -> Result<Connection, ClientError> {
        let known = self
            .shared
            .found
            .lock()
            .as_ref()
            .and_then(|found| found.connection.clone());
        if let Some(connection) = known.filter(|connection| !connection.is_closed()) {
            return Ok(connection);
        }
        let config = self.client().config();
        let options = ConnectionOptions {
            client_id: config.client_id.clone(),
            connect_timeout: config.connect_timeout,
            request_timeout: config.request_timeout,
        };
        let connection = Connection::open(self.client().env(), address, &options).await?;
        if let Some(found) = &mut *self.shared.found.lock() {
            found.connection = Some(connection.clone());
        }
        Ok(connection)
    }

    /// Sends `request` in a version between `least` and `most`, once; the answer may take `limit`.
    pub(crate) async fn call<R: Request>(
        &self,
        versions: (i16, i16),
        limit: Option<Duration>,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let connection = self.connection().await?;
        let version = connection.version_between::<R>(versions.0, versions.1)?;
        let answered = async {
            let pending = connection.submit(version, request).await?;
            match limit {
                Some(limit) => pending.answer_within(limit).await,
                None => pending.answer().await,
            }
        };
        Ok(answered.await.inspect_err(|_| self.forget())?)
    }

    /// What `code` in an answer to `api` says; one about the coordinator itself makes it be looked up again.
    pub(crate) fn check(
        &self,
        api: ApiKey,
        code: i16,
        message: Option<&ByteString>,
    ) -> Result<(), ClientError> {
        Refusal::check(code, message).map_err(|refusal| {
            if is_about_coordinator(refusal.code) {
                self.forget();
            }
            ClientError::refused(api, refusal)
        })
    }

    async fn find(&self) -> Result<Broker, ClientError> {
        let connection = self.client().connection(Target::Any).await?;
        let key_type = self.shared.key_type;
        let least = match key_type {
            KeyType::Group => 0,
            KeyType::Transaction => FIRST_WITH_KEY_TYPES,
        };
        let version = connection.version_between::<FindCoordinatorRequest>(least, i16::MAX)?;
        let mut request = FindCoordinatorRequest {
            key_type: key_type as i8,
            ..FindCoordinatorRequest::default()
        };
        if version >= FIRST_WITH_MANY_KEYS {
            request.coordinator_keys.push(self.key().clone());
        } else {
            request.key = self.key().clone();
        }
        let answer = connection.submit(version, &request).await?.answer().await?;
        found(answer).map_err(|refusal| ClientError::refused(ApiKey::FindCoordinator, refusal))
    }
}

/// Whether `code` says that another broker coordinates, or none at the moment.
fn is_about_coordinator(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable
    )
}

/// The first coordinator that the answer names, in either of its forms.
fn found(answer: FindCoordinatorResponse) -> Result<Broker, Refusal> {
    let (code, message, node, host, port) = match answer.coordinators.into_iter().next() {
        Some(first) => (
            first.error_code,
            first.error_message,
            first.node_id,
            first.host,
            first.port,
        ),
        None => (
            answer.error_code,
            answer.error_message,
            answer.node_id,
            answer.host,
            answer.port,
        ),
    };
    Refusal::check(code, message.as_ref())?;
    let unusable = || Refusal::new(ErrorCode::CoordinatorNotAvailable);
    let port = u16::try_from(port).map_err(|_| unusable())?;
    if node < 0 || host.is_empty() {
        return Err(unusable());
    }
    Ok(Broker {
        id: BrokerId(node),
        address: HostPort {
            host: host.to_string(),
            port,
        },
        rack: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_protocol::messages::find_coordinator_response::Coordinator as Answered;

    #[test]
    fn both_forms_of_the_answer_name_a_broker() {
        let old = FindCoordinatorResponse {
            node_id: 3,
            host: "a".into(),
            port: 9092,
            ..FindCoordinatorResponse::default()
        };
        let new = |error: ErrorCode, port| FindCoordinatorResponse {
            coordinators: vec![Answered {
                node_id: 4,
                host: "b".into(),
                port,
                error_code: error.code(),
                ..Answered::default()
            }],
            ..FindCoordinatorResponse::default()
        };
        let unavailable = Err(ErrorCode::CoordinatorNotAvailable);
        let cases = [
            (old, Ok((3, "a:9092".to_owned()))),
            (new(ErrorCode::None, 1), Ok((4, "b:1".to_owned()))),
            (new(ErrorCode::None, -1), unavailable.clone()),
            (new(ErrorCode::CoordinatorNotAvailable, 1), unavailable.clone()),
            (FindCoordinatorResponse::default(), unavailable),
        ];
        for (answer, expected) in cases {
            let seen = found(answer).map(|broker| (broker.id.0, broker.address.to_string()));
            assert_eq!(seen.map_err(|refusal| refusal.code), expected);
        }
    }
}
