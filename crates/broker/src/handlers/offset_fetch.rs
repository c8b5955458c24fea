//! OffsetFetch, versions 1 to 10: up to where groups have read, of some partitions or of all.
//!
//! All partitions since version 2; only what no open transaction could still change since 7 (KIP-447); several groups since 8
//! (KIP-709); as a member, whose epoch is checked, since 9 (KIP-848); topics by id since 10. A partition without a commit has
//! offset -1 and no error.
//!
//! Many partitions are asked for in pieces, each of which is true at one moment. A group that is named again for all its partitions
//! is told again, and looked at once. Groups of one piece are asked a few at once: they share the wait for what is not committed.
//!
//! *Memory*: the answer, proportional to the partitions and their metadata, reserved piece by piece; of groups without a list, a few
//! at once. *Authorization*: DESCRIBE on each group and each topic.

mod pieces;
mod shape;

use std::collections::BTreeMap;

use klamm_coordinator::group::Request;
use klamm_metadata::Image;
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::ByteString;
use klamm_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use klamm_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use klamm_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

use self::pieces::{Piece, Pieces};
use self::shape::{BY_ID, groups_of, response_of};
use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};
use crate::turn::Turn;

/// Groups that are asked at once.
const AT_ONCE: usize = 16;
/// What a group, a topic and a partition take in the answer, told, told in the shape of an early version, and encoded, beside their
/// texts.
const GROUP_BYTES: usize = size_of::<OffsetFetchResponseGroup>() + 64;
const TOPIC_BYTES: usize = 2 * size_of::<OffsetFetchResponseTopics>() + 32;
const PARTITION_BYTES: usize = 2 * size_of::<OffsetFetchResponsePartitions>() + 32;

/// Answers one request.
pub(crate) async fn handle(context: &RequestContext<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let answered = answer(context, request).await;
    // One that is too large ends the connection.
    response_of(context.version, answered.unwrap_or_default())
}

/// The groups with what a refusal has to name of each; `None` if they are too much for the memory.
async fn answer(context: &RequestContext<'_>, request: OffsetFetchRequest) -> Option<Vec<Fetched>> {
    let mut asking = Asking {
        context,
        require_stable: request.require_stable,
        turn: Turn::default(),
        waiting: Vec::new(),
        answered: Vec::new(),
    };
    let mut told_whole: BTreeMap<Asker, usize> = BTreeMap::new();
    for group in groups_of(context.version, request) {
        let bytes = GROUP_BYTES + 2 * group.group_id.len();
        if !context.memory.reserve(bytes).await {
            return None;
        }
        asking.turn.spend(bytes).await;
        let place = asking.answered.len() + asking.waiting.len();
        let asker = group.topics.is_none().then(|| asker(&group));
        if let Some(earlier) = asker.as_ref().and_then(|asker| told_whole.get(asker)) {
            asking.tell_again(*earlier).await?;
        } else {
            asking.ask(group).await?;
        }
        if let Some(asker) = asker {
            told_whole.entry(asker).or_insert(place);
        }
    }
    asking.ask_waiting().await?;
    Some(asking.answered)
}

/// The groups of a request, on the way to their answers; in its order.
struct Asking<'a, 'c> {
    context: &'a RequestContext<'c>,
    require_stable: bool,
    turn: Turn,
    /// Those of one piece that are asked together.
    waiting: Vec<Named>,
    answered: Vec<Fetched>,
}

impl Asking<'_, '_> {
    /// Asks a group, at once or with the next ones.
    async fn ask(&mut self, group: OffsetFetchRequestGroup) -> Option<()> {
        let named = named(self.context, group).await?;
        if !pieces::is_one(named.group.topics.as_deref()) {
            self.ask_waiting().await?;
            let fetched = in_pieces(self.context, self.require_stable, named, &mut self.turn).await?;
            self.answered.push(fetched);
            return Some(());
        }
        self.waiting.push(named);
        if self.waiting.len() == AT_ONCE {
            self.ask_waiting().await?;
        }
        Some(())
    }

    /// Asks those that wait for it; all are decided on before the first is waited for.
    async fn ask_waiting(&mut self) -> Option<()> {
        let (context, require_stable) = (self.context, self.require_stable);
        let waiting = std::mem::take(&mut self.waiting);
        let asked = || {
            let begun = waiting
                .iter()
                .map(|named| ask(context, require_stable, &named.group));
            let begun: Vec<_> = begun.collect();
            async {
                let mut told = Vec::with_capacity(begun.len());
                for begun in begun {
                    told.push(begun.await);
                }
                told
            }
        };
        let bytes = |told: &Vec<OffsetFetchResponseGroup>| {
            let each = told.iter().zip(&waiting);
            each.map(|(told, named)| bytes_beside_reserved(&named.group, told))
                .sum()
        };
        let told = context.memory.make(asked, bytes).await?;
        for (named, told) in waiting.into_iter().zip(told) {
            self.turn.spend(bytes_of(&told)).await;
            self.answered.push(named.fetched(context, told));
        }
        Some(())
    }

    /// Tells of a group what was told of it before.
    async fn tell_again(&mut self, earlier: usize) -> Option<()> {
        self.ask_waiting().await?;
        let (_, told) = self.answered.get(earlier)?;
        let bytes = bytes_of(told);
        if !self.context.memory.reserve(bytes).await {
            return None;
        }
        let again = told.clone();
        self.turn.spend(bytes).await;
        self.answered.push((Vec::new(), again));
        Some(())
    }
}

/// A group whose topics have names.
struct Named {
    /// What has to be named if it is refused.
    wanted: Vec<OffsetFetchRequestTopics>,
    /// What is told of ids that no topic has.
    unknown: Vec<OffsetFetchResponseTopics>,
    group: OffsetFetchRequestGroup,
}

impl Named {
    /// The group with all that its shard told.
    fn fetched(self, context: &RequestContext<'_>, mut told: OffsetFetchResponseGroup) -> Fetched {
        if is_refused(&told) {
            return (self.wanted, told);
        }
        if context.version >= BY_ID {
            let image = context.broker.metadata.published();
            // One without an id could not be told of.
            told.topics.retain_mut(|topic| identify(&image, topic));
        }
        told.topics.extend(self.unknown);
        (self.wanted, told)
    }
}

/// What a group is told, behind what has to be named if it was refused.
type Fetched = (Vec<OffsetFetchRequestTopics>, OffsetFetchResponseGroup);

/// A group that is asked for all its partitions, and the member that asks, with its epoch.
type Asker = (ByteString, Option<ByteString>, i32);

fn asker(group: &OffsetFetchRequestGroup) -> Asker {
    (
        group.group_id.clone(),
        group.member_id.clone(),
        group.member_epoch,
    )
}

async fn named(context: &RequestContext<'_>, mut group: OffsetFetchRequestGroup) -> Option<Named> {
    let version = context.version;
    let wanted = shape::named_in_refusal(version, &group);
    let mut unknown = Vec::new();
    if let Some(topics) = &mut group.topics {
        let bytes = |topic: &OffsetFetchRequestTopics| {
            TOPIC_BYTES + 2 * topic.name.len() + PARTITION_BYTES * topic.partition_indexes.len()
        };
        if !context.memory.reserve(topics.iter().map(bytes).sum()).await {
            return None;
        }
        if version >= BY_ID {
            let image = context.broker.metadata.published();
            topics.retain_mut(|topic| name(&image, topic, &mut unknown));
        }
    }
    Some(Named {
        wanted,
        unknown,
        group,
    })
}

/// Asks for a group with many partitions, a piece after the other.
async fn in_pieces(
    context: &RequestContext<'_>,
    require_stable: bool,
    mut named: Named,
    turn: &mut Turn,
) -> Option<Fetched> {
    let mut told = OffsetFetchResponseGroup {
        group_id: named.group.group_id.clone(),
        ..Default::default()
    };
    for Piece { topics, goes_on } in Pieces::of(named.group.topics.take()) {
        let asked = OffsetFetchRequestGroup {
            topics,
            ..named.group.clone()
        };
        let bytes = |told: &OffsetFetchResponseGroup| bytes_beside_reserved(&asked, told);
        let piece = context
            .memory
            .make(|| ask(context, require_stable, &asked), bytes)
            .await?;
        turn.spend(bytes_of(&piece)).await;
        if is_refused(&piece) {
            return Some(named.fetched(context, piece));
        }
        let mut topics = piece.topics.into_iter();
        if goes_on && let (Some(last), Some(more)) = (told.topics.last_mut(), topics.next()) {
            last.partitions.extend(more.partitions);
        }
        told.topics.extend(topics);
    }
    Some(named.fetched(context, told))
}

/// Asks the group's shard; it has decided when this returns.
fn ask(
    context: &RequestContext<'_>,
    require_stable: bool,
    group: &OffsetFetchRequestGroup,
) -> impl Future<Output = OffsetFetchResponseGroup> + use<> {
    let request = Request::OffsetFetch {
        require_stable,
        group: Box::new(group.clone()),
    };
    let begun = groups::begin(context, &group.group_id, request);
    async { answer_to!(OffsetFetch, begun.answer().await) }
}

/// What the topics of a group take, with their metadata.
fn bytes_of(group: &OffsetFetchResponseGroup) -> usize {
    let topics = group.topics.iter();
    let topics =
        topics.map(|topic| TOPIC_BYTES + 2 * topic.name.len() + PARTITION_BYTES * topic.partitions.len());
    metadata_bytes(group) + topics.sum::<usize>()
}

/// What has to be reserved for what a group told, asked for these partitions.
fn bytes_beside_reserved(asked: &OffsetFetchRequestGroup, told: &OffsetFetchResponseGroup) -> usize {
    match asked.topics {
        None => bytes_of(told),
        Some(_) => metadata_bytes(told),
    }
}

/// What the metadata of a group's partitions takes, and encoded.
fn metadata_bytes(group: &OffsetFetchResponseGroup) -> usize {
    let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
    let metadata = partitions.filter_map(|partition| partition.metadata.as_ref());
    2 * metadata.map(|metadata| metadata.len()).sum::<usize>()
}

/// Gives a topic that was asked for by its id its name; `false` if there is none of this id.
fn name(
    image: &Image,
    topic: &mut OffsetFetchRequestTopics,
    unknown: &mut Vec<OffsetFetchResponseTopics>,
) -> bool {
    if let Some(found) = image.topics().by_id(&topic.topic_id) {
        topic.name = found.name.to_string().into();
        return true;
    }
    let partitions = topic
        .partition_indexes
        .iter()
        .map(|index| OffsetFetchResponsePartitions {
            partition_index: *index,
            committed_offset: -1,
            error_code: ErrorCode::UnknownTopicId.code(),
            ..Default::default()
        });
    unknown.push(OffsetFetchResponseTopics {
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
        ..Default::default()
    });
    false
}

/// Gives a topic its id; `false` if it has none any more, and could not be told of.
fn identify(image: &Image, topic: &mut OffsetFetchResponseTopics) -> bool {
    if topic.topic_id == Uuid::ZERO {
        let found = image.topics().by_name(&topic.name);
        topic.topic_id = found.map_or(Uuid::ZERO, |found| found.id);
    }
    topic.topic_id != Uuid::ZERO
}

/// What a group that was refused is told.
fn is_refused(group: &OffsetFetchResponseGroup) -> bool {
    group.error_code != ErrorCode::None.code()
}
