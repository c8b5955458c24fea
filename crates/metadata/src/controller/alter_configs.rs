//! IncrementalAlterConfigs and AlterConfigs: the dynamic configs of topics, brokers, groups and client-metrics subscriptions.
//!
//! Each resource is changed as a whole or refused; other resources of the request go on. One that stands twice is refused.
//! Loggers are not decided on here: their levels are the business of the broker that was asked, which answers for them.
//! What a value may be is `klamm-config`'s to say; here is what depends on the cluster: whether the resource exists, and
//! that `min.insync.replicas` cannot differ between brokers while eligible leader replicas are kept (KIP-966).
//!
//! Always holds: a change of `min.insync.replicas` makes the eligible leader replicas be forgotten that were kept under the
//! old one. A broker's config that is set to the value it has is written all the same: it may name a file that changed.

use std::collections::BTreeSet;

use klamm_config::alter::{self, AlterError, Operation, Target};
use klamm_config::{Layers, Values};
use klamm_model::{BrokerId, ErrorCode, topic_name};
use klamm_protocol::ByteString;
use klamm_protocol::messages::alter_configs_request as legacy;
use klamm_protocol::messages::alter_configs_response as legacy_response;
use klamm_protocol::messages::incremental_alter_configs_request as incremental;
use klamm_protocol::messages::incremental_alter_configs_response as incremental_response;
use klamm_protocol::metadata_records::ClearElrRecord;

use super::create_topics::invalid_name;
use super::{Context, Decision, Refusal, repeated};
use crate::image::ResourceKind;
use crate::image::snapshot::config_record;
use crate::record::MetadataRecord;

const MIN_ISR: &str = "min.insync.replicas";
/// A record's string cannot be longer.
const MAX_VALUE_BYTES: usize = i16::MAX as usize;

/// Decides on IncrementalAlterConfigs. `asked` is the broker that the client sent it to: a broker's own configs are
/// changed through that broker only. Loggers are left out of the answer.
pub fn decide_incremental(
    context: &Context<'_>,
    asked: BrokerId,
    request: &incremental::IncrementalAlterConfigsRequest,
) -> Decision<incremental_response::IncrementalAlterConfigsResponse> {
    let key = |resource: &incremental::AlterConfigsResource| {
        (resource.resource_type, resource.resource_name.clone())
    };
    let repeated = repeated(request.resources.iter().map(key));
    let (mut records, mut responses) = (Vec::new(), Vec::new());
    for resource in &request.resources {
        if resource.resource_type == ResourceKind::BrokerLogger.code() {
            continue;
        }
        let operations: Vec<_> = resource.configs.iter().map(operation).collect();
        let change = Change::Incremental(&operations);
        let made = if repeated.contains(&key(resource)) {
            Err(twice())
        } else {
            one(
                context,
                asked,
                resource.resource_type,
                &resource.resource_name,
                &change,
            )
        };
        let (error_code, error_message) = answer(made, &mut records);
        responses.push(incremental_response::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        });
    }
    if request.validate_only {
        records.clear();
    }
    let response = incremental_response::IncrementalAlterConfigsResponse {
        responses,
        ..Default::default()
    };
    Decision { records, response }
}

/// Decides on AlterConfigs, which replaces all that was set. `asked` is as in [`decide_incremental`]; loggers are refused.
pub fn decide_replacing(
    context: &Context<'_>,
    asked: BrokerId,
    request: &legacy::AlterConfigsRequest,
) -> Decision<legacy_response::AlterConfigsResponse> {
    let key =
        |resource: &legacy::AlterConfigsResource| (resource.resource_type, resource.resource_name.clone());
    let repeated = repeated(request.resources.iter().map(key));
    let (mut records, mut responses) = (Vec::new(), Vec::new());
    for resource in &request.resources {
        let entries: Vec<_> = resource
            .configs
            .iter()
            .map(|each| (&*each.name, each.value.as_deref()))
            .collect();
        let made = if repeated.contains(&key(resource)) {
            Err(twice())
        } else {
            one(
                context,
                asked,
                resource.resource_type,
                &resource.resource_name,
                &Change::Replacing(&entries),
            )
        };
        let (error_code, error_message) = answer(made, &mut records);
        responses.push(legacy_response::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        });
    }
    if request.validate_only {
        records.clear();
    }
    Decision {
        records,
        response: legacy_response::AlterConfigsResponse {
            responses,
            ..Default::default()
        },
    }
}

/// What is to be done to the configs of one resource.
enum Change<'a> {
    Incremental(&'a [Operation<'a>]),
    Replacing(&'a [(&'a str, Option<&'a str>)]),
}

impl Change<'_> {
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Incremental(operations) => operations.iter().map(|each| each.name).collect(),
            Self::Replacing(entries) => entries.iter().map(|(name, _)| *name).collect(),
        }
    }

    fn apply(&self, target: Target, current: &Values, layers: &Layers<'_>) -> Result<Values, AlterError> {
        match self {
            Self::Incremental(operations) => alter::alter(target, current, operations, layers),
            Self::Replacing(entries) => alter::replace(target, current, entries, layers),
        }
    }
}

fn operation(config: &incremental::AlterableConfig) -> Operation<'_> {
    Operation {
        name: &config.name,
        operation: config.config_operation,
        value: config.value.as_deref(),
    }
}

/// The records of one resource's change.
fn one(
    context: &Context<'_>,
    asked: BrokerId,
    resource_type: i8,
    name: &str,
    change: &Change<'_>,
) -> Result<Vec<MetadataRecord>, Refusal> {
    let known = ResourceKind::from_code(resource_type).filter(|kind| *kind != ResourceKind::BrokerLogger);
    let Some(kind) = known else {
        return Err(invalid(format!("Unknown resource type {resource_type}")));
    };
    // Kafka looks at keys and values before it looks for the resource.
    check_shape(change)?;
    let name = &*resource_name(context, asked, kind, name)?;
    let current = context.image.configs().get(kind, name);
    let altered = change.apply(target(kind, name), current, &context.layers());
    let altered = altered.map_err(|error| Refusal {
        code: error.code(),
        message: error.message(),
    })?;
    let named: BTreeSet<&str> = change.names().into_iter().collect();
    let touched = |config: &str| {
        let rewritten = kind == ResourceKind::Broker && named.contains(config);
        rewritten || current.get(config) != altered.get(config)
    };
    let set = current.keys().chain(altered.keys()).map(String::as_str);
    let configs: BTreeSet<&str> = set.chain(named.iter().copied()).collect();
    let changed: Vec<(&str, Option<&str>)> = configs
        .into_iter()
        .filter(|config| touched(config))
        .map(|config| (config, altered.get(config).map(String::as_str)))
        .collect();
    check_changes(context, kind, name, &changed)?;
    let mut records: Vec<MetadataRecord> = changed
        .iter()
        .map(|(config, value)| config_record(kind, name, config, *value).into())
        .collect();
    if context.image.keeps_elr() && changed.iter().any(|(config, _)| *config == MIN_ISR) {
        records.push(
            ClearElrRecord {
                topic_name: name.into(),
                ..Default::default()
            }
            .into(),
        );
    }
    Ok(records)
}

fn check_shape(change: &Change<'_>) -> Result<(), Refusal> {
    if !repeated(change.names().into_iter()).is_empty() {
        return Err(invalid(AlterError::DuplicateKeys.to_string()));
    }
    let without: Vec<String> = match change {
        Change::Incremental(operations) => {
            let without = operations
                .iter()
                .filter(|each| each.operation != 1 && each.value.is_none());
            without.map(|each| each.name.to_owned()).collect()
        }
        Change::Replacing(entries) => entries
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| (*name).to_owned())
            .collect(),
    };
    match without.is_empty() {
        true => Ok(()),
        false => Err(invalid(AlterError::NullValue(without).to_string())),
    }
}

/// The name under which the configs of the resource are kept, if it exists.
fn resource_name(
    context: &Context<'_>,
    asked: BrokerId,
    kind: ResourceKind,
    name: &str,
) -> Result<String, Refusal> {
    match (kind, name) {
        (ResourceKind::Topic, "") => Err(invalid("Default topic resources are not allowed.")),
        (ResourceKind::Group, "") => Err(invalid("Default group resources are not allowed.")),
        (ResourceKind::ClientMetrics, "") => Err(invalid("Subscription name can't be empty")),
        (ResourceKind::Topic, _) => {
            let bad = |error| Refusal::new(ErrorCode::InvalidTopicException, invalid_name(name, &error));
            topic_name::validate(name).map_err(bad)?;
            let message = || format!("The topic '{name}' does not exist.");
            let unknown = || Refusal::new(ErrorCode::UnknownTopicOrPartition, message());
            context
                .image
                .topics()
                .by_name(name)
                .map(|_| name.to_owned())
                .ok_or_else(unknown)
        }
        (ResourceKind::Broker, name) if !name.is_empty() => {
            let number = name.parse::<i32>();
            let id = number.map_err(|_| invalid(format!("Node id must be an integer, but it is: {name}")))?;
            if id != asked.0 {
                return Err(invalid(format!(
                    "Unexpected broker id, expected {asked}, but received {id}"
                )));
            }
            Ok(id.to_string())
        }
        _ => Ok(name.to_owned()),
    }
}

fn target(kind: ResourceKind, name: &str) -> Target {
    match kind {
        ResourceKind::Topic => Target::Topic,
        ResourceKind::Broker if name.is_empty() => Target::BrokerDefault,
        ResourceKind::Broker | ResourceKind::BrokerLogger => Target::Broker,
        ResourceKind::ClientMetrics => Target::ClientMetrics,
        ResourceKind::Group => Target::Group,
    }
}

fn check_changes(
    context: &Context<'_>,
    kind: ResourceKind,
    name: &str,
    changed: &[(&str, Option<&str>)],
) -> Result<(), Refusal> {
    let config = |message: &str| Err(Refusal::new(ErrorCode::InvalidConfig, message));
    if changed
        .iter()
        .any(|(_, value)| value.is_some_and(|value| value.len() > MAX_VALUE_BYTES))
    {
        return config(
            "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.",
        );
    }
    let min_isr = changed.iter().find(|(config, _)| *config == MIN_ISR);
    match (min_isr, name) {
        (Some(_), id) if kind == ResourceKind::Broker && !id.is_empty() && context.image.keeps_elr() => {
            config("Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
        }
        (Some((_, None)), "") if kind == ResourceKind::Broker && context.image.keeps_elr() => {
            config("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
        }
        _ => Ok(()),
    }
}

fn answer(
    made: Result<Vec<MetadataRecord>, Refusal>,
    records: &mut Vec<MetadataRecord>,
) -> (i16, Option<ByteString>) {
    match made {
        Ok(made) => {
            records.extend(made);
            (ErrorCode::None.code(), None)
        }
        Err(refusal) => (refusal.code.code(), refusal.words()),
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}

fn twice() -> Refusal {
    invalid("Each resource must appear at most once.")
}
