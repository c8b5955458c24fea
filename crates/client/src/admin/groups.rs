//! Lists, describes and deletes groups, and sets what they have committed.
//!
//! Always holds: a group is asked about at its own coordinator; what cannot be said of one group does not keep the others
//! from being answered.
//!
//! Next: `groups/describe.rs`, `groups/ends.rs` for where partitions end, `groups/unread.rs` for the age of what was not consumed.

mod describe;
mod ends;
mod unread;

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use klamm_env::Task;
use klamm_model::{ErrorCode, Offset, TopicPartition};
use klamm_protocol::ApiKey;
use klamm_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use klamm_protocol::messages::list_groups_request::ListGroupsRequest;

use super::{Admin, said};
use crate::client::Target;
use crate::coordinator::Coordinator;
use crate::error::{ClientError, Refusal};
use crate::offsets::{self, Committed, Committer};

pub use describe::{GroupDescription, GroupKind, GroupMember};

/// The first ListGroups that filters by state (KIP-518).
const FIRST_WITH_STATES: i16 = 4;
/// The first ListGroups that filters by type (KIP-848).
const FIRST_WITH_TYPES: i16 = 5;

/// Groups that are asked about at the same time.
const GROUPS_AT_ONCE: usize = 16;

/// A group, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupListing {
    /// Its name.
    pub name: String,
    /// `Classic`, `Consumer`, `Share`, `Streams`; nothing where the broker does not know of types.
    pub kind: Option<String>,
    /// Its state; nothing where the broker does not say.
    pub state: Option<String>,
    /// What its members are: `consumer`, `connect`, ...; nothing for offsets without members.
    pub protocol: Option<String>,
}

impl Admin {
    /// The groups of all brokers, by name; those in one of `states` and of one of `kinds`, where any are given, in Kafka's words.
    /// A broker that does not tell states, or types, cannot be asked for them.
    pub async fn list_groups(
        &self,
        states: &[String],
        kinds: &[String],
    ) -> Result<Vec<GroupListing>, ClientError> {
        let mut groups = BTreeSet::new();
        let brokers = self.client.cluster().brokers.keys().copied().collect::<Vec<_>>();
        for broker in brokers {
            let asked = self
                .client
                .retrying(|| self.list_once(Target::Broker(broker), states, kinds))
                .await?;
            groups.extend(asked);
        }
        Ok(groups.into_iter().collect())
    }

    async fn list_once(
        &self,
        broker: Target,
        states: &[String],
        kinds: &[String],
    ) -> Result<Vec<GroupListing>, ClientError> {
        let connection = self.client.connection(broker).await?;
        let least = match (states.is_empty(), kinds.is_empty()) {
            (true, true) => 0,
            (false, true) => FIRST_WITH_STATES,
            (_, false) => FIRST_WITH_TYPES,
        };
        let version = connection.version_between::<ListGroupsRequest>(least, i16::MAX)?;
        let filter = |words: &[String]| -> Vec<ByteString> {
            words.iter().map(|word| ByteString::from(word.as_str())).collect()
        };
        let request = ListGroupsRequest {
            states_filter: filter(states),
            types_filter: filter(kinds),
            ..ListGroupsRequest::default()
        };
        let answer = connection.submit(version, &request).await?.answer().await?;
        Refusal::check(answer.error_code, None)
            .map_err(|refusal| ClientError::refused(ApiKey::ListGroups, refusal))?;
        let listed = answer.groups.into_iter().map(|group| GroupListing {
            name: group.group_id.to_string(),
            kind: given(&group.group_type),
            state: given(&group.group_state),
            protocol: given(&group.protocol_type),
        });
        Ok(listed.collect())
    }

    /// Deletes groups that have no members, with all that they committed; what became of each, in the order of the names.
    pub async fn delete_groups(&self, names: &[&str]) -> Vec<(String, Result<(), ClientError>)> {
        let mut results = Vec::with_capacity(names.len());
        for some in names.chunks(GROUPS_AT_ONCE) {
            let tasks: Vec<_> = some
                .iter()
                .map(|name| self.deletion((*name).to_owned()))
                .collect();
            for (name, task) in some.iter().zip(tasks) {
                let ended = || Err(ClientError::refused(ApiKey::DeleteGroups, unknown()));
                results.push(((*name).to_owned(), task.await.unwrap_or_else(ended)));
            }
        }
        results
    }

    fn deletion(&self, name: String) -> Task<Result<(), ClientError>> {
        let admin = self.clone();
        let env = self.client.env();
        env.spawn(async move { admin.delete_group(&name).await })
    }

    async fn delete_group(&self, name: &str) -> Result<(), ClientError> {
        let coordinator = Coordinator::of_group(&self.client, name);
        let request = DeleteGroupsRequest {
            groups_names: vec![name.into()],
            ..DeleteGroupsRequest::default()
        };
        let attempt = || async {
            let answer = coordinator.call((0, i16::MAX), None, &request).await?;
            let refused = |refusal| ClientError::refused(ApiKey::DeleteGroups, refusal);
            let result = answer.results.into_iter().next().ok_or_else(unknown);
            let result = result.map_err(refused)?;
            coordinator.check(
                ApiKey::DeleteGroups,
                result.error_code,
                result.error_message.as_ref(),
            )
        };
        self.client.retrying(attempt).await
    }

    /// What a group has committed.
    pub async fn group_offsets(
        &self,
        group: &str,
    ) -> Result<BTreeMap<TopicPartition, Committed>, ClientError> {
        offsets::fetch_all(&Coordinator::of_group(&self.client, group)).await
    }

    /// Sets what a group without members has committed; the group need not be there yet.
    pub async fn set_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<BTreeMap<TopicPartition, Result<(), Refusal>>, ClientError> {
        let coordinator = Coordinator::of_group(&self.client, group);
        offsets::commit(&coordinator, &Committer::outsider(), offsets).await
    }
}

fn unknown() -> Refusal {
    Refusal::new(ErrorCode::UnknownServerError)
}

fn given(text: &ByteString) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

#[cfg(test)]
mod tests;
