//! Which partitions a fetch wants: those its request names, or those of its session.

use std::sync::Arc;

use bytestring::ByteString;
use klamm_env::hash::Map;
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::messages::FetchRequest;
use parking_lot::Mutex;

use crate::context::RequestContext;
use crate::fetch_sessions::{Lookup, PartitionKey, Session, Wanted};
use crate::waiters::Watch;

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
    /// Puts the places of the partitions that must be looked at into `order`, in the order of this answer, and returns how
    /// many there are in all. `own` is the watch of a request without a session.
    pub(super) fn list_due(&self, own: &Watch, order: &mut Vec<u32>) -> usize {
        match self {
            Source::Own(wanted) | Source::New(wanted) => {
                let mut wanted = wanted.lock();
                own.take_fired(|place| {
                    if let Some(one) = wanted.get_mut(place) {
                        one.is_watched = false;
                    }
                });
                order.clear();
                order.extend((0..).take(wanted.len()));
                wanted.len()
            }
            Source::Session(session) => {
                let mut session = session.lock();
                session.list_due(order);
                session.partitions.len()
            }
        }
    }

    /// Looks at the partitions.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut [Wanted]) -> R) -> R {
        match self {
            Source::Own(wanted) | Source::New(wanted) => look(&mut wanted.lock()),
            Source::Session(session) => look(&mut session.lock().partitions),
        }
    }

    /// What is told when a partition has more: the session's, which goes on to be told between requests, or else `own`.
    pub(super) fn watch(&self, own: &Arc<Watch>) -> Arc<Watch> {
        match self {
            Source::Own(_) | Source::New(_) => own.clone(),
            Source::Session(session) => session.lock().watch().clone(),
        }
    }

    pub(super) fn goes_on(&self) -> bool {
        matches!(self, Source::Session(_))
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
            Lookup::Full => Source::New(Mutex::new(each_once(wanted(request, by_id, true)))),
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
        topic.partitions.iter().map(move |asked| {
            let key = key(&name, topic.topic_id, asked.partition, by_id);
            Wanted::new(key, asked)
        })
    })
}

/// A partition that is named again is wanted as it was named last, in the place where it was named first.
fn each_once(wanted: impl Iterator<Item = Wanted>) -> Vec<Wanted> {
    let mut places = Map::<PartitionKey, usize>::default();
    let mut list: Vec<Wanted> = Vec::new();
    for one in wanted {
        let place = *places.entry(one.key.clone()).or_insert(list.len());
        match list.get_mut(place) {
            Some(earlier) => *earlier = one,
            None => list.push(one),
        }
    }
    list
}

fn forgotten(request: &FetchRequest, by_id: bool) -> impl Iterator<Item = PartitionKey> {
    request.forgotten_topics_data.iter().flat_map(move |topic| {
        let name = name(&topic.topic, by_id, false);
        let partitions = topic.partitions.iter();
        partitions.map(move |partition| key(&name, topic.topic_id, *partition, by_id))
    })
}

#[cfg(test)]
mod tests {
    use klamm_protocol::messages::fetch_request::{FetchPartition, FetchTopic};

    use super::*;

    #[test]
    fn a_partition_that_is_named_again_is_wanted_once() {
        let partition = |(partition, fetch_offset)| FetchPartition {
            partition,
            fetch_offset,
            ..Default::default()
        };
        let topic = |topic_id, partitions: &[(i32, i64)]| FetchTopic {
            topic_id,
            partitions: partitions.iter().copied().map(partition).collect(),
            ..Default::default()
        };
        let request = FetchRequest {
            topics: vec![
                topic(Uuid::ONE, &[(0, 1), (1, 2), (0, 3)]),
                topic(Uuid([7; 16]), &[(0, 4)]),
                topic(Uuid::ONE, &[(1, 5), (2, 6)]),
            ],
            ..Default::default()
        };
        let list = each_once(wanted(&request, true, true));
        let list: Vec<_> = list
            .iter()
            .map(|one| (one.key.topic_id == Uuid::ONE, one.key.partition, one.fetch_offset))
            .collect();
        assert_eq!(list, [(true, 0, 3), (true, 1, 5), (false, 0, 4), (true, 2, 6)]);
    }
}
