//! What a topic is when it is made, and whether it may be made and deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use klamm_model::ErrorCode;
use klamm_protocol::messages::metadata_request::MetadataRequestTopic;
use klamm_protocol::messages::{DeleteTopicsRequest, MetadataRequest};

use crate::client::{Client, batch, batch_count, bytes_of};
use crate::fixture::Fixture;

#[tokio::test(start_paused = true)]
async fn a_topic_whose_maker_names_no_counts() {
    let wrong_factor = ErrorCode::InvalidReplicationFactor.code();
    for (set, expected) in [
        (&[][..], (0, 1)),
        (&[("num.partitions", "3")], (0, 3)),
        (&[("default.replication.factor", "2")], (wrong_factor, -1)),
    ] {
        let fixture = Fixture::start(set).await;
        let made = fixture.connect().try_create("t", -1, -1, &[]).await;
        assert_eq!(made, expected, "{set:?}");
        let folders = fixture
            .names("")
            .iter()
            .filter(|name| name.starts_with("t-"))
            .count();
        assert_eq!(folders, usize::try_from(expected.1.max(0)).unwrap(), "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn asking_for_a_topic_makes_it() {
    for (set, is_made) in [
        (&[][..], true),
        (&[("auto.create.topics.enable", "false")], false),
    ] {
        let fixture = Fixture::start(set).await;
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some("t".into()),
                ..Default::default()
            }]),
            allow_auto_topic_creation: true,
            ..Default::default()
        };
        let mut client = fixture.connect();
        client.ask(12, &request).await.unwrap();
        let response = client.ask(12, &request).await.unwrap();
        assert_eq!(response.topics[0].error_code == 0, is_made, "{set:?}");
        assert_eq!(!fixture.names("t-0").is_empty(), is_made, "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn topics_may_be_deleted_or_not() {
    let disabled = ErrorCode::TopicDeletionDisabled.code();
    for (set, expected) in [(&[][..], 0), (&[("delete.topic.enable", "false")], disabled)] {
        let fixture = Fixture::start(set).await;
        let mut client = fixture.connect();
        client.create("t", 1, &[]).await;
        let request = DeleteTopicsRequest {
            topic_names: vec!["t".into()],
            timeout_ms: 1000,
            ..Default::default()
        };
        let response = client.ask(5, &request).await.unwrap();
        assert_eq!(response.responses[0].error_code, expected, "{set:?}");
        fixture.pass(50).await;
        assert_eq!(fixture.names("t-0").is_empty(), expected == 0, "{set:?}");
    }
}

/// Deletes `t` and returns the error code.
async fn delete(client: &mut Client) -> i16 {
    let request = DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        timeout_ms: 10_000,
        ..Default::default()
    };
    client.ask(4, &request).await.unwrap().responses[0].error_code
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_records_of_a_topic_is_told_when_it_is_deleted() {
    for (version, expected) in [
        (12, ErrorCode::UnknownTopicOrPartition),
        (17, ErrorCode::UnknownTopicId),
    ] {
        let fixture = Fixture::start(&[]).await;
        let (mut client, mut waiting) = (fixture.connect(), fixture.connect());
        client.create("t", 1, &[]).await;
        let mut request = Client::fetch_request(0);
        request.max_wait_ms = 3_600_000;
        request.topics[0].topic_id = client.topic_id("t").await;
        let answer = tokio::spawn(async move { waiting.ask(version, &request).await.unwrap() });
        fixture.pass(1000).await;
        assert!(!answer.is_finished(), "there is nothing to read yet");
        let before = tokio::time::Instant::now();
        assert_eq!(delete(&mut client).await, 0);
        let answer = answer.await.unwrap();
        assert!(before.elapsed() < Duration::from_secs(1), "it was told at once");
        let code = answer.responses[0].partitions[0].error_code;
        assert_eq!(code, expected.code(), "version {version}");
    }
}

/// While somebody writes: the new one has nothing of the old, and all that was answered.
#[tokio::test(start_paused = true)]
async fn a_topic_is_deleted_and_made_again_at_once() {
    let fixture = Fixture::start(&[]).await;
    let (mut client, mut writer) = (fixture.connect(), fixture.connect());
    client.create("t", 1, &[]).await;
    let (now, done) = (fixture.now(), Arc::new(AtomicBool::new(false)));
    let is_done = done.clone();
    let writing = tokio::spawn(async move {
        let mut since = 0;
        while !is_done.load(Ordering::Relaxed) {
            match writer.produce_to("t", 0, batch(now, 10)).await {
                told if told.error_code != 0 => {
                    since = 0;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                told if told.base_offset == 0 => since = 1,
                _ => since += 1,
            }
        }
        since
    });
    for _ in 0..20 {
        fixture.pass(7).await;
        assert_eq!(delete(&mut client).await, 0);
        client.create("t", 1, &[]).await;
    }
    fixture.pass(50).await;
    done.store(true, Ordering::Relaxed);
    let since = writing.await.unwrap();
    assert!(since > 0, "nothing was written at the end");
    assert_eq!(batch_count(bytes_of(&client.fetch(0).await)), since);
    let fixture = fixture.restart(|_| {}, &[]).await.unwrap();
    assert_eq!(batch_count(bytes_of(&fixture.connect().fetch(0).await)), since);
}

/// Configurations of every kind of resource are there again.
#[tokio::test(start_paused = true)]
async fn configurations_outlive_the_process() {
    // (type, name, key, value)
    let all = [
        (2, "t", "retention.ms", "12345"),
        (4, "", "log.retention.ms", "23456"),
        (4, "1", "log.segment.bytes", "3456789"),
        (32, "g", "consumer.session.timeout.ms", "46000"),
        (16, "m", "interval.ms", "60000"),
    ];
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    for (kind, name, key, value) in all {
        client.set(kind, name, key, value).await;
    }
    drop(client);
    let fixture = fixture.restart(|_| {}, &[]).await.unwrap();
    let mut client = fixture.connect();
    for (kind, name, key, value) in all {
        assert_eq!(
            client.config(kind, name, key).await.as_deref(),
            Some(value),
            "{key}"
        );
    }
}
