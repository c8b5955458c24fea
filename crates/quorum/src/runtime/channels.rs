//! The channels and the mutex that openraft asks of a runtime, made of tokio's, which need no runtime themselves. The
//! one that holds the latest value is our own: [`super::latest`].

use openraft::OptionalSend;
use openraft::rt;
use tokio::sync::{mpsc, oneshot};

/// Bounded channels.
#[derive(Debug)]
pub(crate) struct MpscChannel;

/// The sending side.
pub(crate) struct Sender<T>(mpsc::Sender<T>);

/// The receiving side.
pub(crate) struct Receiver<T>(mpsc::Receiver<T>);

/// A sending side that does not keep the channel open.
pub(crate) struct WeakSender<T>(mpsc::WeakSender<T>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl rt::Mpsc for MpscChannel {
    type Sender<T: OptionalSend> = Sender<T>;
    type Receiver<T: OptionalSend> = Receiver<T>;
    type WeakSender<T: OptionalSend> = WeakSender<T>;

    fn channel<T: OptionalSend>(buffer: usize) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = mpsc::channel(buffer);
        (Sender(sender), Receiver(receiver))
    }
}

impl<T: OptionalSend> rt::MpscSender<MpscChannel, T> for Sender<T> {
    async fn send(&self, message: T) -> Result<(), rt::SendError<T>> {
        self.0.send(message).await.map_err(|error| rt::SendError(error.0))
    }

    fn downgrade(&self) -> WeakSender<T> {
        WeakSender(self.0.downgrade())
    }
}

impl<T: OptionalSend> rt::MpscReceiver<T> for Receiver<T> {
    async fn recv(&mut self) -> Option<T> {
        self.0.recv().await
    }

    fn try_recv(&mut self) -> Result<T, rt::TryRecvError> {
        self.0.try_recv().map_err(|error| match error {
            mpsc::error::TryRecvError::Empty => rt::TryRecvError::Empty,
            mpsc::error::TryRecvError::Disconnected => rt::TryRecvError::Disconnected,
        })
    }
}

impl<T: OptionalSend> rt::MpscWeakSender<MpscChannel, T> for WeakSender<T> {
    fn upgrade(&self) -> Option<Sender<T>> {
        self.0.upgrade().map(Sender)
    }
}

/// Channels for one message.
#[derive(Debug)]
pub(crate) struct OneshotChannel;

/// The sending side for one message.
pub(crate) struct OnceSender<T>(oneshot::Sender<T>);

impl rt::Oneshot for OneshotChannel {
    type Sender<T: OptionalSend> = OnceSender<T>;
    type Receiver<T: OptionalSend> = oneshot::Receiver<T>;
    type ReceiverError = oneshot::error::RecvError;

    fn channel<T: OptionalSend>() -> (OnceSender<T>, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (OnceSender(sender), receiver)
    }
}

impl<T: OptionalSend> rt::OneshotSender<T> for OnceSender<T> {
    fn send(self, message: T) -> Result<(), T> {
        self.0.send(message)
    }
}

/// A mutex that may be held across an await.
pub(crate) struct TaskMutex<T>(tokio::sync::Mutex<T>);

impl<T: OptionalSend + 'static> rt::Mutex<T> for TaskMutex<T> {
    type Guard<'a> = tokio::sync::MutexGuard<'a, T>;

    fn new(value: T) -> Self {
        Self(tokio::sync::Mutex::new(value))
    }

    async fn lock(&self) -> Self::Guard<'_> {
        self.0.lock().await
    }
}
