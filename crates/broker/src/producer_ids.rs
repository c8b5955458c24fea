//! Producer ids out of the blocks that the controller allocates to this broker (KIP-730).
//!
//! Always holds: an id is given at most once; a block that was begun and not used up before a restart is lost, which
//! costs nothing.

use std::ops::Range;

use klamm_model::{ErrorCode, ProducerId};
use klamm_protocol::messages::AllocateProducerIdsRequest;
use tokio::sync::Mutex;

use crate::router::Router;

/// The rest of the block in use.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    /// The next id; asks the controller for a block when the last one is used up.
    pub(crate) async fn next(&self, router: &Router) -> Result<ProducerId, ErrorCode> {
        let mut block = self.block.lock().await;
        if block.is_empty() {
            let request = AllocateProducerIdsRequest {
                broker_id: router.broker_id().0,
                broker_epoch: router.broker_epoch(),
                ..Default::default()
            };
            let unavailable = |code| {
                tracing::warn!(%code, "the controller could not be asked for producer ids");
                ErrorCode::CoordinatorLoadInProgress
            };
            let response = router
                .to_controller_as_broker(request)
                .await
                .map_err(unavailable)?;
            match ErrorCode::from_code(response.error_code) {
                Some(ErrorCode::None) => {
                    let start = response.producer_id_start;
                    *block = start..start.saturating_add(i64::from(response.producer_id_len));
                }
                code => {
                    tracing::warn!(?code, "the controller allocates no producer ids");
                    return Err(ErrorCode::CoordinatorLoadInProgress);
                }
            }
        }
        block
            .next()
            .map(ProducerId)
            .ok_or(ErrorCode::CoordinatorLoadInProgress)
    }
}
