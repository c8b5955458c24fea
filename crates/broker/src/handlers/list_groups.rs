//! ListGroups, versions 0 to 5: the groups that this broker coordinates. Their states, and only those in given ones, since
//! version 4 (KIP-518); the same for types since 5 (KIP-848).
//!
//! A shard that is being loaded makes the whole answer an error, since nobody would miss what is not in it.
//!
//! *Memory*: the answer, one entry for each group; those of a few shards are listed at once, and reserved before the next ones.
//! *Authorization*: DESCRIBE on the cluster, or on each group that is listed.

use klamm_coordinator::group::{Request, narrowed};
use klamm_model::ErrorCode;
use klamm_protocol::messages::list_groups_response::ListedGroup;
use klamm_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};
use crate::turn::Turn;

/// Shards that are asked at once: they share the wait for what is not committed yet.
const AT_ONCE: usize = 8;
/// What a group takes in the answer, listed and encoded, beside its texts.
const GROUP_BYTES: usize = size_of::<ListedGroup>() + 32;

/// Answers one request.
pub(crate) async fn handle(context: &RequestContext<'_>, request: ListGroupsRequest) -> ListGroupsResponse {
    let request = narrowed(request);
    let mut response = ListGroupsResponse::default();
    let mut turn = Turn::default();
    for some in context.broker.groups.led().chunks(AT_ONCE) {
        let bytes = |listed: &Vec<ListGroupsResponse>| listed.iter().map(bytes_of).sum();
        let Some(all) = context.memory.make(|| list(context, some, &request), bytes).await else {
            break;
        };
        for listed in all {
            match ErrorCode::from_code(listed.error_code) {
                Some(ErrorCode::None) => {
                    turn.spend(bytes_of(&listed)).await;
                    response.groups.extend(listed.groups);
                }
                // Somebody else coordinates them now.
                Some(ErrorCode::NotCoordinator) => {}
                _ => return listed,
            }
        }
    }
    response
}

/// Has the groups of a few shards listed; all are decided on before the first is waited for.
fn list(
    context: &RequestContext<'_>,
    partitions: &[i32],
    request: &ListGroupsRequest,
) -> impl Future<Output = Vec<ListGroupsResponse>> + use<> {
    let begun = partitions
        .iter()
        .map(|partition| groups::begin_in(context, *partition, Request::ListGroups(request.clone())));
    let begun: Vec<_> = begun.collect();
    async {
        let mut listed = Vec::with_capacity(begun.len());
        for begun in begun {
            listed.push(answer_to!(ListGroups, begun.answer().await));
        }
        listed
    }
}

/// What a list takes, and encoded.
fn bytes_of(listed: &ListGroupsResponse) -> usize {
    let groups = listed.groups.iter().map(|group| {
        let texts = [
            &group.group_id,
            &group.protocol_type,
            &group.group_state,
            &group.group_type,
        ];
        GROUP_BYTES + 2 * texts.map(|text| text.len()).iter().sum::<usize>()
    });
    groups.sum()
}
