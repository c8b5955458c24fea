//! Readers: those that follow the partitions while the broker is ended again and again, and one that reads all at the end.
//!
//! Always holds: a reader notes what it was given and judges only what it can judge alone: whether the bytes of a record
//! are those that were sent, and whether an answer is one that a client must expect.

use std::collections::BTreeMap;
use std::time::Duration;

use klamm_env::Env;
use klamm_model::ErrorCode;
use klamm_protocol::Records;
use klamm_protocol::messages::{
    fetch_request::{FetchPartition, FetchRequest, FetchTopic},
    fetch_response::{FetchResponse, PartitionData},
};
use klamm_records::{Batch, Batches};

use crate::history::{Books, Look, Moment, Seen};
use crate::payload::RecordId;
use crate::places::Places;
use crate::producer;
use crate::wire::{Address, Wire, WireError};

/// How long a reader waits before it tries again.
const BACKOFF: Duration = Duration::from_millis(20);
/// How long the broker may keep a fetch that finds nothing.
const MAX_WAIT_MS: i32 = 50;
/// The version that is spoken.
const FETCH: i16 = 17;
/// Bytes of one answer, and of one partition in it.
const ANSWER_BYTES: i32 = 4 * 1024 * 1024;
const PARTITION_BYTES: i32 = 1024 * 1024;
/// Bytes that a batch may unpack to.
const UNPACKED_BYTES: u64 = 64 * 1024 * 1024;
/// Attempts of the last reader in which a partition may make no progress.
const FRUITLESS: u32 = 500;

/// What a reader reads.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Where the broker listens.
    pub address: Address,
    /// The partitions.
    pub places: Places,
}

/// Follows all partitions until the books are closed. After a lost connection it starts over somewhere before.
pub async fn follow(env: Env, name: u32, subject: Subject, books: Books) {
    let client_id = format!("observer-{name}");
    let mut next: BTreeMap<u32, i64> = (0..subject.places.count())
        .map(|partition| (partition, 0))
        .collect();
    while !books.is_over() {
        let life = async {
            let mut wire = Wire::open(&env, &subject.address, &client_id).await?;
            // Nobody sends under these ids; that none comes twice is worth knowing.
            producer::new_id(&mut wire, &books).await?;
            while !books.is_over() {
                for look in fetch(&mut wire, &subject, &next, &books).await? {
                    if let Some(last) = look.records.last() {
                        next.insert(look.partition, last.offset + 1);
                    }
                    books.write(|history| history.looks.push(look));
                }
            }
            Ok(())
        };
        if let Err(error) = life.await {
            note_fault(&books, &client_id, &error);
        }
        for offset in next.values_mut() {
            let back = (env.random_u64() % 200) as i64;
            *offset = (*offset - back).max(0);
        }
        env.sleep(BACKOFF).await;
    }
}

/// Waits until every partition can be read: a broker may show a topic, and listen, before that.
pub async fn wait(env: &Env, subject: &Subject) {
    let all: BTreeMap<u32, i64> = (0..subject.places.count())
        .map(|partition| (partition, 0))
        .collect();
    loop {
        let attempt = async {
            let mut wire = Wire::open(env, &subject.address, "waiting").await?;
            fetch(&mut wire, subject, &all, &Books::default()).await
        };
        if attempt.await.is_ok_and(|looks| looks.len() == all.len()) {
            return;
        }
        env.sleep(BACKOFF).await;
    }
}

/// Reads every partition from its start to its high watermark.
pub async fn read_all(env: Env, subject: Subject, books: Books) {
    let mut whole: BTreeMap<u32, Look> = BTreeMap::new();
    let mut next: BTreeMap<u32, i64> = (0..subject.places.count())
        .map(|partition| (partition, 0))
        .collect();
    let mut fruitless = 0;
    while !next.is_empty() {
        let life = async {
            let mut wire = Wire::open(&env, &subject.address, "reader").await?;
            while !next.is_empty() && fruitless < FRUITLESS {
                fruitless += 1;
                for look in fetch(&mut wire, &subject, &next, &books).await? {
                    let partition = look.partition;
                    let from = next[&partition];
                    let reached = look.records.last().map_or(from, |last| last.offset + 1);
                    if reached > from {
                        fruitless = 0;
                    }
                    if reached >= look.high_watermark {
                        next.remove(&partition);
                    } else {
                        next.insert(partition, reached);
                    }
                    add(&mut whole, look);
                }
            }
            Ok(())
        };
        if let Err(error) = life.await {
            note_fault(&books, "reader", &error);
            fruitless += 1;
        }
        if fruitless >= FRUITLESS {
            books.fault(format!("the last reader gets no further than {next:?}"));
            break;
        }
        env.sleep(BACKOFF).await;
    }
    books.write(|history| history.end = whole);
}

fn add(whole: &mut BTreeMap<u32, Look>, look: Look) {
    let Some(before) = whole.get_mut(&look.partition) else {
        whole.insert(look.partition, look);
        return;
    };
    before.answered = look.answered;
    before.high_watermark = look.high_watermark;
    before.records.extend(look.records);
}

fn note_fault(books: &Books, client_id: &str, error: &WireError) {
    if error.is_fault() {
        books.fault(format!("{client_id}: {error}"));
    }
}

/// One fetch of the partitions in `next`, each from its offset on.
async fn fetch(
    wire: &mut Wire,
    subject: &Subject,
    next: &BTreeMap<u32, i64>,
    books: &Books,
) -> Result<Vec<Look>, WireError> {
    let offsets = next.iter().map(|(partition, offset)| (*partition, *offset));
    let topics = subject.places.by_topic(offsets).into_iter();
    let topics = topics.map(|(topic_id, offsets)| {
        let partitions = offsets.into_iter().map(|(index, offset)| FetchPartition {
            partition: index,
            current_leader_epoch: -1,
            fetch_offset: offset,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: PARTITION_BYTES,
            ..FetchPartition::default()
        });
        FetchTopic {
            topic_id,
            partitions: partitions.collect(),
            ..FetchTopic::default()
        }
    });
    let request = FetchRequest {
        max_wait_ms: MAX_WAIT_MS,
        min_bytes: 1,
        max_bytes: ANSWER_BYTES,
        session_epoch: -1,
        topics: topics.collect(),
        ..FetchRequest::default()
    };
    let asked = books.moment();
    let answer = wire.ask(FETCH, &request).await?;
    let answered = books.moment();
    Ok(looks(&answer, subject, next, books, (asked, answered)))
}

fn looks(
    answer: &FetchResponse,
    subject: &Subject,
    next: &BTreeMap<u32, i64>,
    books: &Books,
    (asked, answered): (Moment, Moment),
) -> Vec<Look> {
    if answer.error_code != 0 {
        books.fault(format!("a fetch is answered with error {}", answer.error_code));
    }
    let topics = answer.responses.iter();
    let partitions = topics.flat_map(|topic| topic.partitions.iter().map(|data| (topic.topic_id, data)));
    partitions
        .filter_map(|(topic, data)| {
            let partition = subject.places.number(topic, data.partition_index)?;
            let from = *next.get(&partition)?;
            match ErrorCode::from_code(data.error_code) {
                Some(ErrorCode::None) => {}
                Some(code) if code.is_retriable() => {
                    books.write(|history| history.refused("Fetch", code));
                    return None;
                }
                _ => {
                    let code = data.error_code;
                    books.fault(format!(
                        "partition {partition} from {from}: a fetch is answered with error {code}"
                    ));
                    return None;
                }
            }
            Some(Look {
                partition,
                asked,
                answered,
                high_watermark: data.high_watermark,
                log_start_offset: data.log_start_offset,
                records: records(data, partition, from, books),
            })
        })
        .collect()
}

/// The records from `from` on: a batch comes whole, whatever offset in it was asked for.
fn records(data: &PartitionData, partition: u32, from: i64, books: &Books) -> Vec<Seen> {
    let Records::Bytes(bytes) = &data.records else {
        return Vec::new();
    };
    let mut seen = Vec::new();
    for batch in Batches::new(bytes.clone()) {
        let read = batch.and_then(|batch| {
            batch.check_crc()?;
            append(&batch, partition, from, books, &mut seen)
        });
        if let Err(error) = read {
            books.fault(format!("partition {partition} from {from}: {error}"));
            break;
        }
    }
    seen
}

fn append(
    batch: &Batch,
    partition: u32,
    from: i64,
    books: &Books,
    seen: &mut Vec<Seen>,
) -> Result<(), klamm_records::BatchError> {
    let producer = batch.header().producer();
    for (index, record) in batch.records(UNPACKED_BYTES)?.enumerate() {
        let record = record?;
        if record.offset.0 < from {
            continue;
        }
        let id = RecordId::recognise(record.key.as_deref(), record.value.as_deref()).filter(|id| {
            let known = books.write(|history| history.producers.get(&id.producer).copied());
            let from_it = producer.as_ref().is_some_and(|producer| {
                let sequence = producer.base_sequence.map(|base| i64::from(base) + index as i64);
                known == Some(producer.id.0) && sequence == Some(i64::from(id.number))
            });
            from_it && id.partition == partition
        });
        seen.push(Seen {
            offset: record.offset.0,
            id,
        });
    }
    Ok(())
}
