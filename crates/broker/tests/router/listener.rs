//! The controller's listener: tools that were given its address, envelopes, and bytes that nobody sends.

use bytes::Bytes;
use klamm_broker::RouterMode;
use klamm_model::ErrorCode;
use klamm_protocol::messages::create_topics_request::CreatableTopic;
use klamm_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use klamm_protocol::messages::update_features_request::FeatureUpdateKey;
use klamm_protocol::messages::{
    ApiVersionsRequest, BrokerHeartbeatRequest, CreateTopicsRequest, DescribeClusterRequest,
    DescribeQuorumRequest, EnvelopeRequest, MetadataRequest, ProduceRequest, UpdateFeaturesRequest,
};
use klamm_protocol::{ApiKey, RawTaggedField};

use crate::client::{Client, content, response};
use crate::conversation::all_topics;
use crate::{COMBINED, Fixture};

/// `User:ANONYMOUS` in the form of an envelope.
const ANONYMOUS: &[u8] = b"\0\0\x05User\x0aANONYMOUS\0\0";

fn create(name: &str) -> CreateTopicsRequest {
    CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.into(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    }
}

fn envelope(request: Bytes) -> EnvelopeRequest {
    EnvelopeRequest {
        request_data: request,
        request_principal: Some(Bytes::from_static(ANONYMOUS)),
        client_host_address: Bytes::from_static(&[127, 0, 0, 1]),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_learn_of_the_controller() {
    let fixture = Fixture::start(COMBINED, RouterMode::Auto).await;
    let (name, address) = fixture.node.controller_addresses()[0].clone();
    assert_eq!(&*name, "CONTROLLER");
    let mut client = fixture.controller_client().await;
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let versions = client.ask(4, &request).await;
    let served = |api: ApiKey| versions.api_keys.iter().any(|key| key.api_key == api.to_i16());
    assert_eq!(versions.error_code, 0);
    assert!(served(ApiKey::Envelope) && served(ApiKey::BrokerRegistration) && !served(ApiKey::Produce));
    assert!(
        versions
            .finalized_features
            .iter()
            .any(|feature| feature.name == "metadata.version")
    );
    let unsupported = client
        .exchange(&[0, 18, 0, 99, 0, 0, 0, 1, 0xff, 0xff])
        .await
        .unwrap();
    assert_eq!(
        response::<ApiVersionsRequest>(0, unsupported).error_code,
        ErrorCode::UnsupportedVersion.code()
    );

    for (version, endpoint_type, expected) in [
        (2, 2, ErrorCode::None),
        (1, 2, ErrorCode::None),
        (2, 1, ErrorCode::MismatchedEndpointType),
        (2, 3, ErrorCode::UnsupportedEndpointType),
        (0, 1, ErrorCode::InvalidRequest),
    ] {
        let request = DescribeClusterRequest {
            endpoint_type,
            ..Default::default()
        };
        let cluster = client.ask(version, &request).await;
        assert_eq!(cluster.error_code, expected.code(), "{version} {endpoint_type}");
        if expected == ErrorCode::None {
            let told: Vec<_> = cluster
                .brokers
                .iter()
                .map(|node| (node.broker_id, &*node.host, node.port))
                .collect();
            assert_eq!(told, [(1, "127.0.0.1", i32::from(address.port()))]);
            assert_eq!((cluster.controller_id, cluster.endpoint_type), (1, 2));
            assert_eq!(&*cluster.cluster_id, fixture.node.cluster_id());
        }
    }

    let request = DescribeQuorumRequest {
        topics: vec![TopicData {
            topic_name: "__cluster_metadata".into(),
            partitions: vec![PartitionData::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let quorum = client.ask(2, &request).await;
    assert_eq!(quorum.topics[0].partitions[0].leader_id, 1);

    let request = UpdateFeaturesRequest {
        timeout_ms: 10_000,
        feature_updates: vec![FeatureUpdateKey {
            feature: "no.such.feature".into(),
            max_version_level: 1,
            upgrade_type: 1,
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_ne!(client.ask(2, &request).await.error_code, 0);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envelopes_are_judged_as_kafka_does() {
    let fixture = Fixture::start(COMBINED, RouterMode::Auto).await;
    let mut client = fixture.controller_client().await;
    let good = envelope(content(7, &create("forwarded")));
    let answer = client.ask(0, &good).await;
    assert_eq!(answer.error_code, 0);
    let made = response::<CreateTopicsRequest>(7, answer.response_data.unwrap());
    assert_eq!(
        (&*made.topics[0].name, made.topics[0].error_code),
        ("forwarded", 0)
    );

    let spoiled = |spoil: fn(&mut EnvelopeRequest)| {
        let mut envelope = envelope(content(7, &create("refused")));
        spoil(&mut envelope);
        envelope
    };
    let cut = content(7, &create("refused"));
    let longer = Bytes::from([&cut[..], &[0]].concat());
    let mut newer = cut.to_vec();
    newer[3] = 99;
    let nested = content(0, &envelope(cut.clone()));
    for (name, request, expected) in [
        (
            "no principal",
            spoiled(|e| e.request_principal = None),
            ErrorCode::PrincipalDeserializationFailure,
        ),
        (
            "rubbish for a principal",
            spoiled(|e| e.request_principal = Some(Bytes::from_static(b"\0\0\xff\xff"))),
            ErrorCode::PrincipalDeserializationFailure,
        ),
        (
            "a principal of another version",
            spoiled(|e| e.request_principal = Some(Bytes::from_static(b"\0\x09\x05User\x0aANONYMOUS\0\0"))),
            ErrorCode::PrincipalDeserializationFailure,
        ),
        (
            "no host",
            spoiled(|e| e.client_host_address = Bytes::from_static(b"abc")),
            ErrorCode::InvalidRequest,
        ),
        (
            "half a broker",
            spoiled(|e| {
                let data = Bytes::from_static(b"ab");
                e.unknown_tagged_fields = vec![RawTaggedField { tag: 10_000, data }];
            }),
            ErrorCode::InvalidRequest,
        ),
        (
            "no request",
            envelope(Bytes::new()),
            ErrorCode::UnsupportedVersion,
        ),
        (
            "half a request",
            envelope(cut.slice(..cut.len() - 3)),
            ErrorCode::UnsupportedVersion,
        ),
        (
            "more than a request",
            envelope(longer),
            ErrorCode::UnsupportedVersion,
        ),
        (
            "a version that is not",
            envelope(newer.into()),
            ErrorCode::UnsupportedVersion,
        ),
        (
            "what brokers answer themselves",
            envelope(content(12, &MetadataRequest::default())),
            ErrorCode::InvalidRequest,
        ),
        (
            "what only brokers ask",
            envelope(content(0, &BrokerHeartbeatRequest::default())),
            ErrorCode::InvalidRequest,
        ),
        ("an envelope", envelope(nested), ErrorCode::InvalidRequest),
    ] {
        let answer = client.ask(0, &request).await;
        assert_eq!(
            (answer.error_code, answer.response_data),
            (expected.code(), None),
            "{name}"
        );
    }
    // The controller answers when it is decided, a broker when that is carried out, with all that came before it.
    let mut broker = fixture.client().await;
    broker.ask(7, &create("shown")).await;
    let metadata = broker.ask(12, &all_topics()).await;
    let mut names: Vec<_> = metadata
        .topics
        .into_iter()
        .filter_map(|topic| topic.name)
        .collect();
    names.sort();
    assert_eq!(names, ["forwarded", "shown"]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_end_their_connection_and_no_other() {
    let fixture = Fixture::start(COMBINED, RouterMode::ForcedOverLoopback).await;
    let mut witness = fixture.controller_client().await;
    let mut client = fixture.client().await;
    let frame = |content: &[u8]| [&u32::try_from(content.len()).unwrap().to_be_bytes(), content].concat();
    let mut dense = content(0, &BrokerHeartbeatRequest::default()).to_vec();
    // A compact array, in its tagged fields, of half a million elements in five bytes.
    dense.truncate(dense.len() - 1);
    dense.extend([0xff, 0xff, 0xff, 0x7f, 0]);
    for (name, bytes) in [
        ("a negative length", vec![0xff, 0xff, 0xff, 0xff]),
        ("two gigabytes", vec![0x7f, 0xff, 0xff, 0xff]),
        ("no header", frame(&[0, 58, 0])),
        ("an unknown API", frame(&[0x70, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff])),
        (
            "an unknown version",
            frame(&[0, 58, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0]),
        ),
        ("a broker's API", frame(&content(11, &ProduceRequest::default()))),
        ("a client's own request", frame(&content(7, &create("t")))),
        (
            "half a registration",
            frame(&[0, 62, 0, 4, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0]),
        ),
        (
            "half an envelope",
            frame(&content(0, &envelope(Bytes::from_static(b"abc")))[..16]),
        ),
        ("more than there is", frame(&dense)),
    ] {
        let mut hostile = Client::connect(fixture.node.controller_addresses()[0].1).await;
        assert_eq!(hostile.send(&bytes).await, None, "{name}");
        let request = DescribeClusterRequest {
            endpoint_type: 2,
            ..Default::default()
        };
        assert_eq!(witness.ask(2, &request).await.error_code, 0, "{name}");
    }
    assert_eq!(client.ask(7, &create("after")).await.topics[0].error_code, 0);
    fixture.stop().await;
}
