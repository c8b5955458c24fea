//! `klamm topic alter`.

use clap::Args;
use klamm_client::Admin;
use klamm_client::admin::configs::{ConfigChange, Resource};

use crate::commands::config::resource::alter;
use crate::commands::key_value;
use crate::commands::outcome::{Outcome, Outcomes};
use crate::connect::known_topic;
use crate::failure::{Hinted, of_refusal};
use crate::output::Output;

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct AlterArgs {
    /// The topic
    #[arg(value_name = "TOPIC")]
    name: String,
    /// How many partitions it shall have; they can only become more
    #[arg(short, long, value_name = "COUNT", group = "change", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Set a configuration
    #[arg(long, value_name = "KEY=VALUE", group = "change", value_parser = key_value::parse)]
    set: Vec<(String, String)>,
    /// Let a configuration go back to what it inherits
    #[arg(long, value_name = "KEY", group = "change")]
    unset: Vec<String>,
    /// Only say whether it could be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(admin: &Admin, args: AlterArgs, out: &mut Output) -> anyhow::Result<()> {
    known_topic(admin.client(), &args.name).await?;
    let set = args
        .set
        .into_iter()
        .map(|(key, value)| ConfigChange::Set(key, value));
    let unset = args.unset.into_iter().map(ConfigChange::Unset);
    let changes: Vec<ConfigChange> = set.chain(unset).collect();
    if !changes.is_empty() {
        let resource = Resource::Topic(args.name.clone());
        alter(admin, &resource, &changes, args.dry_run).await?;
    }
    if let Some(count) = args.partitions {
        let results = admin
            .create_partitions(&[(&args.name, count)], args.dry_run)
            .await?;
        for (name, result) in results {
            if let Err(refusal) = result {
                let message = format!("topic '{name}' did not get {count} partitions: {refusal}");
                return Err(Hinted::error(message, of_refusal(refusal.code, Some(&name))));
            }
        }
    }
    let status = if args.dry_run {
        "could be altered"
    } else {
        "altered"
    };
    let outcomes = vec![Outcome::new(args.name, status, Ok(()))];
    Outcomes::of("topic", outcomes).show("altered", out)
}
