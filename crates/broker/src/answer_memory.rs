//! The memory that an answer takes while it is made, before there are bytes of it to count.
//!
//! Always holds: a small answer asks nobody; a large one waits for its memory before it grows, as reading and decoding do,
//! and only one that the whole memory could not hold is refused: its connection ends. What was reserved goes with the
//! answer, which holds it until the client has taken all. What must be made before its size is known is not kept while its
//! memory is waited for.

use std::pin::pin;
use std::task::Poll;

use futures_util::poll;
use klamm_net::{Charge, RequestMemory};
use parking_lot::Mutex;

/// What every request may take without asking.
const OWN_BYTES: usize = 16 * 1024;
/// Memory is taken in steps of this size, so that many small parts do not make many rounds.
const STEP_BYTES: usize = 256 * 1024;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct AnswerMemory {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    charge: Option<Charge>,
    /// What the answer takes, as far as it is known.
    bytes: usize,
    is_too_large: bool,
}

/// An answer that the whole memory could not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its answer would take more than the {0} bytes for all requests (klamm.memory.request.bytes)")]
pub(crate) struct TooLarge(usize);

impl AnswerMemory {
    /// Of a request whose answer takes nothing yet.
    pub(crate) fn new(memory: &RequestMemory) -> Self {
        Self {
            limit: memory.limit(),
            state: Mutex::default(),
        }
    }

    /// Memory is taken through `charge`, which has what the request itself may overdraw.
    pub(crate) fn begin(&self, charge: Charge) {
        self.state.lock().charge = Some(charge);
    }

    /// Reserves `bytes` more. `false` if the answer is too large: then it need not be made.
    pub(crate) async fn reserve(&self, bytes: usize) -> bool {
        let (mut charge, wanted) = {
            let mut state = self.state.lock();
            state.bytes = state.bytes.saturating_add(bytes);
            if state.bytes > self.limit {
                state.is_too_large = true;
                return false;
            }
            let charged = state.charge.as_ref().map_or(0, Charge::bytes);
            if state.bytes <= OWN_BYTES.max(charged) {
                return true;
            }
            let Some(charge) = state.charge.take() else {
                return true;
            };
            (charge, (state.bytes - charged).max(STEP_BYTES))
        };
        charge.grow(wanted).await;
        self.state.lock().charge = Some(charge);
        true
    }

    /// Has a part of the answer made by `make`, whose bytes are known once it is there. Does it have to wait for its memory, it is
    /// dropped and made again: nobody waits with memory that nobody has counted. `None` if the answer is too large.
    pub(crate) async fn make<T, F: Future<Output = T>>(
        &self,
        make: impl Fn() -> F,
        bytes_of: impl Fn(&T) -> usize,
    ) -> Option<T> {
        let mut reserved = 0;
        loop {
            let made = make().await;
            let bytes = bytes_of(&made);
            if bytes <= reserved {
                return Some(made);
            }
            let mut reserving = pin!(self.reserve(bytes - reserved));
            if let Poll::Ready(fits) = poll!(reserving.as_mut()) {
                return fits.then_some(made);
            }
            drop(made);
            if !reserving.await {
                return None;
            }
            reserved = bytes;
        }
    }

    /// Gives back what was reserved, and what the request may overdraw: what it was for is dropped.
    pub(crate) fn release(&self) {
        let mut state = self.state.lock();
        state.bytes = 0;
        if let Some(charge) = &mut state.charge {
            charge.release();
        }
    }

    /// What the answer is charged with, which is made.
    pub(crate) fn take(&self) -> Result<Option<Charge>, TooLarge> {
        let mut state = self.state.lock();
        match state.is_too_large {
            true => Err(TooLarge(self.limit)),
            false => Ok(state.charge.take().filter(|charge| charge.bytes() > 0)),
        }
    }
}

/// Bytes of `response` on the wire, for the tests that compare what handlers reserve with what their answers take.
#[cfg(test)]
pub(crate) fn encoded_bytes<R: klamm_protocol::Request>(version: i16, response: &R::Response) -> usize {
    let mut writer = klamm_protocol::Writer::contiguous();
    klamm_protocol::encode_response(&mut writer, R::KEY, 7, version, response).unwrap();
    writer.into_bytes().len()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_large_answer_waits_for_its_memory_and_one_that_is_too_large_is_refused() {
        let memory = RequestMemory::new(1 << 20);
        let begun = || {
            let answer = AnswerMemory::new(&memory);
            answer.begin(memory.charge());
            answer
        };
        let small = begun();
        assert_eq!(small.reserve(OWN_BYTES).now_or_never(), Some(true));
        assert_eq!((memory.used(), small.take().unwrap().is_none()), (0, true));

        let large = begun();
        assert_eq!(large.reserve(600_000).now_or_never(), Some(true));
        assert_eq!(memory.used(), 600_000);
        // Two may not have what one has; the first of them overdraws.
        let (second, third) = (begun(), begun());
        assert_eq!(second.reserve(600_000).now_or_never(), Some(true));
        assert_eq!(third.reserve(600_000).now_or_never(), None);
        large.release();
        assert_eq!(large.reserve(10).now_or_never(), Some(true));
        // One that rests lets another have what it overdrew.
        second.release();
        let (fourth, fifth) = (begun(), begun());
        assert_eq!(fourth.reserve(600_000).now_or_never(), Some(true));
        assert_eq!(fifth.reserve(600_000).now_or_never(), Some(true));
        drop((fourth, fifth));
        drop((second.take().unwrap(), large.take().unwrap()));
        assert_eq!(memory.used(), 0);

        let huge = begun();
        assert_eq!(huge.reserve(2 << 20).now_or_never(), Some(false));
        assert!(huge.take().is_err());
    }
    #[test]
    fn what_waits_for_its_memory_is_not_kept_meanwhile() {
        let memory = RequestMemory::new(1 << 20);
        let begun = || {
            let answer = AnswerMemory::new(&memory);
            answer.begin(memory.charge());
            answer
        };
        // The second overdraws: who comes now waits.
        let (first, second, third) = (begun(), begun(), begun());
        for answer in [&first, &second] {
            assert_eq!(answer.reserve(800_000).now_or_never(), Some(true));
        }
        let made = std::sync::Arc::new(());
        let size = std::cell::Cell::new(600_000);
        let mut making = pin!(third.make(|| std::future::ready(made.clone()), |_| size.get()));
        assert!(making.as_mut().now_or_never().is_none());
        assert_eq!(std::sync::Arc::strong_count(&made), 1, "it is kept");
        // It has grown when it is made again.
        size.set(700_000);
        drop((first, second));
        assert!(making.now_or_never().flatten().is_some());
        assert_eq!(memory.used(), 600_000 + STEP_BYTES);
        size.set(2 << 20);
        let made = begun()
            .make(|| std::future::ready(()), |()| size.get())
            .now_or_never();
        assert_eq!(made, Some(None));
    }
}
