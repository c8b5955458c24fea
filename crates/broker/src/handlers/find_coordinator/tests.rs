use klamm_metadata::{MetadataRecord, Position};
use klamm_model::Uuid;
use klamm_protocol::metadata_records::register_broker_record::BrokerEndpoint;
use klamm_protocol::metadata_records::{PartitionRecord, RegisterBrokerRecord, TopicRecord};

use super::*;

fn broker(id: i32, fenced: bool, listeners: &[(&str, &str, u16)]) -> MetadataRecord {
    let end_points = listeners.iter().map(|(name, host, port)| BrokerEndpoint {
        name: (*name).into(),
        host: (*host).into(),
        port: *port,
        ..Default::default()
    });
    RegisterBrokerRecord {
        broker_id: id,
        broker_epoch: i64::from(id),
        incarnation_id: Uuid([id as u8; 16]),
        end_points: end_points.collect(),
        fenced,
        ..Default::default()
    }
    .into()
}

/// A topic with a partition for each of these leaders.
fn topic(name: &str, leaders: &[i32]) -> Vec<MetadataRecord> {
    let topic_id = Uuid([7; 16]);
    let topic = TopicRecord {
        name: name.into(),
        topic_id,
        ..Default::default()
    };
    let partitions = (0..).zip(leaders).map(|(partition_id, leader)| {
        PartitionRecord {
            partition_id,
            topic_id,
            replicas: vec![1, 2, 3],
            isr: vec![1, 2],
            leader: *leader,
            ..Default::default()
        }
        .into()
    });
    [topic.into()].into_iter().chain(partitions).collect()
}

#[test]
fn the_coordinator_is_the_leader_of_the_keys_partition_where_the_listener_reaches_it() {
    let mut records = vec![
        broker(
            1,
            false,
            &[("OUT", "one.example", 1001), ("IN", "10.0.0.1", 2001)],
        ),
        broker(2, false, &[("OUT", "two.example", 1002)]),
        broker(
            3,
            true,
            &[("OUT", "three.example", 1003), ("IN", "10.0.0.3", 2003)],
        ),
    ];
    records.extend(topic("__consumer_offsets", &[1, 2, 3, -1]));
    let position = Position { index: 1, term: 1 };
    let (image, _) = Image::default().apply(position, &records).unwrap();
    let image = Arc::new(image);
    // The hash of one letter is its number: "p" is 112, a multiple of 4.
    let cases = [
        ("OUT", Key::Group("p"), Some((1, "one.example", 1001))),
        ("IN", Key::Group("p"), Some((1, "10.0.0.1", 2001))),
        ("OUT", Key::Group("q"), Some((2, "two.example", 1002))),
        // It does not listen there.
        ("IN", Key::Group("q"), None),
        // It is fenced.
        ("OUT", Key::Group("r"), None),
        // Nobody leads.
        ("OUT", Key::Group("s"), None),
        // There is no such topic.
        ("OUT", Key::Transaction("p"), None),
    ];
    for (listener, key, expected) in cases {
        let mut finder = Finder::new(image.clone(), listener);
        let expected = expected.map(|(node_id, host, port)| Place {
            node_id,
            host: host.into(),
            port,
        });
        let expected = expected.ok_or(ErrorCode::CoordinatorNotAvailable);
        assert_eq!(finder.find(&key), expected, "{listener} {key:?}");
        // Once more, out of what is known by now.
        assert_eq!(finder.find(&key), expected, "{listener} {key:?} again");
    }
}

#[test]
fn version_3_and_earlier_explain_every_outcome() {
    let place = Place {
        node_id: 1,
        host: "h".into(),
        port: 9092,
    };
    let cases = [
        (Ok(place), (0, 1, "h", 9092), "NONE"),
        (
            Err(ErrorCode::CoordinatorNotAvailable),
            (15, -1, "", -1),
            "The coordinator is not available.",
        ),
        (Err(ErrorCode::InvalidRequest), (42, -1, "", -1), INVALID),
    ];
    for (found, expected, message) in cases {
        let answer = one(found.clone());
        let told = (answer.error_code, answer.node_id, &*answer.host, answer.port);
        assert_eq!(told, expected, "{found:?}");
        assert_eq!(answer.error_message.as_deref(), Some(message), "{found:?}");
    }
}
