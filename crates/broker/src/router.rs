//! Takes a request to whoever decides about it: broker to controller now, to coordinators later.
//!
//! Always holds: what is sent and what comes back are protocol messages, so it makes no difference to the sender whether
//! the target is in this process. With [`RouterMode::ForcedOverLoopback`] even what is local goes through bytes and a
//! socket: a test runs the whole node like that.
//!
//! What clients ask for travels in an envelope with the principal of whoever asks ([`envelope`], [`principal`]); what only
//! brokers ask for goes as it is. [`link`] is the connection; what listens at its other end is `controller/service.rs`.

pub(crate) mod envelope;
pub(crate) mod link;
pub(crate) mod principal;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use klamm_model::{BrokerId, ErrorCode};
use klamm_protocol::Request;

use self::link::Link;
use self::principal::Caller;
use crate::context::RequestContext;
use crate::controller::{Asked, Controller, Decide};

/// How a node's broker reaches the controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouterMode {
    /// In the process when the controller is there. A node is alone in its quorum, so it always is.
    #[default]
    Auto,
    /// Through the controller's listener, wherever the controller is. A node without such a listener gets one of its own
    /// on the loopback interface.
    ForcedOverLoopback,
}

/// How the controller is reached.
pub(crate) enum Route {
    /// In this process.
    Local(Arc<Controller>),
    /// Through its listener.
    Remote(Link),
}

/// See the head of the file.
pub(crate) struct Router {
    broker_id: BrokerId,
    broker_epoch: AtomicI64,
    route: Route,
}

/// The newest version of a request, for one that is made here.
pub(crate) fn newest<R: Request>() -> i16 {
    *R::KEY.stable_versions().end()
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

    /// Passes a request on to the controller in the name of the client behind `context`, and returns the answer in
    /// `version`, which is decided and committed. An error means that nothing is known to be decided.
    pub(crate) async fn to_controller<R: Decide>(
        &self,
        context: &RequestContext<'_>,
        version: i16,
        request: R,
    ) -> Result<R::Response, ErrorCode> {
        self.decide(version, Caller::of(context.connection), request)
            .await
    }

    /// Asks in the node's own name, in its newest version, for what otherwise clients ask for.
    pub(crate) async fn to_controller_as_node<R: Decide>(
        &self,
        request: R,
    ) -> Result<R::Response, ErrorCode> {
        self.decide(newest::<R>(), Caller::node(), request).await
    }

    async fn decide<R: Decide>(
        &self,
        version: i16,
        caller: Caller,
        request: R,
    ) -> Result<R::Response, ErrorCode> {
        let asked = Asked {
            broker: self.broker_id,
            version,
            caller,
        };
        match &self.route {
            Route::Local(controller) => controller.ask(request, asked).await,
            Route::Remote(link) => envelope::forward(link, &request, &asked).await,
        }
    }

    /// Sends a request of the broker's own, in its newest version.
    pub(crate) async fn to_controller_as_broker<R: Decide>(
        &self,
        request: R,
    ) -> Result<R::Response, ErrorCode> {
        let version = newest::<R>();
        match &self.route {
            Route::Local(controller) => {
                let asked = Asked {
                    broker: self.broker_id,
                    version,
                    caller: Caller::node(),
                };
                controller.ask(request, asked).await
            }
            Route::Remote(link) => Ok(link.ask(version, &request).await?),
        }
    }
}
