//! What the controller's listener serves: the one table that its ApiVersions and its dispatch come from.
//!
//! Three kinds of rows: *shown* ones describe the node and are answered at once; *decided* ones are asked of the
//! controller by brokers and tools themselves; *forwarded* ones come in envelopes only, in the name of a client.
//!
//! Always holds: what is advertised is served, at exactly the versions that a controller of Apache Kafka 4.4 advertises;
//! what may come in an envelope is what brokers pass on, and an envelope is not among it.

use bytes::Bytes;
use klamm_model::ErrorCode;
use klamm_net::Overlap;
use klamm_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterConfigsRequest, ApiVersionsRequest,
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, BrokerHeartbeatRequest,
    BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
    ControllerRegistrationRequest, ControllerRegistrationResponse, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    DescribeQuorumRequest, EnvelopeRequest, EnvelopeResponse, IncrementalAlterConfigsRequest,
    UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use klamm_protocol::{ApiKey, RequestHeader};

use super::{Asked, Controller, Decide, describe_cluster};
use crate::api_table::Row;
use crate::body::Body;
use crate::context::RequestContext;
use crate::dispatch::{Fault, Serial};
use crate::handlers;
use crate::router::envelope::{self, Opened};
use crate::router::principal::Caller;

/// What a request is answered with, beside its bytes.
pub(super) struct Serving<'a> {
    pub(super) context: &'a RequestContext<'a>,
    pub(super) controller: &'a Controller,
}

macro_rules! served {
    (
        shown { $($shown:ident $shown_min:literal..=$shown_max:literal;)* }
        decided { $($decided:ident $min:literal..=$max:literal $request:ident $response:ident;)* }
        forwarded { $($forwarded:ident $forwarded_request:ident;)* }
    ) => {
        /// The rows, by kind.
        pub(super) static ROWS: &[Row] = &[
            $(row_of(ApiKey::$shown, $shown_min, $shown_max),)*
            $(row_of(ApiKey::$decided, $min, $max),)*
        ];

        /// Decodes a request of one of the rows, has it answered and encodes.
        pub(super) async fn serve(
            serving: &Serving<'_>,
            header: &RequestHeader,
            serial: &mut Serial<'_>,
        ) -> Result<(), Fault> {
            match header.api_key {
                $(ApiKey::$decided => {
                    let request = serial.decode::<$request>(header.api_version).await?;
                    let response = serving.decide(header, request).await;
                    // All answers to brokers say at their top what went wrong.
                    let response = response.unwrap_or_else(|code| $response {
                        error_code: code.code(),
                        ..Default::default()
                    });
                    serial.encode(header, &response)
                })*
                _ => show(serving, header, serial).await,
            }
        }

        /// Has the content of an envelope decided, and returns the content of the answer's.
        async fn decide_forwarded(
            controller: &Controller,
            opened: Opened,
            body: &mut Body,
        ) -> Result<Bytes, ErrorCode> {
            match opened.header.api_key {
                $(ApiKey::$forwarded => forwarded::<$forwarded_request>(controller, opened, body).await,)*
                _ => Err(ErrorCode::InvalidRequest),
            }
        }
    };
}

served! {
    shown {
        ApiVersions 0..=5;
        DescribeConfigs 1..=4;
        DescribeQuorum 0..=2;
        Envelope 0..=0;
        DescribeCluster 0..=2;
    }
    decided {
        UpdateFeatures 0..=2 UpdateFeaturesRequest UpdateFeaturesResponse;
        BrokerRegistration 0..=4 BrokerRegistrationRequest BrokerRegistrationResponse;
        BrokerHeartbeat 0..=2 BrokerHeartbeatRequest BrokerHeartbeatResponse;
        AllocateProducerIds 0..=0 AllocateProducerIdsRequest AllocateProducerIdsResponse;
        ControllerRegistration 0..=0 ControllerRegistrationRequest ControllerRegistrationResponse;
        AssignReplicasToDirs 0..=0 AssignReplicasToDirsRequest AssignReplicasToDirsResponse;
    }
    forwarded {
        AlterConfigs AlterConfigsRequest;
        CreatePartitions CreatePartitionsRequest;
        CreateTopics CreateTopicsRequest;
        DeleteTopics DeleteTopicsRequest;
        IncrementalAlterConfigs IncrementalAlterConfigsRequest;
        UpdateFeatures UpdateFeaturesRequest;
    }
}

const fn row_of(api: ApiKey, min: i16, max: i16) -> Row {
    Row {
        api,
        versions: min..=max,
        overlap: Overlap::Serial,
        handler: "controller",
    }
}

/// The row of the API with this number, if it is served.
pub(super) fn row(api_key: i16) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.api.to_i16() == api_key)
}

impl Serving<'_> {
    async fn decide<R: Decide>(&self, header: &RequestHeader, request: R) -> Result<R::Response, ErrorCode> {
        let asked = Asked {
            broker: self.context.broker.id,
            version: header.api_version,
            caller: Caller::of(self.context.connection),
        };
        self.controller.ask(request, asked).await
    }
}

/// The rows that describe the node, and envelopes.
async fn show(serving: &Serving<'_>, header: &RequestHeader, serial: &mut Serial<'_>) -> Result<(), Fault> {
    let (context, version) = (serving.context, header.api_version);
    match header.api_key {
        ApiKey::ApiVersions => {
            let request: ApiVersionsRequest = serial.decode(version).await?;
            let image = context.broker.metadata.applied();
            let response = handlers::api_versions::answer(context, &request, &image, ROWS);
            serial.encode(header, &response)
        }
        ApiKey::DescribeConfigs => {
            let request: DescribeConfigsRequest = serial.decode(version).await?;
            context.memory.begin(serial.body.answer_charge());
            let response = Box::pin(handlers::describe_configs::handle(context, request)).await;
            serial.encode(header, &response)
        }
        ApiKey::DescribeQuorum => {
            let request: DescribeQuorumRequest = serial.decode(version).await?;
            let response = handlers::describe_quorum::handle(context, request).await;
            serial.encode(header, &response)
        }
        ApiKey::DescribeCluster => {
            let request: DescribeClusterRequest = serial.decode(version).await?;
            serial.encode(header, &describe_cluster::handle(context, &request))
        }
        ApiKey::Envelope => {
            let request: EnvelopeRequest = serial.decode(version).await?;
            let answer = answer_envelope(serving, request, serial.body).await;
            serial.encode(header, &answer)
        }
        other => Err(Fault::NotServed(other.to_i16())),
    }
}

async fn answer_envelope(
    serving: &Serving<'_>,
    request: EnvelopeRequest,
    body: &mut Body,
) -> EnvelopeResponse {
    let answer = match envelope::open(request, serving.context.broker.id, body).await {
        Ok(opened) => Box::pin(decide_forwarded(serving.controller, opened, body)).await,
        Err(code) => Err(code),
    };
    match answer {
        Ok(data) => EnvelopeResponse {
            response_data: Some(data),
            ..Default::default()
        },
        Err(code) => EnvelopeResponse {
            error_code: code.code(),
            ..Default::default()
        },
    }
}

async fn forwarded<R: Decide>(
    controller: &Controller,
    opened: Opened,
    body: &mut Body,
) -> Result<Bytes, ErrorCode> {
    let Opened { header, asked } = opened;
    if !R::VERSIONS.contains(&header.api_version) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    // Kafka answers a body that cannot be read like a version that it does not know.
    let decoded = body.decode(|reader| {
        let request = R::decode(reader, header.api_version)?;
        reader.finish().map(|()| request)
    });
    let request = decoded.await.map_err(|_| ErrorCode::UnsupportedVersion)?;
    let response = controller.ask(request, asked).await?;
    envelope::seal_answer(&header, &response).map_err(|_| ErrorCode::UnknownServerError)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The APIs that a controller of Apache Kafka 4.4.0 advertised, of those that are served here.
    #[test]
    fn versions_are_those_of_kafka() {
        let kafka = include_str!("../../tests/kafka-4.4.0-controller-api-versions.txt");
        for (place, row) in ROWS.iter().enumerate() {
            let line = kafka
                .lines()
                .find(|line| line.split_whitespace().next() == Some(row.api.name()));
            let (min, max) = (row.versions.start(), row.versions.end());
            assert_eq!(line, Some(&*format!("{} {min} {max}", row.api.name())));
            assert!(row.api.on_controller());
            assert!(ROWS[..place].iter().all(|other| other.api != row.api));
        }
    }
}
