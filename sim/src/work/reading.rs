//! Fetches, as a consumer reads them: all that is below the watermark, or only what is committed.
//!
//! Always holds: what is aborted is told from what is committed by the rules that consumers have for it (KIP-98): the answer names
//! producers and where their aborted transactions begin, the markers end them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use klamm_model::ErrorCode;
use klamm_protocol::Records;
use klamm_protocol::messages::FetchRequest;
use klamm_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm_protocol::messages::fetch_response::PartitionData;
use klamm_records::{Batch, BatchError, Batches, ControlType, Record};

use super::line::{Line, Lost};
use super::member::Topic;
use crate::history::Moment;

const FETCH: i16 = 17;
/// How long the broker may keep a fetch that finds nothing.
const MAX_WAIT_MS: i32 = 30;
const ANSWER_BYTES: i32 = 1024 * 1024;
/// Bytes that a batch may unpack to.
const UNPACKED_BYTES: u64 = 16 * 1024 * 1024;

/// What was read of a partition.
pub(crate) struct Read {
    pub(crate) partition: i32,
    pub(crate) asked: Moment,
    pub(crate) answered: Moment,
    /// Up to where.
    pub(crate) to: i64,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable_offset: i64,
    pub(crate) records: Vec<Record>,
}

/// Reads partitions, each from an offset on.
pub(crate) async fn fetch(
    line: &mut Line,
    topic: Topic,
    positions: &BTreeMap<i32, i64>,
    (committed, most_bytes): (bool, i32),
) -> Result<Vec<Read>, Lost> {
    let partitions = positions.iter().map(|(partition, offset)| FetchPartition {
        partition: *partition,
        current_leader_epoch: -1,
        fetch_offset: *offset,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: most_bytes,
        ..Default::default()
    });
    let request = FetchRequest {
        max_wait_ms: MAX_WAIT_MS,
        min_bytes: 1,
        max_bytes: ANSWER_BYTES,
        isolation_level: i8::from(committed),
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic_id: topic.id,
            partitions: partitions.collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let asked = line.ledger.moment();
    let answer = line.ask(FETCH, &request).await?;
    let answered = line.ledger.moment();
    if answer.error_code != 0 {
        line.fault(format_args!(
            "a fetch is answered with error {}",
            answer.error_code
        ));
    }
    let mut reads = Vec::new();
    for data in answer.responses.iter().flat_map(|topic| &topic.partitions) {
        let Some(from) = positions.get(&data.partition_index).copied() else {
            continue;
        };
        match ErrorCode::from_code(data.error_code) {
            Some(ErrorCode::None) => {}
            Some(again) if again.is_retriable() => {
                line.ledger.refused("Fetch", again);
                continue;
            }
            other => {
                line.fault(format_args!("a fetch from {from} is answered with {other:?}"));
                continue;
            }
        }
        match records(data, from, committed) {
            Ok((to, records)) => reads.push(Read {
                partition: data.partition_index,
                asked,
                answered,
                to,
                high_watermark: data.high_watermark,
                last_stable_offset: data.last_stable_offset,
                records,
            }),
            Err(error) => line.fault(format_args!("what is at {from} cannot be read: {error}")),
        }
    }
    Ok(reads)
}

/// Up to where it goes, and the records that count.
fn records(data: &PartitionData, from: i64, committed: bool) -> Result<(i64, Vec<Record>), BatchError> {
    let Records::Bytes(bytes) = &data.records else {
        return Ok((from, Vec::new()));
    };
    let mut aborted: Vec<(i64, i64)> = Vec::new();
    if committed {
        let told = data.aborted_transactions.iter().flatten();
        aborted = told.map(|one| (one.first_offset, one.producer_id)).collect();
        aborted.sort_unstable();
        aborted.reverse();
    }
    let mut filter = Filter {
        aborted,
        producers: BTreeSet::new(),
    };
    let (mut to, mut found) = (from, Vec::new());
    for batch in Batches::new(bytes.clone()) {
        let batch = batch?;
        batch.check_crc()?;
        to = to.max(batch.header().next_offset().0);
        let records = batch
            .records(UNPACKED_BYTES)?
            .collect::<Result<Vec<Record>, _>>()?;
        if filter.lets_through(&batch, records.first().and_then(|record| record.key.as_ref())) {
            found.extend(records.into_iter().filter(|record| record.offset.0 >= from));
        }
    }
    Ok((to, found))
}

struct Filter {
    /// Where aborted transactions begin, and whose they are; the last one first.
    aborted: Vec<(i64, i64)>,
    /// Whose transaction is aborted at this point.
    producers: BTreeSet<i64>,
}

impl Filter {
    fn lets_through(&mut self, batch: &Batch, first_key: Option<&Bytes>) -> bool {
        let header = batch.header();
        while let Some((_, producer)) = self.aborted.pop_if(|(first, _)| *first <= header.last_offset().0) {
            self.producers.insert(producer);
        }
        if header.is_control() {
            if first_key.and_then(|key| ControlType::parse(key)) == Some(ControlType::Abort) {
                self.producers.remove(&header.producer_id);
            }
            return false;
        }
        !(header.is_transactional() && self.producers.contains(&header.producer_id))
    }
}
