//! OffsetFetch, versions 1 to 10: up to where groups have read, of some partitions or of all.
//!
//! All partitions since version 2; only what no open transaction could still change since 7 (KIP-447); several groups since 8
//! (KIP-709); as a member, whose epoch is checked, since 9 (KIP-848); topics by id since 10. A partition without a commit has
//! offset -1 and no error.
//!
//! *Memory*: the answer, proportional to the partitions. *Authorization*: DESCRIBE on each group and each topic.

mod shape;

use klamm_coordinator::group::Request;
use klamm_metadata::Image;
use klamm_model::{ErrorCode, Uuid};
use klamm_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use klamm_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use klamm_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

use self::shape::{BY_ID, groups_of, response_of};
use crate::context::RequestContext;
use crate::coordinators::groups::{self, Begun, answer_to};
use crate::turn::Turn;

/// Answers one request.
pub(crate) async fn handle(context: &RequestContext<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let version = context.version;
    let require_stable = request.require_stable;
    let mut asked = Vec::new();
    let mut turn = Turn::default();
    for group in groups_of(version, request) {
        asked.push(begin(context, version, require_stable, group));
        turn.spend(0).await;
    }
    let mut answered = Vec::with_capacity(asked.len());
    for one in asked {
        let mut group = answer_to!(OffsetFetch, one.begun.answer().await);
        if group.error_code == ErrorCode::None.code() {
            if version >= BY_ID {
                let image = context.broker.metadata.published();
                // One without an id could not be told of.
                group.topics.retain_mut(|topic| identify(&image, topic));
            }
            group.topics.extend(one.unknown);
        }
        answered.push((one.wanted, group));
    }
    response_of(version, answered)
}

/// A group that was asked about.
struct Asked {
    begun: Begun,
    /// Topics that are not there.
    unknown: Vec<OffsetFetchResponseTopics>,
    /// What was asked for, where a refusal has to name it.
    wanted: Vec<OffsetFetchRequestTopics>,
}

fn begin(
    context: &RequestContext<'_>,
    version: i16,
    require_stable: bool,
    mut group: OffsetFetchRequestGroup,
) -> Asked {
    let mut unknown = Vec::new();
    if let (BY_ID.., Some(topics)) = (version, &mut group.topics) {
        let image = context.broker.metadata.published();
        topics.retain_mut(|topic| name(&image, topic, &mut unknown));
    }
    let wanted = shape::named_in_refusal(version, &group);
    let id = group.group_id.clone();
    let request = Request::OffsetFetch {
        require_stable,
        group: Box::new(group),
    };
    Asked {
        begun: groups::begin(context, &id, request),
        unknown,
        wanted,
    }
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
