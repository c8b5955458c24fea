//! The word that a server stops, for all its connections.
//!
//! Always holds: who waits is woken in the order of waiting. (tokio's channel for such a value spreads those who wait over
//! several lists by chance; the simulator must see one order.)

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

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

    /// What a wait for the word is entered by; to be made before it may be told, and pinned for [`Told`].
    pub(crate) fn telling(&self) -> Notified<'_> {
        self.telling.notified()
    }
}

/// One task's wait for the word, for as long as the task lives: it is entered in the list of those who wait, which all
/// threads share, once and not at every look.
pub(crate) struct Told<'p, 's> {
    stop: &'s Stop,
    telling: Pin<&'p mut Notified<'s>>,
    /// Who is in the list.
    entered: Option<Waker>,
}

impl<'p, 's> Told<'p, 's> {
    pub(crate) fn new(stop: &'s Stop, telling: Pin<&'p mut Notified<'s>>) -> Self {
        Self {
            stop,
            telling,
            entered: None,
        }
    }

    /// Ready from the word on.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.stop.is_told.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let is_entered = |waker: &Waker| waker.will_wake(cx.waker());
        if !self.entered.as_ref().is_some_and(is_entered) {
            // It knows of a word that was told since it was made.
            if self.telling.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            self.entered = Some(cx.waker().clone());
        }
        Poll::Pending
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
    use std::pin::pin;
    use std::task::Wake;

    use parking_lot::Mutex;

    use super::*;

    struct Waiter(usize, Arc<Mutex<Vec<usize>>>);

    impl Wake for Waiter {
        fn wake(self: Arc<Self>) {
            self.1.lock().push(self.0);
        }
    }

    /// Those that were woken, in order.
    type Woken = Arc<Mutex<Vec<usize>>>;

    fn waker(id: usize, woken: &Woken) -> Waker {
        Waker::from(Arc::new(Waiter(id, Arc::clone(woken))))
    }

    #[test]
    fn all_are_told_once_in_the_order_of_waiting() {
        let (stop, woken) = (Stop::default(), Woken::default());
        let mut entries: Vec<_> = (0..40).map(|_| Box::pin(stop.telling())).collect();
        let mut waits: Vec<_> = entries
            .iter_mut()
            .map(|entry| Told::new(&stop, entry.as_mut()))
            .collect();
        for _ in 0..2 {
            for (id, wait) in waits.iter_mut().enumerate() {
                let waker = waker(id, &woken);
                assert!(wait.poll(&mut Context::from_waker(&waker)).is_pending());
            }
        }
        stop.tell();
        assert_eq!(*woken.lock(), (0..40).collect::<Vec<_>>());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waits.iter_mut().all(|wait| wait.poll(&mut cx).is_ready()));
        let late = pin!(stop.telling());
        assert!(
            Told::new(&stop, late).poll(&mut cx).is_ready(),
            "who comes later hears it too"
        );
    }

    #[test]
    fn the_one_who_looked_last_is_woken() {
        let (stop, woken) = (Stop::default(), Woken::default());
        let telling = pin!(stop.telling());
        let mut wait = Told::new(&stop, telling);
        for id in [1, 1, 2] {
            let waker = waker(id, &woken);
            assert!(wait.poll(&mut Context::from_waker(&waker)).is_pending());
        }
        stop.tell();
        assert_eq!(*woken.lock(), [2]);
    }
}
