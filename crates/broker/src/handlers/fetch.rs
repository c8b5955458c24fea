//! Fetch, versions 4 to 18.
//!
//! Returns batches from an offset on, at most `max_bytes` in all, of which the first batch of the first partition that
//! has any is returned whatever its size (KIP-74). Fetch sessions since version 7 (KIP-227), epoch fencing since 9
//! (KIP-320), diverging epochs since 12 (KIP-595), topic ids since 13 (KIP-516), the current leader since 16 (KIP-951).
//! A request that finds fewer than `min_bytes` waits, without polling, until a watermark passes enough or `max_wait_ms`
//! is over; an error, and the end of the node, answers at once. A reader of committed records (KIP-98) sees what lies below the last
//! stable offset, waits for that to move, and is told which transactions were aborted there.
//!
//! *Order*: serial; given up when the client goes away.
//! *Memory*: none for records: resident ranges of segment files are sent by the kernel, except in small answers, where a
//! copy is cheaper than the calls that it saves; cold ones are read and checked against their CRC first, on a thread that may
//! block. Aborted transactions are reserved as they are found.
//! *Authorization*: READ on the topic; CLUSTER_ACTION for a follower.

mod answer;
mod open;
mod read;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use klamm_env::task::Timer;
use klamm_log::{AbortedTransaction, FileRange};
use klamm_model::ErrorCode;
use klamm_net::{Output, Piece};
use klamm_protocol::messages::fetch_response::PartitionData;
use klamm_protocol::messages::{FetchRequest, FetchResponse, fetch_response};
use klamm_protocol::{ApiKey, Message, RequestHeader, Writer};

use self::open::Source;
use self::read::{Bounds, Part, Round, Watching};
use crate::body::{Body, bytes_of};
use crate::context::RequestContext;
use crate::dispatch::{External, Fault, emit, encode};
use crate::fetch_sessions::Wanted;
use crate::metrics::Phases;
use crate::replicas::Isolation;
use crate::turn::Turn;
use crate::waiters::Watch;

/// Partitions that are looked at before others go first.
const AT_ONCE: usize = 512;
/// What a partition takes while it is looked at, described, and encoded.
const PART_BYTES: usize = size_of::<Part>() + size_of::<PartitionData>() + size_of::<Sent>() + 96;

/// What an aborted transaction takes, found, described and encoded.
const ABORTED_BYTES: usize =
    size_of::<AbortedTransaction>() + size_of::<fetch_response::AbortedTransaction>() + 24;

/// Rounds of making cold partitions ready before a request answers with what it has.
const MAX_PREPARATIONS: usize = 8;

/// Records that are copied into an answer: with so few, each call more, and each packet more that wakes the receiver, costs
/// more than the copy.
const COPIED_BYTES: usize = 16 * 1024;

/// The most that a connection keeps of the lists of a request, and of those of its answer, for the next.
const KEPT_BYTES: usize = 64 * 1024;

/// How records are sent.
#[derive(Clone, Debug)]
enum Sent {
    /// By the kernel.
    File(FileRange),
    /// From [`Reused::copied`].
    Copied(std::ops::Range<usize>),
}

/// What a connection keeps from one fetch request to the next.
#[derive(Default)]
pub(crate) struct Reused {
    request: FetchRequest,
    response: FetchResponse,
    /// An emptied list, for a request without a session.
    wanted: Vec<Wanted>,
    /// Emptied lists of partitions, for the topics of the next response.
    spare: Vec<Vec<PartitionData>>,
    parts: Vec<Part>,
    pieces: Vec<Sent>,
    /// The records of a small answer.
    copied: Vec<u8>,
    /// The places of the partitions that are looked at.
    order: Vec<u32>,
    /// Of a request without a session.
    watch: Arc<Watch>,
    timer: Option<Timer>,
}

/// Serves one fetch request. What is large is borrowed: an argument of a future takes its room twice, in every connection.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    header: &RequestHeader,
    body: &mut Body,
    reused: &mut Reused,
    writer: &mut Writer,
    out: &mut Output,
    phases: &mut Phases,
) -> Result<(), Fault> {
    body.decode(|reader| reused.request.decode_into(reader, header.api_version))
        .await
        .map_err(|error| Fault::Malformed { api: "Fetch", error })?;
    context.memory.begin(body.answer_charge());
    let bounds = Bounds::of(
        &reused.request,
        context.broker.config.net.fetch_max_bytes as usize,
    );
    match bounds {
        Err(code) => answer::refuse_all(context, code, reused),
        Ok(bounds) => serve(context, &bounds, reused, phases).await,
    }
    context
        .broker
        .metrics
        .requests
        .answered(ApiKey::Fetch, &reused.response);
    encode(
        writer,
        ApiKey::Fetch,
        header.correlation_id,
        header.api_version,
        &reused.response,
    )?;
    let Reused { pieces, copied, .. } = reused;
    emit(writer, ApiKey::Fetch, out, |token| {
        match pieces.get(token as usize)? {
            Sent::File(range) => Some(External::Piece(Piece::File {
                file: range.file.clone(),
                offset: range.position,
                len: range.len,
            })),
            Sent::Copied(place) => copied.get(place.clone()).map(External::Copy),
        }
    });
    release(reused);
    Ok(())
}

/// Makes the response of a request with these bounds.
async fn serve(context: &RequestContext<'_>, bounds: &Bounds, reused: &mut Reused, phases: &mut Phases) {
    match open::open(context, &reused.request, &mut reused.wanted) {
        Err(code) => reused.response.error_code = code.code(),
        Ok(source) => {
            if gather(context, bounds, &source, reused, phases).await {
                reused.response.session_id = answer::build(context, bounds, source, reused).await;
            }
        }
    }
}

/// Lets go of the frame and the files, which would be held until the next request, and of lists that are too long to
/// keep.
fn release(reused: &mut Reused) {
    reused.pieces.clear();
    reused.copied.clear();
    reused.parts.clear();
    reused.wanted.clear();
    answer::recycle(reused);
    let request = &mut reused.request;
    request.cluster_id = None;
    request.rack_id = Default::default();
    request.unknown_tagged_fields = Vec::new();
    request.replica_state.unknown_tagged_fields = Vec::new();
    let mut kept = bytes_of(&request.topics) + bytes_of(&request.forgotten_topics_data);
    for topic in &mut request.topics {
        topic.topic = Default::default();
        topic.unknown_tagged_fields = Vec::new();
        for partition in &mut topic.partitions {
            partition.unknown_tagged_fields = Vec::new();
        }
        kept += bytes_of(&topic.partitions);
    }
    for topic in &mut request.forgotten_topics_data {
        topic.topic = Default::default();
        topic.unknown_tagged_fields = Vec::new();
        kept += bytes_of(&topic.partitions);
    }
    if kept > KEPT_BYTES {
        *request = FetchRequest::default();
    }
    let spare: usize = reused.spare.iter().map(bytes_of).sum();
    let answered = bytes_of(&reused.response.responses)
        + bytes_of(&reused.parts)
        + bytes_of(&reused.pieces)
        + reused.copied.capacity()
        + bytes_of(&reused.order)
        + bytes_of(&reused.wanted);
    if spare + answered > KEPT_BYTES {
        reused.response = FetchResponse::default();
        (reused.spare, reused.parts, reused.pieces, reused.wanted) = Default::default();
        (reused.order, reused.copied) = Default::default();
    }
}

/// Reads until there is enough or the time is over; the outcome is in `reused.parts`. `false` if the answer would be too
/// large.
async fn gather(
    context: &RequestContext<'_>,
    bounds: &Bounds,
    source: &Source,
    reused: &mut Reused,
    phases: &mut Phases,
) -> bool {
    let watch = source.watch(&reused.watch);
    let _end = End {
        watch: &watch,
        goes_on: source.goes_on(),
    };
    // What is entered for a session stays for its next request. Another one waits seldom.
    let mut watching = match source.goes_on() {
        true => Watching::Idle,
        false => Watching::None,
    };
    let mut preparations = 0;
    let mut may_wait = bounds.max_wait > Duration::ZERO;
    let mut timed = false;
    let mut turn = Turn::default();
    let round_bytes = loop {
        let Some(round) = look(context, bounds, source, reused, (&watch, watching), &mut turn).await else {
            return false;
        };
        // Once for every partition: those whose records are at hand must not keep the others from ever being ready.
        let prepares =
            preparations == 0 || (round.bytes < bounds.min_bytes && preparations < MAX_PREPARATIONS);
        if !round.unready.is_empty() && prepares {
            preparations += 1;
            let unready = round.unready;
            context
                .broker
                .env
                .blocking(move || {
                    unready
                        .iter()
                        .for_each(|(partition, spec)| partition.prepare_read(spec))
                })
                .await;
            continue;
        }
        if !round.may_wait || !may_wait || round.bytes >= bounds.min_bytes {
            break round.bytes;
        }
        if round.has_unwatched && watching != Watching::All {
            watching = Watching::All;
            continue;
        }
        if !timed {
            timed = true;
            match &mut reused.timer {
                Some(timer) => timer.reset(bounds.max_wait),
                none => *none = Some(Timer::after(bounds.max_wait)),
            }
        }
        rest(context, reused);
        phases.wait(&context.broker.env);
        may_wait = something_new(context, &watch, &mut reused.timer).await;
        phases.resume(&context.broker.env);
    };
    make_ready(context, round_bytes, reused, &mut turn).await;
    bounds.isolation == Isolation::Uncommitted
        || Box::pin(find_aborted(context, &mut reused.parts, &mut turn)).await
}

/// Looks at all partitions that may have something, some at a time; `None` if their answer would be too large.
async fn look(
    context: &RequestContext<'_>,
    bounds: &Bounds,
    source: &Source,
    reused: &mut Reused,
    watching: (&Arc<Watch>, Watching),
    turn: &mut Turn,
) -> Option<Round> {
    let Reused { order, parts, .. } = reused;
    parts.clear();
    let mut round = Round::default();
    round.may_wait &= source.list_due(&reused.watch, order) > 0;
    for (at, some) in order.chunks(AT_ONCE).enumerate() {
        if at == 1 {
            // Of the look before.
            context.memory.release();
            if !context.memory.reserve(order.len() * PART_BYTES).await {
                return None;
            }
        }
        if at > 0 {
            turn.spend_on(AT_ONCE * PART_BYTES).await;
        }
        source.with(|wanted| read::evaluate(context, bounds, wanted, some, watching, parts, &mut round));
    }
    Some(round)
}

/// Before a wait, which may be long: many partitions do not keep their memory meanwhile; they are looked at anew anyway.
/// Nobody else waits meanwhile for what the request overdrew to be read and decoded.
fn rest(context: &RequestContext<'_>, reused: &mut Reused) {
    if reused.parts.len() > AT_ONCE {
        reused.parts = Vec::new();
    }
    if reused.order.len() > AT_ONCE {
        reused.order = Vec::new();
    }
    context.memory.release();
}

/// Waits until a partition has more; `false` when the time is over, or the node stops.
async fn something_new(context: &RequestContext<'_>, watch: &Watch, timer: &mut Option<Timer>) -> bool {
    poll_fn(|cx| {
        watch.register(cx.waker());
        if watch.has_fired() {
            return Poll::Ready(true);
        }
        let elapsed = timer
            .as_mut()
            .is_none_or(|timer| timer.poll_elapsed(cx).is_ready());
        if elapsed || context.connection.stopping.has_begun() {
            Poll::Ready(false)
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Sees to it that what is to be sent, so many bytes of records in all, can be sent without waiting for the device: copies
/// little, and reads and checks what would have to come from the device, where blocking is allowed.
async fn make_ready(context: &RequestContext<'_>, bytes: usize, reused: &mut Reused, turn: &mut Turn) {
    for part in &mut reused.parts {
        turn.spend_on(PART_BYTES).await;
        let Some(range) = part.range() else { continue };
        let at = reused.copied.len();
        if bytes <= COPIED_BYTES && range.copy_resident(&mut reused.copied) {
            part.copied = Some(at..reused.copied.len());
            continue;
        }
        if range.is_resident() {
            continue;
        }
        let range = range.clone();
        let end = range.position + range.len as u64;
        // In a box: every connection has the room that this future takes.
        let checked = Box::pin(context.broker.env.blocking(move || range.verify())).await;
        if let Err(error) = checked {
            part.refuse(ErrorCode::KafkaStorageError);
            part.note_damage(context.broker, end, error);
        }
    }
}

/// Looks up which transactions were aborted, where blocking is allowed; `false` if there are too many for an answer.
async fn find_aborted(context: &RequestContext<'_>, parts: &mut [Part], turn: &mut Turn) -> bool {
    for part in parts {
        if let Some((partition, range)) = part.aborted_wanted() {
            let found = context
                .broker
                .env
                .blocking(move || partition.aborted_transactions(range))
                .await;
            match found {
                Ok(Some(found)) => part.found_aborted(found),
                // Without them, aborted records would be taken for committed ones.
                Ok(None) => part.refuse(ErrorCode::OffsetOutOfRange),
                Err(error) => {
                    part.refuse(ErrorCode::KafkaStorageError);
                    tracing::error!(partition = %part.name(), %error, "cannot look up aborted transactions");
                }
            }
        }
        let bytes = part.aborted_count() * ABORTED_BYTES;
        turn.spend_on(bytes).await;
        if bytes > 0 && !context.memory.reserve(bytes).await {
            return false;
        }
    }
    true
}

/// Ends the wait however the request ends.
struct End<'a> {
    watch: &'a Watch,
    goes_on: bool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.watch.rest();
        if !self.goes_on {
            self.watch.restart();
        }
    }
}
