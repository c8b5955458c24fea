//! Decisions of the metadata log.
//!
//! Always holds: an input is a row of decisions, each behind its length in two bytes. What can be replayed gives an image
//! that its own snapshot gives again, and a delta that every broker can be told.

use bytes::Bytes;
use klamm_metadata::{Delta, Image, MetadataRecord, Position, decode_decision, encode_decision};
use klamm_model::{BrokerId, Uuid};
use klamm_protocol::metadata_records as records;
use klamm_protocol::schema::sample::Seed;

const BROKERS: usize = 3;
const TOPICS: usize = 3;

fn pieces(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = input.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let piece;
        (piece, input) = rest.split_at(length);
        Some(piece)
    })
}

pub(super) fn run(input: &[u8]) {
    let mut image = Image::default();
    for (index, piece) in (1..).zip(pieces(input)) {
        let Ok(records) = decode_decision(Bytes::copy_from_slice(piece)) else {
            continue;
        };
        let position = Position { index, term: 1 };
        let Ok((next, delta)) = image.apply(position, &records) else {
            continue;
        };
        look_at(&delta);
        image = next;
    }
    let snapshot = image.write_snapshot();
    let stored = decode_decision(encode_decision(&snapshot)).expect("a snapshot can be read back");
    assert_eq!(stored, snapshot);
    let (again, _) = Image::default()
        .apply(image.position(), &stored)
        .expect("a snapshot can be replayed");
    assert_eq!(again, image, "a snapshot gives its image");
}

fn look_at(delta: &Delta) {
    for broker in 0..BROKERS as i32 {
        let _ = delta.for_broker(BrokerId(broker));
    }
    let _ = (delta.is_empty(), delta.topics(), delta.configs(), delta.brokers());
}

pub(super) fn sample(seed: &mut Seed) -> Vec<u8> {
    let mut input = Vec::new();
    // Brokers and topics first: without them nearly nothing fits.
    let first: Vec<_> = (0..BROKERS)
        .map(|id| broker(id as i32))
        .chain((0..TOPICS).flat_map(|topic| [self::topic(topic), partition(topic, 0, seed)]))
        .collect();
    put(&mut input, &first);
    for _ in 0..seed.below(4) {
        let some: Vec<_> = (0..seed.below(5)).map(|_| record(seed)).collect();
        put(&mut input, &some);
    }
    input
}

fn put(input: &mut Vec<u8>, records: &[MetadataRecord]) {
    let decision = encode_decision(records);
    input.extend((decision.len() as u16).to_be_bytes());
    input.extend(decision);
}

fn id_of(topic: usize) -> Uuid {
    Uuid([topic as u8 + 1; 16])
}

fn name_of(topic: usize) -> String {
    format!("topic-{topic}")
}

fn broker(id: i32) -> MetadataRecord {
    let endpoint = records::register_broker_record::BrokerEndpoint {
        name: "PLAINTEXT".into(),
        host: "host".into(),
        port: 9092,
        ..Default::default()
    };
    records::RegisterBrokerRecord {
        broker_id: id,
        broker_epoch: 7,
        end_points: vec![endpoint],
        rack: (id == 1).then(|| "rack".into()),
        log_dirs: vec![Uuid([9; 16])],
        ..Default::default()
    }
    .into()
}

fn topic(topic: usize) -> MetadataRecord {
    records::TopicRecord {
        name: name_of(topic).into(),
        topic_id: id_of(topic),
        ..Default::default()
    }
    .into()
}

fn some_brokers(seed: &mut Seed) -> Vec<i32> {
    (0..BROKERS as i32).filter(|_| seed.below(3) > 0).collect()
}

fn partition(topic: usize, partition: i32, seed: &mut Seed) -> MetadataRecord {
    let replicas = some_brokers(seed);
    records::PartitionRecord {
        partition_id: partition,
        topic_id: id_of(topic),
        isr: replicas.clone(),
        leader: replicas.first().copied().unwrap_or(-1),
        directories: vec![Uuid([9; 16]); replicas.len()],
        eligible_leader_replicas: (seed.below(2) == 0).then(Vec::new),
        replicas,
        ..Default::default()
    }
    .into()
}

fn record(seed: &mut Seed) -> MetadataRecord {
    let (topic, id) = (seed.below(TOPICS), seed.below(BROKERS) as i32);
    match seed.below(15) {
        0 => partition(topic, 1, seed),
        1 => records::PartitionChangeRecord {
            topic_id: id_of(topic),
            isr: (seed.below(2) == 0).then(|| some_brokers(seed)),
            leader: [-2, -1, id][seed.below(3)],
            replicas: (seed.below(2) == 0).then(|| some_brokers(seed)),
            directories: (seed.below(2) == 0).then(|| vec![Uuid([8; 16])]),
            eligible_leader_replicas: (seed.below(2) == 0).then(|| some_brokers(seed)),
            last_known_elr: (seed.below(2) == 0).then(|| some_brokers(seed)),
            ..Default::default()
        }
        .into(),
        2 => records::RemoveTopicRecord {
            topic_id: id_of(topic),
            ..Default::default()
        }
        .into(),
        3 => self::topic(topic),
        4 => broker(id),
        5 => records::UnregisterBrokerRecord {
            broker_id: id,
            broker_epoch: 7,
            ..Default::default()
        }
        .into(),
        6 => records::BrokerRegistrationChangeRecord {
            broker_id: id,
            broker_epoch: 7,
            fenced: seed.below(3) as i8 - 1,
            in_controlled_shutdown: seed.below(2) as i8,
            log_dirs: vec![Uuid([8; 16])],
            ..Default::default()
        }
        .into(),
        7 => records::ConfigRecord {
            resource_type: [2, 4, 8, 16, 32][seed.below(5)],
            resource_name: name_of(topic).into(),
            name: "retention.ms".into(),
            value: (seed.below(3) > 0).then(|| "1000".into()),
            ..Default::default()
        }
        .into(),
        8 => records::FeatureLevelRecord {
            name: ["metadata.version", "group.version"][seed.below(2)].into(),
            feature_level: seed.below(30) as i16,
            ..Default::default()
        }
        .into(),
        9 => records::ClearElrRecord {
            topic_name: ["", "topic-0"][seed.below(2)].into(),
            ..Default::default()
        }
        .into(),
        10 => records::ProducerIdsRecord {
            broker_id: id,
            next_producer_id: seed.below(5000) as i64,
            ..Default::default()
        }
        .into(),
        11 => quota(seed),
        12 => records::FenceBrokerRecord {
            id,
            epoch: 7,
            ..Default::default()
        }
        .into(),
        13 => records::RegisterControllerRecord {
            controller_id: id,
            ..Default::default()
        }
        .into(),
        _ => records::NoOpRecord::default().into(),
    }
}

fn quota(seed: &mut Seed) -> MetadataRecord {
    let entity = records::client_quota_record::EntityData {
        entity_type: ["user", "client-id"][seed.below(2)].into(),
        entity_name: (seed.below(2) == 0).then(|| "someone".into()),
        ..Default::default()
    };
    records::ClientQuotaRecord {
        entity: vec![entity],
        key: "producer_byte_rate".into(),
        value: 1.5,
        remove: seed.below(3) == 0,
        ..Default::default()
    }
    .into()
}
