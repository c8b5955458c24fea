//! DeleteGroups, versions 0 to 3: groups without members go, with their offsets (KIP-229).
//!
//! A group that is named twice is deleted once. *Memory*: the answer, proportional to the groups, reserved before it is made.
//! *Authorization*: DELETE on each group.

use std::collections::BTreeSet;

use klamm_coordinator::Answer as _;
use klamm_coordinator::group::{Answer, Request, Shape};
use klamm_protocol::messages::delete_groups_response::DeletableGroupResult;
use klamm_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};
use crate::coordinators::split::{Split, by_partition};

/// What a group takes in the answer, and encoded, and while it is looked for, beside its name.
const GROUP_BYTES: usize = 2 * size_of::<DeletableGroupResult>() + 128;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut names = request.groups_names;
    let bytes = names.iter().map(|name| GROUP_BYTES + 2 * name.len());
    if !context.memory.reserve(bytes.sum()).await {
        return DeleteGroupsResponse::default();
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let Split { parts, nowhere } = by_partition(context, names);
    // All are decided on before the first is waited for: they share syncs.
    let begun: Vec<_> = parts
        .into_iter()
        .map(|(partition, groups)| groups::begin_in(context, partition, Request::DeleteGroups(groups)))
        .collect();
    let mut response = DeleteGroupsResponse::default();
    for begun in begun {
        response
            .results
            .extend(answer_to!(DeleteGroups, begun.answer().await));
    }
    for (group, code) in nowhere {
        let refused = Answer::refused(&Shape::DeleteGroups(vec![group]), code);
        response.results.extend(answer_to!(DeleteGroups, refused));
    }
    response
}
