//! `klamm group delete`.

use clap::Args;
use klamm_client::{Admin, ClientError};
use klamm_model::ErrorCode;

use super::unknown_group;
use crate::commands::ask;
use crate::commands::outcome::{Outcome, Outcomes};
use crate::commands::several::once_each;
use crate::output::Output;

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// Names of the groups
    #[arg(required = true, value_name = "GROUP")]
    names: Vec<String>,
    /// A group that does not exist is no failure
    #[arg(long)]
    if_exists: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(admin: &Admin, args: DeleteArgs, out: &mut Output) -> anyhow::Result<()> {
    let names = once_each(&args.names);
    if !args.yes {
        ask::confirm(&question(&names))?;
    }
    let mut outcomes = Vec::new();
    for (name, result) in admin.delete_groups(&names).await {
        let code = result.as_ref().err().and_then(ClientError::code);
        let is_missing = code == Some(ErrorCode::GroupIdNotFound);
        if is_missing && args.if_exists {
            outcomes.push(Outcome::new(name, "does not exist", Ok(())));
            continue;
        }
        if is_missing && names.len() == 1 {
            return Err(unknown_group(admin, &name).await);
        }
        outcomes.push(Outcome::of_call(name, "deleted", result));
    }
    Outcomes::of("group", outcomes).show("deleted", out)
}

fn question(names: &[&str]) -> String {
    match names {
        [name] => format!("Delete group '{name}' and the offsets that it committed?"),
        names => format!(
            "Delete {} groups and the offsets that they committed?",
            names.len()
        ),
    }
}
