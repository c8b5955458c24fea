//! DescribeGroups, versions 0 to 6: classic groups with their members. The operations that the client may do on a group since
//! version 3 (KIP-430), static members since 4 (KIP-345), why a group cannot be described since 6 (KIP-1043).
//!
//! *Memory*: the answer, proportional to the members of the groups. *Authorization*: DESCRIBE on each group.

use klamm_coordinator::Answer as _;
use klamm_coordinator::group::{Answer, Request, Shape};
use klamm_model::ErrorCode;
use klamm_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};
use crate::coordinators::split::{Split, by_partition};
use crate::operations;
use crate::turn::Turn;

/// Since this version an answer has the operations that may be done.
const WITH_OPERATIONS: i16 = 3;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let version = context.version;
    let asked = request.include_authorized_operations && version >= WITH_OPERATIONS;
    let Split { parts, nowhere } = by_partition(context, request.groups);
    let mut response = DescribeGroupsResponse::default();
    let mut turn = Turn::default();
    for (partition, groups) in parts {
        let begun = groups::begin_in(context, partition, Request::DescribeGroups { version, groups });
        response
            .groups
            .extend(answer_to!(DescribeGroups, begun.answer().await));
        turn.spend(0).await;
    }
    for (group, code) in nowhere {
        let refused = Answer::refused(&Shape::DescribeGroups(vec![group]), code);
        response.groups.extend(answer_to!(DescribeGroups, refused));
    }
    for group in &mut response.groups {
        let is_described = group.error_code == ErrorCode::None.code();
        group.authorized_operations = operations::of_group(asked && is_described);
    }
    response
}
