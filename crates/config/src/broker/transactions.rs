//! What coordinators of transactions follow.
//!
//! Next: `keys/transaction.rs`; the coordinators of the broker, which decide by it.

use std::time::Duration;

use super::read::Reader;

/// See the head of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transactions {
    /// `transaction.max.timeout.ms`.
    pub max_timeout: Duration,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    pub abort_interval: Duration,
    /// `transactional.id.expiration.ms`.
    pub id_expiration: Duration,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub expiration_interval: Duration,
    /// `transaction.state.log.load.buffer.size`.
    pub load_bytes: u32,
}

pub(super) fn read(reader: &Reader<'_>) -> Transactions {
    Transactions {
        max_timeout: reader.interval("transaction.max.timeout.ms"),
        abort_interval: reader.interval("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
        id_expiration: reader.interval("transactional.id.expiration.ms"),
        expiration_interval: reader.interval("transaction.remove.expired.transaction.cleanup.interval.ms"),
        load_bytes: reader.count("transaction.state.log.load.buffer.size"),
    }
}
