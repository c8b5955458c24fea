//! The answer of a produce request while it is made, and while it waits for the high watermark.
//!
//! Always holds: an answer is encoded once, when no partition waits any more or the request's time is over; its memory
//! goes back to the connection's pool however it ends.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytestring::ByteString;
use klamm_env::Env;
use klamm_env::task::Timer;
use klamm_model::{ErrorCode, Offset, TimestampMs, Uuid};
use klamm_net::{Output, Pending};
use klamm_protocol::messages::ProduceResponse;
use klamm_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, PartitionProduceResponse, TopicProduceResponse,
};
use klamm_protocol::{ApiKey, RequestHeader, Writer};
use parking_lot::Mutex;

use super::kept::KEPT_BYTES;
use crate::body::{Body, Held, bytes_of};
use crate::broker::Broker;
use crate::dispatch::{Fault, emit, encode};
use crate::metrics::Phases;
use crate::replicas::{Partition, Watched};
use crate::waiters::Waiter;

/// Answers kept for the next requests of a connection, as long as they take no more than [`KEPT_BYTES`].
const KEPT: usize = 8;

/// The memory of answers that are done.
#[derive(Default)]
pub(crate) struct Pool {
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    #[expect(clippy::vec_box, reason = "an answer is large, and goes to and fro")]
    answers: Vec<Box<Answer>>,
    /// What their lists take.
    bytes: usize,
}

impl Pool {
    pub(crate) fn take(&self, header: &RequestHeader, phases: &Phases) -> Box<Answer> {
        let mut answer = self.free.lock().pop();
        answer.correlation_id = header.correlation_id;
        answer.version = header.api_version;
        answer.phases = *phases;
        answer
    }

    pub(crate) fn put(&self, mut answer: Box<Answer>) {
        answer.waiter.disarm();
        answer.waits.clear();
        answer.timeout = None;
        answer.held = None;
        answer.recycle();
        self.free.lock().push(answer);
    }

    /// How many answers are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.free.lock().answers.len()
    }
}

impl Free {
    fn pop(&mut self) -> Box<Answer> {
        let Some(answer) = self.answers.pop() else {
            return Box::default();
        };
        self.bytes -= answer.kept_bytes();
        answer
    }

    fn push(&mut self, answer: Box<Answer>) {
        let bytes = self.bytes + answer.kept_bytes();
        if self.answers.len() < KEPT && bytes <= KEPT_BYTES {
            self.bytes = bytes;
            self.answers.push(answer);
        }
    }
}

/// The answer to one request.
#[derive(Default)]
pub(crate) struct Answer {
    correlation_id: i32,
    version: i16,
    phases: Phases,
    response: ProduceResponse,
    /// Emptied lists of partitions, for the topics of the next response.
    spare: Vec<Vec<PartitionProduceResponse>>,
    waits: Vec<Wait>,
    waiter: Arc<Waiter>,
    timeout: Option<Duration>,
    timer: Option<Timer>,
    writer: Writer,
    /// A name in the response is a slice of the frame.
    keeps_frame: bool,
    held: Option<Held>,
}

/// What is told of a batch that was refused, besides the error's code.
#[derive(Default)]
pub(crate) struct Refused {
    /// In words; since version 8.
    pub(crate) message: Option<String>,
    /// The records at fault; since version 8.
    pub(crate) record_errors: Vec<BatchIndexAndErrorMessage>,
    /// Where the log starts, when the log was asked before the batch was refused.
    pub(crate) log_start_offset: Option<Offset>,
    /// Who leads instead, and in which epoch; since version 10.
    pub(crate) leader: Option<(i32, i32)>,
}

/// A partition that must reach an offset.
struct Wait {
    partition: Arc<Partition>,
    offset: Offset,
    place: Place,
}

/// Where in the response a partition stands.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    topic: usize,
    partition: usize,
}

impl Answer {
    /// The partitions that follow are those of the topic `topic_id` (since version 13).
    pub(crate) fn begin_topic_by_id(&mut self, topic_id: Uuid) {
        self.begin(ByteString::new(), topic_id);
    }

    /// The partitions that follow are those of the topic `name`, which is no part of the frame.
    pub(crate) fn begin_topic(&mut self, name: ByteString) {
        self.begin(name, Uuid::ZERO);
    }

    /// The partitions that follow are those of a topic that is not there; `name` is a part of the frame.
    pub(crate) fn begin_unknown_topic(&mut self, name: ByteString) {
        self.keeps_frame = true;
        self.begin(name, Uuid::ZERO);
    }

    fn begin(&mut self, name: ByteString, topic_id: Uuid) {
        self.response.responses.push(TopicProduceResponse {
            name,
            topic_id,
            partition_responses: self.spare.pop().unwrap_or_default(),
            ..Default::default()
        });
    }

    /// Nothing more is read of the request: keeps what its answer is charged with.
    pub(crate) fn hold(&mut self, body: &mut Body) {
        self.held = Some(body.hold(self.keeps_frame));
    }

    /// What its lists take.
    fn kept_bytes(&self) -> usize {
        let spare: usize = self.spare.iter().map(bytes_of).sum();
        spare + bytes_of(&self.response.responses) + bytes_of(&self.waits) + self.writer.capacity()
    }

    /// Empties the response and keeps its memory.
    fn recycle(&mut self) {
        self.keeps_frame = false;
        for mut topic in self.response.responses.drain(..) {
            topic.partition_responses.clear();
            if self.spare.len() < KEPT {
                self.spare.push(topic.partition_responses);
            }
        }
    }

    pub(crate) fn accept(
        &mut self,
        index: i32,
        base_offset: i64,
        log_append_time: Option<TimestampMs>,
        log_start_offset: i64,
    ) -> Place {
        self.push(PartitionProduceResponse {
            index,
            base_offset,
            log_append_time_ms: log_append_time.map_or(-1, |time| time.0),
            log_start_offset,
            ..Default::default()
        })
    }

    /// Refuses a partition for `code` alone.
    pub(crate) fn refuse(&mut self, index: i32, code: ErrorCode) {
        self.refuse_with(index, code, Refused::default());
    }

    pub(crate) fn refuse_with(&mut self, index: i32, code: ErrorCode, refused: Refused) {
        let words = self.version >= 8;
        let current_leader = match refused.leader {
            Some((leader_id, leader_epoch)) if self.version >= 10 => LeaderIdAndEpoch {
                leader_id,
                leader_epoch,
                ..Default::default()
            },
            _ => LeaderIdAndEpoch::default(),
        };
        self.push(PartitionProduceResponse {
            index,
            error_code: code.code(),
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: refused.log_start_offset.map_or(-1, |offset| offset.0),
            record_errors: if words { refused.record_errors } else { Vec::new() },
            error_message: refused.message.filter(|_| words).map(ByteString::from),
            current_leader,
            ..Default::default()
        });
    }

    fn push(&mut self, partition: PartitionProduceResponse) -> Place {
        let topic = self.response.responses.len() - 1;
        let partitions = &mut self.response.responses[topic].partition_responses;
        partitions.push(partition);
        Place {
            topic,
            partition: partitions.len() - 1,
        }
    }

    pub(crate) fn wait(&mut self, partition: &Arc<Partition>, offset: Offset, place: Place) {
        self.waits.push(Wait {
            partition: partition.clone(),
            offset,
            place,
        });
    }

    pub(crate) fn waits(&self) -> bool {
        !self.waits.is_empty()
    }

    /// The wait for the watermark begins: sets how long it may take.
    pub(crate) fn wait_for(&mut self, timeout_ms: i32, env: &Env) {
        self.phases.wait(env);
        self.timeout = Some(Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0)));
    }

    /// The first partition that was refused, for the log.
    pub(crate) fn first_error(&self) -> Option<(String, ErrorCode)> {
        let partitions = self
            .response
            .responses
            .iter()
            .flat_map(|t| t.partition_responses.iter().map(move |p| (t, p)));
        let (topic, partition) = partitions.into_iter().find(|(_, p)| p.error_code != 0)?;
        let code = ErrorCode::from_code(partition.error_code).unwrap_or(ErrorCode::UnknownServerError);
        let name = if topic.name.is_empty() {
            topic.topic_id.to_string()
        } else {
            topic.name.to_string()
        };
        Some((format!("{name}-{}", partition.index), code))
    }

    /// Counts the request, and the errors in its answer.
    pub(crate) fn count(&self, broker: &Broker) {
        let requests = &broker.metrics.requests;
        requests.answered(ApiKey::Produce, &self.response);
        requests.served(ApiKey::Produce, &broker.env, self.phases);
    }

    pub(crate) fn encode(&self, writer: &mut Writer) -> Result<(), Fault> {
        encode(
            writer,
            ApiKey::Produce,
            self.correlation_id,
            self.version,
            &self.response,
        )
    }

    /// Settles the partitions that have reached their offset or never will.
    fn settle(&mut self) {
        let response = &mut self.response;
        self.waits.retain(|wait| {
            let code = match wait.partition.watch(wait.offset) {
                Watched::NotYet => return true,
                Watched::Reached => return false,
                Watched::Failed(code) => code,
            };
            fail(response, wait.place, code);
            false
        });
    }

    /// The time that the client gives the other replicas is over. It is not for the own disk, which Kafka never waits for:
    /// where nobody else is in sync, the wait goes on until the disk has the batch or failed.
    fn time_out(&mut self) {
        let response = &mut self.response;
        self.waits.retain(|wait| {
            let alone = wait.partition.is_alone_in_sync();
            if !alone {
                fail(response, wait.place, ErrorCode::RequestTimedOut);
            }
            alone
        });
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiter.has_fired() {
            self.waiter.register(cx.waker());
            let generation = self.waiter.arm();
            // Armed before it looks: an advance in between fires it.
            for wait in &self.waits {
                wait.partition.wake_at(wait.offset, &self.waiter, generation);
            }
            self.settle();
        } else {
            self.waiter.register(cx.waker());
        }
        if self.waits.is_empty() {
            return Poll::Ready(());
        }
        if let Some(timeout) = self.timeout.take() {
            match &mut self.timer {
                Some(timer) => timer.reset(timeout),
                none => *none = Some(Timer::after(timeout)),
            }
        }
        let elapsed = self
            .timer
            .as_mut()
            .is_some_and(|timer| timer.poll_elapsed(cx).is_ready());
        if elapsed {
            self.settle();
            self.time_out();
            if self.waits.is_empty() {
                return Poll::Ready(());
            }
        }
        if self.waiter.has_fired() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

fn fail(response: &mut ProduceResponse, place: Place, code: ErrorCode) {
    let partition = &mut response.responses[place.topic].partition_responses[place.partition];
    partition.error_code = code.code();
    partition.base_offset = -1;
    partition.log_append_time_ms = -1;
    partition.log_start_offset = -1;
}

/// The background stage of a produce request.
pub(crate) struct Parked {
    answer: Option<Box<Answer>>,
    pool: Arc<Pool>,
    broker: Arc<Broker>,
}

impl Parked {
    pub(crate) fn new(answer: Box<Answer>, pool: Arc<Pool>, broker: Arc<Broker>) -> Self {
        Self {
            answer: Some(answer),
            pool,
            broker,
        }
    }
}

impl Pending for Parked {
    fn poll_answer(&mut self, cx: &mut Context<'_>, out: &mut Output) -> Poll<Result<(), String>> {
        let Some(answer) = &mut self.answer else {
            return Poll::Ready(Ok(()));
        };
        std::task::ready!(answer.poll(cx));
        let mut writer = std::mem::take(&mut answer.writer);
        let encoded = answer.encode(&mut writer);
        if encoded.is_ok() {
            emit(&mut writer, ApiKey::Produce, out, |_| None);
        }
        writer.clear();
        answer.writer = writer;
        answer.count(&self.broker);
        if let Some(answer) = self.answer.take() {
            self.pool.put(answer);
        }
        Poll::Ready(encoded.map_err(|fault| fault.to_string()))
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            self.pool.put(answer);
        }
    }
}
