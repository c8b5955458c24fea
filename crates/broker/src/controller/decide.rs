//! The requests that the controller answers, each a call of the decision of its name.

use std::future::Future;

use klamm_metadata::controller::{
    Decision, allocate_producer_ids, alter_configs, assign_replicas_to_dirs, create_partitions,
    create_topics, delete_topics, heartbeat, register_broker, register_controller, update_features,
};
use klamm_model::{BrokerId, ErrorCode};
use klamm_protocol::Request;
use klamm_protocol::messages::{
    AllocateProducerIdsRequest, AlterConfigsRequest, AssignReplicasToDirsRequest, BrokerHeartbeatRequest,
    BrokerRegistrationRequest, BrokerRegistrationResponse, ControllerRegistrationRequest,
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, IncrementalAlterConfigsRequest,
    UpdateFeaturesRequest,
};
use tracing::{debug, warn};

use super::Controller;
use crate::features;
use crate::router::principal::Caller;

/// Who asks through whom, and in which version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The broker that the client asked.
    pub(crate) broker: BrokerId,
    /// The version of the request.
    pub(crate) version: i16,
    /// In whose name.
    pub(crate) caller: Caller,
}

/// A request that the controller answers.
pub(crate) trait Decide: Request {
    /// Decides, commits what was decided, and answers. An error means that nothing is known to be decided.
    fn decide(
        self,
        controller: &Controller,
        asked: Asked,
    ) -> impl Future<Output = Result<Self::Response, ErrorCode>> + Send;
}

/// Decisions that need the state and the request alone.
macro_rules! plain {
    ($($request:ident $decide:expr;)*) => {
        $(impl Decide for $request {
            async fn decide(self, controller: &Controller, _asked: Asked) -> Result<Self::Response, ErrorCode> {
                controller.decide(|_, context| $decide(context, &self)).await
            }
        })*
    };
}

plain! {
    AllocateProducerIdsRequest allocate_producer_ids::decide;
    AssignReplicasToDirsRequest assign_replicas_to_dirs::decide;
    ControllerRegistrationRequest register_controller::decide;
    CreatePartitionsRequest create_partitions::decide;
    CreateTopicsRequest create_topics::decide;
    DeleteTopicsRequest delete_topics::decide;
}

impl Decide for AlterConfigsRequest {
    async fn decide(self, controller: &Controller, asked: Asked) -> Result<Self::Response, ErrorCode> {
        controller
            .decide(|_, context| alter_configs::decide_replacing(context, asked.broker, &self))
            .await
    }
}

impl Decide for IncrementalAlterConfigsRequest {
    async fn decide(self, controller: &Controller, asked: Asked) -> Result<Self::Response, ErrorCode> {
        controller
            .decide(|_, context| alter_configs::decide_incremental(context, asked.broker, &self))
            .await
    }
}

impl Decide for UpdateFeaturesRequest {
    async fn decide(self, controller: &Controller, asked: Asked) -> Result<Self::Response, ErrorCode> {
        let served = features::served();
        controller
            .decide(|_, context| update_features::decide(context, &served, asked.version, &self))
            .await
    }
}

impl Decide for BrokerRegistrationRequest {
    async fn decide(self, controller: &Controller, _asked: Asked) -> Result<Self::Response, ErrorCode> {
        let response = controller
            .decide_in_parts(|turn, context| {
                let epoch = i64::try_from(turn.image.position().index + 1).unwrap_or(i64::MAX);
                let decided = register_broker::decide(
                    context,
                    turn.sessions,
                    &controller.cluster_id,
                    epoch,
                    turn.now,
                    &self,
                );
                decided.unwrap_or_else(|refusal| {
                    let why = refusal.message.unwrap_or_default();
                    warn!(broker = self.broker_id, code = %refusal.code, %why, "registration refused");
                    let error_code = refusal.code.code();
                    Decision::unchanged(Some(BrokerRegistrationResponse {
                        error_code,
                        ..Default::default()
                    }))
                })
            })
            .await?;
        if response.error_code == ErrorCode::None.code() {
            controller.heard(self.broker_id, response.broker_epoch, -1).await;
        }
        Ok(response)
    }
}

impl Decide for BrokerHeartbeatRequest {
    async fn decide(self, controller: &Controller, _asked: Asked) -> Result<Self::Response, ErrorCode> {
        let response = controller
            .decide_in_parts(|turn, context| heartbeat::decide(context, turn.sessions, &self))
            .await?;
        if response.error_code == ErrorCode::None.code() {
            controller
                .heard(self.broker_id, self.broker_epoch, self.current_metadata_offset)
                .await;
        }
        Ok(response)
    }
}

impl Controller {
    /// Decides on a request, wherever it came from.
    pub(crate) async fn ask<R: Decide>(&self, request: R, asked: Asked) -> Result<R::Response, ErrorCode> {
        let Asked {
            broker,
            version,
            caller,
        } = &asked;
        debug!(api = %R::KEY, version, %broker, %caller, "asked");
        request.decide(self, asked).await
    }

    async fn heard(&self, broker: i32, epoch: i64, metadata_offset: i64) {
        self.turn
            .lock()
            .await
            .heard(BrokerId(broker), epoch, metadata_offset, self.env.monotonic());
    }
}
