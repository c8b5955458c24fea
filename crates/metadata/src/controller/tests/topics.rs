//! CreateTopics, DeleteTopics and CreatePartitions.

use klamm_protocol::messages::create_partitions_request::*;
use klamm_protocol::messages::create_topics_request::*;
use klamm_protocol::messages::create_topics_response::CreateTopicsResponse;
use klamm_protocol::messages::delete_topics_request::*;

use super::*;

type Assignments<'a> = &'a [(i32, &'a [i32])];
/// The brokers of each new partition.
type Added<'a> = Option<&'a [&'a [i32]]>;

fn topic(name: &str, partitions: i32, factor: i16, assignments: Assignments<'_>) -> CreatableTopic {
    let assignment = |(number, ids): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index: *number,
        broker_ids: ids.to_vec(),
        ..Default::default()
    };
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: factor,
        assignments: assignments.iter().map(assignment).collect(),
        ..Default::default()
    }
}

fn with_configs(name: &str, configs: &[(&str, Option<&str>)]) -> CreatableTopic {
    let config = |(name, value): &(&str, Option<&str>)| CreatableTopicConfig {
        name: (*name).into(),
        value: value.map(Into::into),
        ..Default::default()
    };
    CreatableTopic {
        configs: configs.iter().map(config).collect(),
        ..topic(name, 1, 1, &[])
    }
}

fn create(cluster: &mut Cluster, topics: Vec<CreatableTopic>) -> CreateTopicsResponse {
    let request = CreateTopicsRequest {
        topics,
        ..Default::default()
    };
    cluster.does(|context| create_topics::decide(context, &request))
}

/// Name, code and words of each topic.
fn answers(response: &CreateTopicsResponse) -> Vec<(&str, i16, Option<&str>)> {
    let topics = response.topics.iter();
    topics
        .map(|topic| (&*topic.name, topic.error_code, topic.error_message.as_deref()))
        .collect()
}

#[test]
fn a_topic_is_made_with_what_was_asked_for() {
    let mut cluster = Cluster::new(3);
    let response = create(&mut cluster, vec![topic("t", 4, 2, &[]), topic("d", -1, -1, &[])]);
    assert_eq!(answers(&response), [("t", 0, None), ("d", 0, None)]);
    let made = &response.topics[0];
    assert_eq!((made.num_partitions, made.replication_factor), (4, 2));
    let image = cluster.image.topics().by_name("t").unwrap();
    assert_eq!(image.id, made.topic_id);
    for partition in &image.partitions {
        assert_eq!(partition.leader, partition.preferred());
        assert_eq!(partition.isr, partition.replicas);
        assert_eq!(
            partition.directories[0],
            Uuid([100 + partition.replicas[0].0 as u8; 16])
        );
    }
    let configs = made.configs.as_ref().unwrap();
    let min_isr = configs
        .iter()
        .find(|config| &*config.name == "min.insync.replicas")
        .unwrap();
    assert_eq!((min_isr.value.as_deref(), min_isr.config_source), (Some("1"), 3));
    assert_eq!(
        (
            response.topics[1].num_partitions,
            response.topics[1].replication_factor
        ),
        (1, 1)
    );
}

#[test]
fn validating_makes_nothing() {
    let mut cluster = Cluster::new(1);
    let topics = vec![topic("t", 3, 1, &[])];
    let request = CreateTopicsRequest {
        topics,
        validate_only: true,
        ..Default::default()
    };
    let decision = cluster.context(|context| create_topics::decide(context, &request));
    assert!(decision.records.is_empty());
    assert_eq!(decision.response.topics[0].num_partitions, 3);
    assert!(!decision.response.topics[0].topic_id.is_zero());
}

#[test]
fn topics_are_refused_as_kafka_refuses_them() {
    let mut cluster = Cluster::new(1);
    create(
        &mut cluster,
        vec![topic("exists", 1, 1, &[]), topic("col.a", 1, 1, &[])],
    );
    let too_few = "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached \
                   because only 1 broker(s) are registered or some brokers have all their log directories cordoned.";
    let positive = "Replication factor must be larger than 0, or -1 to use the default value.";
    let no_partitions = "Number of partitions was set to an invalid non-positive value.";
    let manual = "A manual partition assignment was specified, but";
    let includes = "The manual partition assignment includes";
    let characters = "contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'";
    let cases: Vec<(CreatableTopic, i16, String)> = vec![
        (
            topic("exists", 0, 0, &[]),
            36,
            "Topic 'exists' already exists.".into(),
        ),
        (
            topic("col_a", 1, 1, &[]),
            17,
            "Topic 'col_a' collides with existing topic: col.a".into(),
        ),
        (
            topic("", 1, 1, &[]),
            17,
            "Topic name is invalid: the empty string is not allowed".into(),
        ),
        (
            topic(".", 1, 1, &[]),
            17,
            "Topic name is invalid: '.' is not allowed".into(),
        ),
        (
            topic("a b", 1, 1, &[]),
            17,
            format!("Topic name is invalid: 'a b' {characters}"),
        ),
        (topic("n", 0, 1, &[]), 37, no_partitions.into()),
        (topic("n", -2, 1, &[]), 37, no_partitions.into()),
        (topic("n", 0, 0, &[]), 38, positive.into()),
        (topic("n", 1, -2, &[]), 38, positive.into()),
        (topic("n", 1, 3, &[]), 38, too_few.into()),
        (
            topic("n", 1, -1, &[(0, &[1])]),
            42,
            format!("{manual} numPartitions was not set to -1."),
        ),
        (
            topic("n", 2, 1, &[(0, &[1])]),
            42,
            format!("{manual} replication factor was not set to -1."),
        ),
        (
            topic("n", -1, -1, &[(1, &[1])]),
            39,
            "partitions should be a consecutive 0-based integer sequence".into(),
        ),
        (
            topic("n", -1, -1, &[(0, &[1]), (0, &[1])]),
            39,
            "Found multiple manual partition assignments for partition 0".into(),
        ),
        (
            topic("n", -1, -1, &[(0, &[])]),
            39,
            format!("{includes} an empty replica list."),
        ),
        (
            topic("n", -1, -1, &[(0, &[9])]),
            39,
            format!("{includes} broker 9, but no such broker is registered."),
        ),
        (
            topic("n", -1, -1, &[(0, &[1, 1])]),
            39,
            format!("{includes} the broker 1 more than once."),
        ),
        (
            with_configs("n", &[("retention.ms", Some("x"))]),
            40,
            "Invalid value x for configuration retention.ms: Not a number of type LONG".into(),
        ),
        (
            with_configs("n", &[("foo", Some("x"))]),
            40,
            "Unknown topic config name: foo".into(),
        ),
        (
            with_configs("n", &[("foo", None), ("retention.ms", None)]),
            40,
            "Null value not supported for topic configs: foo,retention.ms".into(),
        ),
    ];
    for (topic, code, message) in cases {
        let response = create(&mut cluster, vec![topic.clone()]);
        assert_eq!(answers(&response), [(&*topic.name, code, Some(&*message))]);
        assert_eq!(
            (
                response.topics[0].num_partitions,
                response.topics[0].replication_factor
            ),
            (-1, -1)
        );
    }
}

#[test]
fn a_config_that_stands_twice_has_its_last_value() {
    let mut cluster = Cluster::new(1);
    create(
        &mut cluster,
        vec![with_configs(
            "t",
            &[("retention.ms", Some("5")), ("retention.ms", Some("6"))],
        )],
    );
    assert_eq!(cluster.image.configs().topic("t")["retention.ms"], "6");
}

#[test]
fn configs_are_told_as_they_were_written() {
    let mut cluster = Cluster::new(1);
    let configs = [("retention.ms", Some(" 1000 ")), ("preallocate", Some("TRUE"))];
    let response = create(&mut cluster, vec![with_configs("t", &configs)]);
    assert_eq!(answers(&response), [("t", 0, None)]);
    let told = response.topics[0].configs.as_ref().unwrap();
    for (name, written) in configs {
        let config = told.iter().find(|config| &*config.name == name).unwrap();
        assert_eq!(config.value.as_deref(), written, "{name}");
    }
}

#[test]
fn topics_of_one_request_stand_alone() {
    let mut cluster = Cluster::new(1);
    let one = |name| topic(name, 1, 1, &[]);
    let topics = vec![
        one("d"),
        one("d"),
        one("__cluster_metadata"),
        one("x.y"),
        one("x_y"),
        one("__consumer_offsets"),
    ];
    let expected = [
        ("x.y", 0, None),
        ("x_y", 0, None),
        ("__consumer_offsets", 0, None),
        ("d", 42, Some("Duplicate topic name.")),
        (
            "__cluster_metadata",
            42,
            Some("Creation of internal topic __cluster_metadata is prohibited."),
        ),
    ];
    assert_eq!(answers(&create(&mut cluster, topics)), expected);
}

#[test]
fn too_many_partitions_are_refused_as_a_whole() {
    let mut cluster = Cluster::new(1);
    let sums = [
        (
            vec![("a", 9_999), ("b", 2)],
            "Excessively large number of partitions per request.",
        ),
        (
            vec![("a", 10_000)],
            "Unable to perform excessively large batch operation.",
        ),
    ];
    for (topics, message) in sums {
        let topics: Vec<_> = topics
            .into_iter()
            .map(|(name, count)| topic(name, count, 1, &[]))
            .collect();
        let response = create(&mut cluster, topics);
        assert!(
            answers(&response)
                .iter()
                .all(|(_, code, words)| (*code, *words) == (44, Some(message)))
        );
        assert!(cluster.image.topics().is_empty());
    }
}

#[test]
fn replicas_on_fenced_brokers_are_not_in_sync() {
    let mut cluster = Cluster::new(2);
    cluster.commit(&[RegisterBrokerRecord {
        fenced: true,
        ..broker(2, 9)
    }
    .into()]);
    cluster.topic("t", &[&[2, 1]], &[]);
    assert_eq!(cluster.shown("t", 0), "leader 1 isr 1");
    let response = create(&mut cluster, vec![topic("n", -1, -1, &[(0, &[2])])]);
    let message = "All brokers specified in the manual partition assignment for partition 0 are fenced or in controlled \
                   shutdown.";
    assert_eq!(answers(&response), [("n", 39, Some(message))]);
}

fn delete(
    cluster: &mut Cluster,
    names: &[&str],
    topics: &[(Option<&str>, Uuid)],
) -> Vec<(Option<String>, i16, String)> {
    let state = |(name, id): &(Option<&str>, Uuid)| DeleteTopicState {
        name: name.map(Into::into),
        topic_id: *id,
        ..Default::default()
    };
    let request = DeleteTopicsRequest {
        topics: topics.iter().map(state).collect(),
        topic_names: names.iter().map(|name| (*name).into()).collect(),
        ..Default::default()
    };
    let response = cluster.does(|context| delete_topics::decide(context, &request));
    let answer = |result: klamm_protocol::messages::delete_topics_response::DeletableTopicResult| {
        let words = result
            .error_message
            .map(|words| words.to_string())
            .unwrap_or_default();
        (result.name.map(|name| name.to_string()), result.error_code, words)
    };
    response.responses.into_iter().map(answer).collect()
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let mut cluster = Cluster::new(1);
    for name in ["a", "b", "c"] {
        cluster.topic(name, &[&[1]], &[("retention.ms", "5")]);
    }
    let id = cluster.image.topics().by_name("b").unwrap().id;
    let deleted = delete(&mut cluster, &["a", "nope"], &[(None, id)]);
    let unknown = "This server does not host this topic-partition.".to_owned();
    let named = |name: &str| Some(name.to_owned());
    let expected = [
        (named("a"), 0, String::new()),
        (named("nope"), 3, unknown),
        (named("b"), 0, String::new()),
    ];
    assert_eq!(deleted, expected);
    let left: Vec<_> = cluster.image.topics().iter().map(|topic| &*topic.name).collect();
    assert_eq!(left, ["c"]);
    assert!(cluster.image.configs().topic("a").is_empty());
}

#[test]
fn a_topic_that_is_meant_twice_stays() {
    let mut cluster = Cluster::new(1);
    for name in ["a", "b", "c", "d"] {
        cluster.topic(name, &[&[1]], &[]);
    }
    let id = |cluster: &Cluster, name: &str| cluster.image.topics().by_name(name).unwrap().id;
    let (b, c) = (id(&cluster, "b"), id(&cluster, "c"));
    let asked = [
        (Some("a"), Uuid::ZERO),
        (Some("a"), Uuid::ZERO),
        (None, b),
        (Some("b"), Uuid::ZERO),
        (None, c),
        (None, c),
        (Some("d"), c),
        (None, Uuid::ZERO),
        (None, Uuid::ONE),
    ];
    let twice = "The provided topic name maps to an ID that was already supplied.";
    let expected = [
        (Some("d"), 42, "You may not specify both topic name and topic id."),
        (None, 42, "Neither topic name nor id were specified."),
        (Some("a"), 42, "Duplicate topic name."),
        (None, 42, "Duplicate topic id."),
        (Some("b"), 42, twice),
        (None, 100, "This server does not host this topic ID."),
    ];
    let deleted = delete(&mut cluster, &[], &asked);
    let deleted: Vec<_> = deleted
        .iter()
        .map(|(name, code, words)| (name.as_deref(), *code, &**words))
        .collect();
    assert_eq!(deleted, expected);
    assert_eq!(cluster.image.topics().len(), 4);
}

fn grow(cluster: &mut Cluster, topics: &[(&str, i32, Added<'_>)]) -> Vec<(String, i16, Option<String>)> {
    let topic = |(name, count, assignments): &(&str, i32, Added<'_>)| {
        let assignment = |ids: &&[i32]| CreatePartitionsAssignment {
            broker_ids: ids.to_vec(),
            ..Default::default()
        };
        CreatePartitionsTopic {
            name: (*name).into(),
            count: *count,
            assignments: assignments.map(|all| all.iter().map(assignment).collect()),
            ..Default::default()
        }
    };
    let topics = topics.iter().map(topic).collect();
    let request = CreatePartitionsRequest {
        topics,
        ..Default::default()
    };
    let response = cluster.does(|context| create_partitions::decide(context, &request));
    let results = response.results.into_iter();
    let words = |words: Option<klamm_protocol::ByteString>| words.map(|words| words.to_string());
    results
        .map(|result| {
            (
                result.name.to_string(),
                result.error_code,
                words(result.error_message),
            )
        })
        .collect()
}

#[test]
fn topics_grow() {
    let mut cluster = Cluster::new(2);
    cluster.topic("t", &[&[1, 2]], &[]);
    assert_eq!(
        grow(&mut cluster, &[("t", 3, Some(&[&[2, 1], &[1, 2]]))]),
        [("t".to_owned(), 0, None)]
    );
    assert_eq!(grow(&mut cluster, &[("t", 5, None)]), [("t".to_owned(), 0, None)]);
    let topic = cluster.image.topics().by_name("t").unwrap();
    assert_eq!(topic.partitions.len(), 5);
    assert_eq!(cluster.shown("t", 1), "leader 2 isr 2,1");
    assert!(
        topic
            .partitions
            .iter()
            .all(|partition| partition.replicas.len() == 2)
    );
}

#[test]
fn topics_of_coordinators_do_not_grow() {
    let mut cluster = Cluster::new(1);
    for name in ["__consumer_offsets", "__transaction_state", "__share_group_state"] {
        cluster.topic(name, &[&[1]], &[]);
        let refused = grow(&mut cluster, &[(name, 2, None)]);
        let message = "is found by its number of partitions, which cannot change.";
        let words = format!("What lies in {name} {message}");
        assert_eq!(refused, [(name.to_owned(), 37, Some(words))]);
        assert_eq!(cluster.image.topics().by_name(name).unwrap().partitions.len(), 1);
    }
}

#[test]
fn growth_is_refused_as_kafka_refuses_it() {
    let mut cluster = Cluster::new(2);
    cluster.topic("t", &[&[1], &[1], &[1]], &[]);
    let includes = "The manual partition assignment includes";
    let consistent = "a partition with 2 replica(s), but this is not consistent with previous partitions, which have 1 \
                      replica(s).";
    let cases: Vec<(i32, Added<'_>, i16, String)> = vec![
        (3, Some(&[&[1]]), 37, "Topic already has 3 partition(s).".into()),
        (
            2,
            None,
            37,
            "The topic t currently has 3 partition(s); 2 would not be an increase.".into(),
        ),
        (
            5,
            Some(&[]),
            39,
            "Attempted to add 2 additional partition(s), but only 0 assignment(s) were specified.".into(),
        ),
        (4, Some(&[&[]]), 39, format!("{includes} an empty replica list.")),
        (
            4,
            Some(&[&[9]]),
            39,
            format!("{includes} broker 9, but no such broker is registered."),
        ),
        (4, Some(&[&[1, 2]]), 39, format!("{includes} {consistent}")),
        (
            10_004,
            None,
            44,
            "Excessively large number of additional partitions per request.".into(),
        ),
    ];
    for (count, assignments, code, message) in cases {
        let grown = grow(&mut cluster, &[("t", count, assignments)]);
        assert_eq!(grown, [("t".to_owned(), code, Some(message))]);
    }
    let mixed = grow(
        &mut cluster,
        &[("t", 4, None), ("nope", 20_000, None), ("t", 5, None)],
    );
    let duplicate = Some("Duplicate topic name.".to_owned());
    assert_eq!(
        mixed,
        [("t".to_owned(), 42, duplicate), ("nope".to_owned(), 3, None)]
    );
}
