//! InitProducerId and what an idempotent producer's batches are answered; DescribeProducers shows what is kept.

use anyhow::Result;
use klamm_protocol::ApiKey::{DescribeProducers, Fetch, InitProducerId, Produce};
use klamm_records::Compression;
use serde_json::{Value as Json, json};

use super::produce::fetch;
use crate::batches::spec;
use crate::scenario::{Scenario, Topic, produce};

fn init(id: i64, epoch: i16) -> Json {
    json!({"TransactionalId": null, "TransactionTimeoutMs": 60_000, "ProducerId": id, "ProducerEpoch": epoch})
}

pub(super) fn ids(s: &mut Scenario) -> Result<()> {
    s.producer_id()?;
    s.each(InitProducerId, "new", 0..=5, &init(-1, -1))?;
    let id = s.producer_id()?;
    let cases = [
        ("known-id-and-epoch", id, 0),
        ("known-id-other-epoch", id, 5),
        ("id-without-epoch", id, -1),
        ("epoch-without-id", -1, 0),
        ("negative-id", -5, 0),
        ("last-epoch", id, i16::MAX),
    ];
    for (step, id, epoch) in cases {
        s.each(InitProducerId, step, 3..=5, &init(id, epoch))?;
    }
    for (step, timeout) in [
        ("timeout-0", 0),
        ("timeout-minus-1", -1),
        ("timeout-max", i32::MAX),
    ] {
        let mut request = init(-1, -1);
        request["TransactionTimeoutMs"] = timeout.into();
        s.each(InitProducerId, step, [0, 5], &request)?;
    }
    let mut empty = init(-1, -1);
    empty["TransactionalId"] = "".into();
    s.each(InitProducerId, "empty-transactional-id", [0, 5], &empty)?;
    let mut half = init(id, -1);
    half["TransactionalId"] = "halves".into();
    s.each(InitProducerId, "transactional-id-without-epoch", [3, 5], &half)?;
    Ok(())
}

struct Producer {
    topic: Topic,
    id: i64,
}

impl Producer {
    fn new(s: &mut Scenario, name: &str) -> Result<Self> {
        let topic = s.log(name, &[])?;
        let id = s.producer_id()?;
        Ok(Self { topic, id })
    }

    fn batch(&self, epoch: i16, sequence: i32, count: usize) -> Json {
        let values = vec!["v"; count];
        produce(
            &self.topic,
            0,
            &spec(&values).by(self.id, epoch, sequence).build(),
        )
    }

    fn describe(&self) -> Json {
        json!({"Topics": [{"Name": self.topic.name, "PartitionIndexes": [0]}]})
    }
}

pub(super) fn sequences(s: &mut Scenario) -> Result<()> {
    let p = Producer::new(s, "idempotent-a")?;
    s.ask(DescribeProducers, "no-producers", 0, &p.describe())?;
    let steps = [
        ("first", 0, 0, 1),
        ("first-again", 0, 0, 1),
        ("second-of-three", 0, 1, 3),
        ("second-again", 0, 1, 3),
        ("gap", 0, 5, 1),
        ("overlap-front", 0, 3, 2),
        ("part-of-a-known-one", 0, 2, 1),
        ("same-start-other-count", 0, 1, 2),
        ("third", 0, 4, 1),
        ("fourth", 0, 5, 1),
        ("fifth", 0, 6, 1),
        ("sixth", 0, 7, 1),
        ("second-again-among-the-last-five", 0, 1, 3),
        ("first-again-beyond-the-last-five", 0, 0, 1),
        ("new-epoch-not-from-0", 1, 8, 1),
        ("new-epoch-from-0", 1, 0, 1),
        ("new-epoch-again", 1, 0, 1),
        ("old-epoch", 0, 8, 1),
        ("old-epoch-old-batch", 0, 7, 1),
        ("epoch-three-above", 4, 0, 2),
        ("negative-sequence", 4, -2, 1),
    ];
    for (step, epoch, sequence, count) in steps {
        s.ask(Produce, step, 9, &p.batch(epoch, sequence, count))?;
    }
    s.ask(DescribeProducers, "one-producer", 0, &p.describe())?;
    s.each(Produce, "gap-by-version", [3, 7, 8, 13], &p.batch(4, 50, 1))?;
    s.each(Produce, "old-epoch-by-version", [3, 7, 8, 13], &p.batch(0, 0, 1))?;
    s.ask(Fetch, "all-of-it", 12, &fetch(&p.topic))?;
    Ok(())
}

pub(super) fn edges(s: &mut Scenario) -> Result<()> {
    let p = Producer::new(s, "idempotent-wrap")?;
    let last = i32::MAX;
    let steps = [
        ("unknown-producer-not-from-0", 0, last - 1, 1),
        ("up-to-the-last-sequence", 0, last, 1),
        ("wrapped", 0, 0, 1),
        ("wrapped-again", 0, 0, 1),
        ("before-the-wrap-again", 0, last, 1),
        ("after-the-wrap", 0, 1, 2),
        ("gap-after-the-wrap", 0, 9, 1),
    ];
    for (step, epoch, sequence, count) in steps {
        s.ask(Produce, step, 9, &p.batch(epoch, sequence, count))?;
    }
    let p = Producer::new(s, "idempotent-across")?;
    s.ask(Produce, "across-the-wrap", 9, &p.batch(0, last - 1, 4))?;
    s.ask(Produce, "across-the-wrap-again", 9, &p.batch(0, last - 1, 4))?;
    s.ask(Produce, "behind-the-wrap", 9, &p.batch(0, 2, 1))?;
    let p = Producer::new(s, "idempotent-high-epoch")?;
    s.ask(Produce, "first-with-epoch-7", 9, &p.batch(7, 0, 1))?;
    s.ask(Produce, "then-epoch-6", 9, &p.batch(6, 1, 1))?;
    let packed = spec(&["a", "b"]).packed(Compression::Gzip).by(p.id, 7, 1).build();
    s.ask(Produce, "packed", 9, &produce(&p.topic, 0, &packed))?;
    s.ask(Produce, "packed-again", 9, &produce(&p.topic, 0, &packed))?;
    let two = [
        spec(&["a"]).by(p.id, 7, 3).build(),
        spec(&["b"]).by(p.id, 7, 4).build(),
    ]
    .concat();
    s.ask(Produce, "two-batches", 9, &produce(&p.topic, 0, &two.into()))?;
    let made_up = Producer {
        topic: p.topic.clone(),
        id: 987_654_321,
    };
    s.ask(Produce, "producer-id-never-given", 9, &made_up.batch(0, 0, 1))?;
    s.ask(
        Produce,
        "producer-id-never-given-not-from-0",
        9,
        &Producer {
            id: 987_654_322,
            ..made_up
        }
        .batch(0, 5, 1),
    )?;
    let topic = s.log(
        "idempotent-append-time",
        &[("message.timestamp.type", "LogAppendTime")],
    )?;
    let id = s.producer_id()?;
    let timed = Producer { topic, id }.batch(0, 0, 2);
    s.ask(Produce, "append-time", 9, &timed)?;
    s.ask(Produce, "append-time-again", 9, &timed)?;
    Ok(())
}

pub(super) fn describe(s: &mut Scenario) -> Result<()> {
    s.topic("producers-a", 2, &[])?;
    let cases = [
        (
            "empty-partition",
            json!([{"Name": "producers-a", "PartitionIndexes": [0, 1]}]),
        ),
        (
            "unknown-topic",
            json!([{"Name": "producers-nobody", "PartitionIndexes": [0]}]),
        ),
        (
            "unknown-partition",
            json!([{"Name": "producers-a", "PartitionIndexes": [7]}]),
        ),
        (
            "negative-partition",
            json!([{"Name": "producers-a", "PartitionIndexes": [-1]}]),
        ),
        (
            "bad-name",
            json!([{"Name": "producers a", "PartitionIndexes": [0]}]),
        ),
        ("empty-name", json!([{"Name": "", "PartitionIndexes": [0]}])),
        (
            "no-partitions",
            json!([{"Name": "producers-a", "PartitionIndexes": []}]),
        ),
        ("no-topics", json!([])),
        (
            "same-partition-twice",
            json!([{"Name": "producers-a", "PartitionIndexes": [0, 0]}]),
        ),
    ];
    for (step, topics) in cases {
        s.ask(DescribeProducers, step, 0, &json!({"Topics": topics}))?;
    }
    Ok(())
}
