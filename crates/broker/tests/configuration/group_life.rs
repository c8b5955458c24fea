//! Groups over rebalances, restarts and crashes, with everything at its default.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join;
use klamm_model::ErrorCode;
use klamm_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest, JoinGroupResponse, LeaveGroupRequest,
    ListGroupsRequest,
};
use tokio::io::AsyncWriteExt;

use crate::client::{Client, frame};
use crate::fixture::Fixture;
use crate::groups::{
    commit, committed, committed_when_loaded, committing, find, join as join_as, joining, start, sync,
};

const ONE_PARTITION: [(&str, &str); 1] = [("offsets.topic.num.partitions", "1")];

async fn beat(client: &mut Client, joined: &JoinGroupResponse) -> i16 {
    let request = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..Default::default()
    };
    client.ask(3, &request).await.unwrap().error_code
}

/// Joins again as the same member.
async fn rejoin(client: &mut Client, joined: &JoinGroupResponse) -> JoinGroupResponse {
    client.ask(3, &joining(&joined.member_id, 10_000)).await.unwrap()
}

/// Two members of a group in its second generation, the leader first.
async fn two(fixture: &Fixture) -> [(Client, JoinGroupResponse); 2] {
    let (mut one, mut other) = (fixture.connect(), fixture.connect());
    let first = join_as(&mut one, 10_000).await;
    sync(&mut one, &first, &[(&first.member_id, b"all")]).await;
    let joining = join_as(&mut other, 10_000);
    let again = async {
        fixture.pass(100).await;
        assert_eq!(
            beat(&mut one, &first).await,
            ErrorCode::RebalanceInProgress.code()
        );
        rejoin(&mut one, &first).await
    };
    let (second, first) = join(joining, again).await;
    assert_eq!((first.generation_id, second.generation_id), (2, 2));
    [(one, first), (other, second)]
}

#[tokio::test(start_paused = true)]
async fn two_members_share_and_each_gets_its_part_when_the_leader_has_brought_it() {
    let fixture = start(&[]).await;
    let [(mut one, first), (mut other, second)] = two(&fixture).await;
    assert_eq!(first.leader, first.member_id);
    assert_eq!((first.members.len(), second.members.len()), (2, 0));
    let parts: [(&str, &'static [u8]); 2] = [(&first.member_id, b"one"), (&second.member_id, b"two")];
    let waits = sync(&mut other, &second, &[]);
    let brings = async {
        fixture.pass(500).await;
        sync(&mut one, &first, &parts).await
    };
    let (got, brought) = join(waits, brings).await;
    assert_eq!(
        (got.assignment, brought.assignment),
        (b"two"[..].into(), b"one"[..].into())
    );
    // While both wait for minutes at most, everybody else is served.
    let mut third = fixture.connect();
    let mut waiting = Box::pin(join_as(&mut third, 10_000));
    assert!(waiting.as_mut().now_or_never().is_none());
    let mut bystander = fixture.connect();
    assert_eq!(commit(&mut bystander, "other", 5, "").await, 0);
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_is_no_member_any_more() {
    let fixture = start(&[]).await;
    let [(mut one, first), (mut other, second)] = two(&fixture).await;
    let waits = sync(&mut other, &second, &[]);
    join(waits, sync(&mut one, &first, &[])).await;
    for _ in 0..4 {
        fixture.pass(3_000).await;
        beat(&mut one, &first).await;
    }
    assert_eq!(
        beat(&mut one, &first).await,
        ErrorCode::RebalanceInProgress.code()
    );
    assert_eq!(rejoin(&mut one, &first).await.members.len(), 1);
    assert_eq!(beat(&mut other, &second).await, ErrorCode::UnknownMemberId.code());
}

#[tokio::test(start_paused = true)]
async fn a_stop_tells_those_who_wait_to_look_elsewhere() {
    let fixture = start(&[]).await;
    let mut client = fixture.connect();
    let joined = join(join_as(&mut client, 10_000), async {
        fixture.pass(500).await;
        fixture.restart(|_| {}, &ONE_PARTITION).await.unwrap()
    });
    let (joined, _fixture) = joined.await;
    assert_eq!(joined.error_code, ErrorCode::NotCoordinator.code());
}

#[tokio::test(start_paused = true)]
async fn groups_and_offsets_outlive_an_end_in_order_and_a_crash() {
    let mut fixture = start(&[]).await;
    let [(mut one, first), (mut other, second)] = two(&fixture).await;
    let waits = sync(&mut other, &second, &[]);
    join(waits, sync(&mut one, &first, &[])).await;
    assert_eq!(commit(&mut one, "other", 5, "").await, 0);
    for crashes in [false, true] {
        let mut client = fixture.connect();
        let offset = i64::from(crashes) + 6;
        assert_eq!(commit(&mut client, "other", offset, "").await, 0);
        fixture = match crashes {
            false => fixture.restart(|_| {}, &ONE_PARTITION).await.unwrap(),
            true => fixture.start_again(&ONE_PARTITION).await,
        };
        let mut client = fixture.connect();
        let told = committed_when_loaded(&fixture, &mut client, "other").await;
        assert_eq!(told, [(0, offset)], "{crashes}");
        // The members go on as if nothing had been.
        for joined in [&first, &second] {
            assert_eq!(beat(&mut client, joined).await, 0, "{crashes}");
        }
    }
}

/// A power cut at any moment of a commit: what was answered is there, and nothing that nobody sent.
#[tokio::test(start_paused = true)]
async fn what_was_answered_outlives_a_power_cut() {
    for changes in 0..12 {
        let fixture = start(&[]).await;
        let mut client = fixture.connect();
        assert_eq!(commit(&mut client, "g", 1, "").await, 0);
        fixture.disk().crash_after(changes);
        let mut answered = 1;
        for offset in 2..6 {
            let asked = tokio::time::timeout(Duration::from_secs(5), commit(&mut client, "g", offset, ""));
            match asked.await {
                Ok(0) => answered = offset,
                _ => break,
            }
        }
        let disk = fixture.disk();
        disk.crash(klamm_env::sim::CrashMode::DropUnsynced);
        let fixture = fixture.start_again(&ONE_PARTITION).await;
        let mut client = fixture.connect();
        let told = committed_when_loaded(&fixture, &mut client, "g").await;
        let offset = told[0].1;
        assert!(
            (answered..=answered + 1).contains(&offset),
            "{changes}: {offset} after {answered}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn commits_of_many_connections_share_syncs() {
    const MANY: usize = 50;
    let fixture = start(&[]).await;
    let mut clients: Vec<_> = (0..MANY).map(|_| fixture.connect()).collect();
    assert_eq!(commit(&mut clients[0], "g", 1, "").await, 0);
    let before = fixture.calls("SyncData", "__consumer_offsets-0");
    for client in &mut clients {
        client
            .stream
            .write_all(&frame(8, &committing("g", 2, "")))
            .await
            .unwrap();
    }
    for client in &mut clients {
        client.receive().await.unwrap();
    }
    let syncs = fixture.calls("SyncData", "__consumer_offsets-0") - before;
    assert!((1..=5).contains(&syncs), "{syncs}");
}

#[tokio::test(start_paused = true)]
async fn groups_are_listed_described_and_deleted_over_all_partitions() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    find(&mut client).await;
    let mut names: Vec<String> = (0..20).map(|number| format!("group-{number:02}")).collect();
    for name in &names {
        assert_eq!(commit(&mut client, name, 1, "").await, 0);
    }
    let listed = client.ask(5, &ListGroupsRequest::default()).await.unwrap();
    let mut found: Vec<_> = listed
        .groups
        .iter()
        .map(|group| group.group_id.to_string())
        .collect();
    found.sort();
    assert_eq!(found, names);
    names.push("nobody".to_owned());
    let groups: Vec<_> = names.iter().map(|name| name.as_str().into()).collect();
    let request = DescribeGroupsRequest {
        groups: groups.clone(),
        include_authorized_operations: true,
        ..Default::default()
    };
    let described = client.ask(6, &request).await.unwrap().groups;
    let known = described
        .iter()
        .filter(|group| group.error_code == 0 && group.authorized_operations > 0);
    assert_eq!((described.len(), known.count()), (21, 20));
    let request = DeleteGroupsRequest {
        groups_names: groups,
        ..Default::default()
    };
    let deleted = client.ask(2, &request).await.unwrap().results;
    let failed: Vec<_> = deleted.iter().filter(|result| result.error_code != 0).collect();
    assert_eq!((deleted.len(), failed.len()), (21, 1));
    assert_eq!(failed[0].error_code, ErrorCode::GroupIdNotFound.code());
    assert_eq!(committed(&mut client, "group-00").await, Ok(Vec::new()));
}

/// A member that leaves is told so, and its group has another generation for the others.
#[tokio::test(start_paused = true)]
async fn who_leaves_is_not_waited_for() {
    let fixture = start(&[]).await;
    let [(mut one, first), (mut other, second)] = two(&fixture).await;
    let leave = LeaveGroupRequest {
        group_id: "g".into(),
        member_id: second.member_id.clone(),
        ..Default::default()
    };
    assert_eq!(other.ask(2, &leave).await.unwrap().error_code, 0);
    let joined = rejoin(&mut one, &first).await;
    assert_eq!(
        (joined.error_code, joined.generation_id, joined.members.len()),
        (0, 3, 1)
    );
}
