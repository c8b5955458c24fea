//! Which partitions a fetch wants: those its request names, or those of its session.

use std::sync::Arc;

use bytestring::ByteString;
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::messages::FetchRequest;
use parking_lot::Mutex;

use crate::context::RequestContext;
use crate::fetch_sessions::{Lookup, PartitionKey, Session, Wanted};

/// The partitions of one request, and what becomes of them.
pub(super) enum Source {
    /// No session.
    Own(Mutex<Vec<Wanted>>),
    /// A session is to be made of them.
    New(Mutex<Vec<Wanted>>),
    /// A session that goes on.
    Session(Arc<Mutex<Session>>),
}

impl Source {
    /// Looks at the partitions, in the order of this answer.
    pub(super) fn with<R>(&self, look: impl FnOnce(&[Wanted], &mut dyn Iterator<Item = usize>) -> R) -> R {
        match self {
            Source::Own(wanted) | Source::New(wanted) => {
                let wanted = wanted.lock();
                look(&wanted, &mut (0..wanted.len()))
            }
            Source::Session(session) => {
                let session = session.lock();
                let mut order = session.order();
                look(&session.partitions, &mut order)
            }
        }
    }
}

/// Finds out what `request` wants. Since version 7 a request may begin or continue a session; before, it has none.
/// `spare` is an empty list to be used.
pub(super) fn open(
    context: &RequestContext<'_>,
    request: &FetchRequest,
    spare: &mut Vec<Wanted>,
) -> Result<Source, ErrorCode> {
    let by_id = context.version >= 13;
    let own = |spare: &mut Vec<Wanted>| {
        let mut list = std::mem::take(spare);
        list.extend(wanted(request, by_id, false));
        Source::Own(Mutex::new(list))
    };
    if context.version < 7 {
        return Ok(own(spare));
    }
    let broker = context.broker;
    let now = broker.env.monotonic();
    Ok(
        match broker
            .fetch_sessions
            .look_up(request.session_id, request.session_epoch, by_id, now)?
        {
            Lookup::Sessionless => own(spare),
            Lookup::Full => Source::New(Mutex::new(wanted(request, by_id, true).collect())),
            Lookup::Incremental(session) => {
                let (wanted, forgotten) = (wanted(request, by_id, true), forgotten(request, by_id));
                if broker.fetch_sessions.update(&session, wanted, forgotten)? {
                    Source::Session(session)
                } else {
                    // What the request names is answered, as Kafka does, though it may have been forgotten in one breath.
                    own(spare)
                }
            }
        },
    )
}

/// The name in the keys of a topic's partitions. One that outlives the request must not hold on to its frame, and is copied
/// once for all partitions.
fn name(topic: &ByteString, by_id: bool, outlives: bool) -> ByteString {
    match (by_id, outlives) {
        (true, _) => ByteString::new(),
        (false, true) => ByteString::from(topic.to_string()),
        (false, false) => topic.clone(),
    }
}

fn key(topic: &ByteString, topic_id: Uuid, partition: i32, by_id: bool) -> PartitionKey {
    PartitionKey {
        topic_id: if by_id { topic_id } else { Uuid::ZERO },
        topic: topic.clone(),
        partition,
    }
}

fn wanted(request: &FetchRequest, by_id: bool, outlives: bool) -> impl Iterator<Item = Wanted> {
    request.topics.iter().flat_map(move |topic| {
        let name = name(&topic.topic, by_id, outlives);
        topic.partitions.iter().map(move |partition| Wanted {
            key: key(&name, topic.topic_id, partition.partition, by_id),
            fetch_offset: partition.fetch_offset,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
            max_bytes: partition.partition_max_bytes,
            told: None,
        })
    })
}

fn forgotten(request: &FetchRequest, by_id: bool) -> impl Iterator<Item = PartitionKey> {
    request.forgotten_topics_data.iter().flat_map(move |topic| {
        let name = name(&topic.topic, by_id, false);
        let partitions = topic.partitions.iter();
        partitions.map(move |partition| key(&name, topic.topic_id, *partition, by_id))
    })
}
