//! Nodes of which a part fails, and nodes that end without an end in order.

use std::time::Duration;

use klamm_env::sim::{Fault, Operation};
use klamm_model::ErrorCode;
use tokio::time::timeout;

use crate::client::{batch, batch_count, bytes_of};
use crate::fixture::Fixture;

#[tokio::test(start_paused = true)]
async fn a_controller_whose_log_has_failed_is_no_controller() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    client.create("before", 1, &[]).await;
    fixture.inject(Fault::always(Operation::SyncData).on("klamm-metadata"));
    for name in ["during", "after"] {
        let (code, _) = client.try_create(name, 1, 1, &[]).await;
        assert_eq!(code, ErrorCode::NotController.code(), "{name}");
    }
    let why = timeout(Duration::from_secs(1), fixture.node.failed()).await;
    assert!(why.is_ok(), "the process ends");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_dropped_without_a_stop_unlocks_its_log_dirs() {
    let fixture = Fixture::start(&[]).await;
    let mut client = fixture.connect();
    client.create("t", 1, &[]).await;
    client.produce(batch(fixture.now(), 100)).await;
    let fixture = fixture.start_again(&[]).await;
    assert_eq!(client.receive().await, None, "its connections are closed");
    let mut client = fixture.connect();
    assert_eq!(batch_count(bytes_of(&client.fetch(0).await)), 1);
}
