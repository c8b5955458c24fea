//! `klamm topic delete`.

use clap::Args;
use klamm_client::Admin;
use klamm_model::ErrorCode;

use crate::commands::outcome::{Outcome, Outcomes};
use crate::failure::{Hinted, nearest};
use crate::output::Output;

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
    /// A topic that does not exist is no failure
    #[arg(long)]
    if_exists: bool,
}

pub(super) async fn run(admin: &Admin, args: DeleteArgs, out: &mut Output) -> anyhow::Result<()> {
    let names: Vec<&str> = args.names.iter().map(String::as_str).collect();
    let mut outcomes = Vec::new();
    for (name, result) in admin.delete_topics(&names).await? {
        let is_missing =
            matches!(&result, Err(refusal) if refusal.code == ErrorCode::UnknownTopicOrPartition);
        if is_missing && args.if_exists {
            outcomes.push(Outcome::new(name, "does not exist", Ok(())));
            continue;
        }
        if is_missing && names.len() == 1 {
            return Err(missing(admin, &name).await);
        }
        outcomes.push(Outcome::new(name, "deleted", result));
    }
    Outcomes::of("topic", outcomes).show("deleted", out)
}

async fn missing(admin: &Admin, name: &str) -> anyhow::Error {
    let known = match admin.client().refresh_all().await {
        Ok(known) => known,
        Err(error) => return error.into(),
    };
    let hint = match nearest(name, known.topics.keys().map(|name| &**name)) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "klamm topic list shows those that exist; with --if-exists this is no failure".to_owned(),
    };
    Hinted::error(format!("there is no topic '{name}'"), hint)
}
