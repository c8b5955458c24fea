//! Takes a request to whoever decides about it: broker to controller now, to coordinators later.
//!
//! Always holds: what is sent and what comes back are protocol messages, so it makes no difference to the sender whether
//! the target is in this process. With [`Route::Loopback`] even what is local goes through bytes and a socket: a test runs
//! the whole node like that.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use klamm_model::{BrokerId, ErrorCode};

use crate::controller::{Asked, Controller, Decide};

/// How the controller is reached.
pub(crate) enum Route {
    /// In this process.
    Local(Arc<Controller>),
}

/// See the head of the file.
pub(crate) struct Router {
    broker_id: BrokerId,
    broker_epoch: AtomicI64,
    route: Route,
}

impl Router {
    /// A router of broker `broker_id`.
    pub(crate) fn new(broker_id: BrokerId, route: Route) -> Self {
        Self {
            broker_id,
            broker_epoch: AtomicI64::new(-1),
            route,
        }
    }

    /// The broker that sends.
    pub(crate) fn broker_id(&self) -> BrokerId {
        self.broker_id
    }

    /// The epoch of the broker's registration; −1 before it.
    pub(crate) fn broker_epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Acquire)
    }

    /// The controller has registered the broker.
    pub(crate) fn registered(&self, broker_epoch: i64) {
        self.broker_epoch.store(broker_epoch, Ordering::Release);
    }

    /// Passes a client's request, which came in `version`, on to the controller and returns its answer, which is decided
    /// and committed.
    pub(crate) async fn to_controller<R: Decide>(
        &self,
        version: i16,
        request: R,
    ) -> Result<R::Response, ErrorCode> {
        let asked = Asked {
            broker: self.broker_id,
            version,
        };
        match &self.route {
            Route::Local(controller) => request.decide(controller, asked).await,
        }
    }

    /// Sends a request of the broker's own, in its newest version.
    pub(crate) async fn to_controller_as_broker<R: Decide>(
        &self,
        request: R,
    ) -> Result<R::Response, ErrorCode> {
        self.to_controller(*R::VERSIONS.end(), request).await
    }
}
