//! DescribeGroups, versions 0 to 6: classic groups with their members. The operations that the client may do on a group since
//! version 3 (KIP-430), static members since 4 (KIP-345), why a group cannot be described since 6 (KIP-1043).
//!
//! Groups are told in the order of the request. One that is named again is told again, and looked at once.
//!
//! *Memory*: the answer, proportional to the members of the groups; a few groups are described at once, and reserved before the
//! next ones. *Authorization*: DESCRIBE on each group.

use std::collections::BTreeMap;

use klamm_coordinator::group::Request;
use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use klamm_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use crate::context::RequestContext;
use crate::coordinators::groups::{self, answer_to};
use crate::operations;
use crate::turn::Turn;

/// Since this version an answer has the operations that may be done.
const WITH_OPERATIONS: i16 = 3;
/// Groups that are described at once: they share the wait for what is not committed yet.
const AT_ONCE: usize = 16;
/// What a name takes beside its text while it is looked for.
const NAME_BYTES: usize = 2 * size_of::<ByteString>() + 64;
/// What a group and a member of it take in the answer, described and encoded, beside their texts.
const GROUP_BYTES: usize = size_of::<DescribedGroup>() + 64;
const MEMBER_BYTES: usize = size_of::<DescribedGroupMember>() + 32;

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let tells_operations = request.include_authorized_operations && context.version >= WITH_OPERATIONS;
    let groups = answer(context, request.groups, tells_operations).await;
    DescribeGroupsResponse {
        // One that is too large ends the connection.
        groups: groups.unwrap_or_default(),
        ..Default::default()
    }
}

/// The groups with these names; `None` if they are too much for the memory.
async fn answer(
    context: &RequestContext<'_>,
    names: Vec<ByteString>,
    tells_operations: bool,
) -> Option<Vec<DescribedGroup>> {
    let mut turn = Turn::default();
    let Named { distinct, places } = Named::of(context, names, &mut turn).await?;
    let mut described: Vec<DescribedGroup> = Vec::new();
    for some in distinct.chunks(AT_ONCE) {
        let bytes = |groups: &Vec<DescribedGroup>| groups.iter().map(bytes_of).sum::<usize>();
        let groups = context.memory.make(|| describe(context, some), bytes).await?;
        turn.spend(bytes(&groups)).await;
        described.extend(groups);
    }
    for group in &mut described {
        let is_described = group.error_code == ErrorCode::None.code();
        group.authorized_operations = operations::of_group(tells_operations && is_described);
    }
    if places.len() == described.len() {
        return Some(described);
    }
    let mut groups = Vec::with_capacity(places.len());
    for place in places {
        let group = &described[place];
        let bytes = bytes_of(group);
        if !context.memory.reserve(bytes).await {
            return None;
        }
        turn.spend(bytes).await;
        groups.push(group.clone());
    }
    Some(groups)
}

/// The names of a request.
struct Named {
    /// Each once.
    distinct: Vec<ByteString>,
    /// Which of them stand where in the request.
    places: Vec<usize>,
}

impl Named {
    async fn of(context: &RequestContext<'_>, names: Vec<ByteString>, turn: &mut Turn) -> Option<Self> {
        if !context.memory.reserve(names.len() * NAME_BYTES).await {
            return None;
        }
        let mut known = BTreeMap::new();
        let (mut distinct, mut places) = (Vec::new(), Vec::with_capacity(names.len()));
        for name in names {
            turn.spend(name.len()).await;
            let place = *known.entry(name).or_insert_with_key(|name| {
                distinct.push(name.clone());
                distinct.len() - 1
            });
            places.push(place);
        }
        Some(Self { distinct, places })
    }
}

/// Has a few groups described, each by its shard; all are decided on before the first is waited for.
fn describe(
    context: &RequestContext<'_>,
    names: &[ByteString],
) -> impl Future<Output = Vec<DescribedGroup>> + use<> {
    let begun = names.iter().map(|name| {
        let request = Request::DescribeGroups {
            version: context.version,
            groups: vec![name.clone()],
        };
        groups::begin(context, name, request)
    });
    let begun: Vec<_> = begun.collect();
    async {
        let mut described = Vec::with_capacity(begun.len());
        for begun in begun {
            described.extend(answer_to!(DescribeGroups, begun.answer().await));
        }
        described
    }
}

/// What a group takes, described and encoded.
fn bytes_of(group: &DescribedGroup) -> usize {
    let message = group.error_message.as_ref().map_or(0, |message| message.len());
    let texts = [
        &group.group_id,
        &group.group_state,
        &group.protocol_type,
        &group.protocol_data,
    ];
    let texts: usize = texts.map(|text| text.len()).iter().sum();
    let members = group.members.iter().map(|member| {
        let instance = member.group_instance_id.as_ref().map_or(0, |id| id.len());
        let texts = member.member_id.len() + member.client_id.len() + member.client_host.len() + instance;
        // Metadata and assignment are the group's own until they are encoded.
        MEMBER_BYTES + 2 * texts + member.member_metadata.len() + member.member_assignment.len()
    });
    GROUP_BYTES + 2 * (message + texts) + members.sum::<usize>()
}
