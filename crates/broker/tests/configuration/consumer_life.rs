//! Groups of the consumer protocol over rebalances, changes of the cluster, restarts and crashes.

use klamm_model::ErrorCode;
use klamm_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use klamm_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use klamm_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use klamm_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, CreatePartitionsRequest,
    DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetFetchRequest,
};

use crate::client::Client;
use crate::consumer_groups::{beat, describe, joining, joining_classic, living};
use crate::fixture::Fixture;
use crate::groups;

const ONE_PARTITION: [(&str, &str); 1] = [("offsets.topic.num.partitions", "1")];
/// Assignments do not wait for each other.
const AT_ONCE: [(&str, &str); 2] = [
    ("offsets.topic.num.partitions", "1"),
    ("group.consumer.assignment.interval.ms", "0"),
];

/// A member, its connection, and what it was told last.
struct Member {
    client: Client,
    id: &'static str,
    epoch: i32,
    /// Partitions with the ids of their topics.
    has: Vec<Owned>,
}

impl Member {
    async fn join(fixture: &Fixture, id: &'static str, request: &ConsumerGroupHeartbeatRequest) -> Self {
        let mut member = Self {
            client: fixture.connect(),
            id,
            epoch: 0,
            has: Vec::new(),
        };
        member.say(request).await;
        member
    }

    async fn say(&mut self, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let told = beat(&mut self.client, request).await;
        assert_eq!(told.error_code, 0, "{:?}", told.error_message);
        self.epoch = told.member_epoch;
        if let Some(assignment) = &told.assignment {
            let topics = assignment.topic_partitions.iter().map(|topic| Owned {
                topic_id: topic.topic_id,
                partitions: topic.partitions.clone(),
                ..Default::default()
            });
            self.has = topics.collect();
        }
        told
    }

    /// Says what it owns; as it does when it has let go of something.
    async fn beat(&mut self) -> ConsumerGroupHeartbeatResponse {
        let request = ConsumerGroupHeartbeatRequest {
            topic_partitions: Some(self.has.clone()),
            ..living(self.id, self.epoch)
        };
        self.say(&request).await
    }

    /// How many partitions it has.
    fn count(&self) -> usize {
        self.has.iter().map(|topic| topic.partitions.len()).sum()
    }

    /// Commits, and returns the error code.
    async fn commit(&mut self, member: &str, epoch: i32, offset: i64) -> i16 {
        let request = OffsetCommitRequest {
            generation_id_or_member_epoch: epoch,
            member_id: member.to_owned().into(),
            ..groups::committing("g", offset, "")
        };
        let answer = self.client.ask(9, &request).await.unwrap();
        answer.topics[0].partitions[0].error_code
    }

    /// Asks for the offsets of the group as a member, and returns the error code.
    async fn fetch(&mut self, epoch: i32) -> i16 {
        let request = OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: "g".into(),
                member_id: Some(self.id.into()),
                member_epoch: epoch,
                ..Default::default()
            }],
            ..Default::default()
        };
        self.client.ask(9, &request).await.unwrap().groups[0].error_code
    }
}

/// Two members that share the three partitions of `t`.
async fn two(fixture: &Fixture) -> (Member, Member) {
    let mut one = Member::join(fixture, "one", &joining("one")).await;
    assert_eq!(one.count(), 3);
    let mut other = Member::join(fixture, "other", &joining("other")).await;
    assert_eq!(other.count(), 0, "nobody has let go yet");
    one.beat().await;
    assert!((1..=2).contains(&one.count()));
    other.beat().await;
    assert_eq!(other.count(), 0, "nobody has said so yet");
    one.beat().await;
    other.beat().await;
    assert_eq!(one.count() + other.count(), 3);
    assert_eq!(one.epoch, other.epoch);
    (one, other)
}

async fn delete(client: &mut Client) -> i16 {
    let request = DeleteGroupsRequest {
        groups_names: vec!["g".into()],
        ..Default::default()
    };
    client.ask(2, &request).await.unwrap().results[0].error_code
}

#[tokio::test(start_paused = true)]
async fn members_share_commit_with_their_epochs_and_outlive_a_crash() {
    let fixture = groups::start(&AT_ONCE[1..]).await;
    let (mut one, mut other) = two(&fixture).await;
    let (stale, unknown) = (
        ErrorCode::StaleMemberEpoch.code(),
        ErrorCode::UnknownMemberId.code(),
    );
    let epoch = one.epoch;
    assert_eq!(one.commit("one", epoch, 5).await, 0);
    assert_eq!(one.commit("one", epoch + 1, 6).await, stale);
    assert_eq!(one.commit("nobody", epoch, 6).await, unknown);
    assert_eq!(one.commit("", -1, 6).await, unknown, "the group has members");
    assert_eq!([one.fetch(epoch).await, one.fetch(epoch + 1).await], [0, stale]);

    let mut client = fixture.connect();
    let listed = client.ask(5, &ListGroupsRequest::default()).await.unwrap().groups;
    let told: Vec<_> = listed
        .iter()
        .map(|group| (&*group.group_id, &*group.group_type, &*group.group_state))
        .collect();
    assert_eq!(told, [("g", "consumer", "Stable")]);
    let request = DescribeGroupsRequest {
        groups: vec!["g".into()],
        ..Default::default()
    };
    let classic = client.ask(6, &request).await.unwrap().groups.remove(0);
    assert_eq!(classic.error_code, ErrorCode::GroupIdNotFound.code());
    assert_eq!(delete(&mut client).await, ErrorCode::NonEmptyGroup.code());

    let before = describe(&mut client).await;
    let fixture = fixture.start_again(&AT_ONCE).await;
    let mut client = fixture.connect();
    assert_eq!(
        groups::committed_when_loaded(&fixture, &mut client, "g").await,
        [(0, 5)]
    );
    assert_eq!(describe(&mut client).await, before);
    for member in [&mut one, &mut other] {
        member.client = fixture.connect();
        let told = member.beat().await;
        assert_eq!(
            (told.member_epoch, told.assignment),
            (epoch, None),
            "nothing has changed"
        );
    }
    for member in [&mut one, &mut other] {
        let gone = beat(&mut member.client, &living(member.id, -1)).await;
        assert_eq!((gone.error_code, gone.member_epoch), (0, -1));
    }
    assert_eq!(&*describe(&mut client).await.group_state, "Empty");
    assert_eq!(delete(&mut client).await, 0);
    let gone = describe(&mut client).await;
    assert_eq!(gone.error_code, ErrorCode::GroupIdNotFound.code());
    assert_eq!(gone.error_message.as_deref(), Some("Group g not found."));
}

#[tokio::test(start_paused = true)]
async fn topics_that_are_made_grow_or_go_are_noticed() {
    let fixture = groups::start(&AT_ONCE[1..]).await;
    let mut client = fixture.connect();
    let by_name = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(vec!["t".into(), "u".into()]),
        ..joining("m")
    };
    let mut member = Member::join(&fixture, "m", &by_name).await;
    assert_eq!(member.count(), 3);
    client.create("u", 2, &[]).await;
    member.beat().await;
    assert_eq!(member.count(), 5, "a topic that was named before it was made");
    let request = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: "u".into(),
            count: 4,
            assignments: None,
            ..Default::default()
        }],
        timeout_ms: 1000,
        ..Default::default()
    };
    let grown = client.ask(3, &request).await.unwrap();
    assert_eq!(grown.results[0].error_code, 0);
    member.beat().await;
    assert_eq!(member.count(), 7, "one that grew");
    client.delete("u").await;
    member.beat().await;
    member.beat().await;
    assert_eq!(member.count(), 3, "one that is gone");

    let by_expression = ConsumerGroupHeartbeatRequest {
        member_epoch: member.epoch,
        subscribed_topic_names: Some(Vec::new()),
        subscribed_topic_regex: Some("v.*".into()),
        ..living("m", member.epoch)
    };
    member.say(&by_expression).await;
    member.beat().await;
    assert_eq!(member.count(), 0);
    client.create("v", 1, &[]).await;
    fixture.pass(10_500).await;
    // The heartbeat has the expression looked at again; what was found is told with the next.
    member.beat().await;
    fixture.pass(500).await;
    member.beat().await;
    assert_eq!(member.count(), 1, "one that matches");
}

#[tokio::test(start_paused = true)]
async fn members_of_both_protocols_share_a_group_until_one_kind_is_left() {
    let fixture = groups::start(&AT_ONCE[1..]).await;
    let mut classic = fixture.connect();
    let joined = classic.ask(3, &joining_classic()).await.unwrap();
    let assignment: &[u8] = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x03\0\0\0\0\0\0\0\x01\0\0\0\x02\xff\xff\xff\xff";
    let own: [(&str, &[u8]); 1] = [(&joined.member_id, assignment)];
    assert_eq!(groups::sync(&mut classic, &joined, &own).await.error_code, 0);

    let mut new = Member::join(&fixture, "new", &joining("new")).await;
    assert_eq!(new.count(), 0, "the classic member has all");
    let types = |group: klamm_protocol::messages::consumer_group_describe_response::DescribedGroup| {
        let mut types: Vec<i8> = group.members.iter().map(|member| member.member_type).collect();
        types.sort_unstable();
        types
    };
    assert_eq!(types(describe(&mut new.client).await), [0, 1]);
    let heartbeat = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..Default::default()
    };
    let told = classic.ask(3, &heartbeat).await.unwrap();
    assert_eq!(told.error_code, ErrorCode::RebalanceInProgress.code());
    // It joins with nothing, as eager members do.
    let again = JoinGroupRequest {
        member_id: joined.member_id.clone(),
        ..joining_classic()
    };
    let joined = classic.ask(3, &again).await.unwrap();
    assert_eq!(joined.error_code, 0);
    let synced = groups::sync(&mut classic, &joined, &[]).await;
    assert_eq!(synced.error_code, 0);
    new.beat().await;
    assert!((1..=2).contains(&new.count()));

    let gone = beat(&mut new.client, &living("new", -1)).await;
    assert_eq!(gone.error_code, 0);
    let listed = new.client.ask(5, &ListGroupsRequest::default()).await.unwrap();
    assert_eq!(&*listed.groups[0].group_type, "classic");
    let told = classic
        .ask(
            3,
            &HeartbeatRequest {
                generation_id: joined.generation_id,
                ..heartbeat
            },
        )
        .await
        .unwrap();
    assert_eq!(told.error_code, ErrorCode::RebalanceInProgress.code());
    let fixture = fixture.restart(|_| {}, &ONE_PARTITION).await.unwrap();
    let mut client = fixture.connect();
    groups::committed_when_loaded(&fixture, &mut client, "g").await;
    let listed = client.ask(5, &ListGroupsRequest::default()).await.unwrap();
    assert_eq!(&*listed.groups[0].group_type, "classic", "and so it was recorded");
}
