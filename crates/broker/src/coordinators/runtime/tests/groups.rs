//! Groups over a device that is slow: what is decided on at once is told late.

use std::time::Duration;

use klamm_coordinator::group::{Client, GroupConfig, Request};
use klamm_protocol::ByteString;
use klamm_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use klamm_protocol::messages::{HeartbeatRequest, JoinGroupRequest, SyncGroupRequest};

use super::slow;
use super::toy::{Fixture, With};
use crate::coordinators::groups::{Groups, answer_to};

const SESSION_MS: i32 = 6_000;

fn join() -> Request {
    Request::JoinGroup {
        client: Client::default(),
        version: 3,
        request: Box::new(JoinGroupRequest {
            group_id: "any".into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: SESSION_MS,
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".into(),
                ..Default::default()
            }],
            ..Default::default()
        }),
    }
}

fn sync(generation_id: i32, member_id: &ByteString) -> Request {
    Request::SyncGroup {
        version: 3,
        request: Box::new(SyncGroupRequest {
            group_id: "any".into(),
            generation_id,
            member_id: member_id.clone(),
            ..Default::default()
        }),
    }
}

fn heartbeat(generation_id: i32, member_id: &ByteString) -> Request {
    Request::Heartbeat(Box::new(HeartbeatRequest {
        group_id: "any".into(),
        generation_id,
        member_id: member_id.clone(),
        ..Default::default()
    }))
}

#[tokio::test(start_paused = true)]
async fn members_stay_in_their_group_when_a_sync_takes_longer_than_their_sessions() {
    let with = With {
        commit_timeout: Duration::from_mins(2),
        ..With::default()
    };
    let config = GroupConfig {
        initial_rebalance_delay: Duration::ZERO,
        ..GroupConfig::default()
    };
    let fixture = Fixture::open_as(&slow(20), with, Groups, config);
    let began = fixture.env.monotonic();
    let joined = answer_to!(
        JoinGroup,
        fixture.begin_plain(join()).unwrap().answer().await.unwrap()
    );
    assert_eq!(joined.error_code, 0);
    assert!(fixture.env.monotonic() - began > Duration::from_secs(20));
    let (generation, member_id) = (joined.generation_id, &joined.member_id);
    let synced = fixture
        .begin_plain(sync(generation, member_id))
        .unwrap()
        .answer()
        .await
        .unwrap();
    assert_eq!(answer_to!(SyncGroup, synced).error_code, 0);
    let beat = async || {
        let told = fixture
            .begin_plain(heartbeat(generation, member_id))
            .unwrap()
            .answer()
            .await
            .unwrap();
        answer_to!(Heartbeat, told).error_code
    };
    assert_eq!(beat().await, 0);
    // From then on it is to be heard of.
    fixture.env.sleep(Duration::from_millis(5_900)).await;
    assert_eq!(beat().await, 0);
    fixture.env.sleep(Duration::from_millis(6_100)).await;
    assert_ne!(beat().await, 0);
}
