//! What a heartbeat must be like, whoever coordinates its group.
//!
//! Always holds: the checks come in Kafka's order, with its words: clients and their tests look at both.

use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::assignor::Assignor;
use super::member::{LEAVE_EPOCH, STATIC_LEAVE_EPOCH};
use super::{ConsumerGroup, Refusal};
use crate::group::answer::in_words;
use crate::group::config::GroupConfig;

/// The version from which on a member makes its id (KIP-1082).
const MEMBERS_MAKE_IDS: i16 = 1;

impl Refusal {
    fn invalid(message: &str) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// The answer to a heartbeat.
    pub fn into_heartbeat(self) -> ConsumerGroupHeartbeatResponse {
        ConsumerGroupHeartbeatResponse {
            error_code: self.code.code(),
            error_message: Some(in_words(self.message)),
            ..Default::default()
        }
    }
}

impl ConsumerGroup {
    /// Whether a heartbeat may be looked at; asked before the way to its group is looked for.
    pub fn validate(
        request: &ConsumerGroupHeartbeatRequest,
        version: i16,
        config: &GroupConfig,
    ) -> Result<(), Refusal> {
        let epoch = request.member_epoch;
        if version >= MEMBERS_MAKE_IDS || epoch > 0 || epoch == LEAVE_EPOCH {
            not_blank(Some(&request.member_id), "MemberId can't be empty.")?;
        }
        not_blank(Some(&request.group_id), "GroupId can't be empty.")?;
        not_blank(request.instance_id.as_ref(), "InstanceId can't be empty.")?;
        not_blank(request.rack_id.as_ref(), "RackId can't be empty.")?;
        match epoch {
            0 => joining(request)?,
            STATIC_LEAVE_EPOCH if request.instance_id.is_none() => {
                return Err(Refusal::invalid("InstanceId can't be null."));
            }
            ..STATIC_LEAVE_EPOCH => return Err(Refusal::invalid("MemberEpoch is invalid.")),
            _ => {}
        }
        supported_assignor(request.server_assignor.as_ref(), config)
    }
}

/// A text without a character above the space is blank.
fn not_blank(text: Option<&ByteString>, message: &str) -> Result<(), Refusal> {
    if text.is_some_and(|text| text.chars().all(|c| c <= ' ')) {
        return Err(Refusal::invalid(message));
    }
    Ok(())
}

/// A member that joins, or joins again, owns nothing and says what it wants; that may be nothing.
fn joining(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let message = if request.rebalance_timeout_ms == -1 {
        "RebalanceTimeoutMs must be provided in first request."
    } else if !request.topic_partitions.as_ref().is_some_and(Vec::is_empty) {
        "TopicPartitions must be empty when (re-)joining."
    } else if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
        "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
    } else {
        return Ok(());
    };
    Err(Refusal::invalid(message))
}

fn supported_assignor(name: Option<&ByteString>, config: &GroupConfig) -> Result<(), Refusal> {
    let Some(name) = name else {
        return Ok(());
    };
    let configured = config
        .consumer_assignors
        .iter()
        .any(|assignor| name == assignor.as_str());
    if configured && Assignor::from_name(name).is_some() {
        return Ok(());
    }
    let supported = config.consumer_assignors.join(", ");
    let message = format!("ServerAssignor {name} is not supported. Supported assignors: {supported}.");
    Err(Refusal::new(ErrorCode::UnsupportedAssignor, message))
}
