//! What is answered about a group while what was recorded of it is read.

use klamm_model::ErrorCode;
use klamm_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use klamm_protocol::messages::{HeartbeatRequest, OffsetFetchRequest};

use crate::client::Client;
use crate::fixture::Fixture;
use crate::groups_in_bulk::{commit, coordinating};

async fn fetch(client: &mut Client, group: &str) -> i16 {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.to_owned().into(),
            member_epoch: -1,
            ..Default::default()
        }],
        ..Default::default()
    };
    client.ask(8, &request).await.unwrap().groups[0].error_code
}

async fn beat(client: &mut Client, group: &str) -> i16 {
    let request = HeartbeatRequest {
        group_id: group.to_owned().into(),
        member_id: "m".into(),
        ..Default::default()
    };
    client.ask(4, &request).await.unwrap().error_code
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_told_that_all_is_well_while_its_group_is_loaded() {
    let (fixture, mut client) = coordinating(&[], 1).await;
    let groups: Vec<_> = (0..100).map(|number| format!("g-{number}")).collect();
    for group in &groups {
        commit(&mut client, group, 1).await;
    }
    drop(client);
    let fixture: Fixture = fixture.restart(|_| (), &[]).await.unwrap();
    let mut client = fixture.connect();
    const LOADING: i16 = ErrorCode::CoordinatorLoadInProgress.code();
    let mut told = Vec::new();
    for group in groups.iter().rev() {
        if fetch(&mut client, group).await == LOADING {
            let code = beat(&mut client, group).await;
            // Still, so that it was meanwhile.
            if fetch(&mut client, group).await == LOADING {
                told.push(code);
            }
        }
    }
    assert!(told.len() > 10, "{}: nothing is being loaded", told.len());
    assert!(told.iter().all(|code| *code == 0), "{told:?}");
    fixture.pass(1_000).await;
    assert_eq!(beat(&mut client, "g-0").await, ErrorCode::UnknownMemberId.code());
    // Who it is of is looked at before.
    assert_eq!(beat(&mut client, "").await, ErrorCode::InvalidGroupId.code());
}
