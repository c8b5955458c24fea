//! `configure`: settings of a topic, as they are given on the command line, and changed.

use std::str::FromStr;

use anyhow::{Result, ensure};
use klamm_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use crate::admin::{self, Admin, check};
use crate::report::{self, Stopwatch};
use crate::topics::Where;

/// What a resource is: a topic.
const TOPIC: i8 = 2;
/// What is done with a key: it gets a value.
const SET: i8 = 0;

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for Setting {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("a setting is KEY=VALUE")?;
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// Which topic to change, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    /// Settings of the topic, KEY=VALUE.
    #[arg(long = "config", value_name = "KEY=VALUE", required = true)]
    configs: Vec<Setting>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut admin = Admin::open(args.place.address()?)?;
    report::gate("ready")?;
    let watch = Stopwatch::start();
    set(&mut admin, args.place.topic(), &args.configs)?;
    report::say(&watch.stop(1))
}

/// Changes settings of a topic; what is not named stays.
pub(crate) fn set(admin: &mut Admin, topic: &str, settings: &[Setting]) -> Result<()> {
    let configs = settings.iter().map(|setting| AlterableConfig {
        name: setting.key.as_str().into(),
        config_operation: SET,
        value: Some(setting.value.as_str().into()),
        ..AlterableConfig::default()
    });
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: topic.into(),
            configs: configs.collect(),
            ..AlterConfigsResource::default()
        }],
        ..IncrementalAlterConfigsRequest::default()
    };
    let answer = admin.call(admin::INCREMENTAL_ALTER_CONFIGS, &request)?;
    ensure!(answer.responses.len() == 1, "one topic was to be changed");
    let answer = &answer.responses[0];
    check(answer.error_code, || {
        let why = answer.error_message.as_deref().unwrap_or_default();
        format!("cannot change {topic}: {why}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_split_at_its_first_equals_sign() {
        for (text, expected) in [
            (
                "cleanup.policy=compact,delete",
                Some(("cleanup.policy", "compact,delete")),
            ),
            ("a=b=c", Some(("a", "b=c"))),
            ("a=", Some(("a", ""))),
            ("a", None),
        ] {
            let setting = text.parse::<Setting>().ok();
            let found = setting.as_ref().map(|one| (one.key.as_str(), one.value.as_str()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
