//! DescribeConfigs, versions 1 to 4: what is configured, where it comes from, and what it means.
//!
//! A list of names asks for those alone, null for all. Synonyms (where else the value was looked for) are told on demand
//! since version 1 (KIP-226), documentation since 3 (KIP-569). Topics, brokers (one, or with the empty name the default of
//! all), loggers, groups and client metrics can be asked for; the secret values are never told.
//!
//! *Memory*: the answer, about 100 KB for a broker with documentation, reserved resource by resource. *Authorization*: DESCRIBE_CONFIGS on the resource.

use klamm_config::describe::{self, ConfigEntry, Synonym};
use klamm_metadata::{Image, ResourceKind};
use klamm_model::{ErrorCode, topic_name};
use klamm_protocol::messages::describe_configs_request::DescribeConfigsResource;
use klamm_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use klamm_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use crate::context::RequestContext;
use crate::loggers;
use crate::turn::Turn;

type Refused = (ErrorCode, Option<String>);

/// Answers one request.
pub(crate) async fn handle(
    context: &RequestContext<'_>,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let image = context.broker.metadata.published_arc();
    let mut turn = Turn::default();
    let mut results = Vec::new();
    for resource in &request.resources {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        };
        match entries(context, &image, resource) {
            Ok(entries) => {
                let asked = entries
                    .into_iter()
                    .filter(|entry| is_asked(resource, &entry.name));
                let (synonyms, documentation) = (request.include_synonyms, request.include_documentation);
                result.configs = asked
                    .map(|entry| answer(entry, synonyms, documentation))
                    .collect();
            }
            Err((code, message)) => {
                result.error_code = code.code();
                result.error_message = message.map(Into::into);
            }
        }
        // Made already, and small; what is not small is how many may be asked for.
        let bytes = size_of_answer(&result);
        if !context.memory.reserve(bytes).await {
            break;
        }
        results.push(result);
        turn.spend(bytes).await;
    }
    DescribeConfigsResponse {
        results,
        ..Default::default()
    }
}

/// What a resource takes, described and encoded.
fn size_of_answer(result: &DescribeConfigsResult) -> usize {
    let texts = |config: &DescribeConfigsResourceResult| {
        let documentation = config.documentation.as_ref().map_or(0, |text| text.len());
        config.name.len() + config.value.as_ref().map_or(0, |text| text.len()) + documentation
    };
    let synonyms = |config: &DescribeConfigsResourceResult| {
        config
            .synonyms
            .iter()
            .map(|synonym| {
                let value = synonym.value.as_ref().map_or(0, |text| text.len());
                size_of::<DescribeConfigsSynonym>() + 2 * (synonym.name.len() + value) + 64
            })
            .sum::<usize>()
    };
    let configs = result
        .configs
        .iter()
        .map(|config| size_of::<DescribeConfigsResourceResult>() + 2 * texts(config) + synonyms(config) + 64);
    // The name lies in the request; a refusal may tell it again.
    let refusal = result.error_message.as_ref().map_or(0, |text| text.len());
    size_of::<DescribeConfigsResult>()
        + result.resource_name.len()
        + 2 * refusal
        + 64
        + configs.sum::<usize>()
}

fn is_asked(resource: &DescribeConfigsResource, name: &str) -> bool {
    match &resource.configuration_keys {
        None => true,
        Some(keys) if keys.is_empty() => true,
        Some(keys) => keys.iter().any(|key| **key == *name),
    }
}

fn entries(
    context: &RequestContext<'_>,
    image: &Image,
    resource: &DescribeConfigsResource,
) -> Result<Vec<ConfigEntry>, Refused> {
    let name = &*resource.resource_name;
    let configs = image.configs();
    let broker = context.broker;
    let layers = broker
        .config
        .layers(configs.broker(broker.id), configs.broker_default());
    let kind = ResourceKind::from_code(resource.resource_type).ok_or_else(|| {
        (
            ErrorCode::InvalidRequest,
            Some(format!("Unsupported resource type: {}", resource.resource_type)),
        )
    })?;
    match kind {
        ResourceKind::Topic => {
            topic_name::validate(name)
                .map_err(|e| (ErrorCode::InvalidTopicException, Some(e.to_string())))?;
            image
                .topics()
                .by_name(name)
                .ok_or((ErrorCode::UnknownTopicOrPartition, Some(String::new())))?;
            Ok(describe::topic(configs.topic(name), &layers))
        }
        ResourceKind::Broker if name.is_empty() => Ok(describe::broker_default(&layers)),
        ResourceKind::Broker => {
            own_broker(context, name)?;
            Ok(describe::broker(&layers))
        }
        ResourceKind::BrokerLogger => {
            loggers::describe(context, name).map_err(|(code, message)| (code, Some(message)))
        }
        ResourceKind::Group if name.is_empty() => Err((
            ErrorCode::InvalidRequest,
            Some("Group name must not be empty".into()),
        )),
        ResourceKind::Group => Ok(describe::group(configs.get(kind, name), &layers)),
        ResourceKind::ClientMetrics if name.is_empty() => Err((
            ErrorCode::InvalidRequest,
            Some("Client metrics subscription name must not be empty".into()),
        )),
        ResourceKind::ClientMetrics => Ok(describe::client_metrics(configs.get(kind, name))),
    }
}

/// A broker knows its own configuration only.
fn own_broker(context: &RequestContext<'_>, name: &str) -> Result<(), Refused> {
    let own = context.broker.id;
    let invalid = |message: String| (ErrorCode::InvalidRequest, Some(message));
    let id: i32 = name
        .parse()
        .map_err(|_| invalid(format!("Broker id must be an integer, but it is: {name}")))?;
    if id != own.0 {
        let message = format!("Unexpected broker id, expected {own} or empty string, but received {name}");
        return Err(invalid(message));
    }
    Ok(())
}

fn answer(entry: ConfigEntry, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult {
    let synonyms = if synonyms { entry.synonyms } else { Vec::new() };
    DescribeConfigsResourceResult {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        read_only: entry.read_only,
        config_source: entry.source as i8,
        is_sensitive: entry.sensitive,
        synonyms: synonyms.into_iter().map(synonym).collect(),
        config_type: entry.kind.map_or(0, |kind| kind as i8),
        documentation: entry.documentation.filter(|_| documentation).map(Into::into),
        ..Default::default()
    }
}

fn synonym(synonym: Synonym) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym {
        name: synonym.name.into(),
        value: synonym.value.map(Into::into),
        source: synonym.source as i8,
        ..Default::default()
    }
}
