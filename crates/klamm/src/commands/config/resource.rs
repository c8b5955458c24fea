//! What the configurations belong to, as options say it.

use anyhow::Context;
use clap::Args;
use klamm_client::Admin;
use klamm_client::ClientError;
use klamm_client::admin::configs::{ConfigChange, Resource};
use klamm_config::Key;
use klamm_model::{BrokerId, ErrorCode};

use crate::commands::without_effect;
use crate::connect::known_topic;
use crate::failure::Hinted;

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct ResourceArgs {
    /// Of a topic
    #[arg(short, long, value_name = "TOPIC", help_heading = "Whose configurations")]
    topic: Option<String>,
    /// Of one broker
    #[arg(long, value_name = "ID", help_heading = "Whose configurations")]
    broker: Option<i32>,
    /// Of all brokers that have no value of their own
    #[arg(long, help_heading = "Whose configurations")]
    cluster: bool,
    /// The log levels of one broker
    #[arg(long, value_name = "BROKER", help_heading = "Whose configurations")]
    loggers: Option<i32>,
    /// Of a group
    #[arg(short, long, value_name = "GROUP", help_heading = "Whose configurations")]
    group: Option<String>,
    /// Of a subscription to the metrics of clients
    #[arg(long, value_name = "NAME", help_heading = "Whose configurations")]
    client_metrics: Option<String>,
}

impl ResourceArgs {
    /// What was meant. A topic must exist.
    pub(super) async fn resource(&self, admin: &Admin) -> anyhow::Result<Resource> {
        if let Some(topic) = &self.topic {
            known_topic(admin.client(), topic).await?;
            return Ok(Resource::Topic(topic.clone()));
        }
        let broker = self.broker.map(|id| Resource::Broker(BrokerId(id)));
        let loggers = self.loggers.map(|id| Resource::BrokerLogger(BrokerId(id)));
        let group = self.group.clone().map(Resource::Group);
        let metrics = self.client_metrics.clone().map(Resource::ClientMetrics);
        // One of them is given, or the command line would not have been taken.
        Ok(broker
            .or(loggers)
            .or(group)
            .or(metrics)
            .unwrap_or(Resource::BrokerDefaults))
    }
}

/// The key that was probably meant, out of the table of all keys.
pub(super) fn nearest_key(resource: &Resource, key: &str) -> Option<&'static str> {
    Key::nearest(scope(resource)?, key).filter(|nearest| *nearest != key)
}

/// Which part of the table of keys the resource has.
pub(crate) fn scope(resource: &Resource) -> Option<klamm_config::Resource> {
    Some(match resource {
        Resource::Topic(_) => klamm_config::Resource::Topic,
        Resource::Broker(_) | Resource::BrokerDefaults => klamm_config::Resource::Broker,
        Resource::Group(_) => klamm_config::Resource::Group,
        Resource::ClientMetrics(_) => klamm_config::Resource::ClientMetrics,
        Resource::BrokerLogger(_) => return None,
    })
}

/// Makes the changes, and says which of them are in vain; a refusal says which keys there are.
pub(crate) async fn alter(
    admin: &Admin,
    resource: &Resource,
    changes: &[ConfigChange],
    dry_run: bool,
) -> anyhow::Result<()> {
    let result = admin.alter_configs(resource, changes, dry_run).await;
    let failed = || format!("the configurations of {resource} were not changed");
    match result {
        Err(ClientError::Refused { refusal, .. })
            if matches!(refusal.code, ErrorCode::InvalidConfig | ErrorCode::InvalidRequest) =>
        {
            let nearest = changes
                .iter()
                .find_map(|change| nearest_key(resource, name(change)));
            let hint = match nearest {
                Some(near) => {
                    format!("did you mean '{near}'? klamm config reference {near} says what it allows")
                }
                None => "klamm config reference lists the keys and what they allow".to_owned(),
            };
            return Err(Hinted::error(format!("{}: {refusal}", failed()), hint));
        }
        other => other.with_context(failed)?,
    }
    let set = changes.iter().filter_map(|change| match change {
        ConfigChange::Set(key, value) => Some((key.as_str(), value.as_str())),
        _ => None,
    });
    without_effect::tell(admin, scope(resource), set).await;
    Ok(())
}

fn name(change: &ConfigChange) -> &str {
    match change {
        ConfigChange::Set(name, _)
        | ConfigChange::Unset(name)
        | ConfigChange::Append(name, _)
        | ConfigChange::Subtract(name, _) => name,
    }
}
