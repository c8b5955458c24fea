//! Fetch: versions, offsets, epochs, limits, isolation, and sessions (KIP-227).

use anyhow::Result;
use klamm_protocol::ApiKey::Fetch;
use serde_json::{Value as Json, json};

use crate::batches::{batch, spec};
use crate::scenario::{Scenario, Topic};

/// An id that no topic has.
const NOBODY: &str = "BwcHBwcHBwcHBwcHBwcHBw";

fn partition(partition: i32, offset: i64) -> Json {
    json!({"Partition": partition, "CurrentLeaderEpoch": -1, "FetchOffset": offset, "PartitionMaxBytes": 1_000_000})
}

fn of(topic: &Topic, partitions: &[Json]) -> Json {
    json!({"Topic": topic.name, "TopicId": topic.id, "Partitions": partitions})
}

/// A fetch outside of a session that does not wait.
fn request(topics: &[Json]) -> Json {
    json!({"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 10_000_000, "SessionId": 0, "SessionEpoch": -1,
        "Topics": topics})
}

fn with(mut request: Json, changes: &[(&str, Json)]) -> Json {
    for (name, value) in changes {
        request[*name] = value.clone();
    }
    request
}

pub(super) fn run(s: &mut Scenario) -> Result<()> {
    let topic = s.log("fetch-a", &[])?;
    for values in [&["one", "two"][..], &["three"], &["four", "five", "six"]] {
        s.fill(&topic, 0, &batch(values))?;
    }
    s.each(
        Fetch,
        "from-0",
        4..=18,
        &request(&[of(&topic, &[partition(0, 0)])]),
    )?;
    offsets(s, &topic)?;
    epochs(s, &topic)?;
    unknown(s, &topic)?;
    limits(s, &topic)?;
    replicas(s, &topic)
}

fn offsets(s: &mut Scenario, topic: &Topic) -> Result<()> {
    let cases = [
        ("from-within-a-batch", 1),
        ("from-the-second-batch", 2),
        ("from-the-end", 6),
        ("from-beyond-the-end", 7),
        ("from-minus-1", -1),
        ("from-max", i64::MAX),
    ];
    for (step, offset) in cases {
        s.each(
            Fetch,
            step,
            [4, 12, 17],
            &request(&[of(topic, &[partition(0, offset)])]),
        )?;
    }
    for (step, level) in [
        ("read-committed", 1),
        ("isolation-2", 2),
        ("isolation-minus-1", -1),
    ] {
        let request = with(
            request(&[of(topic, &[partition(0, 0)])]),
            &[("IsolationLevel", json!(level))],
        );
        s.each(Fetch, step, [4, 12, 17], &request)?;
    }
    Ok(())
}

fn epochs(s: &mut Scenario, topic: &Topic) -> Result<()> {
    let cases = [
        ("leader-epoch-0", 0, -1),
        ("leader-epoch-9", 9, -1),
        ("leader-epoch-minus-2", -2, -1),
        ("last-fetched-epoch-0", -1, 0),
        ("last-fetched-epoch-9", -1, 9),
    ];
    for (step, leader, last) in cases {
        let partition = json!({"Partition": 0, "CurrentLeaderEpoch": leader, "LastFetchedEpoch": last,
            "FetchOffset": 2, "PartitionMaxBytes": 1_000_000});
        s.each(Fetch, step, [9, 12, 17], &request(&[of(topic, &[partition])]))?;
    }
    let empty = s.log("fetch-empty", &[])?;
    for (step, topic, last, offset) in [
        ("last-fetched-epoch-0-of-nothing", &empty, 0, 0),
        ("last-fetched-epoch-1-of-nothing", &empty, 1, 0),
        ("last-fetched-epoch-1-at-the-end", topic, 1, 6),
        ("last-fetched-epoch-0-beyond-the-end", topic, 0, 7),
    ] {
        let partition = json!({"Partition": 0, "CurrentLeaderEpoch": -1, "LastFetchedEpoch": last,
            "FetchOffset": offset, "PartitionMaxBytes": 1_000_000});
        s.each(Fetch, step, [12, 17], &request(&[of(topic, &[partition])]))?;
    }
    Ok(())
}

fn unknown(s: &mut Scenario, topic: &Topic) -> Result<()> {
    let topic_of = |name: &str, id: &str| Topic {
        name: name.to_owned(),
        id: id.to_owned(),
    };
    let versions = [4, 12, 13, 17];
    let nobody = topic_of("fetch-nobody", NOBODY);
    s.each(
        Fetch,
        "unknown-topic",
        versions,
        &request(&[of(&nobody, &[partition(0, 0)])]),
    )?;
    let zero = topic_of("", "AAAAAAAAAAAAAAAAAAAAAA");
    s.each(
        Fetch,
        "no-name-and-zero-id",
        versions,
        &request(&[of(&zero, &[partition(0, 0)])]),
    )?;
    s.each(
        Fetch,
        "unknown-partition",
        versions,
        &request(&[of(topic, &[partition(7, 0)])]),
    )?;
    s.each(
        Fetch,
        "negative-partition",
        versions,
        &request(&[of(topic, &[partition(-1, 0)])]),
    )?;
    let mixed = [
        of(topic, &[partition(0, 5), partition(7, 0)]),
        of(&nobody, &[partition(0, 0)]),
    ];
    s.each(Fetch, "one-good-two-unknown", versions, &request(&mixed))?;
    s.each(
        Fetch,
        "same-partition-twice",
        versions,
        &request(&[of(topic, &[partition(0, 0), partition(0, 5)])]),
    )?;
    s.each(Fetch, "no-partitions", versions, &request(&[of(topic, &[])]))?;
    s.each(Fetch, "no-topics", versions, &request(&[]))?;
    Ok(())
}

fn limits(s: &mut Scenario, topic: &Topic) -> Result<()> {
    let limited = |bytes: i32| json!({"Partition": 0, "CurrentLeaderEpoch": -1, "FetchOffset": 0, "PartitionMaxBytes": bytes});
    let cases = [
        ("partition-max-bytes-0", 0),
        ("partition-max-bytes-1", 1),
        ("partition-max-bytes-minus-1", -1),
        ("partition-max-bytes-of-one-batch", 80),
        ("partition-max-bytes-of-one-and-a-half", 120),
    ];
    for (step, bytes) in cases {
        s.each(Fetch, step, [4, 17], &request(&[of(topic, &[limited(bytes)])]))?;
    }
    let at_the_end =
        json!({"Partition": 0, "CurrentLeaderEpoch": -1, "FetchOffset": 6, "PartitionMaxBytes": -1});
    s.ask(
        Fetch,
        "partition-max-bytes-minus-1-at-the-end",
        17,
        &request(&[of(topic, &[at_the_end])]),
    )?;
    let one = request(&[of(topic, &[partition(0, 0)])]);
    for (step, bytes) in [
        ("max-bytes-0", 0),
        ("max-bytes-1", 1),
        ("max-bytes-minus-1", -1),
        ("max-bytes-120", 120),
    ] {
        s.ask(Fetch, step, 17, &with(one.clone(), &[("MaxBytes", json!(bytes))]))?;
    }
    let many = s.topic("fetch-many", 3, &[("retention.ms", "-1")])?;
    for place in 0..3 {
        s.fill(&many, place, &spec(&["x"]).build())?;
        s.fill(&many, place, &spec(&["y"]).build())?;
    }
    let all = request(&[of(&many, &[partition(0, 0), partition(1, 0), partition(2, 0)])]);
    for (step, bytes) in [
        ("three-partitions", 10_000_000),
        ("three-max-bytes-1", 1),
        ("three-max-bytes-100", 100),
        ("three-max-bytes-200", 200),
        ("three-max-bytes-minus-1", -1),
    ] {
        s.ask(Fetch, step, 17, &with(all.clone(), &[("MaxBytes", json!(bytes))]))?;
    }
    waits(s, topic)
}

fn waits(s: &mut Scenario, topic: &Topic) -> Result<()> {
    let one = request(&[of(topic, &[partition(0, 0)])]);
    let waits = [
        ("waits-for-bytes-that-are-there", json!(2000), json!(1)),
        ("waits-in-vain", json!(50), json!(1_000_000)),
        ("wait-minus-1", json!(-1), json!(1_000_000)),
        ("min-bytes-minus-1", json!(0), json!(-1)),
    ];
    for (step, wait, bytes) in waits {
        s.ask(
            Fetch,
            step,
            17,
            &with(one.clone(), &[("MaxWaitMs", wait), ("MinBytes", bytes)]),
        )?;
    }
    let end = request(&[of(topic, &[partition(0, 6)])]);
    s.ask(
        Fetch,
        "waits-at-the-end",
        17,
        &with(end, &[("MaxWaitMs", json!(50)), ("MinBytes", json!(1))]),
    )?;
    let waiting = request(&[of(topic, &[partition(0, 6), partition(7, 0)])]);
    s.ask(
        Fetch,
        "waits-beside-an-unknown-partition",
        17,
        &with(waiting, &[("MaxWaitMs", json!(500)), ("MinBytes", json!(1))]),
    )?;
    Ok(())
}

/// Fetches in the name of brokers and of debuggers.
fn replicas(s: &mut Scenario, topic: &Topic) -> Result<()> {
    let one = request(&[of(topic, &[partition(0, 0)])]);
    for (step, id) in [("replica-1", 1), ("replica-9", 9), ("replica-minus-2", -2)] {
        s.each(
            Fetch,
            step,
            [4, 12],
            &with(one.clone(), &[("ReplicaId", json!(id))]),
        )?;
        s.ask(
            Fetch,
            step,
            17,
            &with(
                one.clone(),
                &[("ReplicaState", json!({"ReplicaId": id, "ReplicaEpoch": 0}))],
            ),
        )?;
    }
    s.ask(
        Fetch,
        "cluster-id-wrong",
        12,
        &with(one.clone(), &[("ClusterId", json!("another"))]),
    )?;
    s.each(Fetch, "rack", [11, 17], &with(one, &[("RackId", json!("r"))]))?;
    Ok(())
}

/// A request within a session.
fn session(id: i64, epoch: i32, topics: &[Json]) -> Json {
    with(
        request(topics),
        &[("SessionId", json!(id)), ("SessionEpoch", json!(epoch))],
    )
}

pub(super) fn sessions(s: &mut Scenario) -> Result<()> {
    for version in [7, 12, 13, 17] {
        walk(s, version)?;
    }
    let topic = s.log("fetch-sessions-other", &[])?;
    let one = [of(&topic, &[partition(0, 0)])];
    for (step, id, epoch) in [
        ("unknown-session", 123_456, 1),
        ("unknown-session-epoch-0", 123_456, 0),
        ("unknown-session-close", 123_456, -1),
        ("no-session-epoch-1", 0, 1),
        ("negative-session", -5, 1),
        ("epoch-minus-2", 0, -2),
    ] {
        s.each(Fetch, step, [7, 17], &session(id, epoch, &one))?;
    }
    s.ask(Fetch, "session-of-nothing", 17, &session(0, 0, &[]))?;
    Ok(())
}

/// The life of a session.
fn walk(s: &mut Scenario, version: i16) -> Result<()> {
    let topic = s.topic(&format!("fetch-session-v{version}"), 3, &[("retention.ms", "-1")])?;
    s.fill(&topic, 0, &batch(&["one"]))?;
    let both = [of(&topic, &[partition(0, 0), partition(1, 0)])];
    let created = s.ask(Fetch, "session-created", version, &session(0, 0, &both))?;
    let id = created.answer()?.int("SessionId")?;
    s.ask(Fetch, "session-wrong-epoch", version, &session(id, 5, &[]))?;
    s.ask(Fetch, "session-unchanged-has-data", version, &session(id, 1, &[]))?;
    let advance = [of(&topic, &[partition(0, 1)])];
    s.ask(Fetch, "session-advanced", version, &session(id, 2, &advance))?;
    s.ask(Fetch, "session-nothing-new", version, &session(id, 3, &[]))?;
    s.fill(&topic, 1, &batch(&["two"]))?;
    s.ask(Fetch, "session-new-data", version, &session(id, 4, &[]))?;
    s.ask(Fetch, "session-epoch-repeated", version, &session(id, 4, &[]))?;
    let forgotten = json!([{"Topic": topic.name, "TopicId": topic.id, "Partitions": [1]}]);
    let forget = with(session(id, 5, &[]), &[("ForgottenTopicsData", forgotten.clone())]);
    s.ask(Fetch, "session-partition-forgotten", version, &forget)?;
    let again = with(session(id, 6, &[]), &[("ForgottenTopicsData", forgotten)]);
    s.ask(Fetch, "session-forgotten-twice", version, &again)?;
    let added = [of(&topic, &[partition(2, 0), partition(7, 0)])];
    s.ask(
        Fetch,
        "session-partitions-added",
        version,
        &session(id, 7, &added),
    )?;
    s.ask(Fetch, "session-error-is-repeated", version, &session(id, 8, &[]))?;
    let out_of_range = [of(&topic, &[partition(0, 99)])];
    s.ask(
        Fetch,
        "session-out-of-range",
        version,
        &session(id, 9, &out_of_range),
    )?;
    s.ask(Fetch, "session-closed", version, &session(id, -1, &[]))?;
    s.ask(Fetch, "session-after-its-end", version, &session(id, 10, &[]))?;
    Ok(())
}
