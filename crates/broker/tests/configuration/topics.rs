//! What a topic is when it is made, and whether it may be made and deleted.

use klamm_model::ErrorCode;
use klamm_protocol::messages::metadata_request::MetadataRequestTopic;
use klamm_protocol::messages::{DeleteTopicsRequest, MetadataRequest};

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
