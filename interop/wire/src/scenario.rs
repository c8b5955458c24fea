//! What a scenario asks with: steps that are written down, and preparations that are not.
//!
//! Always holds: each step has a name of its own within the scenario; a closed connection is followed by a new one; a
//! preparation that fails ends the scenario, since the answers behind it would mean nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use klamm_protocol::ApiKey;
use klamm_protocol::schema::{Direction, MessageSchema, of_api};
use serde_json::{Value as Json, json};

use crate::connection::{Connection, PATIENCE, Reply, SILENCE};
use crate::decode::{decode, skip_tags};
use crate::encode::encode;
use crate::normal::{Normalizer, Place};
use crate::render;
use crate::value::Value;

/// What the client of the table calls itself.
const CLIENT_ID: &str = "wire-table";
/// How long a scenario waits in all for what shows only after an answer, on a slow machine that is busy with other things.
const SETTLE: Duration = Duration::from_secs(60);
/// How long it waits before it looks again.
const PAUSE: Duration = Duration::from_millis(20);
/// What a step says of a broker that says nothing.
const NO_ANSWER: &str = "no answer";

/// A step that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The name of the step, without the version.
    pub(crate) name: String,
    /// The version, if it is part of the name.
    pub(crate) version: Option<i16>,
    /// The answer as text.
    pub(crate) text: String,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answer(Value),
    Closed,
    Silence,
}

impl Outcome {
    /// The answer, where a scenario goes on with something in it.
    pub(crate) fn answer(self) -> Result<Value> {
        match self {
            Outcome::Answer(value) => Ok(value),
            other => bail!("no answer: {other:?}"),
        }
    }
}

/// A topic that was made for a scenario.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: String,
}

/// The broker that a scenario runs against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) bootstrap: &'a str,
    pub(crate) place: &'a Place,
    /// Whether it may answer a change before all of it shows, as Kafka does. One that may not is looked at once.
    pub(crate) answers_early: bool,
}

/// A scenario that runs.
#[derive(Debug)]
pub(crate) struct Scenario {
    bootstrap: String,
    place: Place,
    answers_early: bool,
    /// What the table expects of it; nothing while it is recorded.
    expected: Vec<Taken>,
    /// How much longer it waits.
    patience: Duration,
    connection: Option<Connection>,
    correlation: i32,
    /// The correlation id that the next answer must have.
    awaited: [u8; 4],
    normalizer: Normalizer,
    taken: Vec<Taken>,
}

impl Scenario {
    /// One against this broker, of which these steps are expected.
    pub(crate) fn new(subject: Subject<'_>, expected: &[Taken]) -> Self {
        let place = subject.place;
        Self {
            bootstrap: subject.bootstrap.to_owned(),
            place: place.clone(),
            answers_early: subject.answers_early,
            expected: expected.to_vec(),
            patience: SETTLE,
            connection: None,
            correlation: 0,
            awaited: [0; 4],
            normalizer: Normalizer::new(place),
            taken: Vec::new(),
        }
    }

    /// The steps so far.
    pub(crate) fn into_taken(self) -> Vec<Taken> {
        self.taken
    }

    /// The id of the cluster that answers.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.place.cluster_id
    }

    /// From now on, only counts the configs of a created topic that are at their defaults.
    pub(crate) fn fold_defaults(&mut self) {
        self.normalizer.fold_defaults();
    }

    /// One step for each of `versions`.
    pub(crate) fn each(
        &mut self,
        api: ApiKey,
        name: &str,
        versions: impl IntoIterator<Item = i16>,
        request: &Json,
    ) -> Result<()> {
        for version in versions {
            self.ask(api, name, version, request)?;
        }
        Ok(())
    }

    /// A step. One that only looks is repeated until it is as expected, with a broker that answers early.
    pub(crate) fn ask(&mut self, api: ApiKey, name: &str, version: i16, request: &Json) -> Result<Outcome> {
        let expected = self.expected(name, Some(version)).map(|step| step.text.clone());
        let is_silent = self.answers_early && expected.as_deref() == Some(NO_ANSWER);
        let patience = if is_silent { SILENCE } else { PATIENCE };
        let may_change = self.answers_early && only_looks(api);
        loop {
            let normalizer = self.normalizer.clone();
            let outcome = self.exchange_within(api, version, request, patience)?;
            let text = self.text(api, &outcome);
            let is_expected = expected.as_ref().is_none_or(|expected| *expected == text);
            if is_expected || !may_change || !self.pause() {
                return self.take(name, Some(version), outcome, text);
            }
            self.normalizer = normalizer;
        }
    }

    /// A step that is repeated until `settled` holds, for what a broker does a little after it answered.
    pub(crate) fn ask_until(
        &mut self,
        api: ApiKey,
        name: &str,
        version: i16,
        request: &Json,
        settled: impl Fn(&Value) -> bool,
    ) -> Result<Outcome> {
        loop {
            let outcome = self.exchange(api, version, request)?;
            let is_early = matches!(&outcome, Outcome::Answer(answer) if !settled(answer));
            if !is_early || !self.pause() {
                let text = self.text(api, &outcome);
                return self.take(name, Some(version), outcome, text);
            }
        }
    }

    /// A step whose request has no answer (acks 0).
    pub(crate) fn send(&mut self, api: ApiKey, version: i16, request: &Json) -> Result<()> {
        let frame = self.frame(api, version, request)?;
        self.connection()?.send(&frame);
        Ok(())
    }

    /// A step made of bytes: a frame without its length. An answer is read as one of `api` in `version`.
    pub(crate) fn raw(&mut self, name: &str, frame: &[u8], api: ApiKey, version: i16) -> Result<Outcome> {
        self.connection()?.send(frame);
        self.await_answer_to(frame);
        let outcome = self.receive(api, version, PATIENCE)?;
        let text = self.text(api, &outcome);
        self.take(name, None, outcome, text)
    }

    /// A step made of bytes, with whatever stands for their length.
    pub(crate) fn raw_stream(&mut self, name: &str, bytes: &[u8], api: ApiKey) -> Result<Outcome> {
        self.connection()?.send_raw(bytes);
        self.await_answer_to(bytes.get(4..).unwrap_or_default());
        let outcome = self.receive(api, 0, PATIENCE)?;
        let text = self.text(api, &outcome);
        self.take(name, None, outcome, text)
    }

    /// Asks without writing the answer down.
    pub(crate) fn quiet(&mut self, api: ApiKey, version: i16, request: &Json) -> Result<Value> {
        self.exchange(api, version, request)?
            .answer()
            .with_context(|| format!("preparing with {api} v{version} {request}"))
    }

    /// Asks without writing down, until `settled` holds: at once, with a broker that does not answer early.
    pub(crate) fn until(
        &mut self,
        api: ApiKey,
        version: i16,
        request: &Json,
        settled: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        loop {
            let answer = self.quiet(api, version, request)?;
            if settled(&answer) {
                return Ok(answer);
            }
            ensure!(
                self.answers_early && self.pause(),
                "it is not as it must be by now: {api} v{version} {request}: {}",
                render::lines(&answer).join("\n")
            );
        }
    }

    /// Waits before one looks again; false when that was done for long enough.
    fn pause(&mut self) -> bool {
        let start = Instant::now();
        std::thread::sleep(PAUSE.min(self.patience));
        self.patience = self.patience.saturating_sub(start.elapsed());
        !self.patience.is_zero()
    }

    /// Waits for what a broker does a little after it answered, where no answer tells that it is done.
    pub(crate) fn settle(&self) {
        std::thread::sleep(Duration::from_millis(150));
    }

    /// Goes on with a new connection.
    pub(crate) fn reconnect(&mut self) {
        self.connection = None;
    }

    pub(crate) fn producer_id(&mut self) -> Result<i64> {
        self.producer(Json::Null)?.int("ProducerId")
    }

    /// Who a producer with this transactional id, or none, is. A node that has just started may say at first that it has no id yet.
    pub(crate) fn producer(&mut self, transactional_id: Json) -> Result<Value> {
        let request = json!({"TransactionalId": transactional_id, "TransactionTimeoutMs": 60_000});
        let given = |answer: &Value| answer.int("ErrorCode").is_ok_and(|error| error == 0);
        let answer = self.until(ApiKey::InitProducerId, 4, &request, given)?;
        self.normalizer.note_producer(answer.int("ProducerId")?);
        Ok(answer)
    }

    /// Makes a topic whose leaders serve.
    pub(crate) fn topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<Topic> {
        let configs: Vec<_> = configs
            .iter()
            .map(|(name, value)| json!({"Name": name, "Value": value}))
            .collect();
        let topic =
            json!({"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1, "Configs": configs});
        let request = json!({"Topics": [topic], "TimeoutMs": 10_000});
        let answer = self.quiet(ApiKey::CreateTopics, 7, &request)?;
        let error = answer.int("Topics.0.ErrorCode")?;
        ensure!(
            error == 0,
            "topic {name} was refused: {}",
            render::lines(&answer).join("\n")
        );
        let id = answer.id("Topics.0.TopicId")?;
        self.normalizer.topic(&id, name);
        self.serves(name, partitions)?;
        Ok(Topic {
            name: name.to_owned(),
            id,
        })
    }

    /// Makes a topic that keeps its records for ever, so that a scenario's timestamps do not matter.
    pub(crate) fn log(&mut self, name: &str, configs: &[(&str, &str)]) -> Result<Topic> {
        let mut all = vec![("retention.ms", "-1")];
        all.extend(configs);
        self.topic(name, 1, &all)
    }

    /// Waits until all partitions of a topic answer for their offsets.
    pub(crate) fn serves(&mut self, name: &str, partitions: i32) -> Result<()> {
        let known = json!({"Topics": [{"Name": name}], "AllowAutoTopicCreation": false});
        self.until(ApiKey::Metadata, 9, &known, |answer| {
            let found = answer.list("Topics.0.Partitions");
            found.is_ok_and(|found| {
                found.len() == partitions as usize
                    && found.iter().all(|p| p.int("ErrorCode").is_ok_and(|e| e == 0))
            })
        })?;
        let partitions: Vec<_> = (0..partitions)
            .map(|partition| json!({"PartitionIndex": partition, "Timestamp": -1}))
            .collect();
        let offsets = json!({"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": partitions}]});
        self.until(ApiKey::ListOffsets, 5, &offsets, |answer| {
            let found = answer.list("Topics.0.Partitions");
            found.is_ok_and(|found| found.iter().all(|p| p.int("ErrorCode").is_ok_and(|e| e == 0)))
        })?;
        Ok(())
    }

    /// Waits until nobody knows a topic any more.
    pub(crate) fn gone(&mut self, name: &str) -> Result<()> {
        let known = json!({"Topics": [{"Name": name}], "AllowAutoTopicCreation": false});
        self.until(ApiKey::Metadata, 9, &known, |answer| {
            answer.int("Topics.0.ErrorCode").is_ok_and(|error| error == 3)
        })?;
        // Kafka forgets a topic before its leaders do.
        let first = json!({"PartitionIndex": 0, "Timestamp": -1});
        let offsets = json!({"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": [first]}]});
        self.until(ApiKey::ListOffsets, 5, &offsets, |answer| {
            let error = answer.int("Topics.0.Partitions.0.ErrorCode");
            error.is_ok_and(|error| error != 0)
        })?;
        Ok(())
    }

    /// Appends a batch to a partition.
    pub(crate) fn fill(&mut self, topic: &Topic, partition: i32, batch: &Bytes) -> Result<()> {
        let answer = self.quiet(ApiKey::Produce, 9, &produce(topic, partition, batch))?;
        let error = answer.int("Responses.0.PartitionResponses.0.ErrorCode")?;
        ensure!(
            error == 0,
            "a preparing batch was refused: {}",
            render::lines(&answer).join("\n")
        );
        Ok(())
    }

    fn connection(&mut self) -> Result<&mut Connection> {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(&self.bootstrap)?);
        }
        Ok(self.connection.as_mut().expect("it was opened"))
    }

    fn frame(&mut self, api: ApiKey, version: i16, request: &Json) -> Result<Vec<u8>> {
        self.correlation += 1;
        let schema = schema(api, Direction::Request)?;
        let mut frame = header(api.to_i16(), version, self.correlation, Some(CLIENT_ID));
        if schema.is_flexible(version) {
            frame.push(0);
        }
        let body =
            encode(schema, version, request).with_context(|| format!("{api} v{version}: {request}"))?;
        frame.extend(body);
        Ok(frame)
    }

    fn exchange(&mut self, api: ApiKey, version: i16, request: &Json) -> Result<Outcome> {
        self.exchange_within(api, version, request, PATIENCE)
    }

    fn exchange_within(
        &mut self,
        api: ApiKey,
        version: i16,
        request: &Json,
        patience: Duration,
    ) -> Result<Outcome> {
        let frame = self.frame(api, version, request)?;
        self.connection()?.send(&frame);
        self.awaited = self.correlation.to_be_bytes();
        self.receive(api, version, patience)
    }

    fn receive(&mut self, api: ApiKey, version: i16, patience: Duration) -> Result<Outcome> {
        let frame = match self.connection()?.receive(patience)? {
            Reply::Frame(frame) => frame,
            Reply::Closed => {
                self.connection = None;
                return Ok(Outcome::Closed);
            }
            Reply::Silence => {
                self.connection = None;
                return Ok(Outcome::Silence);
            }
        };
        let schema = schema(api, Direction::Response)?;
        let (correlation, mut body) = frame
            .split_at_checked(4)
            .context("an answer without a correlation id")?;
        ensure!(
            correlation == self.awaited,
            "the answer belongs to another request"
        );
        if api != ApiKey::ApiVersions && schema.is_flexible(version) {
            body = skip_tags(body)?;
        }
        let value = decode(schema, version, body)?;
        let mut reader = klamm_protocol::Reader::new(Bytes::copy_from_slice(body));
        (schema.decode)(&mut reader, version)
            .with_context(|| format!("{api} v{version} by the generated code"))?;
        Ok(Outcome::Answer(value))
    }

    fn await_answer_to(&mut self, frame: &[u8]) {
        if let Some(correlation) = frame.get(4..8) {
            self.awaited.copy_from_slice(correlation);
        }
    }

    /// What the table says of an outcome.
    fn text(&mut self, api: ApiKey, outcome: &Outcome) -> String {
        match outcome {
            Outcome::Answer(value) => {
                let mut value = value.clone();
                self.normalizer.message(api, &mut value);
                render::lines(&value).join("\n")
            }
            Outcome::Closed => "connection closed".to_owned(),
            Outcome::Silence => NO_ANSWER.to_owned(),
        }
    }

    fn expected(&self, name: &str, version: Option<i16>) -> Option<&Taken> {
        let mut steps = self.expected.iter();
        steps.find(|step| step.name == name && step.version == version)
    }

    fn take(&mut self, name: &str, version: Option<i16>, outcome: Outcome, text: String) -> Result<Outcome> {
        let twice = self.taken.iter().any(|t| t.name == name && t.version == version);
        ensure!(!twice, "two steps are named {name} {version:?}");
        self.taken.push(Taken {
            name: name.to_owned(),
            version,
            text,
        });
        Ok(outcome)
    }
}

/// Whether asking again changes nothing, for anybody.
fn only_looks(api: ApiKey) -> bool {
    use ApiKey::{
        DescribeCluster, DescribeConfigs, DescribeLogDirs, DescribeProducers, DescribeQuorum,
        DescribeTopicPartitions, ListConfigResources, ListOffsets, Metadata, OffsetForLeaderEpoch,
    };
    matches!(
        api,
        DescribeCluster
            | DescribeConfigs
            | DescribeLogDirs
            | DescribeProducers
            | DescribeQuorum
            | DescribeTopicPartitions
            | ListConfigResources
            | ListOffsets
            | Metadata
            | OffsetForLeaderEpoch
    )
}

/// A request header without tagged fields: version 1 of it, or the beginning of version 2.
pub(crate) fn header(api: i16, version: i16, correlation: i32, client_id: Option<&str>) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(api.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(correlation.to_be_bytes());
    match client_id {
        Some(client_id) => {
            frame.extend(
                i16::try_from(client_id.len())
                    .expect("a short name")
                    .to_be_bytes(),
            );
            frame.extend(client_id.as_bytes());
        }
        None => frame.extend((-1i16).to_be_bytes()),
    }
    frame
}

/// A request that appends one batch.
pub(crate) fn produce(topic: &Topic, partition: i32, batch: &Bytes) -> Json {
    produce_acks(topic, partition, batch, -1)
}

/// As [`produce`], with other acks.
pub(crate) fn produce_acks(topic: &Topic, partition: i32, batch: &Bytes, acks: i16) -> Json {
    let data = json!({"Index": partition, "Records": crate::encode::hex(batch)});
    json!({"Acks": acks, "TimeoutMs": 5000,
        "TopicData": [{"Name": topic.name, "TopicId": topic.id, "PartitionData": [data]}]})
}

fn schema(api: ApiKey, direction: Direction) -> Result<&'static MessageSchema> {
    of_api(api.to_i16(), direction).with_context(|| format!("{api} has no schema"))
}
