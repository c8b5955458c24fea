//! `klamm topic create`.

use std::collections::BTreeMap;

use clap::Args;
use klamm_client::admin::topics::{CreatedTopic, NewTopic};
use klamm_client::{Admin, Refusal};
use klamm_model::ErrorCode;
use serde::Serialize;

use crate::commands::{key_value, without_effect};
use crate::failure::{Hinted, of_refusal};
use crate::output::{Output, Show, Table};

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
    /// How many partitions each gets; default: the cluster's (num.partitions)
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many replicas each partition gets; default: the cluster's (default.replication.factor)
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i16).range(1..))]
    replicas: Option<i16>,
    /// Configurations of the topics
    #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = key_value::parse)]
    configs: Vec<(String, String)>,
    /// A topic that exists is no failure
    #[arg(long)]
    if_not_exists: bool,
    /// Only say whether it could be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Created {
    name: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    code: Option<ErrorCode>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct AllCreated(Vec<Created>);

impl Show for AllCreated {
    fn tables(&self) -> Vec<Table> {
        let mut table = Table::new(&["TOPIC", "PARTITIONS", "REPLICAS", "STATUS"]);
        for topic in &self.0 {
            let number = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
            let status = match &topic.error {
                Some(error) => format!("failed: {error}"),
                None => topic.status.to_owned(),
            };
            table.row([
                topic.name.clone(),
                number(topic.partitions.map(|count| count.to_string())),
                number(topic.replicas.map(|count| count.to_string())),
                status,
            ]);
        }
        vec![table]
    }
}

pub(super) async fn run(admin: &Admin, args: CreateArgs, out: &mut Output) -> anyhow::Result<()> {
    let configs: BTreeMap<String, String> = args.configs.into_iter().collect();
    let topics: Vec<NewTopic> = args
        .names
        .iter()
        .map(|name| NewTopic {
            name: name.clone(),
            partitions: args.partitions,
            replication_factor: args.replicas,
            configs: configs.clone(),
            ..NewTopic::default()
        })
        .collect();
    let results = admin.create_topics(&topics, args.dry_run).await?;
    if results.iter().any(|(_, result)| result.is_ok()) {
        let set = configs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        without_effect::tell(admin, Some(klamm_config::Resource::Topic), set).await;
    }
    let created: Vec<Created> = results
        .into_iter()
        .map(|(name, result)| row(name, result, args.if_not_exists, args.dry_run))
        .collect();
    let first = created
        .iter()
        .find_map(|topic| Some((&topic.name, topic.error.as_ref()?, topic.code?)));
    let Some((name, error, code)) = first else {
        return out.show(&AllCreated(created));
    };
    let (count, hint) = (created.len(), of_refusal(code, Some(name)));
    if count == 1 {
        let message = format!("topic '{name}' was not created: {error}");
        return Err(Hinted::error(message, hint));
    }
    let failed = created.iter().filter(|topic| topic.error.is_some()).count();
    out.show(&AllCreated(created))?;
    out.flush()?;
    let message = format!("{failed} of {count} topics were not created");
    Err(Hinted::error(message, hint))
}

fn row(name: String, result: Result<CreatedTopic, Refusal>, if_not_exists: bool, dry_run: bool) -> Created {
    let mut row = Created {
        name,
        status: if dry_run { "could be created" } else { "created" },
        id: None,
        partitions: None,
        replicas: None,
        error: None,
        code: None,
    };
    match result {
        Ok(topic) => {
            row.id = topic.id.map(|id| id.to_string());
            row.partitions = topic.partitions;
            row.replicas = topic.replication_factor;
        }
        Err(refusal) if if_not_exists && refusal.code == ErrorCode::TopicAlreadyExists => {
            row.status = "exists"
        }
        Err(refusal) => {
            row.status = "failed";
            row.code = Some(refusal.code);
            row.error = Some(refusal.to_string());
        }
    }
    row
}
