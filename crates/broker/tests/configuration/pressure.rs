//! Clients that hold up the node: with half frames, with waits, with answers they do not read. Others are served.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::client::{Client, batch, frame};
use crate::fixture::Fixture;

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
