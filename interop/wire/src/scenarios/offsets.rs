//! ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

use anyhow::Result;
use klamm_protocol::ApiKey::{DeleteRecords, Fetch, ListOffsets, OffsetForLeaderEpoch};
use serde_json::{Value as Json, json};

use super::produce::fetch;
use crate::batches::{SOME_TIME, batch, spec};
use crate::scenario::Scenario;

fn at(topic: &str, partition: i32, timestamp: i64) -> Json {
    list(
        topic,
        json!([{"PartitionIndex": partition, "CurrentLeaderEpoch": -1, "Timestamp": timestamp}]),
    )
}

fn list(topic: &str, partitions: Json) -> Json {
    json!({"ReplicaId": -1, "Topics": [{"Name": topic, "Partitions": partitions}], "TimeoutMs": 1000})
}

pub(super) fn list_offsets(s: &mut Scenario) -> Result<()> {
    let topic = s.log("list-a", &[])?;
    for (value, time) in [("a", 0), ("b", 100), ("c", 50), ("d", 200)] {
        s.fill(&topic, 0, &spec(&[value, value]).at(SOME_TIME + time).build())?;
    }
    s.log("list-empty", &[])?;
    let times = [
        ("latest", -1),
        ("earliest", -2),
        ("max-timestamp", -3),
        ("earliest-local", -4),
        ("latest-tiered", -5),
        ("earliest-pending-upload", -6),
    ];
    for (step, time) in times {
        s.each(ListOffsets, step, 1..=11, &at("list-a", 0, time))?;
        s.each(
            ListOffsets,
            &format!("{step}-of-nothing"),
            [7, 11],
            &at("list-empty", 0, time),
        )?;
    }
    let times = [
        ("time-minus-7", -7),
        ("time-min", i64::MIN),
        ("time-0", 0),
        ("time-of-the-first", SOME_TIME),
        ("time-of-the-second-record", SOME_TIME + 1),
        ("time-between", SOME_TIME + 70),
        ("time-of-the-last", SOME_TIME + 201),
        ("time-behind-the-last", SOME_TIME + 202),
        ("time-max", i64::MAX),
    ];
    for (step, time) in times {
        s.each(ListOffsets, step, [1, 5, 11], &at("list-a", 0, time))?;
    }
    s.each(ListOffsets, "time-of-nothing", [1, 11], &at("list-empty", 0, 0))?;
    s.each(
        ListOffsets,
        "unknown-topic",
        [1, 5, 11],
        &at("list-nobody", 0, -1),
    )?;
    s.each(ListOffsets, "unknown-partition", [1, 5, 11], &at("list-a", 7, -1))?;
    s.each(ListOffsets, "negative-partition", [1, 11], &at("list-a", -1, -1))?;
    s.each(ListOffsets, "bad-name", [1, 11], &at("list a", 0, -1))?;
    list_epochs(s)
}

fn list_epochs(s: &mut Scenario) -> Result<()> {
    for (step, epoch) in [("epoch-0", 0), ("epoch-9", 9), ("epoch-minus-2", -2)] {
        for (kind, time) in [("latest", -1), ("by-time", SOME_TIME)] {
            let partitions = json!([{"PartitionIndex": 0, "CurrentLeaderEpoch": epoch, "Timestamp": time}]);
            s.each(
                ListOffsets,
                &format!("{step}-{kind}"),
                [4, 11],
                &list("list-a", partitions),
            )?;
        }
    }
    let twice = json!([{"PartitionIndex": 0, "Timestamp": -1}, {"PartitionIndex": 0, "Timestamp": -2}]);
    s.each(
        ListOffsets,
        "same-partition-twice",
        [1, 11],
        &list("list-a", twice),
    )?;
    let mixed = json!([{"PartitionIndex": 0, "Timestamp": -1}, {"PartitionIndex": 5, "Timestamp": -1}]);
    s.each(
        ListOffsets,
        "one-good-one-unknown",
        [1, 11],
        &list("list-a", mixed),
    )?;
    s.each(ListOffsets, "no-partitions", [1, 11], &list("list-a", json!([])))?;
    s.each(
        ListOffsets,
        "no-topics",
        [1, 11],
        &json!({"ReplicaId": -1, "Topics": []}),
    )?;
    for (step, replica) in [("replica-1", 1), ("replica-9", 9), ("replica-minus-2", -2)] {
        let mut request = at("list-a", 0, -1);
        request["ReplicaId"] = replica.into();
        s.each(ListOffsets, step, [1, 11], &request)?;
    }
    for (step, level) in [("read-committed", 1), ("isolation-9", 9)] {
        let mut request = at("list-a", 0, -1);
        request["IsolationLevel"] = level.into();
        s.each(ListOffsets, step, [2, 11], &request)?;
    }
    let mut nowhere = at("list-a", 7, -1);
    nowhere["IsolationLevel"] = 9.into();
    s.ask(ListOffsets, "isolation-9-unknown-partition", 11, &nowhere)?;
    Ok(())
}

pub(super) fn leader_epochs(s: &mut Scenario) -> Result<()> {
    let topic = s.log("epochs-a", &[])?;
    s.fill(&topic, 0, &batch(&["one", "two"]))?;
    s.log("epochs-empty", &[])?;
    let of = |topic: &str, partition: i32, current: i32, epoch: i32| {
        json!({"ReplicaId": -1, "Topics": [{"Topic": topic, "Partitions": [
            {"Partition": partition, "CurrentLeaderEpoch": current, "LeaderEpoch": epoch}]}]})
    };
    let cases = [
        ("epoch-0", of("epochs-a", 0, -1, 0)),
        ("epoch-1", of("epochs-a", 0, -1, 1)),
        ("epoch-minus-1", of("epochs-a", 0, -1, -1)),
        ("epoch-minus-2", of("epochs-a", 0, -1, -2)),
        ("epoch-max", of("epochs-a", 0, -1, i32::MAX)),
        ("current-epoch-0", of("epochs-a", 0, 0, 0)),
        ("current-epoch-9", of("epochs-a", 0, 9, 0)),
        ("current-epoch-minus-2", of("epochs-a", 0, -2, 0)),
        ("empty-log", of("epochs-empty", 0, -1, 0)),
        ("unknown-topic", of("epochs-nobody", 0, -1, 0)),
        ("unknown-partition", of("epochs-a", 7, -1, 0)),
        ("negative-partition", of("epochs-a", -1, -1, 0)),
        ("bad-name", of("epochs a", 0, -1, 0)),
    ];
    for (step, request) in cases {
        s.each(OffsetForLeaderEpoch, step, 2..=4, &request)?;
    }
    for (step, replica) in [("replica-1", 1), ("replica-9", 9), ("replica-minus-2", -2)] {
        let mut request = of("epochs-a", 0, -1, 0);
        request["ReplicaId"] = replica.into();
        s.each(OffsetForLeaderEpoch, step, 3..=4, &request)?;
    }
    s.each(
        OffsetForLeaderEpoch,
        "no-topics",
        [2, 4],
        &json!({"ReplicaId": -1, "Topics": []}),
    )?;
    Ok(())
}

/// A request of DeleteRecords.
fn deletion(topic: &str, partitions: &[(i32, i64)], timeout: i32) -> Json {
    let partitions: Vec<_> = partitions
        .iter()
        .map(|(partition, offset)| json!({"PartitionIndex": partition, "Offset": offset}))
        .collect();
    json!({"Topics": [{"Name": topic, "Partitions": partitions}], "TimeoutMs": timeout})
}

fn up_to(topic: &str, partition: i32, offset: i64) -> Json {
    deletion(topic, &[(partition, offset)], 5000)
}

pub(super) fn delete_records(s: &mut Scenario) -> Result<()> {
    let topic = s.log("delete-records-a", &[])?;
    for _ in 0..3 {
        s.fill(&topic, 0, &batch(&["one", "two", "three"]))?;
    }
    let name = topic.name.as_str();
    s.each(DeleteRecords, "up-to-0", 0..=2, &up_to(name, 0, 0))?;
    s.each(DeleteRecords, "beyond-the-end", 0..=2, &up_to(name, 0, 10))?;
    let cases = [
        ("minus-2", up_to(name, 0, -2)),
        ("min", up_to(name, 0, i64::MIN)),
        ("within-a-batch", up_to(name, 0, 4)),
        ("below-the-start", up_to(name, 0, 1)),
        ("unknown-topic", up_to("delete-records-nobody", 0, 0)),
        ("unknown-partition", up_to(name, 7, 0)),
        ("negative-partition", up_to(name, -1, 0)),
        ("bad-name", up_to("delete records", 0, 0)),
        ("metadata-log", up_to("__cluster_metadata", 0, 0)),
        ("no-topics", json!({"Topics": [], "TimeoutMs": 5000})),
        ("no-partitions", deletion(name, &[], 5000)),
        ("same-partition-twice", deletion(name, &[(0, 4), (0, 5)], 5000)),
        ("one-good-one-unknown", deletion(name, &[(0, 6), (5, 0)], 5000)),
        ("timeout-0", deletion(name, &[(0, 7)], 0)),
        ("timeout-minus-1", deletion(name, &[(0, 8)], -1)),
    ];
    for (step, request) in cases {
        s.ask(DeleteRecords, step, 2, &request)?;
    }
    s.ask(Fetch, "fetch-below-the-start", 12, &fetch(&topic))?;
    s.ask(ListOffsets, "earliest", 11, &at(name, 0, -2))?;
    s.ask(ListOffsets, "time-of-deleted-records", 11, &at(name, 0, 0))?;
    let all = up_to(name, 0, -1);
    s.ask(DeleteRecords, "up-to-the-high-watermark", 2, &all)?;
    s.ask(DeleteRecords, "up-to-the-high-watermark-again", 0, &all)?;
    s.ask(ListOffsets, "earliest-of-what-is-left", 11, &at(name, 0, -2))?;
    s.ask(ListOffsets, "max-timestamp-of-what-is-left", 11, &at(name, 0, -3))?;
    delete_compacted_records(s)
}

fn delete_compacted_records(s: &mut Scenario) -> Result<()> {
    let compacted = s.log("delete-records-compact", &[("cleanup.policy", "compact")])?;
    s.fill(&compacted, 0, &batch(&["one"]))?;
    s.each(DeleteRecords, "compacted", [0, 2], &up_to(&compacted.name, 0, 1))?;
    let both = s.log("delete-records-both", &[("cleanup.policy", "compact,delete")])?;
    s.ask(
        DeleteRecords,
        "compacted-and-deleted",
        2,
        &up_to(&both.name, 0, 0),
    )?;
    Ok(())
}
