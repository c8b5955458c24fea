//! What `klamm group describe` says about the group.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::programs::Programs;

/// A group, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Group {
    pub(crate) state: String,
    pub(crate) members: Vec<Member>,
    pub(crate) offsets: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Member {
    id: String,
    client_id: String,
    assigned: Option<BTreeMap<String, Vec<i32>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Row {
    pub(crate) partition: i32,
    pub(crate) committed_offset: Option<i64>,
    pub(crate) end_offset: Option<i64>,
    pub(crate) lag: Option<i64>,
    member: Option<String>,
}

impl Group {
    /// Asks for it.
    pub(crate) fn ask(programs: &Programs, name: &str) -> Result<Self> {
        let text = programs.klamm(&["group", "describe", name, "--output", "json"])?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let groups: Vec<Group> = serde_json::from_str(text).context("klamm describes in another way")?;
        groups.into_iter().next().context("klamm describes no group")
    }

    /// The partitions of each member, by its client id.
    pub(crate) fn parts(&self) -> BTreeMap<&str, BTreeSet<i32>> {
        let members = self.members.iter().map(|member| {
            let assigned = member
                .assigned
                .iter()
                .flat_map(|topics| topics.values().flatten());
            (member.client_id.as_str(), assigned.copied().collect())
        });
        members.collect()
    }

    /// Whether these members, and nobody else, share so many partitions, as the members and as the partitions say.
    pub(crate) fn is_shared_by(&self, names: &[String], partitions: i32) -> bool {
        let parts = self.parts();
        let all: BTreeSet<i32> = parts.values().flatten().copied().collect();
        let sum: usize = parts.values().map(BTreeSet::len).sum();
        let owners: BTreeMap<&str, &str> = self
            .members
            .iter()
            .map(|member| (member.id.as_str(), member.client_id.as_str()))
            .collect();
        let rows_agree = self.offsets.iter().all(|row| {
            let owner = row.member.as_deref().and_then(|id| owners.get(id));
            owner.is_some_and(|owner| parts[owner].contains(&row.partition))
        });
        self.state == "stable"
            && parts.keys().copied().eq(names.iter().map(String::as_str))
            && parts.values().all(|part| !part.is_empty())
            && all == (0..partitions).collect()
            && sum == all.len()
            && self.offsets.len() == all.len()
            && rows_agree
    }

    /// What is wrong with the lags: they are what the offsets say, and no end is before what was acknowledged when it was asked
    /// for it, by partition. That a commit was answered says nothing here: the group has its offsets once its marker is written.
    pub(crate) fn wrong_lags(&self, acknowledged: &BTreeMap<i32, i64>) -> Vec<String> {
        let is_wrong = |row: &&Row| {
            let expected = row
                .end_offset
                .zip(row.committed_offset)
                .map(|(end, committed)| end - committed);
            let least = acknowledged.get(&row.partition);
            // One that is not told is none that can be looked at.
            let is_short = least.is_some_and(|least| row.end_offset.is_none_or(|end| end < *least));
            row.lag != expected || expected.is_some_and(|lag| lag < 0) || is_short
        };
        let rows = self.offsets.iter().filter(is_wrong);
        rows.map(|row| format!("{row:?}")).collect()
    }

    /// Whether all there is was consumed.
    pub(crate) fn is_at_the_end(&self) -> bool {
        !self.offsets.is_empty() && self.offsets.iter().all(|row| row.lag == Some(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"[{"name":"g","type":"consumer","state":"stable","coordinator":1,"assignor":"range","epoch":3,
        "members":[
          {"id":"m1","instance":null,"client_id":"g-0.1","host":"/h","epoch":3,"assigned":{"in":[0,1]}},
          {"id":"m2","instance":null,"client_id":"g-1.1","host":"/h","epoch":3,"assigned":{"in":[2]}}],
        "offsets":[
          {"topic":"in","partition":0,"committed_offset":3,"end_offset":5,"lag":2,"lag_ms":17,"member":"m1"},
          {"topic":"in","partition":1,"committed_offset":null,"end_offset":5,"lag":null,"lag_ms":null,"member":"m1"},
          {"topic":"in","partition":2,"committed_offset":4,"end_offset":4,"lag":0,"lag_ms":0,"member":"m2"}]}]"#;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn who_shares_what() {
        let group = Group::parse(TEXT).unwrap();
        let two = names(&["g-0.1", "g-1.1"]);
        assert!(group.is_shared_by(&two, 3));
        assert!(!group.is_shared_by(&two, 4), "a partition without an owner");
        assert!(!group.is_shared_by(&names(&["g-0.1", "g-1.1", "g-2.1"]), 3));
        let mut twice = group.clone();
        twice.members[1].assigned = Some([("in".to_owned(), vec![1, 2])].into());
        assert!(!twice.is_shared_by(&two, 3), "a partition with two owners");
        let mut other = group.clone();
        other.offsets[0].member = Some("m2".to_owned());
        assert!(!other.is_shared_by(&two, 3), "rows that say something else");
        let mut moving = group;
        moving.state = "reconciling".to_owned();
        assert!(!moving.is_shared_by(&two, 3));
    }

    #[test]
    fn lags() {
        let mut group = Group::parse(TEXT).unwrap();
        assert!(group.wrong_lags(&[(0, 5), (2, 3)].into()).is_empty());
        let wrong = group.wrong_lags(&[(0, 6)].into());
        assert_eq!(wrong.len(), 1, "an end before what was acknowledged: {wrong:?}");
        assert!(!group.is_at_the_end());
        let mut blind = group.clone();
        (blind.offsets[0].end_offset, blind.offsets[0].lag) = (None, None);
        assert_eq!(
            blind.wrong_lags(&[(0, 5)].into()).len(),
            1,
            "an end that is not told"
        );
        group.offsets.truncate(1);
        group.offsets[0].lag = Some(1);
        assert_eq!(group.wrong_lags(&BTreeMap::new()).len(), 1);
        group.offsets[0].committed_offset = Some(5);
        group.offsets[0].lag = Some(0);
        assert!(group.is_at_the_end());
    }
}
