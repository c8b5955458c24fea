//! The memory that decoding one message may take.
//!
//! Always holds: memory is charged here *before* it is allocated, so a short frame that announces much is refused with
//! nothing spent. What a node-wide [`MemoryPool`] gave is given back when the budget is dropped: keep the budget
//! ([`crate::Reader::into_budget`]) for as long as the decoded message lives.

use std::fmt;
use std::sync::Arc;

use crate::error::DecodeError;

/// Memory that many messages share.
pub trait MemoryPool: Send + Sync {
    /// Takes `bytes` from the pool; `false`, and nothing taken, when it has not as many.
    fn try_charge(&self, bytes: usize) -> bool;
    /// Gives back what an earlier [`MemoryPool::try_charge`] took.
    fn release(&self, bytes: usize);
}

/// What is left of one message's allowance.
pub struct DecodeBudget {
    left: usize,
    charged: usize,
    /// Bytes that need not come from the pool.
    own: usize,
    /// Bytes that came from the pool.
    pooled: usize,
    pool: Option<Arc<dyn MemoryPool>>,
}

impl DecodeBudget {
    /// Allows `bytes`, whatever the rest of the node does.
    pub fn new(bytes: usize) -> Self {
        Self {
            left: bytes,
            charged: 0,
            own: 0,
            pooled: 0,
            pool: None,
        }
    }

    /// Allows `bytes`, as far as `pool` has them.
    pub fn with_pool(bytes: usize, pool: Arc<dyn MemoryPool>) -> Self {
        Self {
            left: bytes,
            charged: 0,
            own: 0,
            pooled: 0,
            pool: Some(pool),
        }
    }

    /// Takes the first `bytes` from elsewhere: only what is beyond them comes from the pool.
    #[must_use]
    pub fn with_own(mut self, bytes: usize) -> Self {
        self.own = bytes;
        self
    }

    /// Takes over what `other`, of the same pool, has charged: it is given back with the rest.
    pub fn absorb(&mut self, mut other: DecodeBudget) {
        self.charged += other.charged;
        self.pooled += std::mem::take(&mut other.pooled);
    }

    /// Bytes taken so far.
    pub fn charged(&self) -> usize {
        self.charged
    }

    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        if bytes > self.left {
            return Err(DecodeError::OverBudget {
                needed: bytes,
                left: self.left,
            });
        }
        if let Some(pool) = &self.pool {
            let beyond = bytes.saturating_sub(self.own);
            if beyond > 0 && !pool.try_charge(beyond) {
                return Err(DecodeError::PoolExhausted { needed: bytes });
            }
            self.own -= bytes - beyond;
            self.pooled += beyond;
        }
        self.left -= bytes;
        self.charged += bytes;
        Ok(())
    }

    /// Charges what `vec` takes to hold `count` elements, unless it can already, and then lets it take that. While it
    /// moves, a vector holds its old memory as well: that was charged when it was taken.
    pub(crate) fn grow<T>(&mut self, vec: &mut Vec<T>, count: usize) -> Result<(), DecodeError> {
        if count > vec.capacity() {
            // `count` is bounded by MAX_ARRAY_ELEMENTS, so this cannot overflow.
            self.charge(count * size_of::<T>())?;
            vec.reserve_exact(count - vec.len());
        }
        Ok(())
    }
}

impl Drop for DecodeBudget {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.release(self.pooled);
        }
    }
}

impl fmt::Debug for DecodeBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeBudget")
            .field("left", &self.left)
            .field("charged", &self.charged)
            .field("pool", &self.pool.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Pool(AtomicUsize);

    impl MemoryPool for Pool {
        fn try_charge(&self, bytes: usize) -> bool {
            let take = |left: usize| left.checked_sub(bytes);
            self.0
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
        }

        fn release(&self, bytes: usize) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    #[test]
    fn nothing_is_taken_beyond_the_allowance_or_the_pool() {
        let pool = Arc::new(Pool(AtomicUsize::new(100)));
        let mut budget = DecodeBudget::with_pool(150, pool.clone());
        budget.charge(60).unwrap();
        assert_eq!(budget.charge(50), Err(DecodeError::PoolExhausted { needed: 50 }));
        assert_eq!(
            budget.charge(91),
            Err(DecodeError::OverBudget { needed: 91, left: 90 })
        );
        assert_eq!((budget.charged(), pool.0.load(Ordering::Relaxed)), (60, 40));
        drop(budget);
        assert_eq!(
            pool.0.load(Ordering::Relaxed),
            100,
            "what was taken is given back"
        );
    }

    #[test]
    fn what_is_its_own_does_not_come_from_the_pool() {
        let pool = Arc::new(Pool(AtomicUsize::new(100)));
        let left = || pool.0.load(Ordering::Relaxed);
        let mut budget = DecodeBudget::with_pool(500, pool.clone()).with_own(50);
        budget.charge(30).unwrap();
        assert_eq!(left(), 100);
        budget.charge(30).unwrap();
        assert_eq!((budget.charged(), left()), (60, 90), "20 were left of its own");
        let mut other = DecodeBudget::with_pool(500, pool.clone());
        other.charge(70).unwrap();
        budget.absorb(other);
        assert_eq!((budget.charged(), left()), (130, 20));
        drop(budget);
        assert_eq!(left(), 100);
    }

    #[test]
    fn a_vector_is_charged_before_it_grows_and_not_when_it_fits() {
        let mut budget = DecodeBudget::new(100);
        let mut vec: Vec<u64> = Vec::new();
        budget.grow(&mut vec, 10).unwrap();
        assert_eq!((vec.capacity(), budget.charged()), (10, 80));
        budget.grow(&mut vec, 10).unwrap();
        assert_eq!(budget.charged(), 80);
        assert_eq!(
            budget.grow(&mut vec, 11),
            Err(DecodeError::OverBudget { needed: 88, left: 20 })
        );
        assert_eq!(vec.capacity(), 10);
    }
}
