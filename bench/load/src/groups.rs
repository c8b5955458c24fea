//! The groups that commit: what they are called, what they commit, and what the broker says they have committed. And the
//! command `offsets`, which waits until a broker that starts has loaded them.
//!
//! Always holds: a group has the same offset of every partition of the topic, so that what is missing is seen.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use klamm_model::ErrorCode;
use klamm_model::java_hash::partition_of;
use klamm_protocol::ByteString;
use klamm_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use klamm_protocol::messages::find_coordinator_response::FindCoordinatorResponse;
use klamm_protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use klamm_protocol::messages::offset_commit_response::OffsetCommitResponse;
use klamm_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use klamm_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;

use crate::admin::{self, Admin, check};
use crate::clock;
use crate::report::{self, Stopwatch};
use crate::topics::{Topics, Where};

/// Digits of its number at the end of a group's name.
pub(crate) const DIGITS: usize = 7;
/// Of every partition.
const OFFSET: i64 = 7;
/// Groups that are asked for in one request.
const AT_ONCE: usize = 100;
/// The wait between two looks, short beside what is measured.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);
/// How long a broker may take to start, and to load what was committed.
const LIMIT: u64 = 120 * clock::SECOND;
/// Partitions of the topic in which offsets are recorded, as it is made by default.
const RECORDED_IN: usize = 50;

/// The group with this number of those that commit to a topic.
pub(crate) fn name(topic: &str, number: usize) -> String {
    format!("{topic}-group-{number:0width$}", width = DIGITS)
}

/// One for each partition in which offsets are recorded: whoever coordinates these coordinates all.
fn spread(name: impl Fn(usize) -> String, most: usize) -> Vec<String> {
    let mut by_partition = vec![None; RECORDED_IN];
    for name in (0..most).map(name) {
        if let Some(place) = partition_of(&name, RECORDED_IN).and_then(|at| by_partition.get_mut(at)) {
            place.get_or_insert(name);
        }
    }
    by_partition.into_iter().flatten().collect()
}

/// Commits all partitions of a topic for a group without members.
pub(crate) fn commit(topics: &Topics, group: &str) -> OffsetCommitRequest {
    let partitions = (0..topics.partitions).map(|index| OffsetCommitRequestPartition {
        partition_index: index,
        committed_offset: OFFSET,
        ..Default::default()
    });
    OffsetCommitRequest {
        group_id: group.into(),
        topics: vec![OffsetCommitRequestTopic {
            topic_id: topics.ids[0],
            partitions: partitions.collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Fails unless so many partitions were committed.
pub(crate) fn check_commit(answer: &OffsetCommitResponse, partitions: i32) -> Result<()> {
    let told: Vec<_> = answer.topics.iter().flat_map(|topic| &topic.partitions).collect();
    ensure!(
        i32::try_from(told.len())? == partitions,
        "{} partitions are told of, {partitions} were committed",
        told.len()
    );
    told.iter()
        .try_for_each(|partition| check(partition.error_code, || "OffsetCommit".to_owned()))
}

/// What there are coordinators of.
#[derive(Clone, Copy)]
pub(crate) enum Coordinated {
    Group = 0,
    Transaction = 1,
}

/// Waits until somebody coordinates `key`: the broker makes the internal topic when it is asked for the first.
pub(crate) fn coordinated(admin: &mut Admin, what: Coordinated, key: &str) -> Result<()> {
    let request = FindCoordinatorRequest {
        key_type: what as i8,
        coordinator_keys: vec![key.into()],
        ..Default::default()
    };
    patiently(|| Ok(found(&admin.call(admin::FIND_COORDINATOR, &request)?)))
}

/// A name for a group that no earlier run has used, though the topic may be that of one. Its coordinator answers for it by now.
pub(crate) fn fresh(admin: &mut Admin, topics: &Topics) -> Result<String> {
    let name = format!("{}-group-{}", topics.name(), clock::wall_ms());
    served(admin, &name)?;
    Ok(name)
}

/// Waits until the coordinator of a group answers for it.
pub(crate) fn served(admin: &mut Admin, group: &str) -> Result<()> {
    coordinated(admin, Coordinated::Group, group)?;
    let group = [group.to_owned()];
    patiently(|| {
        let groups = fetch(admin, &group)?;
        let group = groups.first().context("OffsetFetch forgets a group")?;
        Ok(check(group.error_code, || {
            format!("OffsetFetch of {}", group.group_id)
        }))
    })
}

/// Tries until the broker agrees; an error of another kind ends it at once.
pub(crate) fn patiently(mut attempt: impl FnMut() -> Result<Result<()>>) -> Result<()> {
    let deadline = clock::now() + LIMIT;
    while let Err(error) = attempt()? {
        if clock::now() > deadline {
            return Err(error);
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    Ok(())
}

/// Waits until the broker coordinates groups, wherever they are recorded.
pub(crate) fn begin(topics: &Topics, admin: &mut Admin) -> Result<()> {
    let topic = topics.name();
    coordinated(admin, Coordinated::Group, topic)?;
    for group in spread(|number| format!("{topic}-first-{number}"), 10 * RECORDED_IN) {
        let request = commit(topics, &group);
        patiently(|| {
            let answer = admin.call(admin::OFFSET_COMMIT, &request)?;
            Ok(check_commit(&answer, topics.partitions))
        })?;
    }
    Ok(())
}

fn found(answer: &FindCoordinatorResponse) -> Result<()> {
    let coordinator = answer.coordinators.first().context("nobody coordinates")?;
    check(coordinator.error_code, || "FindCoordinator".to_owned())
}

fn fetch(admin: &mut Admin, groups: &[String]) -> Result<Vec<OffsetFetchResponseGroup>> {
    fetch_as(admin, groups, false)
}

fn fetch_as(
    admin: &mut Admin,
    groups: &[String],
    require_stable: bool,
) -> Result<Vec<OffsetFetchResponseGroup>> {
    let groups = groups.iter().map(|group| OffsetFetchRequestGroup {
        group_id: ByteString::from(group.as_str()),
        topics: None,
        ..Default::default()
    });
    let request = OffsetFetchRequest {
        groups: groups.collect(),
        require_stable,
        ..Default::default()
    };
    Ok(admin.call(admin::OFFSET_FETCH, &request)?.groups)
}

/// Waits until no transaction of a group is pending; fails unless it has committed these offsets then, of the partitions from
/// 0 on.
pub(crate) fn expect_offsets(admin: &mut Admin, group: &str, expected: &[i64]) -> Result<()> {
    let name = [group.to_owned()];
    let mut offsets = vec![0; expected.len()];
    patiently(|| {
        let groups = fetch_as(admin, &name, true)?;
        let told = groups.first().context("OffsetFetch forgets a group")?;
        check(told.error_code, || format!("OffsetFetch of {group}"))?;
        for partition in told.topics.iter().flat_map(|topic| &topic.partitions) {
            if partition.error_code == ErrorCode::UnstableOffsetCommit.code() {
                return Ok(Err(anyhow!("a transaction of {group} does not end")));
            }
            check(partition.error_code, || format!("the offsets of {group}"))?;
            let index = usize::try_from(partition.partition_index)?;
            *offsets
                .get_mut(index)
                .context("an offset that nobody committed")? = partition.committed_offset;
        }
        Ok(Ok(()))
    })?;
    ensure!(
        offsets == expected,
        "{group} has committed {expected:?}, the broker knows of {offsets:?}"
    );
    Ok(())
}

/// Fails unless so many groups have committed all partitions of the topic.
pub(crate) fn expect(topics: &Topics, admin: &mut Admin, count: usize) -> Result<()> {
    let names: Vec<String> = (0..count).map(|number| name(topics.name(), number)).collect();
    for names in names.chunks(AT_ONCE) {
        let groups = fetch(admin, names)?;
        ensure!(groups.len() == names.len(), "OffsetFetch forgets a group");
        for group in groups {
            check(group.error_code, || format!("OffsetFetch of {}", group.group_id))?;
            let all = group.topics.iter().flat_map(|topic| &topic.partitions);
            let committed = all.filter(|partition| partition.committed_offset == OFFSET);
            let (committed, expected) = (committed.count(), usize::try_from(topics.partitions)?);
            if committed != expected {
                bail!(
                    "{} has committed {expected} partitions, the broker knows of {committed}",
                    group.group_id
                );
            }
        }
    }
    Ok(())
}

/// Which groups to wait for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// How many groups have committed.
    #[arg(long)]
    groups: usize,
}

/// `offsets`: from the first answer of a broker that starts until it tells the offsets of every group.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (address, topic) = (args.place.address()?, args.place.topic());
    report::gate("ready")?;
    let deadline = clock::now() + LIMIT;
    let mut left = spread(|number| name(topic, number), args.groups);
    let mut requests = 0;
    let (mut admin, watch) = loop {
        // It does not listen yet, or has no answers yet.
        let first = Admin::connect(address).and_then(|mut admin| {
            fetch(&mut admin, &left[..1])?;
            Ok(admin)
        });
        match first {
            Ok(admin) => break (admin, Stopwatch::start()),
            Err(error) if clock::now() > deadline => return Err(error).context("the broker does not start"),
            Err(_) => thread::sleep(BETWEEN_LOOKS),
        }
    };
    loop {
        for group in fetch(&mut admin, &left)? {
            match ErrorCode::from_code(group.error_code) {
                Some(ErrorCode::None) if !group.topics.is_empty() => {
                    left.retain(|left| **left != *group.group_id);
                }
                // Nothing is known of it yet.
                Some(ErrorCode::None) => {}
                Some(code) if code.is_retriable() => {}
                _ => check(group.error_code, || "OffsetFetch".to_owned())?,
            }
        }
        requests += 1;
        if left.is_empty() {
            break;
        }
        ensure!(clock::now() < deadline, "the offsets of {left:?} are not loaded");
        thread::sleep(BETWEEN_LOOKS);
    }
    report::say(&watch.stop(requests))?;
    let topics = args.place.find(1, args.partitions)?;
    expect(&topics, &mut admin, args.groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_spread_over_all_partitions() {
        let names = spread(|number| name("t", number), 10 * RECORDED_IN);
        assert_eq!(names.len(), RECORDED_IN);
        assert_eq!(names[0].len(), "t-group-".len() + DIGITS);
        assert_eq!(spread(|number| name("t", number), 3).len(), 3);
    }
}
