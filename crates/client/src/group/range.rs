//! Divides partitions as Kafka's range assignor does: topic by topic, a run of neighbours for each member.
//!
//! Always holds: every partition goes to exactly one of the members that subscribe to its topic; the same members and
//! topics give the same division, whoever computes it.

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use klamm_model::TopicPartition;

/// A member that takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscriber {
    pub(super) member: ByteString,
    /// Static members come first, by their instance.
    pub(super) instance: Option<ByteString>,
    pub(super) topics: Vec<ByteString>,
}

/// What each member gets, where `counts` says how many partitions the topics have. A topic that is not in it has none.
pub(super) fn assign(
    mut subscribers: Vec<Subscriber>,
    counts: &BTreeMap<ByteString, usize>,
) -> BTreeMap<ByteString, BTreeSet<TopicPartition>> {
    subscribers.sort_by(|a, b| order(a).cmp(&order(b)));
    let mut shares: BTreeMap<ByteString, BTreeSet<TopicPartition>> = subscribers
        .iter()
        .map(|subscriber| (subscriber.member.clone(), BTreeSet::new()))
        .collect();
    for (topic, count) in counts {
        let takers = subscribers
            .iter()
            .filter(|subscriber| subscriber.topics.contains(topic));
        let takers: Vec<&Subscriber> = takers.collect();
        let Some(each) = count.checked_div(takers.len()) else {
            continue;
        };
        let more = count % takers.len();
        let mut partitions = (0_i32..).map(|index| TopicPartition::new(&**topic, index));
        for (place, taker) in takers.iter().enumerate() {
            let run = each + usize::from(place < more);
            let share = shares.entry(taker.member.clone()).or_default();
            share.extend(partitions.by_ref().take(run));
        }
    }
    shares
}

fn order(subscriber: &Subscriber) -> (bool, &[u8], &[u8]) {
    let instance = subscriber.instance.as_ref();
    (
        instance.is_none(),
        instance.map_or(&[][..], |instance| instance.as_bytes()),
        subscriber.member.as_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriber(
        member: &'static str,
        instance: Option<&'static str>,
        topics: &[&'static str],
    ) -> Subscriber {
        Subscriber {
            member: member.into(),
            instance: instance.map(Into::into),
            topics: topics.iter().map(|topic| (*topic).into()).collect(),
        }
    }

    #[test]
    fn partitions_are_divided_as_by_other_clients() {
        let (a, b, c) = (
            subscriber("a", None, &["t", "u"]),
            subscriber("b", None, &["t"]),
            subscriber("c", Some("1"), &["t", "none"]),
        );
        let cases = [
            (vec![b.clone(), a.clone()], 5, "a:t0 t1 t2 u0 b:t3 t4"),
            (vec![a.clone()], 2, "a:t0 t1 u0"),
            (vec![a.clone(), b.clone(), c.clone()], 4, "a:t2 u0 b:t3 c:t0 t1"),
            (vec![b.clone(), a.clone()], 1, "a:t0 u0 b:"),
            (vec![], 3, ""),
        ];
        for (subscribers, count, expected) in cases {
            let counts = BTreeMap::from([("t".into(), count), ("u".into(), 1)]);
            let shares = assign(subscribers, &counts);
            let texts = shares.iter().map(|(member, share)| {
                let share: Vec<String> = share
                    .iter()
                    .map(|p| format!("{}{}", p.topic, p.partition))
                    .collect();
                format!("{member}:{}", share.join(" "))
            });
            assert_eq!(texts.collect::<Vec<_>>().join(" "), expected);
        }
    }
}
