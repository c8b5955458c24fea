//! The bytes of a request, and the memory that they and what is decoded from them are charged with.
//!
//! Always holds: whatever keeps the frame or the decoded request alive keeps this, or what it was turned into
//! ([`Held`]). A request for which there is no memory waits for it, as reading does, whether another connection's memory
//! comes back or it is its turn to overdraw; only one that the whole memory could not hold is refused.

use std::sync::Arc;

use bytes::Bytes;
use klamm_model::limits::DECODE_ALLOWANCE_BYTES;
use klamm_net::{Charge, READ_BYTES};
use klamm_protocol::{DecodeBudget, DecodeError, MemoryPool, Reader};

/// See the head of the file.
pub(crate) struct Body {
    bytes: Bytes,
    /// Up to where it is decoded.
    at: usize,
    /// Of the frame, and of what decoding had to wait for.
    charge: Charge,
    pool: Arc<dyn MemoryPool>,
    /// Of what is decoded.
    decoded: Option<DecodeBudget>,
}

/// The charges of a request, while its answer waits.
#[derive(Debug)]
pub(crate) struct Held {
    _frame: Option<Charge>,
    _decoded: Option<DecodeBudget>,
}

impl Body {
    /// A frame of which nothing is decoded. `pool` is the memory that `charge` was taken from.
    pub(crate) fn new(bytes: Bytes, charge: Charge, pool: Arc<dyn MemoryPool>) -> Self {
        Self {
            bytes,
            at: 0,
            charge,
            pool,
            decoded: None,
        }
    }

    /// Goes on with `bytes`, which are a part of the frame, on the same account.
    pub(crate) fn enter(&mut self, bytes: Bytes) {
        self.bytes = bytes;
        self.at = 0;
    }

    /// What is not decoded yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Decodes what comes next. `decode` is called again from the start when it had to wait for memory.
    pub(crate) async fn decode<T>(
        &mut self,
        mut decode: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let most = self.bytes.len() + DECODE_ALLOWANCE_BYTES;
        let mut prepaid = 0;
        loop {
            // As with reading, a little is every request's own.
            let own = READ_BYTES + prepaid;
            let budget = DecodeBudget::with_pool(most, self.pool.clone()).with_own(own);
            let mut reader = Reader::with_budget(self.bytes.slice(self.at..), budget);
            let needed = match decode(&mut reader) {
                Ok(value) => {
                    self.at += reader.position();
                    let budget = reader.into_budget();
                    match &mut self.decoded {
                        Some(decoded) => decoded.absorb(budget),
                        none => *none = Some(budget),
                    }
                    return Ok(value);
                }
                Err(DecodeError::PoolExhausted { needed }) => reader.charged() + needed,
                Err(error) => return Err(error),
            };
            drop(reader);
            if needed > self.charge.limit() {
                return Err(DecodeError::PoolExhausted { needed });
            }
            // Twice as much as before, so that many small arrays do not make many rounds.
            let wanted = needed.max(2 * prepaid).min(most);
            self.charge.grow(wanted.saturating_sub(prepaid)).await;
            prepaid = wanted.max(prepaid);
        }
    }

    /// A charge of nothing yet, with the right to overdraw if the request has it: two of one request must not wait for each
    /// other. When all is decoded.
    pub(crate) fn answer_charge(&mut self) -> Charge {
        self.charge.split(0)
    }

    /// Gives up the frame, which nothing may keep alive any more, and what was charged for it and for what was decoded.
    pub(crate) fn let_go(&mut self) {
        self.enter(Bytes::new());
        self.charge.release();
        self.decoded = None;
    }

    /// What must be kept until the request is answered. The frame is given up, unless something keeps it alive.
    pub(crate) fn hold(&mut self, keeps_frame: bool) -> Held {
        self.bytes = Bytes::new();
        let frame = self.charge.split(usize::MAX);
        Held {
            _frame: keeps_frame.then_some(frame),
            _decoded: self.decoded.take(),
        }
    }
}

/// The bytes that a list takes.
pub(crate) fn bytes_of<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}
