//! Nodes of which a part fails.

use std::time::Duration;

use klamm_env::sim::{Fault, Operation};
use klamm_model::ErrorCode;
use tokio::time::timeout;

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
