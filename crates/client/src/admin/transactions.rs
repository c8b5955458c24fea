//! Lists, describes and aborts transactions, and finds those that nobody will end.
//!
//! Always holds: a transactional id is asked about at its own coordinator, a partition at its leader. What is aborted by its
//! transactional id is ended by the coordinator, everywhere; what is aborted in a partition is ended in this partition only,
//! behind the coordinator's back, which is right for a transaction that no coordinator knows of.
//!
//! Next: `transactions/producers.rs` for what partitions know, `transactions/hanging.rs`.

mod hanging;
mod producers;

use std::collections::BTreeSet;
use std::time::Duration;

use bytestring::ByteString;
use klamm_model::{BrokerId, ErrorCode, ProducerEpoch, ProducerId, TimestampMs, TopicPartition};
use klamm_protocol::ApiKey;
use klamm_protocol::messages::describe_transactions_request::DescribeTransactionsRequest;
use klamm_protocol::messages::describe_transactions_response::TransactionState;
use klamm_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use klamm_protocol::messages::list_transactions_request::ListTransactionsRequest;

use super::{Admin, said};
use crate::client::Target;
use crate::coordinator::Coordinator;
use crate::error::{ClientError, Refusal};
use crate::metadata::Broker;

pub use hanging::HangingTransaction;
pub use producers::ActiveProducer;

/// The first ListTransactions that filters by duration (KIP-994).
const FIRST_WITH_DURATION: i16 = 1;
/// The first ListTransactions that filters by a pattern (KIP-1152).
const FIRST_WITH_PATTERN: i16 = 2;

/// The states in which nothing is open.
const AT_REST: [&str; 4] = ["Empty", "CompleteCommit", "CompleteAbort", "Dead"];

/// Which transactions are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// Only in one of these states, in the broker's words; in any when there are none.
    pub states: Vec<String>,
    /// Only of these producers; of all when there are none.
    pub producers: Vec<ProducerId>,
    /// Only those that have been open for longer.
    pub open_for: Option<Duration>,
    /// Only those whose transactional id is wholly matched by this regular expression.
    pub pattern: Option<String>,
}

/// A transactional id, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransactionListing {
    /// The transactional id.
    pub id: String,
    /// Its state, in the broker's words.
    pub state: String,
    /// What its producer is called.
    pub producer: ProducerId,
    /// Who coordinates it.
    pub coordinator: BrokerId,
}

/// What is known of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    /// The transactional id.
    pub id: String,
    /// Its state, in the broker's words.
    pub state: String,
    /// Who coordinates it.
    pub coordinator: Broker,
    /// What its producer is called.
    pub producer: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// After how long a transaction is aborted.
    pub timeout: Duration,
    /// Since when one is open.
    pub since: Option<TimestampMs>,
    /// The partitions in which a marker is to be written when it ends.
    pub partitions: BTreeSet<TopicPartition>,
}

impl Admin {
    /// The transactional ids of all coordinators, by name.
    pub async fn list_transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Result<Vec<TransactionListing>, ClientError> {
        let mut listed = BTreeSet::new();
        let brokers: Vec<BrokerId> = self.client.cluster().brokers.keys().copied().collect();
        for broker in brokers {
            let ask = || self.list_transactions_of(broker, filter);
            listed.extend(self.client.retrying(ask).await?);
        }
        Ok(listed.into_iter().collect())
    }

    async fn list_transactions_of(
        &self,
        broker: BrokerId,
        filter: &TransactionFilter,
    ) -> Result<Vec<TransactionListing>, ClientError> {
        let api = ApiKey::ListTransactions;
        let connection = self.client.connection(Target::Broker(broker)).await?;
        let least = match filter {
            TransactionFilter { pattern: Some(_), .. } => FIRST_WITH_PATTERN,
            TransactionFilter {
                open_for: Some(_), ..
            } => FIRST_WITH_DURATION,
            _ => 0,
        };
        let version = connection.version_between::<ListTransactionsRequest>(least, i16::MAX)?;
        let open_for = filter.open_for.map(|open_for| open_for.as_millis());
        let request = ListTransactionsRequest {
            state_filters: filter.states.iter().map(|state| state.as_str().into()).collect(),
            producer_id_filters: filter.producers.iter().map(|producer| producer.0).collect(),
            duration_filter: open_for.map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX)),
            transactional_id_pattern: filter.pattern.as_deref().map(ByteString::from),
            ..ListTransactionsRequest::default()
        };
        let answer = connection.submit(version, &request).await?.answer().await?;
        Refusal::check(answer.error_code, None).map_err(|refusal| ClientError::refused(api, refusal))?;
        if let Some(state) = answer.unknown_state_filters.first() {
            let mut refusal = Refusal::new(ErrorCode::InvalidRequest);
            refusal.message = Some(format!("broker {broker} knows no state '{state}'"));
            return Err(ClientError::refused(api, refusal));
        }
        let states = answer.transaction_states.into_iter();
        // Of those that are not open, brokers take the time since 1970.
        let is_open = |state: &str| !AT_REST.contains(&state);
        let states = states.filter(|listed| filter.open_for.is_none() || is_open(&listed.transaction_state));
        let listed = states.map(|listed| TransactionListing {
            id: listed.transactional_id.to_string(),
            state: listed.transaction_state.to_string(),
            producer: ProducerId(listed.producer_id),
            coordinator: broker,
        });
        Ok(listed.collect())
    }

    /// A transactional id; or what its coordinator said instead: `TRANSACTIONAL_ID_NOT_FOUND` when there is none.
    pub async fn describe_transaction(
        &self,
        id: &str,
    ) -> Result<Result<TransactionDescription, Refusal>, ClientError> {
        let api = ApiKey::DescribeTransactions;
        let coordinator = Coordinator::of_transactions(&self.client, id);
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![id.into()],
            ..DescribeTransactionsRequest::default()
        };
        let attempt = || async {
            let answer = coordinator.call((0, i16::MAX), None, &request).await?;
            let state = answer.transaction_states.into_iter().next();
            let unanswered = || ClientError::refused(api, Refusal::new(ErrorCode::UnknownServerError));
            let state = state.ok_or_else(unanswered)?;
            coordinator.check(api, state.error_code, None)?;
            Ok(description(state, coordinator.broker().await?))
        };
        said(self.client.retrying(attempt).await)
    }

    /// Ends whatever is open of a transactional id, and keeps its producer from going on: as if another one had begun, whose
    /// transactions may take `timeout`. A transactional id that is not known is known afterwards.
    pub async fn fence_transactional_id(
        &self,
        id: &str,
        timeout: Duration,
    ) -> Result<Result<(), Refusal>, ClientError> {
        let coordinator = Coordinator::of_transactions(&self.client, id);
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            ..InitProducerIdRequest::default()
        };
        let attempt = || async {
            let answer = coordinator.call((0, i16::MAX), None, &request).await?;
            coordinator.check(ApiKey::InitProducerId, answer.error_code, None)
        };
        said(self.client.retrying(attempt).await)
    }
}

fn description(state: TransactionState, coordinator: Broker) -> TransactionDescription {
    let partitions = state.topics.iter().flat_map(|topic| {
        let indexes = topic.partitions.iter();
        indexes.map(|index| TopicPartition::new(&*topic.topic, *index))
    });
    let timeout_ms = u64::try_from(state.transaction_timeout_ms).unwrap_or_default();
    // Of the first version of transactions, the time of the last one stays.
    let is_open = !AT_REST.contains(&&*state.transaction_state) && state.transaction_start_time_ms >= 0;
    TransactionDescription {
        id: state.transactional_id.to_string(),
        state: state.transaction_state.to_string(),
        coordinator,
        producer: ProducerId(state.producer_id),
        epoch: ProducerEpoch(state.producer_epoch),
        timeout: Duration::from_millis(timeout_ms),
        since: is_open.then_some(TimestampMs(state.transaction_start_time_ms)),
        partitions: partitions.collect(),
    }
}

#[cfg(test)]
mod tests;
