//! Reads and changes configurations.

use bytestring::ByteString;
use klamm_model::BrokerId;
use klamm_protocol::ApiKey;
use klamm_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use klamm_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use klamm_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::Admin;
use crate::client::Target;
use crate::error::{ClientError, Refusal};

/// What has configurations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// One broker.
    Broker(BrokerId),
    /// All brokers that have no value of their own.
    BrokerDefaults,
    /// The log levels of one broker.
    BrokerLogger(BrokerId),
    /// A group.
    Group(String),
    /// A subscription to the metrics of clients.
    ClientMetrics(String),
}

impl Resource {
    fn kind(&self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Broker(_) | Self::BrokerDefaults => 4,
            Self::BrokerLogger(_) => 8,
            Self::ClientMetrics(_) => 16,
            Self::Group(_) => 32,
        }
    }

    fn name(&self) -> ByteString {
        match self {
            Self::Topic(name) | Self::Group(name) | Self::ClientMetrics(name) => name.as_str().into(),
            Self::Broker(id) | Self::BrokerLogger(id) => id.to_string().into(),
            Self::BrokerDefaults => ByteString::new(),
        }
    }

    /// Which broker answers for it.
    fn target(&self) -> Target {
        match self {
            Self::Broker(id) | Self::BrokerLogger(id) => Target::Broker(*id),
            Self::Topic(_) | Self::BrokerDefaults | Self::Group(_) | Self::ClientMetrics(_) => Target::Any,
        }
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic '{name}'"),
            Self::Broker(id) => write!(f, "broker {id}"),
            Self::BrokerDefaults => f.write_str("the default of all brokers"),
            Self::BrokerLogger(id) => write!(f, "the loggers of broker {id}"),
            Self::Group(name) => write!(f, "group '{name}'"),
            Self::ClientMetrics(name) => write!(f, "client metrics '{name}'"),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on the broker while it runs.
    Broker,
    /// Set for all brokers while they run.
    BrokerDefaults,
    /// In the broker's file.
    BrokerFile,
    /// Nowhere: the default.
    Default,
    /// Set on the broker's loggers.
    BrokerLogger,
    /// Set on the subscription.
    ClientMetrics,
    /// Set on the group.
    Group,
    /// A source that this client does not know.
    Other(i8),
}

impl ConfigSource {
    fn from_wire(source: i8) -> Self {
        match source {
            1 => Self::Topic,
            2 => Self::Broker,
            3 => Self::BrokerDefaults,
            4 => Self::BrokerFile,
            5 => Self::Default,
            6 => Self::BrokerLogger,
            7 => Self::ClientMetrics,
            8 => Self::Group,
            other => Self::Other(other),
        }
    }

    /// The source in one or two words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Broker => "broker",
            Self::BrokerDefaults => "all brokers",
            Self::BrokerFile => "file",
            Self::Default => "default",
            Self::BrokerLogger => "logger",
            Self::ClientMetrics => "client metrics",
            Self::Group => "group",
            Self::Other(_) => "other",
        }
    }
}

/// One key of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// Its value; `None` for unset, and for secrets.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it is a secret.
    pub is_sensitive: bool,
    /// Whether it cannot be changed while the broker runs.
    pub is_read_only: bool,
    /// Its type, in Kafka's word; `None` where the broker does not say.
    pub kind: Option<&'static str>,
    /// What it means, where the broker says so.
    pub documentation: Option<String>,
    /// All values that it would have, the one in force first.
    pub synonyms: Vec<(ConfigSource, String, Option<String>)>,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// Sets the value.
    Set(String, String),
    /// Goes back to what is inherited.
    Unset(String),
    /// Adds to a list.
    Append(String, String),
    /// Takes out of a list.
    Subtract(String, String),
}

impl ConfigChange {
    fn alterable(&self) -> AlterableConfig {
        let (name, operation, value) = match self {
            Self::Set(name, value) => (name, 0, Some(value)),
            Self::Unset(name) => (name, 1, None),
            Self::Append(name, value) => (name, 2, Some(value)),
            Self::Subtract(name, value) => (name, 3, Some(value)),
        };
        AlterableConfig {
            name: name.as_str().into(),
            config_operation: operation,
            value: value.map(|value| value.as_str().into()),
            ..AlterableConfig::default()
        }
    }
}

impl Admin {
    /// The configurations of `resource`; with `keys`, only those.
    pub async fn describe_configs(
        &self,
        resource: &Resource,
        keys: Option<&[String]>,
    ) -> Result<Vec<ConfigEntry>, ClientError> {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: resource.kind(),
                resource_name: resource.name(),
                configuration_keys: keys
                    .map(|keys| keys.iter().map(|key| ByteString::from(key.as_str())).collect()),
                ..DescribeConfigsResource::default()
            }],
            include_synonyms: true,
            include_documentation: true,
            ..DescribeConfigsRequest::default()
        };
        let target = resource.target();
        self.client
            .retrying(|| async {
                let mut response = self.client.call_once(target, &request).await?;
                let Some(result) = response.results.pop() else {
                    return Ok(Vec::new());
                };
                Refusal::check(result.error_code, result.error_message.as_ref())
                    .map_err(|refusal| ClientError::refused(ApiKey::DescribeConfigs, refusal))?;
                Ok(result.configs.into_iter().map(entry).collect())
            })
            .await
    }

    /// Changes configurations of `resource`, all of them or none; with `validate_only` says whether it could be done.
    pub async fn alter_configs(
        &self,
        resource: &Resource,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: resource.kind(),
                resource_name: resource.name(),
                configs: changes.iter().map(ConfigChange::alterable).collect(),
                ..AlterConfigsResource::default()
            }],
            validate_only,
            ..IncrementalAlterConfigsRequest::default()
        };
        let target = match resource.target() {
            Target::Any => Target::Controller,
            broker => broker,
        };
        self.client
            .retrying(|| async {
                let response = self.client.call_once(target, &request).await?;
                for result in response.responses {
                    Refusal::check(result.error_code, result.error_message.as_ref())
                        .map_err(|refusal| ClientError::refused(ApiKey::IncrementalAlterConfigs, refusal))?;
                }
                Ok(())
            })
            .await
    }
}

fn entry(config: DescribeConfigsResourceResult) -> ConfigEntry {
    ConfigEntry {
        name: config.name.to_string(),
        value: config.value.map(|value| value.to_string()),
        source: ConfigSource::from_wire(config.config_source),
        is_sensitive: config.is_sensitive,
        is_read_only: config.read_only,
        kind: kind(config.config_type),
        documentation: config.documentation.map(|text| text.to_string()),
        synonyms: config
            .synonyms
            .into_iter()
            .map(|synonym| {
                let source = ConfigSource::from_wire(synonym.source);
                (
                    source,
                    synonym.name.to_string(),
                    synonym.value.map(|value| value.to_string()),
                )
            })
            .collect(),
    }
}

fn kind(kind: i8) -> Option<&'static str> {
    Some(match kind {
        1 => "boolean",
        2 => "string",
        3 => "int",
        4 => "short",
        5 => "long",
        6 => "double",
        7 => "list",
        8 => "class",
        9 => "password",
        _ => return None,
    })
}
