//! Partitions on the command line: `TOPIC`, or `TOPIC:0,1,2`.

use std::collections::BTreeSet;

use klamm_client::Admin;
use klamm_model::TopicPartition;

use crate::commands::consume;
use crate::connect::known_topic;

/// The partitions of a topic; all of them when there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicChoice {
    pub(crate) topic: String,
    pub(crate) partitions: Vec<i32>,
}

/// Reads `TOPIC` or `TOPIC:0,1,2`.
pub(crate) fn parse(text: &str) -> Result<TopicChoice, String> {
    let refused = || format!("'{text}' is neither TOPIC nor TOPIC:0,1,2");
    let (topic, partitions) = match text.rsplit_once(':') {
        None => (text, Vec::new()),
        Some((topic, numbers)) => {
            let numbers = numbers.split(',').map(|number| match number.parse::<i32>() {
                Ok(index) if index >= 0 => Ok(index),
                _ => Err(refused()),
            });
            (topic, numbers.collect::<Result<Vec<i32>, String>>()?)
        }
    };
    if topic.is_empty() {
        return Err(refused());
    }
    Ok(TopicChoice {
        topic: topic.to_owned(),
        partitions,
    })
}

/// The partitions that were chosen, all of which exist.
pub(crate) async fn chosen(
    admin: &Admin,
    choices: &[TopicChoice],
) -> anyhow::Result<BTreeSet<TopicPartition>> {
    let mut partitions = BTreeSet::new();
    for choice in choices {
        let topic = known_topic(admin.client(), &choice.topic).await?;
        let found = consume::partitions(&topic, &choice.partitions)?;
        partitions.extend(found);
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_their_partitions_are_read() {
        let cases = [
            ("orders", Some(("orders", vec![]))),
            ("orders:0", Some(("orders", vec![0]))),
            ("orders:0,12", Some(("orders", vec![0, 12]))),
            ("orders:", None),
            ("orders:-1", None),
            (":1", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let seen = parse(text).ok();
            let seen = seen
                .as_ref()
                .map(|choice| (choice.topic.as_str(), choice.partitions.clone()));
            assert_eq!(seen, expected, "{text}");
        }
    }
}
