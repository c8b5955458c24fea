//! TEMP stand-in until klamm-replication is there.
use klamm_model::{BrokerId, LeaderEpoch, Offset};
pub(crate) struct Leader {
    id: BrokerId,
    epoch: LeaderEpoch,
    isr: usize,
}
impl Leader {
    pub(crate) fn new(id: BrokerId, epoch: LeaderEpoch, _partition_epoch: i32, isr: &[BrokerId]) -> Self {
        Self {
            id,
            epoch,
            isr: isr.len(),
        }
    }
    pub(crate) fn broker_id(&self) -> BrokerId {
        self.id
    }
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }
    pub(crate) fn in_sync_count(&self) -> usize {
        self.isr
    }
    pub(crate) fn local_durable(&mut self, offset: Offset) -> Option<Offset> {
        Some(offset)
    }
}
