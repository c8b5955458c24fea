//! `klamm config get`.

use clap::Args;
use klamm_client::Admin;
use klamm_client::admin::configs::{ConfigEntry, ConfigSource};
use serde::Serialize;

use super::resource::{ResourceArgs, nearest_key};
use crate::failure::{Hinted, nearest};
use crate::output::{Output, Show, Table};

#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    resource: ResourceArgs,
    /// Only these keys; default: those that are set to something
    keys: Vec<String>,
    /// Show the keys that have their defaults too
    #[arg(short, long, conflicts_with = "keys")]
    all: bool,
}

#[derive(Serialize)]
struct Row {
    key: String,
    value: Option<String>,
    source: &'static str,
    is_sensitive: bool,
    is_read_only: bool,
    r#type: Option<&'static str>,
    synonyms: Vec<Synonym>,
}

#[derive(Serialize)]
struct Synonym {
    source: &'static str,
    key: String,
    value: Option<String>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl Show for Rows {
    fn tables(&self) -> Vec<Table> {
        let mut table = Table::new(&["KEY", "VALUE", "SOURCE"]);
        for row in &self.0 {
            let value = match (&row.value, row.is_sensitive) {
                (Some(value), _) => value.clone(),
                (None, true) => "(secret)".to_owned(),
                (None, false) => "-".to_owned(),
            };
            table.row([row.key.clone(), value, row.source.to_owned()]);
        }
        vec![table]
    }
}

pub(super) async fn run(admin: &Admin, args: GetArgs, out: &mut Output) -> anyhow::Result<()> {
    let resource = args.resource.resource(admin).await?;
    let mut entries = admin.describe_configs(&resource, None).await?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for key in &args.keys {
        if !entries.iter().any(|entry| entry.name == *key) {
            let known = entries.iter().map(|entry| entry.name.as_str());
            let hint = match nearest_key(&resource, key).or_else(|| nearest(key, known)) {
                Some(near) => format!("did you mean '{near}'?"),
                None => {
                    "klamm config reference lists the keys; --all shows those that the cluster has".to_owned()
                }
            };
            return Err(Hinted::error(
                format!("{resource} has no configuration '{key}'"),
                hint,
            ));
        }
    }
    entries.retain(|entry| {
        args.all
            || args.keys.contains(&entry.name)
            || (args.keys.is_empty() && entry.source != ConfigSource::Default)
    });
    out.show(&Rows(entries.into_iter().map(row).collect()))
}

fn row(entry: ConfigEntry) -> Row {
    Row {
        key: entry.name,
        value: entry.value,
        source: entry.source.name(),
        is_sensitive: entry.is_sensitive,
        is_read_only: entry.is_read_only,
        r#type: entry.kind,
        synonyms: entry
            .synonyms
            .into_iter()
            .map(|(source, key, value)| Synonym {
                source: source.name(),
                key,
                value,
            })
            .collect(),
    }
}
