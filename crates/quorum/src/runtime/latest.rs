//! A channel that holds the latest value.
//!
//! Always holds: who waits is woken in the order of waiting. (tokio's own channel of this kind spreads those who wait
//! over several lists by chance, so that two followers would be served in another order each time; the simulator must
//! see one order.) A change that came before the wait is seen by it. A value that one holds may be looked at once more
//! by the same task.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use openraft::rt::watch::{RecvError, SendError};
use openraft::{OptionalSend, OptionalSync, rt};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::Notify;

/// Channels that hold the latest value.
#[derive(Debug)]
pub(crate) struct WatchChannel;

struct Shared<T> {
    value: RwLock<T>,
    /// Counts the changes; written while `value` is locked.
    version: AtomicU64,
    changed: Notify,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

/// The side that sets the value.
pub(crate) struct WatchSender<T>(Arc<Shared<T>>);

/// The side that sees the value.
pub(crate) struct WatchReceiver<T> {
    shared: Arc<Shared<T>>,
    /// The change that was seen last.
    seen: u64,
}

impl<T> WatchSender<T> {
    fn modify(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = {
            let mut value = self.0.value.write();
            let modified = modify(&mut value);
            if modified {
                self.0.version.fetch_add(1, Ordering::Release);
            }
            modified
        };
        if modified {
            self.0.changed.notify_waiters();
        }
        modified
    }
}

impl<T> Clone for WatchSender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl<T> Drop for WatchSender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

impl<T> Clone for WatchReceiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: self.shared.clone(),
            seen: self.seen,
        }
    }
}

impl<T> Drop for WatchReceiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl rt::Watch for WatchChannel {
    type Sender<T: OptionalSend + OptionalSync> = WatchSender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = WatchReceiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = RwLockReadGuard<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(value: T) -> (WatchSender<T>, WatchReceiver<T>) {
        let shared = Arc::new(Shared {
            value: RwLock::new(value),
            version: AtomicU64::new(0),
            changed: Notify::new(),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
        });
        let receiver = WatchReceiver {
            shared: shared.clone(),
            seen: 0,
        };
        (WatchSender(shared), receiver)
    }
}

impl<T: OptionalSend + OptionalSync> rt::WatchSender<WatchChannel, T> for WatchSender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.receivers.load(Ordering::Acquire) == 0 {
            return Err(SendError(value));
        }
        self.modify(|current| {
            *current = value;
            true
        });
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        self.modify(modify)
    }

    fn borrow_watched(&self) -> RwLockReadGuard<'_, T> {
        self.0.value.read_recursive()
    }

    fn subscribe(&self) -> WatchReceiver<T> {
        self.0.receivers.fetch_add(1, Ordering::Relaxed);
        WatchReceiver {
            shared: self.0.clone(),
            seen: self.0.version.load(Ordering::Acquire),
        }
    }
}

impl<T: OptionalSend + OptionalSync> rt::WatchReceiver<WatchChannel, T> for WatchReceiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        loop {
            // Made before the look at the version: a change in between wakes it.
            let woken = self.shared.changed.notified();
            let version = self.shared.version.load(Ordering::Acquire);
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if self.shared.senders.load(Ordering::Acquire) == 0 {
                return Err(RecvError(()));
            }
            woken.await;
        }
    }

    fn borrow_watched(&self) -> RwLockReadGuard<'_, T> {
        self.shared.value.read_recursive()
    }

    fn borrow_and_update(&mut self) -> RwLockReadGuard<'_, T> {
        let value = self.shared.value.read_recursive();
        self.seen = self.shared.version.load(Ordering::Acquire);
        value
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::poll;
    use openraft::rt::{Watch, WatchReceiver as _, WatchSender as _};

    use super::WatchChannel;

    #[tokio::test]
    async fn a_change_is_seen_once_by_each() {
        let (sender, mut first) = WatchChannel::channel(0);
        let mut second = sender.subscribe();
        assert!(sender.send_if_greater(3) && !sender.send_if_greater(2));
        for receiver in [&mut first, &mut second] {
            assert_eq!(receiver.changed().await, Ok(()));
            assert_eq!(*receiver.borrow_watched(), 3);
            assert!(poll!(std::pin::pin!(receiver.changed())).is_pending());
        }
        sender.send(4).unwrap();
        assert_eq!(*first.borrow_and_update(), 4);
        assert!(poll!(std::pin::pin!(first.changed())).is_pending());
    }

    #[tokio::test]
    async fn the_end_of_either_side_is_noticed() {
        let (sender, mut receiver) = WatchChannel::channel(0);
        let another = sender.clone();
        drop(sender);
        let mut waiting = Box::pin(receiver.changed());
        assert!(poll!(waiting.as_mut()).is_pending());
        drop(another);
        assert!(matches!(poll!(waiting.as_mut()), Poll::Ready(Err(_))));

        let (sender, receiver) = WatchChannel::channel(0);
        drop(receiver);
        assert!(sender.send(1).is_err());
        assert_eq!(*sender.borrow_watched(), 0);
    }

    #[tokio::test]
    async fn who_waits_first_is_woken_first() {
        let (sender, receiver) = WatchChannel::channel(0);
        let order = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
        let tasks = (0..32).map(|number| {
            let (mut receiver, order) = (receiver.clone(), order.clone());
            tokio::spawn(async move {
                receiver.changed().await.unwrap();
                order.lock().push(number);
            })
        });
        let tasks = tasks.collect::<Vec<_>>();
        tokio::task::yield_now().await;
        sender.send(1).unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock(), (0..32).collect::<Vec<_>>());
    }
}
