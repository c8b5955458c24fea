//! The task of a producer: groups what may go out by leader, sends it, and tells the queues what was answered.
//!
//! Always holds: requests to one broker leave in the order in which their batches were taken from the queues; nothing here
//! waits for a broker, so one that is slow does not keep the others. The task ends when the producer is dropped and
//! everything is done. Of a transaction that has failed nothing more is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use klamm_env::Env;
use klamm_model::{BrokerId, ProducerEpoch, ProducerId, TopicId, TopicPartition};
use klamm_protocol::ApiKey;
use klamm_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use klamm_protocol::messages::produce_request::ProduceRequest;
use klamm_protocol::messages::produce_response::ProduceResponse;
use tokio::sync::mpsc;

use super::identity::Identity;
use super::outcome::ProduceError;
use super::queue::{Answer, Effect};
use super::request::{self, LAST_VERSION_WITH_NAMES, Sent};
use super::{Accumulator, Shared};
use crate::backoff;
use crate::client::{Client, Target};
use crate::connection::{Connection, Pending};
use crate::error::{ClientError, ConnectionError, Refusal};

/// Requests in flight to one broker.
const REQUESTS_IN_FLIGHT: usize = 5;
/// Events that wait to be handled; more make the tasks that report them wait.
const EVENTS: usize = 256;
/// How long the task sleeps when nothing at all is due.
const IDLE: Duration = Duration::from_secs(60);

/// What happened elsewhere.
enum Event {
    Answered {
        broker: BrokerId,
        sent: Vec<Sent>,
        result: Result<ProduceResponse, ConnectionError>,
    },
    Connected(BrokerId, Result<Connection, ClientError>),
    Refreshed,
    Named(Result<Identity, ClientError>),
}

/// How the producer gets its name.
enum Naming {
    /// It has none, and nobody asks.
    Unnamed,
    /// It was asked for.
    Asked,
    Named(Identity),
    /// It must be asked for anew once nothing is in flight.
    Renewing,
}

/// The task.
pub(super) struct Sender {
    client: Client,
    env: Env,
    shared: Arc<Shared>,
    events: mpsc::Receiver<Event>,
    reports: mpsc::Sender<Event>,
    naming: Naming,
    in_flight: BTreeMap<BrokerId, usize>,
    connecting: BTreeSet<BrokerId>,
    /// Brokers that could not be reached, until when they are left alone.
    resting: BTreeMap<BrokerId, Duration>,
    is_refreshing: bool,
    must_refresh: bool,
}

impl Sender {
    pub(super) fn new(client: Client, shared: Arc<Shared>) -> Self {
        let (reports, events) = mpsc::channel(EVENTS);
        Self {
            env: client.env().clone(),
            client,
            shared,
            events,
            reports,
            naming: Naming::Unnamed,
            in_flight: BTreeMap::new(),
            connecting: BTreeSet::new(),
            resting: BTreeMap::new(),
            is_refreshing: false,
            must_refresh: false,
        }
    }

    pub(super) async fn run(mut self) {
        let shared = self.shared.clone();
        loop {
            let now = self.env.monotonic();
            self.expire(now);
            self.drop_refused();
            if let Some(identity) = self.identity() {
                self.dispatch(identity, now).await;
            }
            self.refresh();
            let Some(pause) = self.pause(now) else { return };
            tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return,
                },
                () = shared.wake.notified() => {}
                () = self.env.sleep(pause) => {}
            }
        }
    }

    /// How long nothing is due that was not due `then`, when batches were sent; `None` when the producer is gone and
    /// everything is done. What has become due since must not be passed over: nothing else would wake the task.
    fn pause(&self, then: Duration) -> Option<Duration> {
        let accumulator = self.shared.accumulator.lock();
        if accumulator.is_closed && accumulator.queues.values().all(|queue| queue.is_idle()) {
            return None;
        }
        let queues = accumulator
            .queues
            .values()
            .filter_map(|queue| queue.next_due(then));
        let rests = self.resting.values().copied().filter(|until| *until > then);
        let due = queues.chain(rests).min();
        Some(due.map_or(IDLE, |due| due.saturating_sub(self.env.monotonic())))
    }

    fn expire(&mut self, now: Duration) {
        let mut accumulator = self.shared.accumulator.lock();
        let (mut effect, mut failure) = (Effect::default(), None);
        for queue in accumulator.queues.values_mut() {
            effect = plus(effect, queue.expire(now));
            failure = failure.or(queue.take_failure());
        }
        drop(accumulator);
        self.failed(failure);
        self.apply(effect);
    }

    /// A failure ends the transaction that it belongs to.
    fn failed(&self, failure: Option<ProduceError>) {
        if let (Some(ledger), Some(failure)) = (&self.shared.ledger, failure) {
            ledger.failed(&failure);
        }
    }

    /// Fails what waits in a transaction that nothing more is sent of.
    fn drop_refused(&self) {
        let ledger = self.shared.ledger.as_ref();
        if let Some(refusal) = ledger.and_then(|ledger| ledger.refusal()) {
            self.fail_all(&refusal);
        }
    }

    /// The producer's name. Without one, it is asked for, if there is something to send.
    fn identity(&mut self) -> Option<Identity> {
        if let Some(ledger) = &self.shared.ledger {
            return ledger.sending();
        }
        let mut accumulator = self.shared.accumulator.lock();
        if let Naming::Renewing = self.naming {
            if !accumulator.queues.values().all(|queue| queue.is_settled()) {
                return None;
            }
            let mut effect = Effect::default();
            for queue in accumulator.queues.values_mut() {
                effect = plus(effect, queue.renew());
            }
            self.naming = Naming::Unnamed;
            drop(accumulator);
            self.count(effect);
            accumulator = self.shared.accumulator.lock();
        }
        match self.naming {
            Naming::Named(identity) => Some(identity),
            Naming::Unnamed if accumulator.queues.values().any(|queue| !queue.is_idle()) => {
                drop(accumulator);
                self.naming = Naming::Asked;
                let client = self.client.clone();
                self.report(async move { Event::Named(ask_for_name(&client).await) });
                None
            }
            Naming::Unnamed | Naming::Asked | Naming::Renewing => None,
        }
    }

    /// Sends what may go out.
    async fn dispatch(&mut self, identity: Identity, now: Duration) {
        for (broker, mut partitions) in self.ready(now) {
            if self.resting.get(&broker).is_some_and(|until| now < *until) {
                continue;
            }
            let Some(connection) = self.client.open_connection(broker) else {
                self.connect(broker);
                continue;
            };
            while !partitions.is_empty()
                && self
                    .in_flight
                    .get(&broker)
                    .is_none_or(|n| *n < REQUESTS_IN_FLIGHT)
            {
                let batches = self.take(identity, now, &mut partitions);
                if batches.is_empty() {
                    break;
                }
                let ledger = self.shared.ledger.as_deref();
                let timeout = self.client.config().request_timeout;
                let id = ledger.map(|ledger| ledger.id().clone());
                let (request, sent) = request::build(batches, timeout, id);
                let versions = ledger.map_or((i16::MIN, i16::MAX), |ledger| ledger.produce_versions());
                let pending = submit(&connection, versions, &request, &sent).await;
                *self.in_flight.entry(broker).or_default() += 1;
                self.report(async move {
                    let result = match pending {
                        Ok(pending) => pending.answer().await,
                        Err(error) => Err(error),
                    };
                    Event::Answered { broker, sent, result }
                });
            }
        }
    }

    /// The partitions that may send, by leader.
    fn ready(&mut self, now: Duration) -> BTreeMap<BrokerId, Vec<(TopicPartition, Option<TopicId>)>> {
        let accumulator = self.shared.accumulator.lock();
        let flush = accumulator.flushes > 0 || accumulator.is_closed;
        let mut ready: BTreeMap<BrokerId, Vec<_>> = BTreeMap::new();
        for (partition, queue) in &accumulator.queues {
            if !queue.can_send(now, flush) {
                continue;
            }
            match self.client.known_leader(partition) {
                Some(leader) => ready
                    .entry(leader.broker)
                    .or_default()
                    .push((partition.clone(), leader.topic_id)),
                None => self.must_refresh = true,
            }
        }
        ready
    }

    /// Takes one batch of each of the partitions, as many as a request holds. Partitions that have nothing more to send
    /// are taken off the list; the others go to its end.
    fn take(
        &self,
        identity: Identity,
        now: Duration,
        partitions: &mut Vec<(TopicPartition, Option<TopicId>)>,
    ) -> Vec<(Sent, bytes::Bytes)> {
        let mut accumulator = self.shared.accumulator.lock();
        let Accumulator {
            queues,
            flushes,
            is_closed,
            ..
        } = &mut *accumulator;
        let flush = *flushes > 0 || *is_closed;
        let mut batches = Vec::new();
        let mut again = Vec::new();
        let mut bytes = 0;
        let mut rest = std::mem::take(partitions).into_iter();
        for (partition, topic_id) in rest.by_ref() {
            let Some(queue) = queues
                .get_mut(&partition)
                .filter(|queue| queue.can_send(now, flush))
            else {
                continue;
            };
            bytes += queue.next_bytes();
            if !batches.is_empty() && bytes > self.shared.config.request_bytes {
                partitions.push((partition, topic_id));
                break;
            }
            if let Some((id, batch)) = queue.send(identity) {
                let sent = Sent {
                    partition: partition.clone(),
                    topic_id,
                    id,
                };
                batches.push((sent, batch));
            }
            again.push((partition, topic_id));
        }
        partitions.extend(rest);
        partitions.extend(again);
        batches
    }

    fn connect(&mut self, broker: BrokerId) {
        if self.connecting.insert(broker) {
            let client = self.client.clone();
            self.report(async move {
                let connection = client.connection(Target::Broker(broker)).await;
                Event::Connected(broker, connection)
            });
        }
    }

    fn refresh(&mut self) {
        if !self.must_refresh || self.is_refreshing {
            return;
        }
        self.must_refresh = false;
        self.is_refreshing = true;
        let accumulator = self.shared.accumulator.lock();
        let busy = accumulator.queues.iter().filter(|(_, queue)| !queue.is_idle());
        let topics: BTreeSet<Arc<str>> = busy.map(|(partition, _)| partition.topic.clone()).collect();
        drop(accumulator);
        let (client, env) = (self.client.clone(), self.env.clone());
        self.report(async move {
            let names: Vec<&str> = topics.iter().map(|name| &**name).collect();
            if let Err(error) = client.refresh(&names).await {
                tracing::warn!(%error, "the leaders could not be looked up");
            }
            // So that a partition without a leader is not asked about without pause.
            env.sleep(backoff::FIRST_PAUSE).await;
            Event::Refreshed
        });
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Answered { broker, sent, result } => {
                if let Some(count) = self.in_flight.get_mut(&broker) {
                    *count = count.saturating_sub(1);
                }
                self.answered(sent, result);
            }
            Event::Connected(broker, result) => {
                self.connecting.remove(&broker);
                self.connected(broker, result.err());
            }
            Event::Refreshed => self.is_refreshing = false,
            Event::Named(Ok(identity)) => self.naming = Naming::Named(identity),
            Event::Named(Err(error)) => {
                self.naming = Naming::Unnamed;
                self.fail_all(&ProduceError::Client(error));
            }
        }
    }

    /// Said once, however often it is tried again.
    fn connected(&mut self, broker: BrokerId, error: Option<ClientError>) {
        let was_resting = self.resting.remove(&broker).is_some();
        match error {
            None if was_resting => tracing::warn!(%broker, "the leader is reached again"),
            None => {}
            Some(error) => {
                if !was_resting {
                    tracing::warn!(%error, %broker, "the leader is not reached; trying again");
                }
                let until = self.env.monotonic() + backoff::FIRST_PAUSE;
                self.resting.insert(broker, until);
                self.must_refresh = true;
                if !error.is_transient() {
                    let error = ProduceError::Client(error);
                    self.failed(Some(error.clone()));
                    self.fail_all(&error);
                }
            }
        }
    }

    fn answered(&mut self, sent: Vec<Sent>, result: Result<ProduceResponse, ConnectionError>) {
        let answers: Vec<(Sent, Answer)> = match &result {
            Ok(response) => request::answers(sent, response),
            Err(error) if error.is_before_sending() && !error.is_transient() => {
                let refusal = Refusal {
                    code: klamm_model::ErrorCode::UnsupportedVersion,
                    message: Some(error.to_string()),
                };
                sent.into_iter()
                    .map(|sent| (sent, Answer::Refused(refusal.clone())))
                    .collect()
            }
            Err(error) => sent
                .into_iter()
                .map(|sent| (sent, Answer::Unknown(error.to_string())))
                .collect(),
        };
        let now = self.env.monotonic();
        let (mut effect, mut failure) = (Effect::default(), None);
        let mut accumulator = self.shared.accumulator.lock();
        for (sent, answer) in answers {
            if matches!(answer, Answer::Again(_) | Answer::Unknown(_)) {
                self.must_refresh = true;
                tracing::debug!(partition = %sent.partition, ?answer, "a batch will be sent again");
            }
            if let Some(queue) = accumulator.queues.get_mut(&sent.partition) {
                let pause = backoff::pause(&self.env, queue.failures + 1);
                effect = plus(effect, queue.answer(sent.id, answer, now, pause));
                failure = failure.or(queue.take_failure());
            }
        }
        drop(accumulator);
        self.failed(failure);
        self.apply(effect);
    }

    fn apply(&mut self, effect: Effect) {
        if effect.renew && matches!(self.naming, Naming::Named(_)) {
            self.naming = Naming::Renewing;
        }
        self.count(effect);
    }

    fn fail_all(&self, error: &ProduceError) {
        let mut effect = Effect::default();
        for queue in self.shared.accumulator.lock().queues.values_mut() {
            effect = plus(effect, queue.fail_all(error));
        }
        self.count(effect);
    }

    fn count(&self, effect: Effect) {
        if effect.done > 0 || effect.added > 0 {
            self.shared
                .outstanding
                .send_modify(|count| *count = (*count + effect.added).saturating_sub(effect.done));
        }
    }

    fn report(&self, event: impl Future<Output = Event> + Send + 'static) {
        let reports = self.reports.clone();
        drop(self.env.spawn(async move {
            // The sender of the producer may be gone: then nobody waits for the event.
            let _ = reports.send(event.await).await;
        }));
    }
}

async fn submit(
    connection: &Connection,
    (least, most): (i16, i16),
    request: &ProduceRequest,
    sent: &[Sent],
) -> Result<Pending<ProduceRequest>, ConnectionError> {
    let has_ids = sent.iter().all(|sent| sent.topic_id.is_some());
    let most = if has_ids {
        most
    } else {
        most.min(LAST_VERSION_WITH_NAMES)
    };
    let version = connection.version_between::<ProduceRequest>(least, most)?;
    connection.submit(version, request).await
}

async fn ask_for_name(client: &Client) -> Result<Identity, ClientError> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    client
        .retrying(|| async {
            let response = client.call_once(Target::Any, &request).await?;
            Refusal::check(response.error_code, None)
                .map_err(|refusal| ClientError::refused(ApiKey::InitProducerId, refusal))?;
            Ok(Identity {
                id: ProducerId(response.producer_id),
                epoch: ProducerEpoch(response.producer_epoch),
            })
        })
        .await
}

fn plus(a: Effect, b: Effect) -> Effect {
    Effect {
        done: a.done + b.done,
        added: a.added + b.added,
        renew: a.renew || b.renew,
    }
}
