//! Transactions as their coordinator sees them: producers that take an id over, partitions that take part, ends in time, twice, late
//! and in the wrong epoch. Records are no part of it.
//!
//! What Kafka answers with CONCURRENT_TRANSACTIONS while it still writes markers is asked again until it has: Klamm waits itself.

pub(super) mod internal;

use anyhow::Result;
use klamm_protocol::ApiKey::{
    AddOffsetsToTxn, AddPartitionsToTxn, DescribeTransactions, EndTxn, FindCoordinator, InitProducerId,
    ListTransactions,
};
use serde_json::{Value as Json, json};

use crate::scenario::Scenario;
use crate::value::Value;

/// A producer with a transactional id.
#[derive(Clone, Debug)]
struct Producer {
    transactional_id: String,
    id: i64,
    epoch: i64,
}

impl Producer {
    /// Has an id initialized, once it is coordinated.
    fn new(s: &mut Scenario, transactional_id: &str) -> Result<Self> {
        let key = json!({"Key": transactional_id, "KeyType": 1, "CoordinatorKeys": [transactional_id]});
        s.until(FindCoordinator, 4, &key, |answer| {
            let error = answer.int("Coordinators.0.ErrorCode");
            error.is_ok_and(|error| error == 0)
        })?;
        s.serves("__transaction_state", 50)?;
        let answer = s.producer(transactional_id.into())?;
        Ok(Self {
            transactional_id: transactional_id.to_owned(),
            id: answer.int("ProducerId")?,
            epoch: answer.int("ProducerEpoch")?,
        })
    }

    fn at(&self, epoch: i64) -> Self {
        Self {
            epoch,
            ..self.clone()
        }
    }

    fn with_id(&self, id: i64) -> Self {
        Self { id, ..self.clone() }
    }

    fn called(&self, transactional_id: &str) -> Self {
        Self {
            transactional_id: transactional_id.to_owned(),
            ..self.clone()
        }
    }

    /// InitProducerId of one that goes on.
    fn goes_on(&self) -> Json {
        json!({"TransactionalId": self.transactional_id, "TransactionTimeoutMs": 60_000, "ProducerId": self.id,
            "ProducerEpoch": self.epoch})
    }

    fn end(&self, commit: bool) -> Json {
        json!({"TransactionalId": self.transactional_id, "ProducerId": self.id, "ProducerEpoch": self.epoch,
            "Committed": commit})
    }

    fn add(&self, topics: Json) -> Json {
        json!({"V3AndBelowTransactionalId": self.transactional_id, "V3AndBelowProducerId": self.id,
            "V3AndBelowProducerEpoch": self.epoch, "V3AndBelowTopics": topics.clone(),
            "Transactions": [self.part(false, topics)]})
    }

    fn verify(&self, topics: Json) -> Json {
        json!({"Transactions": [self.part(true, topics)]})
    }

    fn part(&self, verify_only: bool, topics: Json) -> Json {
        json!({"TransactionalId": self.transactional_id, "ProducerId": self.id, "ProducerEpoch": self.epoch,
            "VerifyOnly": verify_only, "Topics": topics})
    }

    fn add_offsets(&self, group: &str) -> Json {
        json!({"TransactionalId": self.transactional_id, "ProducerId": self.id, "ProducerEpoch": self.epoch,
            "GroupId": group})
    }

    /// Waits for the transaction to be over.
    fn over(&self, s: &mut Scenario, name: &str) -> Result<()> {
        let settled = |answer: &Value| {
            let state = answer.text("TransactionStates.0.TransactionState");
            !state.is_ok_and(|state| state.starts_with("Prepare"))
        };
        let ids = described(&[&self.transactional_id]);
        s.ask_until(DescribeTransactions, name, 0, &ids, settled)?;
        Ok(())
    }

    /// Adds a partition and ends the transaction, and who the producer is then; nothing is written down.
    fn once(&mut self, s: &mut Scenario, topic: &str, version: i16, commit: bool) -> Result<()> {
        let topics = json!([{"Name": topic, "Partitions": [0]}]);
        let add = self.add(topics);
        s.until(AddPartitionsToTxn, 3, &add, |answer| !is_concurrent(answer))?;
        let answer = s.quiet(EndTxn, version, &self.end(commit))?;
        if version >= 5 {
            (self.id, self.epoch) = (answer.int("ProducerId")?, answer.int("ProducerEpoch")?);
        }
        Ok(())
    }
}

fn described(ids: &[&str]) -> Json {
    json!({"TransactionalIds": ids})
}

fn topics(topic: &str, partitions: &[i32]) -> Json {
    json!([{"Name": topic, "Partitions": partitions}])
}

fn init(transactional_id: &str, timeout_ms: i32) -> Json {
    json!({"TransactionalId": transactional_id, "TransactionTimeoutMs": timeout_ms, "ProducerId": -1,
        "ProducerEpoch": -1})
}

/// Whether Kafka has not written its markers yet.
fn is_concurrent(answer: &Value) -> bool {
    let paths = [
        "ErrorCode",
        "ResultsByTopicV3AndBelow.0.ResultsByPartition.0.PartitionErrorCode",
        "ResultsByTransaction.0.TopicResults.0.ResultsByPartition.0.PartitionErrorCode",
    ];
    paths
        .iter()
        .any(|path| answer.int(path).is_ok_and(|error| error == 51))
}

/// Before the topic of the coordinators is made.
pub(super) fn without_topic(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("transactions_without_topic", 1, &[])?;
    let nobody = Producer {
        transactional_id: "transactions_without_topic".to_owned(),
        id: 0,
        epoch: 0,
    };
    s.each(
        InitProducerId,
        "init",
        [0, 4, 5],
        &init(&nobody.transactional_id, 60_000),
    )?;
    s.each(InitProducerId, "init-nameless", [0, 5], &init("", 60_000))?;
    let add = nobody.add(topics(&topic.name, &[0]));
    s.each(AddPartitionsToTxn, "add", [0, 3, 4, 5], &add)?;
    s.each(AddOffsetsToTxn, "add-offsets", [0, 4], &nobody.add_offsets("g"))?;
    s.each(EndTxn, "end", [0, 4, 5], &nobody.end(true))?;
    s.ask(
        DescribeTransactions,
        "describe",
        0,
        &described(&[&nobody.transactional_id, ""]),
    )?;
    s.each(ListTransactions, "list", 0..=2, &json!({}))?;
    Ok(())
}

/// What is refused whatever the transaction.
pub(super) fn refused(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("transactions_refused", 2, &[])?;
    let p = Producer::new(s, "transactions_refused")?;
    for (name, timeout_ms) in [
        ("0", 0),
        ("negative", -1),
        ("longest", 900_000),
        ("too-long", 900_001),
        ("max", i32::MAX),
    ] {
        let request = init("transactions_refused_timeouts", timeout_ms);
        s.each(InitProducerId, &format!("timeout-{name}"), [0, 5], &request)?;
    }
    s.ask(InitProducerId, "nameless", 5, &init("", 60_000))?;
    let cases = [
        ("half-id", p.at(-1)),
        ("half-epoch", p.with_id(-1)),
        ("other-id", p.with_id(p.id + 1_000_000)),
        ("negative-id", p.with_id(-7)),
        ("high-epoch", p.at(7)),
        ("negative-epoch", p.at(-7)),
        ("highest-epoch", p.at(32_767)),
        ("nobody", p.called("transactions_nobody")),
        ("nameless", p.called("")),
    ];
    for (name, p) in &cases[..7] {
        s.each(InitProducerId, &format!("init-{name}"), 3..=5, &p.goes_on())?;
    }
    for (name, p) in &cases {
        let add = p.add(topics(&topic.name, &[0]));
        s.each(AddPartitionsToTxn, &format!("add-{name}"), 0..=5, &add)?;
        let verify = p.verify(topics(&topic.name, &[0]));
        s.each(AddPartitionsToTxn, &format!("verify-{name}"), [4, 5], &verify)?;
        s.each(
            AddOffsetsToTxn,
            &format!("add-offsets-{name}"),
            0..=4,
            &p.add_offsets("g"),
        )?;
        s.each(EndTxn, &format!("commit-{name}"), 0..=5, &p.end(true))?;
        s.each(EndTxn, &format!("abort-{name}"), [0, 4, 5], &p.end(false))?;
    }
    refused_partitions(s, &p, &topic.name)?;
    s.each(EndTxn, "commit-nothing", 0..=5, &p.end(true))?;
    s.each(EndTxn, "abort-nothing", 0..=4, &p.end(false))?;
    p.over(s, "at-the-end")
}

fn refused_partitions(s: &mut Scenario, p: &Producer, topic: &str) -> Result<()> {
    let cases = [
        ("unknown-partition", topics(topic, &[2])),
        ("negative-partition", topics(topic, &[-1])),
        ("one-unknown-partition", topics(topic, &[0, 2, 1])),
        ("unknown-topic", topics("transactions_unknown", &[0])),
        ("bad-topic", topics("transactions unknown", &[0])),
        ("nameless-topic", topics("", &[0])),
        (
            "one-unknown-topic",
            json!([{"Name": topic, "Partitions": [0]}, {"Name": "transactions_unknown", "Partitions": [0]}]),
        ),
    ];
    for (name, topics) in cases {
        s.each(AddPartitionsToTxn, name, [0, 3, 4, 5], &p.add(topics.clone()))?;
        s.ask(
            AddPartitionsToTxn,
            &format!("verify-{name}"),
            5,
            &p.verify(topics),
        )?;
    }
    s.ask(
        AddPartitionsToTxn,
        "no-transactions",
        5,
        &json!({"Transactions": []}),
    )?;
    Ok(())
}

/// A producer of version 1 from its first transaction on.
pub(super) fn version_1(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("transactions_1", 3, &[])?;
    let name = topic.name.as_str();
    let p = Producer::new(s, "transactions_1")?;
    let ids = described(&["transactions_1"]);
    s.ask(DescribeTransactions, "empty", 0, &ids)?;
    for (version, commit) in [(0, true), (2, false), (4, true)] {
        let step = |step: &str| format!("{step}-{version}");
        let add = |partitions: &[i32]| p.add(topics(name, partitions));
        s.ask_until(
            AddPartitionsToTxn,
            &step("add"),
            version.min(3),
            &add(&[0]),
            |answer| !is_concurrent(answer),
        )?;
        s.ask(AddPartitionsToTxn, &step("add-again"), version.min(3), &add(&[0]))?;
        s.ask(
            AddPartitionsToTxn,
            &step("add-more"),
            version.min(3),
            &add(&[2, 0, 2]),
        )?;
        s.ask(
            AddPartitionsToTxn,
            &step("verify"),
            5,
            &p.verify(topics(name, &[0, 1, 2])),
        )?;
        s.ask(DescribeTransactions, &step("open"), 0, &ids)?;
        s.ask(
            EndTxn,
            &step("end-too-high"),
            version,
            &p.at(p.epoch + 1).end(commit),
        )?;
        s.ask(EndTxn, &step("end"), version, &p.end(commit))?;
        p.over(s, &step("over"))?;
        s.ask(EndTxn, &step("end-again"), version, &p.end(commit))?;
        s.ask(EndTxn, &step("end-otherwise"), version, &p.end(!commit))?;
        s.ask(
            AddPartitionsToTxn,
            &step("verify-over"),
            5,
            &p.verify(topics(name, &[0])),
        )?;
    }
    s.ask(
        AddOffsetsToTxn,
        "add-offsets",
        4,
        &p.add_offsets("transactions_1"),
    )?;
    s.ask(
        AddOffsetsToTxn,
        "add-offsets-again",
        0,
        &p.add_offsets("transactions_1"),
    )?;
    s.ask(DescribeTransactions, "with-offsets", 0, &ids)?;
    s.ask(EndTxn, "end-offsets", 4, &p.end(true))?;
    p.over(s, "over")
}

/// A producer of version 2, whose epoch rises.
pub(super) fn version_2(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("transactions_2", 3, &[])?;
    let name = topic.name.as_str();
    let p = Producer::new(s, "transactions_2")?;
    let e = p.epoch;
    let add = |epoch| p.at(epoch).add(topics(name, &[0, 1]));
    s.ask(AddPartitionsToTxn, "add", 5, &add(e))?;
    s.ask(AddPartitionsToTxn, "add-again", 4, &add(e))?;
    s.ask(EndTxn, "commit-too-high", 5, &p.at(e + 1).end(true))?;
    s.ask(EndTxn, "commit", 5, &p.end(true))?;
    p.over(s, "committed")?;
    s.ask(EndTxn, "commit-again", 5, &p.end(true))?;
    s.ask(EndTxn, "abort-what-is-committed", 5, &p.end(false))?;
    s.ask(EndTxn, "commit-the-next-that-is-empty", 5, &p.at(e + 1).end(true))?;
    s.ask(EndTxn, "abort-the-next-that-is-empty", 5, &p.at(e + 1).end(false))?;
    p.over(s, "aborted")?;
    s.ask(EndTxn, "abort-again", 5, &p.at(e + 1).end(false))?;
    s.ask(EndTxn, "commit-what-is-aborted", 5, &p.at(e + 1).end(true))?;
    s.ask(EndTxn, "commit-late-by-two", 5, &p.end(true))?;
    s.ask(AddPartitionsToTxn, "add-in-an-old-epoch", 5, &add(e + 1))?;
    s.ask(AddPartitionsToTxn, "add-in-the-next", 5, &add(e + 2))?;
    for version in [0, 2, 5] {
        s.ask(EndTxn, "commit-late-by-one", version, &p.at(e + 1).end(true))?;
        s.ask(EndTxn, "abort-late-by-one", version, &p.at(e + 1).end(false))?;
    }
    s.ask(
        DescribeTransactions,
        "still-open",
        0,
        &described(&["transactions_2"]),
    )?;
    s.ask(EndTxn, "commit-as-version-1", 4, &p.at(e + 2).end(true))?;
    p.over(s, "committed-as-version-1")?;
    s.ask(EndTxn, "commit-as-version-2-again", 5, &p.at(e + 2).end(true))?;
    Ok(())
}

/// Producers that take an id over, or go on.
pub(super) fn fencing(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("transactions_fencing", 1, &[])?;
    let name = topic.name.as_str();
    let p = Producer::new(s, "transactions_fencing")?;
    let e = p.epoch;
    let id = p.transactional_id.clone();
    s.ask(AddPartitionsToTxn, "add", 3, &p.add(topics(name, &[0])))?;
    let done = |answer: &Value| !is_concurrent(answer);
    s.ask_until(
        InitProducerId,
        "take-over-what-is-open",
        5,
        &init(&id, 60_000),
        done,
    )?;
    s.ask(DescribeTransactions, "taken-over", 0, &described(&[&id]))?;
    s.each(
        AddPartitionsToTxn,
        "add-of-the-old-one",
        0..=5,
        &p.add(topics(name, &[0])),
    )?;
    s.each(
        AddOffsetsToTxn,
        "add-offsets-of-the-old-one",
        0..=4,
        &p.add_offsets("g"),
    )?;
    s.each(EndTxn, "end-of-the-old-one", 0..=5, &p.end(true))?;
    s.each(InitProducerId, "the-old-one-goes-on", 3..=5, &p.goes_on())?;
    s.ask(InitProducerId, "the-new-one-goes-on", 5, &p.at(e + 2).goes_on())?;
    s.ask(InitProducerId, "and-asks-again", 5, &p.at(e + 2).goes_on())?;
    s.ask(InitProducerId, "and-asks-twice", 4, &p.at(e + 2).goes_on())?;
    s.ask(InitProducerId, "next-epoch", 4, &p.at(e + 3).goes_on())?;
    s.ask(InitProducerId, "one-before", 4, &p.at(e + 2).goes_on())?;
    s.ask(InitProducerId, "a-stranger", 4, &init(&id, 30_000))?;
    s.ask(InitProducerId, "after-a-stranger", 4, &p.at(e + 4).goes_on())?;
    s.ask(DescribeTransactions, "in-the-end", 0, &described(&[&id]))?;
    let now = p.at(e + 5);
    s.ask(
        AddPartitionsToTxn,
        "add-of-the-new-one",
        3,
        &now.add(topics(name, &[0])),
    )?;
    s.ask_until(
        InitProducerId,
        "goes-on-from-what-is-open",
        5,
        &now.goes_on(),
        done,
    )?;
    s.ask(EndTxn, "end-of-what-is-void", 5, &now.end(true))?;
    Ok(())
}

/// What is shown of transactions.
pub(super) fn shown(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("transactions_shown", 3, &[])?;
    let open = Producer::new(s, "transactions_shown_open")?;
    let mut committed = Producer::new(s, "transactions_shown_committed")?;
    let mut aborted = Producer::new(s, "transactions_shown_aborted")?;
    let add = open.add(topics(&topic.name, &[2, 0]));
    s.quiet(AddPartitionsToTxn, 3, &add)?;
    committed.once(s, &topic.name, 4, true)?;
    aborted.once(s, &topic.name, 5, false)?;
    committed.over(s, "committed")?;
    aborted.over(s, "aborted")?;
    let names = [
        "transactions_shown_open",
        "transactions_shown_nobody",
        "",
        "transactions_shown_committed",
        "transactions_shown_open",
    ];
    s.ask(DescribeTransactions, "several", 0, &described(&names))?;
    s.ask(DescribeTransactions, "none", 0, &described(&[]))?;
    let own = "transactions_shown_.*";
    let pattern = |pattern: &str| json!({"TransactionalIdPattern": pattern});
    for (name, text) in [
        ("own", own),
        ("part", "transactions_shown"),
        ("ends", ".*_shown_(open|aborted)"),
        ("classes", r"transactions_shown_[a-c]\w+"),
        ("broken", "("),
        ("bracket", "["),
        ("star", "*"),
    ] {
        s.ask(ListTransactions, &format!("pattern-{name}"), 2, &pattern(text))?;
    }
    for states in [
        json!(["Ongoing"]),
        json!(["CompleteCommit", "CompleteAbort"]),
        json!(["Dead"]),
        json!(["PrepareEpochFence"]),
        json!(["ongoing", "Nonsense"]),
        json!([""]),
    ] {
        let name = format!("states-{}", states.as_array().map_or(0, Vec::len));
        let name = format!("{name}-{}", states[0].as_str().unwrap_or_default());
        let request = json!({"StateFilters": states, "TransactionalIdPattern": own});
        s.ask(ListTransactions, &name, 2, &request)?;
    }
    for (name, ids) in [("one", json!([open.id])), ("unknown", json!([-5, 987_654_321]))] {
        s.each(
            ListTransactions,
            &format!("producers-{name}"),
            0..=2,
            &json!({"ProducerIdFilters": ids}),
        )?;
    }
    for duration in [-5, 0, 3_600_000] {
        let request =
            json!({"DurationFilter": duration, "TransactionalIdPattern": own, "StateFilters": ["Ongoing"]});
        s.ask(ListTransactions, &format!("duration-{duration}"), 2, &request)?;
    }
    s.quiet(EndTxn, 4, &open.end(false))?;
    open.over(s, "ended")
}
