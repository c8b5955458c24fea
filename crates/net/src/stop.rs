//! The word that a server stops, for all its connections.
//!
//! Always holds: who waits is woken in the order of waiting. (tokio's channel for such a value spreads those who wait over
//! several lists by chance; the simulator must see one order.)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Told once, heard by all.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    is_told: AtomicBool,
    telling: Notify,
}

impl Stop {
    /// Tells those who wait, and those who will.
    pub(crate) fn tell(&self) {
        self.is_told.store(true, Ordering::Release);
        self.telling.notify_waiters();
    }

    /// Waits for the word.
    pub(crate) async fn told(&self) {
        // Made before it looks: a word in between is heard.
        let telling = self.telling.notified();
        if !self.is_told.load(Ordering::Acquire) {
            telling.await;
        }
    }
}

/// Whether a server stops, for those who look now and then.
#[derive(Clone, Debug, Default)]
pub struct Stopping(Arc<Stop>);

impl Stopping {
    pub(crate) fn of(stop: &Arc<Stop>) -> Self {
        Self(stop.clone())
    }

    /// Whether it does.
    pub fn has_begun(&self) -> bool {
        self.0.is_told.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    use parking_lot::Mutex;

    use super::*;

    struct Waiter(usize, Arc<Mutex<Vec<usize>>>);

    impl Wake for Waiter {
        fn wake(self: Arc<Self>) {
            self.1.lock().push(self.0);
        }
    }

    #[test]
    fn all_are_told_in_the_order_of_waiting() {
        let (stop, woken) = (Stop::default(), Arc::default());
        let mut waits: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
        for at in 0..40 {
            let waker = Waker::from(Arc::new(Waiter(at, Arc::clone(&woken))));
            let mut wait: Pin<Box<dyn Future<Output = ()>>> = Box::pin(stop.told());
            assert_eq!(
                wait.as_mut().poll(&mut Context::from_waker(&waker)),
                Poll::Pending
            );
            waits.push(wait);
        }
        stop.tell();
        assert_eq!(*woken.lock(), (0..40).collect::<Vec<_>>());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(
            waits
                .iter_mut()
                .all(|wait| wait.as_mut().poll(&mut cx).is_ready())
        );
        assert!(
            pin!(stop.told()).poll(&mut cx).is_ready(),
            "who comes later hears it too"
        );
    }
}
