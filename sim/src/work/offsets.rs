//! What groups have committed: asked for, and written down.

use std::collections::BTreeMap;

use klamm_env::Env;
use klamm_model::ErrorCode;
use klamm_protocol::messages::OffsetFetchRequest;
use klamm_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};

use super::ledger::{Found, Ledger};
use super::line::{BACKOFF, Line, Lost};
use super::member::Topic;

const OFFSET_FETCH: i16 = 9;
/// Attempts of the last one to ask that may fail.
const FRUITLESS: u32 = 500;

/// Of each partition the offset that it has; those are missing that were not told of.
pub(crate) async fn fetch(
    line: &mut Line,
    (group, topic): (&'static str, Topic),
    partitions: &[i32],
    stable: bool,
) -> Result<BTreeMap<i32, Option<i64>>, Lost> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            member_epoch: -1,
            topics: Some(vec![OffsetFetchRequestTopics {
                name: topic.name.into(),
                partition_indexes: partitions.to_vec(),
                ..Default::default()
            }]),
            ..Default::default()
        }],
        require_stable: stable,
        ..Default::default()
    };
    let asked = line.ledger.moment();
    let answer = line.ask(OFFSET_FETCH, &request).await?;
    let answered = line.ledger.moment();
    let mut offsets = BTreeMap::new();
    for told in &answer.groups {
        let all = told.topics.iter().flat_map(|topic| &topic.partitions);
        let group_code = (told.error_code != 0).then_some(told.error_code);
        let codes = all.clone().map(|partition| partition.error_code);
        for code in codes.chain(group_code).filter(|code| *code != 0) {
            match ErrorCode::from_code(code) {
                Some(again) if again.is_retriable() => line.ledger.refused("OffsetFetch", again),
                other => line.fault(format_args!("OffsetFetch is answered with {other:?}")),
            }
        }
        let good = all.filter(|partition| partition.error_code == 0 && group_code.is_none());
        for partition in good {
            let offset = partition.committed_offset;
            offsets.insert(partition.partition_index, (offset >= 0).then_some(offset));
        }
    }
    let found = offsets.iter().map(|(partition, offset)| Found {
        group,
        partition: *partition,
        offset: *offset,
        stable,
        asked,
        answered,
    });
    let found: Vec<_> = found.collect();
    line.ledger.write(|pages| pages.found.extend(found));
    Ok(offsets)
}

/// Asks again and again.
pub(crate) async fn audit(env: Env, ledger: Ledger, groups: Vec<(&'static str, Topic)>) {
    let mut line = Line::new(&env, &ledger, "auditor");
    while !ledger.is_over() {
        for (group, topic) in &groups {
            let partitions: Vec<i32> = (0..topic.partitions).collect();
            let stable = line.one_in(2);
            let _ = fetch(&mut line, (group, *topic), &partitions, stable).await;
        }
        line.idle(120).await;
    }
}

/// What there is at the end, of which nothing is undecided.
pub(crate) async fn read_all(env: Env, ledger: Ledger, groups: Vec<(&'static str, Topic)>) {
    let mut line = Line::new(&env, &ledger, "last auditor");
    for (group, topic) in groups {
        let partitions: Vec<i32> = (0..topic.partitions).collect();
        for attempt in 0.. {
            match fetch(&mut line, (group, topic), &partitions, true).await {
                Ok(offsets) if offsets.len() == partitions.len() => {
                    let offsets = offsets
                        .into_iter()
                        .map(|(partition, offset)| ((group, partition), offset));
                    ledger.write(|pages| pages.found_at_the_end.extend(offsets));
                    break;
                }
                _ if attempt == FRUITLESS => {
                    line.fault(format_args!("the offsets of {group} do not become stable"));
                    break;
                }
                _ => env.sleep(BACKOFF).await,
            }
        }
    }
}
