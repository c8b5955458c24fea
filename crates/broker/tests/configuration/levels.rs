//! Nodes on a folder of a lower `metadata.version` than the newest, as a later version of Klamm finds those of this one.

use bytes::Bytes;
use klamm_metadata::{bootstrap, encode_decision};
use klamm_model::ErrorCode;
use klamm_protocol::messages::update_features_request::FeatureUpdateKey;
use klamm_protocol::messages::{ApiVersionsRequest, UpdateFeaturesRequest};

use crate::client::{Client, batch, batch_count, bytes_of};
use crate::fixture::Fixture;
use crate::{consumer_groups, groups};

const METADATA_VERSION: &str = "metadata.version";
const GROUP_VERSION: &str = "group.version";
const ELR: &str = "eligible.leader.replicas.version";
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;

/// What the first node of an earlier version decided: its features, nothing else.
fn first_decision(level: i16) -> Bytes {
    encode_decision(&bootstrap::records(&[(METADATA_VERSION, level)], 1))
}

/// The range and the finalized level of a feature, as every client is told at its start.
async fn told(client: &mut Client, feature: &str) -> ((i16, i16), Option<i16>) {
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let answer = client.ask(4, &request).await.unwrap();
    let mut supported = answer.supported_features.iter();
    let supported = supported.find(|one| &*one.name == feature).unwrap();
    let mut finalized = answer.finalized_features.iter();
    let finalized = finalized.find(|one| &*one.name == feature);
    (
        (supported.min_version, supported.max_version),
        finalized.map(|one| one.max_version_level),
    )
}

async fn update(client: &mut Client, feature: &str, level: i16, upgrade_type: i8) -> i16 {
    let update = FeatureUpdateKey {
        feature: feature.into(),
        max_version_level: level,
        upgrade_type,
        ..Default::default()
    };
    let request = UpdateFeaturesRequest {
        timeout_ms: 10_000,
        feature_updates: vec![update],
        ..Default::default()
    };
    client.ask(2, &request).await.unwrap().error_code
}

#[tokio::test(start_paused = true)]
async fn a_folder_of_an_earlier_version_starts_and_is_raised_to_the_newest() {
    const RANGE: (i16, i16) = (7, 33);
    let invalid = ErrorCode::InvalidUpdateVersion.code();
    let fixture = Fixture::start(&[]).await;
    assert_eq!(
        told(&mut fixture.connect(), METADATA_VERSION).await,
        (RANGE, Some(33)),
        "a new cluster"
    );
    let fixture = fixture.restart_with_decisions(&[first_decision(7)]).await;
    let mut client = fixture.connect();
    assert_eq!(told(&mut client, METADATA_VERSION).await, (RANGE, Some(7)));
    assert_eq!(told(&mut client, ELR).await.1, None);
    client.create("t", 2, &[]).await;
    client.produce(batch(fixture.now(), 10)).await;

    assert_eq!(
        update(&mut client, ELR, 1, UPGRADE).await,
        invalid,
        "it depends on a later level"
    );
    assert_eq!(
        update(&mut client, METADATA_VERSION, 6, SAFE_DOWNGRADE).await,
        invalid
    );
    assert_eq!(update(&mut client, METADATA_VERSION, 34, UPGRADE).await, invalid);
    let fixture = fixture.restart(|_| (), &[]).await.unwrap();
    let mut client = fixture.connect();
    assert_eq!(
        told(&mut client, METADATA_VERSION).await.1,
        Some(7),
        "no start raises it"
    );

    assert_eq!(update(&mut client, METADATA_VERSION, 33, UPGRADE).await, 0);
    assert_eq!(update(&mut client, ELR, 1, UPGRADE).await, 0);
    assert_eq!(told(&mut client, METADATA_VERSION).await, (RANGE, Some(33)));
    let fixture = fixture.restart(|_| (), &[]).await.unwrap();
    let mut client = fixture.connect();
    assert_eq!(
        told(&mut client, METADATA_VERSION).await.1,
        Some(33),
        "it is kept"
    );
    assert_eq!(told(&mut client, ELR).await.1, Some(1));
    for level in [32, 7] {
        let lowered = update(&mut client, METADATA_VERSION, level, SAFE_DOWNGRADE).await;
        assert_eq!(lowered, invalid, "{level}");
    }
    assert_eq!(
        batch_count(bytes_of(&client.fetch(0).await)),
        1,
        "what was stored meanwhile is there"
    );
}

#[tokio::test(start_paused = true)]
async fn the_consumer_protocol_is_served_from_its_level_on() {
    let fixture = groups::start(&[]).await;
    assert_eq!(
        told(&mut fixture.connect(), GROUP_VERSION).await,
        ((0, 1), Some(1)),
        "a new cluster"
    );
    let fixture = fixture.restart_with_decisions(&[first_decision(33)]).await;
    let mut client = fixture.connect();
    client.create("t", 3, &[]).await;
    groups::find(&mut client).await;
    assert_eq!(told(&mut client, GROUP_VERSION).await.1, None);
    let unsupported = ErrorCode::UnsupportedVersion.code();
    assert_eq!(
        consumer_groups::beat(&mut client, &consumer_groups::joining("m"))
            .await
            .error_code,
        unsupported
    );
    assert_eq!(
        consumer_groups::describe(&mut client).await.error_code,
        unsupported
    );
    assert_eq!(update(&mut client, GROUP_VERSION, 1, UPGRADE).await, 0);
    let joined = consumer_groups::beat(&mut client, &consumer_groups::joining("m")).await;
    assert_eq!(joined.error_code, 0, "{:?}", joined.error_message);
}

#[tokio::test(start_paused = true)]
async fn a_node_starts_and_serves_on_every_level() {
    for level in 7..=33 {
        let fixture = Fixture::start(&[]).await;
        let fixture = fixture.restart_with_decisions(&[first_decision(level)]).await;
        let mut client = fixture.connect();
        client.create("t", 1, &[]).await;
        client.produce(batch(fixture.now(), 10)).await;
        assert_eq!(told(&mut client, METADATA_VERSION).await.1, Some(level));
    }
}
