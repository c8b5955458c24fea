//! Listeners, connections, and what requests may take.

use std::net::IpAddr;
use std::time::Duration;

use klamm_protocol::messages::{
    DescribeClusterRequest, DescribeTopicPartitionsRequest, FindCoordinatorRequest, MetadataRequest,
};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::client::{Client, batch, batch_count, bytes_of};
use crate::fixture::{Fixture, Settings};

#[tokio::test(start_paused = true)]
async fn every_listener_serves_and_tells_its_own_address() {
    const TWO: (&str, &str) = ("listeners", "PLAINTEXT://127.0.0.1:4001,INSIDE://127.0.0.2:4002");
    const MAP: (&str, &str) = (
        "listener.security.protocol.map",
        "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT",
    );
    let cases: [(Settings<'_>, &[(&str, i32)]); 5] = [
        (&[TWO, MAP], &[("127.0.0.1", 4001), ("127.0.0.2", 4002)]),
        // One for clients on the host, one for those in containers.
        (
            &[
                TWO,
                MAP,
                (
                    "advertised.listeners",
                    "PLAINTEXT://localhost:9092,INSIDE://broker:19092",
                ),
            ],
            &[("localhost", 9092), ("broker", 19092)],
        ),
        (&[("listeners", "PLAINTEXT://[::1]:4001")], &[("::1", 4001)]),
        (
            &[
                ("listeners", "PLAINTEXT://0.0.0.0:4001"),
                ("advertised.listeners", "PLAINTEXT://10.1.2.3:4001"),
            ],
            &[("10.1.2.3", 4001)],
        ),
        // The port that was found.
        (
            &[("listeners", "PLAINTEXT://127.0.0.1:0")],
            &[("127.0.0.1", 20_000)],
        ),
    ];
    for (set, expected) in cases {
        let fixture = Fixture::start(set).await;
        for (listener, expected) in expected.iter().enumerate() {
            let mut client = fixture.connect_from([10, 0, 0, 1].into(), listener);
            let answer = client.ask(12, &MetadataRequest::default()).await.unwrap();
            let told = (&*answer.brokers[0].host, answer.brokers[0].port);
            assert_eq!(told, *expected, "{set:?}");
            let request = DescribeClusterRequest {
                endpoint_type: 1,
                ..Default::default()
            };
            let answer = client.ask(1, &request).await.unwrap();
            let told = (&*answer.brokers[0].host, answer.brokers[0].port);
            assert_eq!(told, *expected, "{set:?}");
            let request = FindCoordinatorRequest {
                key: "g".into(),
                ..Default::default()
            };
            let answer = client.ask(3, &request).await.unwrap();
            assert_eq!((&*answer.host, answer.port), *expected, "{set:?}");
            let request = FindCoordinatorRequest {
                coordinator_keys: vec!["g".into()],
                ..Default::default()
            };
            let answer = client.ask(4, &request).await.unwrap();
            let told = (&*answer.coordinators[0].host, answer.coordinators[0].port);
            assert_eq!(told, *expected, "{set:?}");
        }
    }
}

/// How many of five connections from each of two addresses are served at once.
async fn served(fixture: &Fixture) -> [usize; 2] {
    let mut held = Vec::new();
    let mut counts = [0; 2];
    for (place, count) in counts.iter_mut().enumerate() {
        for _ in 0..5 {
            let from = IpAddr::from([10, 0, 0, u8::try_from(place + 1).unwrap()]);
            let mut client = fixture.connect_from(from, 0);
            *count += usize::from(client.is_served().await);
            held.push(client);
        }
    }
    drop(held);
    fixture.pass(100).await;
    counts
}

#[tokio::test(start_paused = true)]
async fn so_many_connections_are_served_at_once() {
    let cases: [(Settings<'_>, [usize; 2]); 3] = [
        (&[("max.connections", "7")], [5, 2]),
        (&[("max.connections.per.ip", "3")], [3, 3]),
        (
            &[
                ("max.connections.per.ip", "3"),
                ("max.connections.per.ip.overrides", "10.0.0.2:1"),
            ],
            [3, 1],
        ),
    ];
    for (set, expected) in cases {
        assert_eq!(served(&Fixture::start(set).await).await, expected, "{set:?}");
        // The same while the node runs.
        let fixture = Fixture::start(&[]).await;
        assert_eq!(served(&fixture).await, [5, 5]);
        let mut client = fixture.connect();
        for (key, value) in set {
            client.set(4, "", key, value).await;
        }
        drop(client);
        fixture.pass(100).await;
        assert_eq!(served(&fixture).await, expected, "{set:?}, dynamic");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed() {
    for (set, is_closed) in [(&[][..], false), (&[("connections.max.idle.ms", "30000")], true)] {
        let fixture = Fixture::start(set).await;
        let mut client = fixture.connect();
        for (ms, is_served) in [(25_000, true), (25_000, true), (40_000, !is_closed)] {
            fixture.pass(ms).await;
            assert_eq!(client.is_served().await, is_served, "{set:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_above_a_size_close_the_connection() {
    for (set, is_served) in [(&[][..], true), (&[("socket.request.max.bytes", "2000")], false)] {
        let fixture = Fixture::start(set).await;
        let mut client = fixture.connect();
        client.create("t", 1, &[]).await;
        client.produce(batch(fixture.now(), 1_000)).await;
        let large = crate::client::frame(11, &Client::produce_request("t", 0, batch(fixture.now(), 3_000)));
        client.stream.write_all(&large).await.ok();
        assert_eq!(client.receive().await.is_some(), is_served, "{set:?}");
    }
}

/// How many of four connections can send most of a request of a megabyte while none of them sends the rest.
async fn half_read(fixture: &Fixture) -> usize {
    let mut frame = 1_000_000u32.to_be_bytes().to_vec();
    frame.resize(900_000, 0);
    let mut held = Vec::new();
    let mut sent = 0;
    for _ in 0..4 {
        let mut client = fixture.connect();
        sent += usize::from(
            timeout(Duration::from_secs(5), client.stream.write_all(&frame))
                .await
                .is_ok(),
        );
        held.push(client);
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn reading_waits_when_the_memory_for_requests_is_used_up() {
    let largest = ("socket.request.max.bytes", "1048576");
    let cases: [(Settings<'_>, bool); 3] = [
        (&[largest], true),
        (&[largest, ("klamm.memory.request.bytes", "1048576")], false),
        (&[largest, ("queued.max.request.bytes", "1048576")], false),
    ];
    for (set, all) in cases {
        let sent = half_read(&Fixture::start(set).await).await;
        assert_eq!(sent == 4, all, "{set:?}: {sent} of 4");
        assert!(sent > 0, "{set:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_description_has_so_many_partitions() {
    for (set, expected) in [(&[][..], 5), (&[("max.request.partition.size.limit", "2")], 2)] {
        let fixture = Fixture::start(set).await;
        let mut client = fixture.connect();
        client.create("t", 5, &[]).await;
        let answer = client
            .ask(0, &DescribeTopicPartitionsRequest::default())
            .await
            .unwrap();
        assert_eq!(answer.topics[0].partitions.len(), expected);
        assert_eq!(
            answer.next_cursor.map(|cursor| cursor.partition_index),
            (expected < 5).then_some(2)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_fetch_sessions_are_kept() {
    for (slots, expected) in [(None, 3), (Some("2"), 2), (Some("0"), 0)] {
        let set: Vec<_> = slots
            .map(|slots| ("max.incremental.fetch.session.cache.slots", slots))
            .into_iter()
            .collect();
        let fixture = Fixture::start(&set).await;
        let mut client = fixture.connect();
        client.create("t", 1, &[]).await;
        let mut sessions = 0;
        for _ in 0..3 {
            let mut request = Client::fetch_request(0);
            request.session_epoch = 0;
            let answer = client.ask(12, &request).await.unwrap();
            assert_eq!(answer.error_code, 0);
            sessions += usize::from(answer.session_id != 0);
        }
        assert_eq!(sessions, expected, "{slots:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_fetch_has_so_many_bytes() {
    for (set, expected) in [(&[][..], 4), (&[("fetch.max.bytes", "1500")], 2)] {
        let fixture = Fixture::start(set).await;
        let mut client = fixture.connect();
        client.create("t", 1, &[]).await;
        for _ in 0..4 {
            client.produce(batch(fixture.now(), 600)).await;
        }
        assert_eq!(batch_count(bytes_of(&client.fetch(0).await)), expected, "{set:?}");
    }
}
