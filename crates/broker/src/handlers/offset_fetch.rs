//! OffsetFetch, versions 1 to 10: up to where groups have read, of some partitions or of all.
//!
//! All partitions since version 2; only what no open transaction could still change since 7 (KIP-447); several groups since 8
//! (KIP-709); as a member, whose epoch is checked, since 9 (KIP-848); topics by id since 10. A partition without a commit has
//! offset -1 and no error.
//!
//! Many partitions are asked for in pieces, each of which is true at one moment. A group that is named again for all its partitions
//! is told again, and looked at once.
//!
//! *Memory*: the answer, proportional to the partitions and their metadata, reserved piece by piece; of a group without a list, at
//! once. *Authorization*: DESCRIBE on each group and each topic.

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
    let require_stable = request.require_stable;
    let mut answered: Vec<Fetched> = Vec::new();
    let mut told_whole: BTreeMap<Asker, usize> = BTreeMap::new();
    let mut turn = Turn::default();
    for group in groups_of(context.version, request) {
        let bytes = GROUP_BYTES + 2 * group.group_id.len();
        if !context.memory.reserve(bytes).await {
            return None;
        }
        turn.spend(bytes).await;
        let asker = group.topics.is_none().then(|| asker(&group));
        let earlier = asker.as_ref().and_then(|asker| told_whole.get(asker));
        let fetched = if let Some(earlier) = earlier {
            let told: &OffsetFetchResponseGroup = &answered[*earlier].1;
            let bytes = bytes_of(told);
            if !context.memory.reserve(bytes).await {
                return None;
            }
            turn.spend(bytes).await;
            (Vec::new(), told.clone())
        } else {
            fetch(context, require_stable, group, &mut turn).await?
        };
        if let Some(asker) = asker {
            told_whole.entry(asker).or_insert(answered.len());
        }
        answered.push(fetched);
    }
    Some(answered)
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

async fn fetch(
    context: &RequestContext<'_>,
    require_stable: bool,
    mut group: OffsetFetchRequestGroup,
    turn: &mut Turn,
) -> Option<Fetched> {
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
    let mut told = OffsetFetchResponseGroup {
        group_id: group.group_id.clone(),
        ..Default::default()
    };
    for Piece { topics, goes_on } in Pieces::of(group.topics.take()) {
        let is_whole = topics.is_none();
        let asked = OffsetFetchRequestGroup {
            topics,
            ..group.clone()
        };
        let bytes = |group: &OffsetFetchResponseGroup| match is_whole {
            true => bytes_of(group),
            // The rest is reserved.
            false => metadata_bytes(group),
        };
        let piece = context
            .memory
            .make(|| ask(context, require_stable, &asked), bytes)
            .await?;
        turn.spend(bytes_of(&piece)).await;
        if is_refused(&piece) {
            return Some((wanted, piece));
        }
        let mut topics = piece.topics.into_iter();
        if goes_on && let (Some(last), Some(more)) = (told.topics.last_mut(), topics.next()) {
            last.partitions.extend(more.partitions);
        }
        told.topics.extend(topics);
    }
    if version >= BY_ID {
        let image = context.broker.metadata.published();
        // One without an id could not be told of.
        told.topics.retain_mut(|topic| identify(&image, topic));
    }
    told.topics.extend(unknown);
    Some((wanted, told))
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
