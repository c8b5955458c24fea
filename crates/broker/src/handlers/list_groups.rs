//! ListGroups, versions 0 to 5: the groups that this broker coordinates. Their states, and only those in given ones, since
//! version 4 (KIP-518); the same for types since 5 (KIP-848).
//!
//! A shard that is being loaded makes the whole answer an error, since nobody would miss what is not in it.
//!
//! *Memory*: the answer, one entry for each group; those of one shard are listed at once, and reserved before the next.
//! *Authorization*: DESCRIBE on the cluster, or on each group that is listed.

use klamm_coordinator::group::{Request, narrowed};
use klamm_model::ErrorCode;
use klamm_protocol::messages::list_groups_response::ListedGroup;
use klamm_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};
use crate::turn::Turn;

/// What a group takes in the answer, listed and encoded, beside its texts.
const GROUP_BYTES: usize = size_of::<ListedGroup>() + 32;

/// Answers one request.
pub(crate) async fn handle(context: &RequestContext<'_>, request: ListGroupsRequest) -> ListGroupsResponse {
    let request = narrowed(request);
    let mut response = ListGroupsResponse::default();
    let mut turn = Turn::default();
    for partition in context.broker.groups.led() {
        let list = || {
            let begun = groups::begin_in(context, partition, Request::ListGroups(request.clone()));
            async { answer_to!(ListGroups, begun.answer().await) }
        };
        let Some(listed) = context.memory.make(list, bytes_of).await else {
            break;
        };
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
    response
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
