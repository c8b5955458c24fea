//! Decoded requests draw on the same memory as the frames they come from.

use klamm_net::RequestMemory;
use klamm_protocol::MemoryPool;

/// The decoder's view of the node's [`RequestMemory`].
pub(crate) struct DecodePool {
    memory: RequestMemory,
}

impl DecodePool {
    pub(crate) fn new(memory: RequestMemory) -> Self {
        Self { memory }
    }
}

impl MemoryPool for DecodePool {
    fn try_charge(&self, bytes: usize) -> bool {
        self.memory.try_take(bytes)
    }

    fn release(&self, bytes: usize) {
        self.memory.give_back(bytes);
    }
}
