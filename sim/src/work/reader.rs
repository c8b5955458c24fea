//! Readers of what goes out: those that follow it meanwhile, and one that reads all at the end.

use std::collections::BTreeMap;

use klamm_env::Env;
use klamm_records::Record;

use super::ledger::{Input, Ledger, Output, Reading};
use super::line::{BACKOFF, Line};
use super::member::Topic;
use super::reading::{self, Read};

const PARTITION_BYTES: i32 = 64 * 1024;
/// Attempts of the last reader in which a partition may make no progress.
const FRUITLESS: u32 = 1_000;

/// The key and the value of the record that `attempt` writes for `input`, which holds `what`.
pub(crate) fn record(attempt: u32, (partition, offset): Input, what: &str) -> (String, String) {
    (format!("{attempt}-{partition}-{offset}"), what.to_owned())
}

/// Which record it is. What it holds is checked by the rules, with what went in.
fn recognise(record: &Record) -> Option<(Output, String)> {
    let mut numbers = str::from_utf8(record.key.as_ref()?).ok()?.split('-');
    let output = Output {
        offset: record.offset.0,
        attempt: numbers.next()?.parse().ok()?,
        input: (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?),
    };
    let value = str::from_utf8(record.value.as_ref()?).ok()?;
    numbers.next().is_none().then(|| (output, value.to_owned()))
}

fn written(line: &Line, from: i64, committed: bool, read: Read) -> Reading {
    let mut outputs = Vec::with_capacity(read.records.len());
    for record in &read.records {
        match recognise(record) {
            Some((output, value)) => {
                let known = line.ledger.write(|pages| pages.held.get(&output.input).cloned());
                if known.as_deref() != Some(&*value) {
                    line.fault(format_args!("{output:?} holds {value}, not {known:?}"));
                }
                outputs.push(output);
            }
            None => line.fault(format_args!("nobody wrote {record:?}")),
        }
    }
    Reading {
        partition: read.partition,
        committed,
        asked: read.asked,
        answered: read.answered,
        from,
        to: read.to,
        high_watermark: read.high_watermark,
        last_stable_offset: read.last_stable_offset,
        outputs,
    }
}

/// Follows a topic until the work is over. Now and then it starts over somewhere before.
pub(crate) async fn follow(env: Env, ledger: Ledger, topic: Topic, committed: bool) {
    let mut line = Line::new(
        &env,
        &ledger,
        if committed { "committed reader" } else { "reader" },
    );
    let mut positions: BTreeMap<i32, i64> = (0..topic.partitions).map(|partition| (partition, 0)).collect();
    while !ledger.is_over() {
        let Ok(reads) = reading::fetch(&mut line, topic, &positions, (committed, PARTITION_BYTES)).await
        else {
            continue;
        };
        for read in reads {
            let partition = read.partition;
            let from = positions.insert(partition, read.to).unwrap_or_default();
            let reading = written(&line, from, committed, read);
            ledger.write(|pages| pages.readings.push(reading));
        }
        if line.one_in(30) {
            for position in positions.values_mut() {
                *position = (*position - (env.random_u64() % 60) as i64).max(0);
            }
        }
        line.idle(20).await;
    }
}

/// Reads all of a topic in which nothing is undecided any more.
pub(crate) async fn read_all(env: Env, ledger: Ledger, topic: Topic) {
    for committed in [false, true] {
        let mut line = Line::new(&env, &ledger, "last reader");
        let mut positions: BTreeMap<i32, i64> =
            (0..topic.partitions).map(|partition| (partition, 0)).collect();
        let mut fruitless = 0;
        while !positions.is_empty() && fruitless < FRUITLESS {
            fruitless += 1;
            let reads = reading::fetch(&mut line, topic, &positions, (committed, PARTITION_BYTES)).await;
            for read in reads.unwrap_or_default() {
                let Some(from) = positions.get(&read.partition).copied() else {
                    continue;
                };
                if read.to > from {
                    fruitless = 0;
                }
                positions.insert(read.partition, read.to);
                let reading = written(&line, from, committed, read);
                if reading.to >= reading.high_watermark
                    && reading.last_stable_offset == reading.high_watermark
                {
                    positions.remove(&reading.partition);
                }
                ledger.write(|pages| pages.note_end(reading));
            }
            env.sleep(BACKOFF).await;
        }
        if !positions.is_empty() {
            line.fault(format_args!(
                "the end of {positions:?} is not reached: a transaction hangs"
            ));
        }
    }
}
