//! The cluster's state as this node knows it: what the metadata log has decided (*applied*), and what this broker has
//! carried out and shows to clients (*published*).
//!
//! Always holds: published never runs ahead of applied, and both only go forward; an image is published after its
//! partitions are open here, so whoever sees a partition in the metadata can use it. The controller decides on the
//! applied image, handlers answer from the published one.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use klamm_metadata::{Image, MetadataRecord, decode_decision, encode_decision};
use klamm_quorum::{Position, ReplayError, StateMachine};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tracing::error;

/// See the head of the file.
pub(crate) struct MetadataStore {
    applied: Mutex<Image>,
    grown: Notify,
    published: ArcSwap<Image>,
    published_index: Mutex<Option<u64>>,
    /// Wakes in the order of waiting, which tokio's channel for such a value does not.
    shown: Notify,
    failure: watch::Sender<Option<String>>,
}

impl MetadataStore {
    /// A store that knows nothing.
    pub(crate) fn new() -> Self {
        Self {
            applied: Mutex::new(Image::default()),
            grown: Notify::new(),
            published: ArcSwap::from_pointee(Image::default()),
            published_index: Mutex::default(),
            shown: Notify::new(),
            failure: watch::Sender::new(None),
        }
    }

    /// The state that the metadata log has decided.
    pub(crate) fn applied(&self) -> Image {
        self.applied.lock().clone()
    }

    /// The state that clients are shown. Cheap: for each request.
    pub(crate) fn published(&self) -> Guard<Arc<Image>> {
        self.published.load()
    }

    /// The state that clients are shown, to be kept across waits.
    pub(crate) fn published_arc(&self) -> Arc<Image> {
        self.published.load_full()
    }

    /// Waits until all that is applied now is published too.
    pub(crate) async fn caught_up(&self) {
        let index = self.applied.lock().position().index;
        loop {
            let shown = self.shown.notified();
            if *self.published_index.lock() >= Some(index) {
                return;
            }
            shown.await;
        }
    }

    /// Waits until the applied image is not the published one, and returns it.
    pub(crate) async fn next(&self) -> Image {
        loop {
            let grown = self.grown.notified();
            let image = self.applied();
            if *self.published_index.lock() != Some(image.position().index) {
                return image;
            }
            grown.await;
        }
    }

    /// Shows `image`, which was carried out, to clients.
    pub(crate) fn publish(&self, image: Image) {
        let index = image.position().index;
        self.published.store(Arc::new(image));
        *self.published_index.lock() = Some(index);
        self.shown.notify_waiters();
    }

    /// Waits until the metadata log holds something that this binary cannot follow, and says what.
    pub(crate) async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Replays `records` over `base`, or over what is applied, and takes the outcome.
    fn replay(
        &self,
        base: Option<Image>,
        position: Position,
        records: &[MetadataRecord],
    ) -> Result<(), String> {
        let mut applied = self.applied.lock();
        let base = base.as_ref().unwrap_or(&applied);
        let position = klamm_metadata::Position {
            index: position.index,
            term: position.term,
        };
        let (image, _) = base.apply(position, records).map_err(|error| error.to_string())?;
        *applied = image;
        drop(applied);
        self.grown.notify_one();
        Ok(())
    }

    fn fail(&self, position: Position, why: String) -> ReplayError {
        error!(index = position.index, %why, "the metadata log cannot be followed: the node must stop");
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert(format!("metadata log, entry {}: {why}", position.index));
            first
        });
        ReplayError(why)
    }
}

impl StateMachine for MetadataStore {
    fn apply(&self, position: Position, entry: Option<Bytes>) -> Result<(), ReplayError> {
        let records = entry.map(decode_decision).transpose();
        records
            .map_err(|error| error.to_string())
            .and_then(|records| self.replay(None, position, &records.unwrap_or_default()))
            .map_err(|why| self.fail(position, why))
    }

    fn snapshot(&self) -> Bytes {
        encode_decision(&self.applied().write_snapshot())
    }

    fn restore(&self, position: Position, snapshot: Bytes) -> Result<(), ReplayError> {
        let records = decode_decision(snapshot).map_err(|error| ReplayError(error.to_string()))?;
        self.replay(Some(Image::default()), position, &records)
            .map_err(ReplayError)
    }
}
