//! Partitions of internal topics in transactions: Kafka's clients add none of them, its brokers all.

use anyhow::Result;
use klamm_protocol::ApiKey::{AddPartitionsToTxn, DescribeTransactions, EndTxn, FindCoordinator};
use serde_json::json;

use super::{Producer, described, topics};
use crate::scenario::Scenario;

pub(in crate::scenarios) fn run(s: &mut Scenario) -> Result<()> {
    let topic = s.topic("transactions_internal", 2, &[])?.name;
    let key = json!({"Key": "g", "KeyType": 0, "CoordinatorKeys": ["g"]});
    s.until(FindCoordinator, 4, &key, |answer| {
        let error = answer.int("Coordinators.0.ErrorCode");
        error.is_ok_and(|error| error == 0)
    })?;
    s.serves("__consumer_offsets", 50)?;
    let mut p = Producer::new(s, "transactions_internal")?;
    let beside = |name: &str| json!([{"Name": topic, "Partitions": [0]}, {"Name": name, "Partitions": [0]}]);
    let cases = [
        ("offsets", topics("__consumer_offsets", &[0, 1])),
        ("offsets-beside", beside("__consumer_offsets")),
        ("state", topics("__transaction_state", &[0, 1])),
        ("state-beside", beside("__transaction_state")),
        ("unknown-partition", topics("__transaction_state", &[1_000])),
        ("unknown-share-partition", topics("__share_group_state", &[1_000])),
        (
            "beside-unknown",
            json!([{"Name": "__transaction_state", "Partitions": [0]}, {"Name": topic, "Partitions": [0, 2]}]),
        ),
    ];
    for (name, topics) in cases {
        s.each(AddPartitionsToTxn, name, 0..=5, &p.add(topics.clone()))?;
        let verify = p.verify(topics);
        s.ask(AddPartitionsToTxn, &format!("verify-{name}"), 5, &verify)?;
    }
    s.ask(
        DescribeTransactions,
        "added",
        0,
        &described(&[&p.transactional_id]),
    )?;
    let answer = s.ask(EndTxn, "commit", 5, &p.end(true))?.answer()?;
    (p.id, p.epoch) = (answer.int("ProducerId")?, answer.int("ProducerEpoch")?);
    p.over(s, "over")
}
