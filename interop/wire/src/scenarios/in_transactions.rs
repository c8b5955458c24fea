//! Transactions as their partitions see them: records, offsets and markers that are of one or not, and what readers see meanwhile.
//!
//! Always holds: a step that follows markers waits until they are there.
//!
//! Next: `transactions.rs` for the coordinator.

use anyhow::Result;
use bytes::Bytes;
use klamm_protocol::ApiKey::{
    AddOffsetsToTxn, AddPartitionsToTxn, DescribeProducers, EndTxn, Fetch, FindCoordinator, ListOffsets,
    OffsetFetch, Produce, TxnOffsetCommit, WriteTxnMarkers,
};
use serde_json::{Value as Json, json};

use super::groups::coordinated;
use crate::batches::{changed, spec};
use crate::scenario::{Scenario, Topic, produce};
use crate::value::Value;

const FOREVER: (&str, &str) = ("retention.ms", "-1");
const UNKNOWN: &str = "CAgICAgICAgICAgICAgICA";

/// A producer with a transactional id.
#[derive(Clone, Debug)]
struct Producer {
    name: String,
    id: i64,
    epoch: i16,
}

impl Producer {
    fn new(s: &mut Scenario, name: &str) -> Result<Self> {
        let key = json!({"Key": name, "KeyType": 1, "CoordinatorKeys": [name]});
        s.until(FindCoordinator, 4, &key, |answer| {
            let error = answer.int("Coordinators.0.ErrorCode");
            error.is_ok_and(|error| error == 0)
        })?;
        s.serves("__transaction_state", 50)?;
        let answer = s.producer(name.into())?;
        Ok(Self {
            name: name.to_owned(),
            id: answer.int("ProducerId")?,
            epoch: i16::try_from(answer.int("ProducerEpoch")?)?,
        })
    }

    fn at(&self, epoch: i16) -> Self {
        Self {
            epoch,
            ..self.clone()
        }
    }

    fn called(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self.clone()
        }
    }

    fn with_id(&self, id: i64) -> Self {
        Self { id, ..self.clone() }
    }

    fn batch(&self, sequence: i32, value: &str) -> Bytes {
        let batch = spec(&[value]).by(self.id, self.epoch, sequence).build();
        changed(&batch, |header| header.attributes |= 0x10)
    }

    fn write(&self, topic: &Topic, partition: i32, sequence: i32) -> Json {
        let mut request = produce(topic, partition, &self.batch(sequence, "v"));
        request["TransactionalId"] = self.name.clone().into();
        request
    }

    fn add(&self, s: &mut Scenario, topic: &Topic, partitions: &[i32]) -> Result<()> {
        let topics = json!([{"Name": topic.name, "Partitions": partitions}]);
        let request = json!({"V3AndBelowTransactionalId": self.name, "V3AndBelowProducerId": self.id,
            "V3AndBelowProducerEpoch": self.epoch, "V3AndBelowTopics": topics});
        let added = |answer: &Value| {
            let error = answer.int("ResultsByTopicV3AndBelow.0.ResultsByPartition.0.PartitionErrorCode");
            error.is_ok_and(|error| error == 0)
        };
        s.until(AddPartitionsToTxn, 3, &request, added).map(drop)
    }

    fn add_group(&self, s: &mut Scenario, group: &str) -> Result<()> {
        let request = json!({"TransactionalId": self.name, "ProducerId": self.id, "ProducerEpoch": self.epoch,
            "GroupId": group});
        let added = |answer: &Value| answer.int("ErrorCode").is_ok_and(|error| error == 0);
        s.until(AddOffsetsToTxn, 3, &request, added).map(drop)
    }

    /// Ends the transaction and waits until readers of the first partition see it.
    fn end(&mut self, s: &mut Scenario, version: i16, commit: bool, topic: &Topic, until: i64) -> Result<()> {
        let request = json!({"TransactionalId": self.name, "ProducerId": self.id, "ProducerEpoch": self.epoch,
            "Committed": commit});
        let ended = |answer: &Value| answer.int("ErrorCode").is_ok_and(|error| error == 0);
        let answer = s.until(EndTxn, version, &request, ended)?;
        if version >= 5 {
            self.epoch = i16::try_from(answer.int("ProducerEpoch")?)?;
        }
        // A broker that writes the markers a little later answers this when they are there.
        let mut last = fetch(topic, 1, until - 1);
        last["MaxWaitMs"] = 10_000.into();
        last["MinBytes"] = 1.into();
        let seen = |answer: &Value| {
            let stable = answer.int("Responses.0.Partitions.0.LastStableOffset");
            stable.is_ok_and(|stable| stable >= until)
        };
        s.until(Fetch, 12, &last, seen).map(drop)
    }

    fn commit(&self, group: &str, topic: &Topic, partitions: &[i32]) -> Json {
        let partitions: Vec<_> = partitions
            .iter()
            .map(|index| json!({"PartitionIndex": index, "CommittedOffset": 5, "CommittedMetadata": "m"}))
            .collect();
        json!({"TransactionalId": self.name, "GroupId": group, "ProducerId": self.id,
            "ProducerEpoch": self.epoch, "GenerationIdOrMemberEpoch": -1, "MemberId": "",
            "Topics": [{"Name": topic.name, "TopicId": topic.id, "Partitions": partitions}]})
    }

    fn marker(&self, topics: Json) -> Json {
        json!({"ProducerId": self.id, "ProducerEpoch": self.epoch, "TransactionResult": false,
            "Topics": topics, "CoordinatorEpoch": 7, "TransactionVersion": 0})
    }
}

fn latest(topic: &Topic, isolation: i8) -> Json {
    json!({"ReplicaId": -1, "IsolationLevel": isolation, "Topics": [{"Name": topic.name,
        "Partitions": [{"PartitionIndex": 0, "CurrentLeaderEpoch": -1, "Timestamp": -1}]}]})
}

fn fetch(topic: &Topic, isolation: i8, offset: i64) -> Json {
    json!({"ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1_000_000, "IsolationLevel": isolation,
        "SessionId": 0, "SessionEpoch": -1, "Topics": [{"Topic": topic.name, "TopicId": topic.id,
        "Partitions": [{"Partition": 0, "CurrentLeaderEpoch": -1, "FetchOffset": offset,
        "LastFetchedEpoch": -1, "LogStartOffset": -1, "PartitionMaxBytes": 1_000_000}]}]})
}

fn producers(topic: &Topic) -> Json {
    json!({"Topics": [{"Name": topic.name, "PartitionIndexes": [0]}]})
}

/// What readers of either kind see of the first partition.
fn look(s: &mut Scenario, name: &str, topic: &Topic, offsets: &[i64]) -> Result<()> {
    for offset in offsets {
        for isolation in [0, 1] {
            let step = format!("{name}-fetch-{offset}-isolation-{isolation}");
            s.ask(Fetch, &step, 12, &fetch(topic, isolation, *offset))?;
        }
    }
    for isolation in [0, 1] {
        let step = format!("{name}-latest-isolation-{isolation}");
        s.ask(ListOffsets, &step, 5, &latest(topic, isolation))?;
    }
    s.ask(
        DescribeProducers,
        &format!("{name}-producers"),
        0,
        &producers(topic),
    )
    .map(drop)
}

/// Clients that say beforehand where they will write.
pub(super) fn produce_early(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("in_transactions_early", 2, &[FOREVER])?;
    let mut p = Producer::new(s, "in_transactions_early")?;
    s.each(Produce, "not-added", [3, 8, 10, 11], &p.write(&topic, 0, 0))?;
    for (name, other) in [
        ("epoch-above", p.at(p.epoch + 1)),
        ("other-name", p.called("in_transactions_nobody")),
        ("no-name", p.called("")),
        ("other-id", p.with_id(987_654_321)),
    ] {
        s.each(Produce, name, [9, 11], &other.write(&topic, 0, 0))?;
    }
    let mut nobody_s = p.write(&topic, 0, 0);
    nobody_s["TransactionalId"] = Json::Null;
    s.each(Produce, "without-a-transactional-id", [3, 8, 12], &nobody_s)?;
    let mut plain = produce(&topic, 1, &spec(&["plain"]).build());
    plain["TransactionalId"] = p.name.clone().into();
    s.ask(Produce, "plain-with-a-transactional-id", 9, &plain)?;
    let mut two = p.write(&topic, 0, 0);
    let other = p.at(p.epoch + 1).batch(0, "w");
    let more = produce(&topic, 1, &other)["TopicData"][0]["PartitionData"][0].clone();
    if let Some(partitions) = two["TopicData"][0]["PartitionData"].as_array_mut() {
        partitions.push(more);
    }
    s.each(Produce, "of-two-producers", [9, 12], &two)?;

    p.add(s, &topic, &[0])?;
    s.each(Produce, "other-partition", [9, 11], &p.write(&topic, 1, 0))?;
    s.ask(Produce, "first", 9, &p.write(&topic, 0, 0))?;
    s.ask(Produce, "first-again", 9, &p.write(&topic, 0, 0))?;
    s.ask(Produce, "second", 11, &p.write(&topic, 0, 1))?;
    s.ask(Produce, "gap", 9, &p.write(&topic, 0, 5))?;
    let outside = spec(&["v"]).by(p.id, p.epoch, 2).build();
    s.ask(Produce, "outside", 9, &produce(&topic, 0, &outside))?;
    s.fill(&topic, 0, &spec(&["plain"]).build())?;
    look(s, "open", &topic, &[0, 2, 3])?;
    p.end(s, 4, true, &topic, 4)?;
    look(s, "committed", &topic, &[0, 3, 4])?;
    s.ask(Produce, "after-the-end", 11, &p.write(&topic, 0, 2))?;

    p.add(s, &topic, &[0])?;
    s.ask(Produce, "of-the-next", 9, &p.write(&topic, 0, 2))?;
    s.fill(&topic, 0, &spec(&["plain"]).build())?;
    p.end(s, 4, false, &topic, 7)?;
    look(s, "aborted", &topic, &[0, 4, 5, 6, 7])?;
    s.each(Fetch, "aborted-by-version", 4..=18, &fetch(&topic, 1, 0))?;
    Ok(())
}

/// Clients whose partitions take part by being written to.
pub(super) fn produce_late(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("in_transactions_late", 2, &[FOREVER])?;
    let mut p = Producer::new(s, "in_transactions_late")?;
    for (name, other) in [
        ("epoch-above", p.at(p.epoch + 1)),
        ("other-name", p.called("in_transactions_nobody")),
        ("other-id", p.with_id(987_654_321)),
    ] {
        s.each(Produce, name, [12, 13], &other.write(&topic, 0, 0))?;
    }
    s.ask(Produce, "not-from-0", 12, &p.write(&topic, 0, 3))?;
    s.ask(Produce, "first", 12, &p.write(&topic, 0, 0))?;
    s.ask(Produce, "second", 13, &p.write(&topic, 0, 1))?;
    look(s, "open", &topic, &[0])?;
    let before = p.clone();
    p.end(s, 5, true, &topic, 3)?;
    look(s, "committed", &topic, &[0])?;
    s.each(
        Produce,
        "of-the-epoch-before",
        [11, 12],
        &before.write(&topic, 0, 2),
    )?;
    s.ask(Produce, "next-not-from-0", 12, &p.write(&topic, 0, 2))?;
    s.ask(Produce, "next", 12, &p.write(&topic, 0, 0))?;
    p.end(s, 5, false, &topic, 5)?;
    look(s, "aborted", &topic, &[0, 3])
}

/// Offsets that count if a transaction commits.
pub(super) fn offsets(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("in_transactions_offsets", 2, &[FOREVER])?;
    let group = "in_transactions_offsets";
    coordinated(s, group)?;
    let mut p = Producer::new(s, "in_transactions_offsets")?;
    s.each(
        TxnOffsetCommit,
        "not-added",
        0..=4,
        &p.commit(group, &topic, &[0]),
    )?;
    for (name, other) in [
        ("epoch-above", p.at(p.epoch + 1)),
        ("other-name", p.called("in_transactions_nobody")),
        ("no-name", p.called("")),
        ("other-id", p.with_id(987_654_321)),
    ] {
        s.each(
            TxnOffsetCommit,
            name,
            [0, 3, 4, 5, 6],
            &other.commit(group, &topic, &[0]),
        )?;
    }
    p.add_group(s, group)?;
    s.each(TxnOffsetCommit, "added", 0..=6, &p.commit(group, &topic, &[0]))?;
    s.each(
        TxnOffsetCommit,
        "unknown-partitions",
        [2, 6],
        &p.commit(group, &topic, &[7, 0, -1]),
    )?;
    s.each(TxnOffsetCommit, "no-group", [2, 6], &p.commit("", &topic, &[0]))?;
    let mut request = p.commit(group, &topic, &[0]);
    request["Topics"][0]["Name"] = "in_transactions_missing".into();
    request["Topics"][0]["TopicId"] = UNKNOWN.into();
    s.each(TxnOffsetCommit, "unknown-topic", [2, 6], &request)?;
    for (name, generation, member) in [
        ("member", 3, "somebody"),
        ("generation", 3, ""),
        ("name", -1, "somebody"),
    ] {
        let mut request = p.commit(group, &topic, &[0]);
        request["GenerationIdOrMemberEpoch"] = generation.into();
        request["MemberId"] = member.into();
        s.each(TxnOffsetCommit, &format!("unknown-{name}"), [3, 5, 6], &request)?;
    }
    let mut request = p.commit(group, &topic, &[0]);
    request["Topics"][0]["Partitions"][0]["CommittedMetadata"] = "m".repeat(4097).into();
    s.ask(TxnOffsetCommit, "metadata-longer", 3, &request)?;
    fetched(s, &topic, group, &mut p)
}

/// What is told of offsets that are pending, and then committed.
fn fetched(s: &mut Scenario, topic: &Topic, group: &str, p: &mut Producer) -> Result<()> {
    let wanted = |stable: bool| {
        let topics = json!([{"Name": topic.name, "PartitionIndexes": [0, 1]}]);
        json!({"GroupId": group, "RequireStable": stable, "Topics": topics.clone(),
            "Groups": [{"GroupId": group, "Topics": topics}]})
    };
    for stable in [false, true] {
        s.each(
            OffsetFetch,
            &format!("pending-stable-{stable}"),
            [7, 8],
            &wanted(stable),
        )?;
    }
    p.add(s, topic, &[0])?;
    s.quiet(Produce, 9, &p.write(topic, 0, 0))?;
    p.end(s, 4, true, topic, 2)?;
    // The next transaction begins when all markers are there.
    p.add(s, topic, &[1])?;
    let settled = |answer: &Value| {
        let error = answer.int("Groups.0.Topics.0.Partitions.0.ErrorCode");
        error.is_ok_and(|error| error == 0)
    };
    s.until(OffsetFetch, 8, &wanted(true), settled)?;
    s.each(OffsetFetch, "committed", [7, 8], &wanted(true))?;
    Ok(())
}

/// Markers that somebody else than a coordinator has written.
pub(super) fn markers(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("in_transactions_markers", 2, &[FOREVER])?;
    let p = Producer::new(s, "in_transactions_markers")?;
    let of = |marker: Json| json!({"Markers": [marker]});
    let own = json!([{"Name": topic.name, "PartitionIndexes": [0]}]);
    s.each(WriteTxnMarkers, "none", 1..=2, &json!({"Markers": []}))?;
    s.ask(WriteTxnMarkers, "no-topics", 1, &of(p.marker(json!([]))))?;
    let nowhere = json!([{"Name": topic.name, "PartitionIndexes": []}]);
    s.ask(WriteTxnMarkers, "no-partitions", 1, &of(p.marker(nowhere)))?;
    let missing = json!([{"Name": "in_transactions_missing", "PartitionIndexes": [0]}]);
    s.ask(WriteTxnMarkers, "unknown-topic", 1, &of(p.marker(missing)))?;
    for partition in [7, -1] {
        let missing = json!([{"Name": topic.name, "PartitionIndexes": [partition]}]);
        let step = format!("unknown-partition-{partition}");
        s.ask(WriteTxnMarkers, &step, 1, &of(p.marker(missing)))?;
    }
    s.ask(
        WriteTxnMarkers,
        "nothing-open",
        1,
        &of(p.with_id(987_654_321).marker(own.clone())),
    )?;
    markers_of_what_is_open(s, &topic, &p)
}

fn markers_of_what_is_open(s: &mut Scenario, topic: &Topic, p: &Producer) -> Result<()> {
    let of = |marker: Json| json!({"Markers": [marker]});
    let own = json!([{"Name": topic.name, "PartitionIndexes": [0]}]);
    s.ask(Produce, "opened", 12, &p.write(topic, 0, 0))?;
    let changed = |epoch: i16, name: &str, value: i64| {
        let mut marker = p.at(epoch).marker(own.clone());
        marker[name] = value.into();
        of(marker)
    };
    let e = p.epoch;
    s.ask(
        WriteTxnMarkers,
        "epoch-below",
        1,
        &changed(e - 1, "CoordinatorEpoch", 7),
    )?;
    s.ask(
        WriteTxnMarkers,
        "version-2-same-epoch",
        2,
        &changed(e, "TransactionVersion", 2),
    )?;
    s.ask(
        WriteTxnMarkers,
        "version-2-next-epoch",
        2,
        &changed(e + 1, "TransactionVersion", 2),
    )?;
    look(s, "ended", topic, &[0])?;
    s.ask(
        WriteTxnMarkers,
        "version-2-again",
        2,
        &changed(e + 1, "TransactionVersion", 2),
    )?;
    s.ask(
        WriteTxnMarkers,
        "epoch-of-the-records",
        1,
        &changed(e, "CoordinatorEpoch", 7),
    )?;
    s.ask(
        WriteTxnMarkers,
        "coordinator-below",
        1,
        &changed(e + 1, "CoordinatorEpoch", 6),
    )?;
    s.ask(
        WriteTxnMarkers,
        "coordinator-negative",
        1,
        &changed(e + 1, "CoordinatorEpoch", -1),
    )?;
    s.ask(
        WriteTxnMarkers,
        "coordinator-above",
        1,
        &changed(e + 1, "CoordinatorEpoch", 8),
    )?;
    s.each(
        WriteTxnMarkers,
        "version-1",
        1..=2,
        &changed(e + 2, "TransactionVersion", 1),
    )?;
    let both = json!([{"Name": topic.name, "PartitionIndexes": [0, 1]}]);
    let several = json!({"Markers": [p.at(e + 2).marker(both), p.with_id(987_654_322).marker(own.clone())]});
    s.ask(WriteTxnMarkers, "several", 1, &several)?;
    look(s, "in-the-end", topic, &[0])
}
