//! Clients that hold up the node: with half frames, with waits, with answers they do not read. Others are served.

use std::time::Duration;

use klamm_model::{Offset, TimestampMs};
use klamm_protocol::messages::describe_configs_request::DescribeConfigsResource;
use klamm_protocol::messages::fetch_request::FetchPartition;
use klamm_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use klamm_protocol::messages::metadata_request::MetadataRequestTopic;
use klamm_protocol::messages::produce_request::PartitionProduceData;
use klamm_protocol::messages::{
    DescribeConfigsRequest, DescribeTopicPartitionsRequest, ListConfigResourcesRequest, ListOffsetsRequest,
    MetadataRequest, ProduceResponse,
};
use klamm_protocol::{Message, Reader, Records, ResponseHeader};
use klamm_records::{BatchBuilder, Compression};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::client::{Client, batch, frame};
use crate::fixture::{Fixture, Settings};

/// The smallest memory there may be.
pub(crate) const SMALL: Settings<'_> = &[
    ("socket.request.max.bytes", "1048576"),
    ("klamm.memory.request.bytes", "1048576"),
];

/// A request whose bytes are more than a connection has of its own, and whose names are unknown.
fn large_metadata(count: usize) -> MetadataRequest {
    let topics = (0..count).map(|n| MetadataRequestTopic {
        name: Some(format!("{n:0200}").into()),
        ..Default::default()
    });
    MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    }
}

/// A connection that announces a request, sends its first bytes, and then nothing.
async fn stalled(fixture: &Fixture, announced: u32, bytes: usize) -> Client {
    let mut client = fixture.connect();
    let mut part = announced.to_be_bytes().to_vec();
    part.resize(bytes, 0);
    // More than the memory allows is not read, and stays where it is.
    let _ = timeout(Duration::from_millis(100), client.stream.write_all(&part)).await;
    client
}

#[tokio::test(start_paused = true)]
async fn a_thousand_lengths_without_a_request_leave_the_memory_to_others() {
    let fixture = Fixture::start(SMALL).await;
    let mut held = Vec::new();
    for _ in 0..1_000 {
        held.push(stalled(&fixture, 1_000_000, 4).await);
    }
    let mut client = fixture.connect();
    let began = Instant::now();
    assert!(client.ask(12, &large_metadata(2_000)).await.is_some());
    assert!(began.elapsed() < Duration::from_secs(1), "nobody was waited for");
    assert_eq!(held.len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn half_frames_and_silence_hold_up_others_for_seconds_at_most() {
    let fixture = Fixture::start(SMALL).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(stalled(&fixture, 1_000_000, 300_000).await);
    }
    let mut client = fixture.connect();
    let began = Instant::now();
    assert!(
        client.is_served().await,
        "small requests need nothing of the memory"
    );
    assert!(began.elapsed() < Duration::from_secs(1));
    let answer = timeout(Duration::from_secs(60), client.ask(12, &large_metadata(2_000))).await;
    assert!(answer.expect("others go on").is_some());
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_half_frame_may_take_its_time_while_nobody_waits_for_memory() {
    let fixture = Fixture::start(SMALL).await;
    let mut client = fixture.connect();
    let request = frame(12, &large_metadata(1_000));
    let (first, rest) = request.split_at(100_000);
    client.stream.write_all(first).await.unwrap();
    fixture.pass(300_000).await;
    assert!(fixture.connect().is_served().await);
    client.stream.write_all(rest).await.unwrap();
    assert!(client.receive().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_decoded_for_want_of_memory_waits_for_it() {
    let fixture = Fixture::start(SMALL).await;
    // Nearly all is taken, and it is another one's turn to overdraw.
    let first = stalled(&fixture, 1_040_000, 1_030_000).await;
    let second = stalled(&fixture, 1_000_000, 100_000).await;
    // Short enough to be read from room of its own; the list of its names is not.
    let topics = std::iter::repeat_with(|| MetadataRequestTopic {
        name: Some("x".into()),
        ..Default::default()
    });
    let request = MetadataRequest {
        topics: Some(topics.take(1_200).collect()),
        ..Default::default()
    };
    let mut third = fixture.connect();
    third.stream.write_all(&frame(4, &request)).await.unwrap();
    let answer = timeout(Duration::from_secs(5), third.receive()).await;
    assert!(
        answer.is_err(),
        "it is answered although there is no memory, or closed"
    );
    drop(first);
    let answer = timeout(Duration::from_secs(2), third.receive()).await;
    assert!(answer.expect("it goes on").is_some(), "it is not closed");
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_waits_for_records_does_not_keep_others_from_overdrawing() {
    const PARTITIONS: i32 = 300;
    let fixture = Fixture::start(SMALL).await;
    let mut fetching = fixture.connect();
    fetching.create("t", PARTITIONS, &[]).await;
    // Nearly all is taken: who reads more than a connection has of its own overdraws.
    let _first = stalled(&fixture, 1_040_000, 1_030_000).await;
    let mut request = Client::fetch_request(0);
    request.max_wait_ms = 100_000;
    let partition = request.topics[0].partitions[0].clone();
    let named = (0..PARTITIONS).map(|number| FetchPartition {
        partition: number,
        ..partition.clone()
    });
    request.topics[0].partitions = named.collect();
    fetching.stream.write_all(&frame(12, &request)).await.unwrap();
    let answer = timeout(Duration::from_secs(1), fetching.receive()).await;
    assert!(answer.is_err(), "it does not wait for records");
    let mut other = fixture.connect();
    let answer = timeout(Duration::from_secs(5), other.ask(12, &large_metadata(200))).await;
    assert!(
        answer.expect("nobody can overdraw while it waits").is_some(),
        "it is closed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_fits_the_memory_is_closed() {
    let fixture = Fixture::start(SMALL).await;
    let mut client = fixture.connect();
    // 20,000 empty names: few bytes, and more than a megabyte decoded.
    let mut body = vec![0, 3, 0, 1, 0, 0, 0, 1, 255, 255];
    body.extend(40_000u32.to_be_bytes());
    body.resize(body.len() + 80_000, 0);
    let mut request = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    request.extend(body);
    client.stream.write_all(&request).await.unwrap();
    let answer = timeout(Duration::from_secs(30), client.receive()).await;
    assert_eq!(answer, Ok(None));
    assert!(fixture.connect().is_served().await);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_waits_longer_than_the_idle_time_is_answered() {
    let fixture = Fixture::start(&[("connections.max.idle.ms", "30000")]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    let mut request = Client::fetch_request(0);
    request.max_wait_ms = 100_000;
    assert!(client.ask(12, &request).await.is_some(), "closed as idle");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_goes_out_slowly_is_no_idle_connection() {
    let fixture = Fixture::start(&[("connections.max.idle.ms", "30000")]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    for _ in 0..12 {
        client.produce(batch(fixture.now(), 64 * 1024)).await;
    }
    let asked = frame(12, &Client::fetch_request(0));
    client.stream.write_all(&asked).await.unwrap();
    let mut rest = 12 * 64 * 1024;
    while rest > 0 {
        fixture.pass(10_000).await;
        let mut bytes = vec![0; rest.min(64 * 1024)];
        let read = tokio::io::AsyncReadExt::read(&mut client.stream, &mut bytes).await;
        let read = read.unwrap();
        assert!(read > 0, "closed with {rest} bytes to go");
        rest = rest.saturating_sub(read);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_answer_is_closed_as_idle() {
    let fixture = Fixture::start(&[("connections.max.idle.ms", "30000")]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    for _ in 0..4 {
        client.produce(batch(fixture.now(), 64 * 1024)).await;
    }
    let asked = frame(12, &Client::fetch_request(0));
    client.stream.write_all(&asked).await.unwrap();
    fixture.pass(60_000).await;
    assert_eq!(client.receive().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_waits_is_answered_when_the_node_stops() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    let mut request = Client::fetch_request(0);
    request.max_wait_ms = 100_000;
    client.stream.write_all(&frame(12, &request)).await.unwrap();
    fixture.pass(50).await;
    let began = Instant::now();
    fixture.node.stop().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(client.receive().await.is_some(), "with what is there: nothing");
    assert_eq!(client.receive().await, None);
}

/// Whether `second` is answered before `first`, which sends its request just before.
pub(crate) async fn overtakes(
    fixture: &Fixture,
    first: &mut Client,
    request: &[u8],
    second: &mut Client,
) -> bool {
    let (most, last) = request.split_at(request.len() - 1);
    first.stream.write_all(most).await.unwrap();
    fixture.pass(100).await;
    first.stream.write_all(last).await.unwrap();
    let quick = async {
        assert!(second.is_served().await);
    };
    tokio::select! {
        biased;
        answer = first.receive() => {
            assert!(answer.is_some());
            false
        }
        () = quick => true,
    }
}

#[tokio::test(start_paused = true)]
async fn a_produce_request_of_many_partitions_lets_others_go_first() {
    let fixture = Fixture::start(&[]).await;
    let (mut first, mut second) = (fixture.connect(), fixture.connect());
    first.create("t", 1, &[]).await;
    // Its files are open from here on: nothing else makes the request wait.
    first.produce(batch(fixture.now(), 1)).await;
    let partitions = (0..1_000).map(|index| PartitionProduceData {
        index: index % 2,
        records: Records::Bytes(batch(fixture.now(), 1)),
        ..Default::default()
    });
    let mut request = Client::produce_request("t", 0, batch(fixture.now(), 1));
    request.acks = 1;
    request.topic_data[0].partition_data = partitions.collect();
    assert!(overtakes(&fixture, &mut first, &frame(11, &request), &mut second).await);
}

#[tokio::test(start_paused = true)]
async fn a_decompression_bomb_is_unpacked_where_nobody_waits() {
    let fixture = Fixture::start(&[]).await;
    let (mut first, mut second) = (fixture.connect(), fixture.connect());
    first.create("t", 1, &[]).await;
    let mut bomb = BatchBuilder::new(Compression::Zstd);
    bomb.append(TimestampMs(fixture.now()), None, Some(&vec![0; 4 << 20]), &[]);
    let mut request = Client::produce_request("t", 0, bomb.build(Offset(0)).unwrap());
    request.acks = 1;
    assert!(overtakes(&fixture, &mut first, &frame(11, &request), &mut second).await);
    let mut reader = Reader::new(first.receive().await.unwrap());
    ResponseHeader::decode(&mut reader, klamm_protocol::ApiKey::Produce, 11).unwrap();
    let answer = ProduceResponse::decode(&mut reader, 11).unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_partitions_are_not_compared_with_each_other() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    let partitions = (0..100_000).map(|index| ListOffsetsPartition {
        partition_index: index,
        timestamp: -1,
        ..Default::default()
    });
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: partitions.collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let began = std::time::Instant::now();
    let answer = client.ask(7, &request).await.unwrap();
    assert_eq!(answer.topics[0].partitions.len(), 100_000);
    // Compared with each other they took minutes; so they take a tenth of a second.
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

pub(crate) async fn memory_used(fixture: &Fixture) -> usize {
    let page = fixture.node.observer().metrics().await;
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("klamm_request_memory_used_bytes "));
    line.unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_reads_are_bounded_and_hold_up_others_for_seconds_at_most() {
    let fixture = Fixture::start(SMALL).await;
    let request = frame(12, &large_metadata(2_000));
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut client = fixture.connect();
        // More than the memory allows is not read, and stays where it is.
        let _ = timeout(Duration::from_secs(1), client.stream.write_all(&request)).await;
        held.push(client);
    }
    let used = memory_used(&fixture).await;
    assert!(
        (400_000..2_200_000).contains(&used),
        "{used}: what is there, and one that may overdraw"
    );
    let mut client = fixture.connect();
    let began = Instant::now();
    assert!(client.is_served().await, "small requests need nothing");
    assert!(began.elapsed() < Duration::from_secs(1));
    let answer = timeout(Duration::from_secs(120), client.ask(12, &large_metadata(2_000))).await;
    assert!(answer.expect("others go on").is_some());
    drop((held, client));
    fixture.pass(1_000).await;
    assert_eq!(memory_used(&fixture).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_behind_unread_records_holds_up_others_for_seconds_at_most() {
    let fixture = Fixture::start(SMALL).await;
    let mut unread = fixture.connect();
    unread.create("t", 1, &[]).await;
    for _ in 0..12 {
        unread.produce(batch(fixture.now(), 64 * 1024)).await;
    }
    let asked = frame(12, &Client::fetch_request(0));
    unread.stream.write_all(&asked).await.unwrap();
    // Of two requests that the memory does not hold, the one behind the records may overdraw.
    let first = stalled(&fixture, 1_000_000, 600_000).await;
    let request = frame(12, &large_metadata(4_500));
    unread.stream.write_all(&request).await.unwrap();
    fixture.pass(100).await;
    drop(first);
    let mut other = fixture.connect();
    let answer = timeout(Duration::from_secs(60), other.ask(12, &large_metadata(2_000))).await;
    assert!(answer.expect("others go on").is_some(), "it is closed");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_owes_the_reading_of_a_large_answer_is_not_read_from() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    let large = frame(12, &large_metadata(2_000));
    client.stream.write_all(&large).await.unwrap();
    // Far more than a pipe holds.
    let more = timeout(Duration::from_secs(5), client.stream.write_all(&large)).await;
    assert!(more.is_err(), "it is read while its answer is not");
    assert!(client.receive().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_fits_the_memory_ends_its_connection() {
    let fixture = Fixture::start(SMALL).await;
    let resources = (0..100).map(|_| DescribeConfigsResource {
        resource_type: 4,
        resource_name: "1".into(),
        configuration_keys: None,
        ..Default::default()
    });
    let request = DescribeConfigsRequest {
        resources: resources.collect(),
        include_synonyms: true,
        include_documentation: true,
        ..Default::default()
    };
    let mut client = fixture.connect();
    assert_eq!(client.ask(4, &request).await, None);
    assert!(fixture.connect().is_served().await);
    assert_eq!(memory_used(&fixture).await, 0);
}

/// Enough to take several turns, and few enough for answers that fit a pipe.
const MANY: i32 = 1_500;

#[tokio::test(start_paused = true)]
async fn metadata_and_fetches_of_many_partitions_let_others_go_first() {
    let fixture = Fixture::start(&[]).await;
    let (mut first, mut second) = (fixture.connect(), fixture.connect());
    first.create("t", MANY, &[]).await;
    let all = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    assert!(overtakes(&fixture, &mut first, &frame(1, &all), &mut second).await);
    let answer = first.receive().await.unwrap();
    assert!(answer.len() < crate::pipes::PIPE_BYTES, "{}", answer.len());
    // Names that nobody knows are looked for too.
    let unknown = MetadataRequest {
        topics: Some(
            (0..MANY)
                .map(|n| MetadataRequestTopic {
                    name: Some(format!("{n}").into()),
                    ..Default::default()
                })
                .collect(),
        ),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    assert!(overtakes(&fixture, &mut first, &frame(12, &unknown), &mut second).await);
    let answer = first.receive().await.unwrap();
    assert!(answer.len() < crate::pipes::PIPE_BYTES, "{}", answer.len());

    let pages = DescribeTopicPartitionsRequest {
        response_partition_limit: MANY,
        ..Default::default()
    };
    assert!(overtakes(&fixture, &mut first, &frame(0, &pages), &mut second).await);
    assert!(first.receive().await.is_some());

    let mut request = Client::fetch_request(0);
    request.max_wait_ms = 0;
    let partition = request.topics[0].partitions[0].clone();
    request.topics[0].partitions = (0..MANY)
        .map(|partition_index| FetchPartition {
            partition: partition_index,
            ..partition.clone()
        })
        .collect();
    (request.session_id, request.session_epoch) = (0, 0);
    let opened = first.ask(12, &request).await.unwrap();
    assert_ne!(opened.session_id, 0);
    (request.session_id, request.session_epoch) = (opened.session_id, 1);
    request.topics.clear();
    assert!(overtakes(&fixture, &mut first, &frame(12, &request), &mut second).await);
    assert!(first.receive().await.unwrap().len() < 100, "nothing is new");
}

#[tokio::test(start_paused = true)]
async fn a_list_of_many_topics_lets_others_go_first() {
    let fixture = Fixture::start(&[]).await;
    let (mut first, mut second) = (fixture.connect(), fixture.connect());
    for n in 0..400 {
        first.create(&format!("t{n}"), 1, &[]).await;
    }
    let all = ListConfigResourcesRequest::default();
    assert!(overtakes(&fixture, &mut first, &frame(1, &all), &mut second).await);
    assert!(first.receive().await.is_some());
}
