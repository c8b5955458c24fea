//! A producer whose records are read all or not at all by those who read what is committed.
//!
//! Always holds: of a transaction that was not committed nobody reads anything who reads only what is committed;
//! [`Transaction::commit`] that returns `Ok` was recorded by the coordinator. Another producer of the same transactional id
//! ends this one. One transaction is open at a time; one that is let go of is aborted before the next one begins.
//!
//! Next: `transaction/state.rs` decides what may be done, `transaction/verdict.rs` what an error means,
//! `transaction/calls.rs` asks the coordinators.

mod calls;
mod state;
mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use klamm_model::{Offset, TopicPartition};
use parking_lot::Mutex;

use super::identity::Identity;
use super::{Delivery, ProduceError, Producer, ProducerConfig, ProducerRecord, borrowed_headers};
use crate::client::Client;
use crate::coordinator::Coordinator;
use crate::error::ClientError;
use crate::offsets::Committer;

use calls::Calls;
use state::{Admission, Ended, Ending, State};
use verdict::{End, Step, Verdict};

/// How a transactional producer works.
#[derive(Clone, Debug)]
pub struct TransactionConfig {
    /// What it is known by: of all producers of one transactional id, the one that began last is the only one.
    pub transactional_id: String,
    /// After how long the cluster aborts a transaction that was not ended.
    pub timeout: Duration,
    /// How it sends records.
    pub producer: ProducerConfig,
}

impl TransactionConfig {
    /// The defaults, for this transactional id.
    pub fn new(transactional_id: impl Into<String>) -> Self {
        Self {
            transactional_id: transactional_id.into(),
            timeout: Duration::from_secs(60),
            producer: ProducerConfig::default(),
        }
    }
}

/// A transaction was not committed, or the producer is at its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The transaction was aborted. The producer can begin another.
    #[error("the transaction was aborted: {cause}")]
    Aborted {
        /// What failed.
        cause: ProduceError,
    },
    /// Another producer has taken the transactional id over, or the cluster has ended what was open for too long.
    #[error(
        "the producer of transactional id '{id}' was ended: another one has begun, or its transaction took longer than its timeout"
    )]
    Fenced {
        /// The transactional id.
        id: String,
    },
    /// The producer cannot go on; a transaction that is open will be aborted by the cluster after its timeout.
    #[error("the producer of transactional id '{id}' cannot go on: {cause}")]
    Fatal {
        /// The transactional id.
        id: String,
        /// What failed.
        cause: ProduceError,
    },
    /// The coordinator did not answer whether it committed.
    #[error("whether the transaction of '{id}' was committed is not known: {cause}")]
    OutcomeUnknown {
        /// The transactional id.
        id: String,
        /// What happened at the last attempt.
        cause: ClientError,
    },
}

impl TransactionError {
    /// Whether the producer can begin another transaction.
    pub fn is_abort(&self) -> bool {
        matches!(self, Self::Aborted { .. })
    }
}

/// What a transactional producer and its sender share.
#[derive(Debug)]
pub(super) struct Ledger {
    id: ByteString,
    state: Mutex<State>,
}

impl Ledger {
    /// The transactional id.
    pub(super) fn id(&self) -> &ByteString {
        &self.id
    }

    /// Under which name batches go out, if any may.
    pub(super) fn sending(&self) -> Option<Identity> {
        self.state.lock().sending()
    }

    /// Why what waits to be sent must not go out any more.
    pub(super) fn refusal(&self) -> Option<ProduceError> {
        self.state.lock().refusal()
    }

    /// The versions in which batches go out.
    pub(super) fn produce_versions(&self) -> (i16, i16) {
        self.state.lock().protocol().produce()
    }

    /// A record was not stored.
    pub(super) fn failed(&self, error: &ProduceError) {
        self.conclude(verdict::of_record(error), error);
    }

    fn conclude(&self, verdict: Verdict, error: &ProduceError) {
        let id = || self.id.to_string();
        let cause = error.clone();
        let mut state = self.state.lock();
        match verdict {
            Verdict::Abortable => state.close(Some(cause)),
            Verdict::Fenced => state.break_off(TransactionError::Fenced { id: id() }),
            Verdict::Fatal | Verdict::Unknown => state.break_off(TransactionError::Fatal { id: id(), cause }),
        }
    }
}

/// A transactional producer.
#[derive(Debug)]
pub struct TransactionalProducer {
    producer: Producer,
    calls: Calls,
    ledger: Arc<Ledger>,
    groups: Mutex<BTreeMap<String, Coordinator>>,
}

impl TransactionalProducer {
    /// A producer. Whatever an earlier one of the same transactional id has open is aborted, and waited for.
    pub async fn new(client: Client, config: TransactionConfig) -> Result<Self, TransactionError> {
        let id = config.transactional_id.clone();
        let calls = Calls::new(&client, &id, config.timeout);
        let named = async {
            let identity = calls.name(None).await?;
            Ok::<_, ClientError>(State::new(identity, calls.protocol().await?))
        };
        let state = named.await.map_err(|error| TransactionError::Fatal {
            id: id.clone(),
            cause: error.into(),
        })?;
        let ledger = Arc::new(Ledger {
            id: id.into(),
            state: Mutex::new(state),
        });
        Ok(Self {
            producer: Producer::with_ledger(client, config.producer, Some(ledger.clone())),
            calls,
            ledger,
            groups: Mutex::default(),
        })
    }

    /// Begins a transaction. One that was let go of is ended first: aborted, unless its end was asked for already.
    pub async fn begin(&mut self) -> Result<Transaction<'_>, TransactionError> {
        let left_over = self.ledger.state.lock().left_over();
        match left_over {
            Some(End::Abort) => self.abort().await?,
            Some(End::Commit) => self.commit().await?,
            None => {}
        }
        self.ledger.state.lock().begin()?;
        Ok(Transaction { producer: self })
    }

    async fn commit(&self) -> Result<(), TransactionError> {
        self.producer.flush().await;
        match self.end(End::Commit).await? {
            None => Ok(()),
            Some(cause) => {
                self.abort().await?;
                Err(TransactionError::Aborted { cause })
            }
        }
    }

    async fn abort(&self) -> Result<(), TransactionError> {
        self.ledger.state.lock().close(None);
        self.producer.shared.wake.notify_one();
        // What is on its way must have arrived: it would begin a transaction anew.
        self.producer.flush().await;
        self.end(End::Abort).await.map(drop)
    }

    /// Ends the transaction, of which nothing is on its way; why it has to be aborted instead, if it has to.
    async fn end(&self, end: End) -> Result<Option<ProduceError>, TransactionError> {
        let ending = self.ledger.state.lock().end(end)?;
        let ended = match ending {
            Ending::MustAbort(because) => return Ok(Some(because)),
            Ending::Untold => {
                let mut state = self.ledger.state.lock();
                let protocol = state.protocol();
                state.ended(None, protocol)
            }
            Ending::Tell(identity, protocol) => {
                let told = async {
                    let next = self.calls.end((identity, protocol), end).await?;
                    Ok((next, self.calls.protocol().await.unwrap_or(protocol)))
                };
                match told.await {
                    Ok((next, protocol)) => self.ledger.state.lock().ended(next, protocol),
                    Err(error) => return self.not_ended(end, error),
                }
            }
        };
        match ended {
            Ended::Continued => {}
            Ended::Renewed => self.begin_sequences(),
            Ended::NextEpoch(known) => {
                let next = self.calls.name(Some(known)).await;
                let next = next.map_err(|error| self.broken(Step::NextEpoch, error))?;
                self.ledger.state.lock().renamed(next);
                self.begin_sequences();
            }
        }
        Ok(None)
    }

    /// The coordinator did not end it; why it has to be aborted instead, if it can be.
    fn not_ended(&self, end: End, error: ClientError) -> Result<Option<ProduceError>, TransactionError> {
        let step = Step::End(end);
        if verdict::of_call(step, &error) == Verdict::Abortable {
            let cause = ProduceError::Client(error);
            self.ledger.state.lock().close(Some(cause.clone()));
            return Ok(Some(cause));
        }
        Err(self.broken(step, error))
    }

    /// The producer is at its end; as what it is told.
    fn broken(&self, step: Step, error: ClientError) -> TransactionError {
        let id = self.ledger.id.to_string();
        let told = match verdict::of_call(step, &error) {
            Verdict::Fenced => TransactionError::Fenced { id },
            Verdict::Unknown => TransactionError::OutcomeUnknown { id, cause: error },
            Verdict::Abortable | Verdict::Fatal => TransactionError::Fatal {
                id,
                cause: error.into(),
            },
        };
        self.ledger.state.lock().break_off(told.clone());
        told
    }

    /// All partitions count anew, under another name.
    fn begin_sequences(&self) {
        for queue in self.producer.shared.accumulator.lock().queues.values_mut() {
            let effect = queue.renew();
            assert_eq!(effect.done, 0, "nothing waits between transactions");
        }
    }

    /// A call failed that belongs to the open transaction.
    fn failed(&self, step: Step, error: ClientError) -> ProduceError {
        let verdict = verdict::of_call(step, &error);
        let error = ProduceError::Client(error);
        self.ledger.conclude(verdict, &error);
        self.producer.shared.wake.notify_one();
        error
    }

    /// Tells the coordinator of a partition where it has to be told.
    async fn admit(&self, partition: &TopicPartition) -> Result<(), ProduceError> {
        let admission = self.ledger.state.lock().admit(partition);
        match admission {
            Admission::Granted => Ok(()),
            Admission::Refused(error) => Err(error),
            Admission::Add(identity) => {
                let added = self.calls.add_partition(identity, partition).await;
                added.map_err(|error| self.failed(Step::AddPartition, error))?;
                self.ledger.state.lock().added(partition);
                Ok(())
            }
        }
    }

    fn group(&self, name: &str) -> Coordinator {
        let mut groups = self.groups.lock();
        let found = groups.entry(name.to_owned());
        let client = &self.producer.client;
        found
            .or_insert_with(|| Coordinator::of_group(client, name))
            .clone()
    }
}

/// An open transaction. Let go of without an end, it is aborted: when the next one begins, or after its timeout.
#[derive(Debug)]
#[must_use = "a transaction that is not committed is aborted"]
pub struct Transaction<'a> {
    producer: &'a TransactionalProducer,
}

impl Transaction<'_> {
    /// Takes a record, as [`Producer::send`] does. After an error the transaction cannot be committed any more.
    pub async fn send(&self, topic: &str, record: ProducerRecord) -> Result<Delivery, ProduceError> {
        let sent = self.take(topic, &record).await;
        if let Err(error) = &sent {
            self.producer.ledger.failed(error);
            self.producer.producer.shared.wake.notify_one();
        }
        sent
    }

    async fn take(&self, topic: &str, record: &ProducerRecord) -> Result<Delivery, ProduceError> {
        let producer = &self.producer.producer;
        let headers = borrowed_headers(record);
        let placed = producer.place(topic, record, &headers).await?;
        self.producer.admit(&placed.partition).await?;
        producer.append(placed, record, &headers).await
    }

    /// Commits what a group has read together with what was sent: `offsets` are those of the next records to be read. After
    /// an error the transaction cannot be committed any more.
    pub async fn send_offsets(
        &self,
        group: &str,
        committer: &Committer,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), ProduceError> {
        let TransactionalProducer { calls, ledger, .. } = self.producer;
        let (identity, protocol) = ledger.state.lock().admit_offsets()?;
        if protocol == state::Protocol::V1 {
            let added = calls.add_group(identity, group).await;
            added.map_err(|error| self.producer.failed(Step::AddGroup, error))?;
            ledger.state.lock().added_group();
        }
        let group = self.producer.group(group);
        let name = (identity, protocol);
        let committed = calls.commit_offsets(name, &group, committer, offsets).await;
        committed.map_err(|error| self.producer.failed(Step::CommitOffsets, error))
    }

    /// Waits until everything is stored, and commits it. On an error it is not committed, and has been aborted if that was
    /// possible; but see [`TransactionError::OutcomeUnknown`].
    pub async fn commit(self) -> Result<(), TransactionError> {
        self.producer.commit().await
    }

    /// Aborts it. What was not sent yet stays unsent.
    pub async fn abort(self) -> Result<(), TransactionError> {
        self.producer.abort().await
    }
}

#[cfg(test)]
mod tests;
