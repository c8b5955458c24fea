//! An acknowledged change of a topic is there at the end, unless a later one was asked for.

use std::collections::BTreeMap;

use super::Report;
use crate::history::{History, TopicChange, TopicEvent};

pub(super) fn check(history: &History, report: &mut Report<'_>) {
    let mut last: BTreeMap<&str, Vec<&TopicEvent>> = BTreeMap::new();
    for event in &history.topic_events {
        last.entry(&event.name).or_default().push(event);
    }
    for (name, events) in last {
        let there = history.topics_at_the_end.get(name);
        let Some(event) = events.last() else { continue };
        match (event.change, event.answered) {
            (TopicChange::Create(partitions), Some(id)) => {
                let is_so = there.is_some_and(|topic| topic.id == id && topic.partitions == partitions);
                if !is_so {
                    report.add(format_args!(
                        "{name} was created as {id}, at the end it is {there:?}"
                    ));
                }
            }
            (TopicChange::Delete, Some(id)) if there.is_some() => {
                report.add(format_args!(
                    "{name} was deleted as {id}, at the end it is {there:?}"
                ));
            }
            // Without an answer, either may be.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use klamm_model::Uuid;

    use crate::checkers::testing::{broken, good};
    use crate::history::{TopicChange, TopicEvent, TopicState};

    #[test]
    fn a_lost_creation_and_a_lost_deletion_are_found() {
        let id = Uuid([1; 16]);
        let event = |change, answered| TopicEvent {
            name: "a".to_owned(),
            change,
            answered,
        };
        let created = event(TopicChange::Create(2), Some(id));
        let deleted = event(TopicChange::Delete, Some(id));
        let unanswered = event(TopicChange::Delete, None);
        let topic = TopicState { id, partitions: 2 };
        for (events, end, is_broken) in [
            (vec![created.clone()], Some(topic), false),
            (vec![created.clone()], None, true),
            (
                vec![created.clone()],
                Some(TopicState {
                    partitions: 1,
                    ..topic
                }),
                true,
            ),
            (vec![created.clone(), deleted.clone()], None, false),
            (vec![created.clone(), deleted], Some(topic), true),
            (vec![created.clone(), unanswered.clone()], Some(topic), false),
            (vec![created, unanswered], None, false),
        ] {
            let mut history = good();
            history.topic_events = events;
            history.topics_at_the_end = end.map(|topic| ("a".to_owned(), topic)).into_iter().collect();
            assert_eq!(!broken(&history).is_empty(), is_broken, "{history:?}");
        }
    }
}
