//! IncrementalAlterConfigs and AlterConfigs.

use klamm_protocol::messages::{
    alter_configs_request as legacy, incremental_alter_configs_request as incremental,
};

use super::*;

/// Type, name, and key, operation, value.
type Resource<'a> = (i8, &'a str, &'a [(&'a str, i8, Option<&'a str>)]);
type Answer = (i8, String, i16, Option<String>);

fn request(resources: &[Resource<'_>]) -> incremental::IncrementalAlterConfigsRequest {
    let config = |(name, operation, value): &(&str, i8, Option<&str>)| incremental::AlterableConfig {
        name: (*name).into(),
        config_operation: *operation,
        value: value.map(Into::into),
        ..Default::default()
    };
    let resource = |(kind, name, configs): &Resource<'_>| incremental::AlterConfigsResource {
        resource_type: *kind,
        resource_name: (*name).into(),
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    };
    let resources = resources.iter().map(resource).collect();
    incremental::IncrementalAlterConfigsRequest {
        resources,
        ..Default::default()
    }
}

fn alter(cluster: &mut Cluster, resources: &[Resource<'_>]) -> Vec<Answer> {
    let request = request(resources);
    let response = cluster.does(|context| alter_configs::decide_incremental(context, BrokerId(1), &request));
    let answers = response.responses.into_iter();
    let words = |words: Option<ByteString>| words.map(|words| words.to_string());
    answers
        .map(|each| {
            (
                each.resource_type,
                each.resource_name.to_string(),
                each.error_code,
                words(each.error_message),
            )
        })
        .collect()
}

fn replace(cluster: &mut Cluster, resources: &[Resource<'_>]) -> Vec<Answer> {
    let config = |(name, _, value): &(&str, i8, Option<&str>)| legacy::AlterableConfig {
        name: (*name).into(),
        value: value.map(Into::into),
        ..Default::default()
    };
    let resource = |(kind, name, configs): &Resource<'_>| legacy::AlterConfigsResource {
        resource_type: *kind,
        resource_name: (*name).into(),
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    };
    let resources = resources.iter().map(resource).collect();
    let request = legacy::AlterConfigsRequest {
        resources,
        ..Default::default()
    };
    let response = cluster.does(|context| alter_configs::decide_replacing(context, BrokerId(1), &request));
    let answers = response.responses.into_iter();
    let words = |words: Option<ByteString>| words.map(|words| words.to_string());
    answers
        .map(|each| {
            (
                each.resource_type,
                each.resource_name.to_string(),
                each.error_code,
                words(each.error_message),
            )
        })
        .collect()
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::new(1);
    cluster.topic("t", &[&[1]], &[("retention.ms", "5")]);
    cluster
}

#[test]
fn changes_are_kept() {
    let mut cluster = cluster();
    let changes: &[Resource<'_>] = &[
        (
            2,
            "t",
            &[("cleanup.policy", 0, Some("compact")), ("retention.ms", 1, None)],
        ),
        (4, "1", &[("log.retention.ms", 0, Some("7"))]),
        (4, "", &[("log.retention.ms", 0, Some("8"))]),
        (16, "m", &[("interval.ms", 0, Some("1000"))]),
        (32, "g", &[("consumer.session.timeout.ms", 0, Some("50000"))]),
    ];
    let answers = alter(&mut cluster, changes);
    assert!(answers.iter().all(|(_, _, code, _)| *code == 0), "{answers:?}");
    let configs = cluster.image.configs();
    assert_eq!(
        configs.topic("t"),
        &Values::from([("cleanup.policy".into(), "compact".into())])
    );
    assert_eq!(configs.broker(BrokerId(1))["log.retention.ms"], "7");
    assert_eq!(configs.broker_default()["log.retention.ms"], "8");
    assert_eq!(
        configs.get(crate::ResourceKind::Group, "g")["consumer.session.timeout.ms"],
        "50000"
    );
    let replaced = replace(&mut cluster, &[(2, "t", &[("retention.ms", 0, Some("9"))])]);
    assert_eq!(replaced, [(2, "t".to_owned(), 0, None)]);
    assert_eq!(
        cluster.image.configs().topic("t"),
        &Values::from([("retention.ms".into(), "9".into())])
    );
}

#[test]
fn changes_are_refused_as_kafka_refuses_them() {
    let mut cluster = cluster();
    let set = &[("retention.ms", 0, Some("5"))][..];
    let cases: &[(Resource<'_>, i16, &str)] = &[
        ((2, "nope", set), 3, "The topic 'nope' does not exist."),
        ((2, "", set), 42, "Default topic resources are not allowed."),
        ((2, "..", set), 17, "Topic name is invalid: '..' is not allowed"),
        ((3, "x", set), 42, "Unknown resource type 3"),
        (
            (4, "2", set),
            42,
            "Unexpected broker id, expected 1, but received 2",
        ),
        ((4, "abc", set), 42, "Node id must be an integer, but it is: abc"),
        ((32, "", set), 42, "Default group resources are not allowed."),
        (
            (32, "h", &[("x", 0, Some("y"))]),
            40,
            "Unknown group config name: x",
        ),
        ((16, "", set), 42, "Subscription name can't be empty"),
        (
            (2, "nope", &[("a", 0, Some("1")), ("a", 0, Some("2"))]),
            42,
            "Error due to duplicate config keys",
        ),
        (
            (2, "nope", &[("retention.ms", 0, None)]),
            42,
            "Null value not supported for : retention.ms",
        ),
        (
            (4, "1", &[("min.insync.replicas", 0, Some("2"))]),
            40,
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
        ),
    ];
    for (resource, code, words) in cases {
        let expected = [(
            resource.0,
            resource.1.to_owned(),
            *code,
            Some((*words).to_owned()),
        )];
        assert_eq!(alter(&mut cluster, &[*resource]), expected);
        assert_eq!(replace(&mut cluster, &[*resource]), expected);
    }
    let incremental: &[(Resource<'_>, i16, Option<&str>)] = &[
        ((2, "t", &[("retention.ms", 9, Some("5"))]), -1, None),
        (
            (2, "t", &[("retention.ms", 2, Some("5"))]),
            40,
            Some("Can't APPEND to key retention.ms because its type is not LIST."),
        ),
        (
            (4, "", &[("min.insync.replicas", 1, None)]),
            40,
            Some("Cluster-level min.insync.replicas cannot be removed while ELR is enabled."),
        ),
    ];
    for (resource, code, words) in incremental {
        let expected = [(resource.0, resource.1.to_owned(), *code, words.map(str::to_owned))];
        assert_eq!(alter(&mut cluster, &[*resource]), expected);
    }
    let logger = replace(&mut cluster, &[(8, "1", &[("kafka.server", 0, Some("INFO"))])]);
    assert_eq!(
        logger,
        [(8, "1".to_owned(), 42, Some("Unknown resource type 8".to_owned()))]
    );
}

#[test]
fn a_resource_that_stands_twice_is_refused_and_loggers_are_left_out() {
    let mut cluster = cluster();
    let set = &[("retention.ms", 0, Some("77"))][..];
    let answers = alter(
        &mut cluster,
        &[(2, "t", set), (8, "1", set), (2, "t", set), (4, "", &[])],
    );
    let twice = || {
        (
            2,
            "t".to_owned(),
            42,
            Some("Each resource must appear at most once.".to_owned()),
        )
    };
    assert_eq!(answers, [twice(), twice(), (4, String::new(), 0, None)]);
    assert_eq!(cluster.image.configs().topic("t")["retention.ms"], "5");
}

#[test]
fn a_value_is_no_longer_than_a_record_takes() {
    let mut cluster = cluster();
    let many = |replica: u8| {
        (0..4000)
            .map(|id| format!("{id}:{replica}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let key = "follower.replication.throttled.replicas";
    let answers = alter(&mut cluster, &[(2, "t", &[(key, 2, Some(&many(1)))])]);
    assert_eq!(answers[0].2, 0, "{answers:?}");
    let answers = alter(&mut cluster, &[(2, "t", &[(key, 2, Some(&many(2)))])]);
    let words =
        "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.";
    assert_eq!((answers[0].2, answers[0].3.as_deref()), (40, Some(words)));
}

#[test]
fn another_min_isr_forgets_eligible_leaders() {
    for (kind, name) in [(2, "t"), (4, "")] {
        let mut cluster = cluster();
        let id = cluster.image.topics().by_name("t").unwrap().id;
        let change = klamm_protocol::metadata_records::PartitionChangeRecord {
            topic_id: id,
            partition_id: 0,
            eligible_leader_replicas: Some(vec![1]),
            isr: Some(vec![]),
            leader: -1,
            ..Default::default()
        };
        cluster.commit(&[change.into()]);
        assert_eq!(cluster.shown("t", 0), "leader none isr  elr 1");
        alter(
            &mut cluster,
            &[(kind, name, &[("min.insync.replicas", 0, Some("2"))])],
        );
        assert_eq!(cluster.shown("t", 0), "leader none isr ");
    }
}

#[test]
fn validating_changes_nothing() {
    let mut cluster = cluster();
    let mut request = request(&[(2, "t", &[("retention.ms", 0, Some("9"))])]);
    request.validate_only = true;
    let decision =
        cluster.context(|context| alter_configs::decide_incremental(context, BrokerId(1), &request));
    assert!(decision.records.is_empty() && decision.response.responses[0].error_code == 0);
}
