//! What the cluster calls a producer.

use klamm_model::{ProducerEpoch, ProducerId};

/// The name under which sequences are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: ProducerId,
    pub(super) epoch: ProducerEpoch,
}
