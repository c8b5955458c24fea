//! The words of the language of these tests: producers, partitions, answers.

use klamm_model::{ErrorCode, ProducerEpoch, ProducerId, TopicPartition};

use crate::contract::TransactionalProducer;
use crate::transaction::request::TransactionAnswer;

pub(in crate::transaction) fn producer(text: &str) -> TransactionalProducer {
    let (id, epoch) = text.split_once('@').unwrap();
    TransactionalProducer {
        id: ProducerId(id.parse().unwrap()),
        epoch: ProducerEpoch(epoch.parse().unwrap()),
    }
}

pub(super) fn name(producer: TransactionalProducer) -> String {
    format!("{}@{}", producer.id, producer.epoch)
}

pub(in crate::transaction) fn partition(text: &str) -> TopicPartition {
    let (topic, number) = text.split_once('-').unwrap();
    TopicPartition::new(topic, number.parse().unwrap())
}

pub(super) fn partitions<'a>(words: impl Iterator<Item = &'a str>) -> Vec<TopicPartition> {
    words.map(partition).collect()
}

/// What an answer says, in a word or two.
pub(in crate::transaction) fn say(answer: &TransactionAnswer) -> String {
    let code = |code: &ErrorCode| format!("{code:?}");
    match answer {
        TransactionAnswer::NeedsProducerId => "needs an id".to_owned(),
        TransactionAnswer::Initialized(Ok(producer)) => name(*producer),
        TransactionAnswer::Added(ErrorCode::None) => "added".to_owned(),
        TransactionAnswer::Verified(Ok(verdicts)) => {
            let verdicts = verdicts.iter().map(|(partition, verdict)| {
                let verdict = match verdict {
                    ErrorCode::None => "ok".to_owned(),
                    other => code(other),
                };
                format!("{partition} {verdict}")
            });
            verdicts.collect::<Vec<_>>().join(", ")
        }
        TransactionAnswer::Ended(Ok(None)) => "ended".to_owned(),
        TransactionAnswer::Ended(Ok(Some(producer))) => format!("ended {}", name(*producer)),
        TransactionAnswer::Initialized(Err(error))
        | TransactionAnswer::Added(error)
        | TransactionAnswer::Verified(Err(error))
        | TransactionAnswer::Ended(Err(error)) => code(error),
        other => format!("{other:?}"),
    }
}
