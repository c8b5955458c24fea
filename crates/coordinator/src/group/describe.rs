//! DescribeGroups, ListGroups and DeleteGroups: what an administrator asks.
//!
//! Next: `kinds.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use klamm_model::ErrorCode;
use klamm_protocol::ByteString;
use klamm_protocol::messages::ListGroupsRequest;
use klamm_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use klamm_protocol::messages::list_groups_response::ListedGroup;

use super::answer::in_words;
use super::classic::{ClassicGroup, State};

impl ClassicGroup {
    /// What DescribeGroups tells. What members say, and the protocol they say it under, is told of a stable group only.
    pub(crate) fn describe(&self, id: &ByteString) -> DescribedGroup {
        let protocol = self.protocol.as_deref().filter(|_| self.state == State::Stable);
        let members = self.members.iter().map(|member| DescribedGroupMember {
            member_id: (&*member.id).into(),
            group_instance_id: member.instance_id.as_deref().map(Into::into),
            client_id: (&*member.client_id).into(),
            client_host: (&*member.client_host).into(),
            member_metadata: protocol
                .map(|protocol| member.metadata(protocol))
                .unwrap_or_default(),
            member_assignment: member.assignment.clone(),
            ..Default::default()
        });
        DescribedGroup {
            group_id: id.clone(),
            group_state: self.state.name().into(),
            protocol_type: self.protocol_type.as_deref().unwrap_or_default().into(),
            protocol_data: protocol.unwrap_or_default().into(),
            members: members.collect(),
            ..Default::default()
        }
    }
}

/// What DescribeGroups tells of a group that is not there, or is not of the classic protocol: before version 6, that it is dead.
pub(crate) fn describe_missing(version: i16, id: &ByteString, is_of_other_kind: bool) -> DescribedGroup {
    let mut described = DescribedGroup {
        group_id: id.clone(),
        group_state: "Dead".into(),
        ..Default::default()
    };
    if version >= 6 {
        described.error_code = ErrorCode::GroupIdNotFound.code();
        described.error_message = Some(in_words(if is_of_other_kind {
            format!("Group {id} is not a classic group.")
        } else {
            format!("Group {id} not found.")
        }));
    }
    described
}

/// The states and the types of groups that there are, of all kinds: small letters.
const STATES: [&str; 10] = [
    "assigning",
    "completingrebalance",
    "dead",
    "empty",
    "initializing",
    "notready",
    "preparingrebalance",
    "reconciling",
    "stable",
    "unknown",
];
const TYPES: [&str; 5] = ["classic", "consumer", "share", "streams", "unknown"];

/// A request that lists the same groups, whose filters are no longer than what there is to filter by.
pub fn narrowed(mut request: ListGroupsRequest) -> ListGroupsRequest {
    narrow(&mut request.states_filter, &STATES, state_name);
    narrow(&mut request.types_filter, &TYPES, type_name);
    request
}

/// Keeps of a filter what it can find, each once; or a name that finds nothing, when that is all that it has.
fn narrow(filter: &mut Vec<ByteString>, there_are: &[&'static str], name: fn(&str) -> String) {
    let mut found = BTreeSet::new();
    for asked in &*filter {
        let asked = name(asked);
        found.extend(there_are.iter().find(|known| ***known == *asked));
    }
    if found.is_empty() {
        filter.truncate(1);
    } else {
        *filter = found.into_iter().copied().map(ByteString::from_static).collect();
    }
}

/// How states are compared.
fn state_name(state: &str) -> String {
    state.trim().to_lowercase()
}

/// How types are compared.
fn type_name(name: &str) -> String {
    name.to_lowercase()
}

/// What ListGroups asks for. A name that nothing has finds nothing.
pub(crate) struct Filter {
    states: BTreeSet<String>,
    types: BTreeSet<String>,
}

impl Filter {
    pub(crate) fn of(request: &ListGroupsRequest) -> Self {
        Self {
            states: request
                .states_filter
                .iter()
                .map(|state| state_name(state))
                .collect(),
            types: request.types_filter.iter().map(|name| type_name(name)).collect(),
        }
    }

    /// The group as it is listed, if it is asked for.
    pub(crate) fn listed(
        &self,
        id: &Arc<str>,
        kind: &str,
        state: &str,
        protocol_type: &str,
    ) -> Option<ListedGroup> {
        let has_state = self.states.is_empty() || self.states.contains(&state.to_lowercase());
        let has_type = self.types.is_empty() || self.types.contains(kind);
        (has_state && has_type).then(|| ListedGroup {
            group_id: (&**id).into(),
            protocol_type: protocol_type.into(),
            group_state: state.into(),
            group_type: kind.into(),
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_filter_is_no_longer_than_what_there_is_to_filter_by() {
        let names = |of: &[&str]| of.iter().map(|name| ByteString::from(*name)).collect::<Vec<_>>();
        let cases: [(&[&str], &[&str]); 5] = [
            (&[], &[]),
            (&["Stable", " stable ", "nothing", "EMPTY"], &["empty", "stable"]),
            // One that finds nothing still finds nothing.
            (&["nothing", "more"], &["nothing"]),
            (&[""], &[""]),
            (&["nothing"; 1_000], &["nothing"]),
        ];
        for (asked, expected) in cases {
            let narrow = narrowed(ListGroupsRequest {
                states_filter: names(asked),
                ..Default::default()
            });
            assert_eq!(narrow.states_filter, names(expected), "{asked:?}");
        }
        let narrow = narrowed(ListGroupsRequest {
            types_filter: names(&["Classic", "classic", "x"]),
            ..Default::default()
        });
        assert_eq!(narrow.types_filter, names(&["classic"]));
    }
}
