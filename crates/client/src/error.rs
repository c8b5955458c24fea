//! What can go wrong, by whose fault it is.
//!
//! Always holds: every error can be shown to the one who made the call, and says what to look at; all are cheap to clone,
//! because one failure often ends many calls.

use std::time::Duration;

use bytestring::ByteString;
use klamm_model::{BrokerId, ErrorCode};
use klamm_protocol::{ApiKey, DecodeError, EncodeError};

use crate::address::HostPort;
use crate::versions::VersionError;

/// A connection could not be made, or did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// No connection came about.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where to.
        address: HostPort,
        /// What the system said.
        reason: String,
    },
    /// The connection ended before the answer came.
    #[error("the connection to {address} ended: {reason}")]
    Closed {
        /// Where to.
        address: HostPort,
        /// What ended it.
        reason: String,
    },
    /// The answer did not come in time.
    #[error("{address} did not answer {api} within {after:?}")]
    TimedOut {
        /// Where to.
        address: HostPort,
        /// What was asked.
        api: ApiKey,
        /// The time that was given.
        after: Duration,
    },
    /// The other side does not speak the protocol.
    #[error(
        "{address} does not answer as a Kafka broker does ({api}: {source}); is it one, and is this its plaintext port?"
    )]
    Decode {
        /// Where to.
        address: HostPort,
        /// What was asked.
        api: ApiKey,
        /// What is wrong with the answer.
        source: DecodeError,
    },
    /// The request cannot be said in the version that both sides have.
    #[error("{api} cannot be sent to {address}: {source}")]
    Encode {
        /// Where to.
        address: HostPort,
        /// What was to be asked.
        api: ApiKey,
        /// What is wrong with it.
        source: EncodeError,
    },
    /// The two sides have no version in common.
    #[error("{address}: {source}")]
    Version {
        /// Where to.
        address: HostPort,
        /// Both ranges.
        source: VersionError,
    },
    /// The broker refused the first request of the connection.
    #[error("{address} refused the connection: {refusal}")]
    Refused {
        /// Where to.
        address: HostPort,
        /// Its answer.
        refusal: Refusal,
    },
}

impl ConnectionError {
    /// Whether another attempt, perhaps on another broker, may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Closed { .. } | Self::TimedOut { .. } => true,
            Self::Decode { .. } | Self::Encode { .. } | Self::Version { .. } | Self::Refused { .. } => false,
        }
    }

    /// Whether the request cannot have been carried out.
    pub fn is_before_sending(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Encode { .. } | Self::Version { .. } | Self::Refused { .. } => true,
            Self::Closed { .. } | Self::TimedOut { .. } | Self::Decode { .. } => false,
        }
    }
}

/// An error code that a broker answered, with its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", code, words(.message))]
pub struct Refusal {
    /// The code.
    pub code: ErrorCode,
    /// What the broker said about it.
    pub message: Option<String>,
}

fn words(message: &Option<String>) -> String {
    message
        .as_ref()
        .map(|message| format!(": {message}"))
        .unwrap_or_default()
}

impl Refusal {
    /// `code` without further words.
    pub fn new(code: ErrorCode) -> Self {
        Self { code, message: None }
    }

    /// Reads the error code of an answer; 0 is none.
    pub fn check(code: i16, message: Option<&ByteString>) -> Result<(), Self> {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => Ok(()),
            Some(code) => Err(Self {
                code,
                message: message
                    .filter(|text| !text.is_empty())
                    .map(|text| text.to_string()),
            }),
            None => Err(Self {
                code: ErrorCode::UnknownServerError,
                message: Some(format!("the broker answered the unknown error code {code}")),
            }),
        }
    }
}

/// A call on the cluster failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// None of the known addresses answers.
    #[error("no broker can be reached: {}", listed(.tried))]
    Unreachable {
        /// Each address and what happened there.
        tried: Vec<ConnectionError>,
    },
    /// The one broker that the call had to go to failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The cluster has no such topic.
    #[error("there is no topic '{topic}'")]
    UnknownTopic {
        /// The name that was asked for.
        topic: String,
    },
    /// The topic has no such partition.
    #[error("topic '{topic}' has no partition {partition}: it has {count}, numbered from 0")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The number that was asked for.
        partition: i32,
        /// How many there are.
        count: usize,
    },
    /// The partition has no leader at the moment.
    #[error("partition {partition} of topic '{topic}' has no leader")]
    NoLeader {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The cluster has no such broker.
    #[error("the cluster has no broker {0}")]
    UnknownBroker(BrokerId),
    /// The broker answered with an error.
    #[error("{api}: {refusal}")]
    Refused {
        /// What was asked.
        api: ApiKey,
        /// The answer.
        refusal: Refusal,
    },
}

fn listed(tried: &[ConnectionError]) -> String {
    let tried: Vec<String> = tried.iter().map(ToString::to_string).collect();
    tried.join("; ")
}

impl ClientError {
    /// The answer `refusal` to a request of `api`.
    pub fn refused(api: ApiKey, refusal: Refusal) -> Self {
        Self::Refused { api, refusal }
    }

    /// Whether another attempt may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { tried } => tried.iter().any(ConnectionError::is_transient),
            Self::Connection(error) => error.is_transient(),
            Self::NoLeader { .. } => true,
            Self::UnknownTopic { .. } | Self::UnknownPartition { .. } | Self::UnknownBroker(_) => false,
            Self::Refused { refusal, .. } => refusal.code.is_retriable(),
        }
    }

    /// The error code that a broker answered, if it is that.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.code),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_refusals() {
        let text = ByteString::from("no such thing");
        let cases = [
            (0, Some(&text), None),
            (3, None, Some("UNKNOWN_TOPIC_OR_PARTITION")),
            (40, Some(&text), Some("INVALID_CONFIG: no such thing")),
            (
                999,
                None,
                Some("UNKNOWN_SERVER_ERROR: the broker answered the unknown error code 999"),
            ),
        ];
        for (code, message, shown) in cases {
            let refusal = Refusal::check(code, message)
                .err()
                .map(|refusal| refusal.to_string());
            assert_eq!(refusal.as_deref(), shown);
        }
    }
}
