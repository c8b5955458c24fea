//! `klamm transaction`: list, describe, abort, find-hanging.
//!
//! Next: one file each; `transaction/state.rs` for the words.

mod abort;
mod describe;
mod find_hanging;
mod list;
mod state;

use clap::Subcommand;
use klamm_client::Admin;
use klamm_client::admin::transactions::TransactionFilter;

use crate::connect::Session;
use crate::failure::{Hinted, nearest};
use crate::output::{Output, printable};

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List transactional ids: state, producer, coordinator
    List(list::ListArgs),
    /// Describe transactional ids: state, producer, since when open, in which partitions
    Describe(describe::DescribeArgs),
    /// Abort what transactional ids have open, or a hanging transaction in its partition
    Abort(abort::AbortArgs),
    /// Find transactions that are open in a partition and that no coordinator will end
    FindHanging(find_hanging::FindHangingArgs),
}

pub(crate) fn run(session: &Session, command: Command, out: &mut Output) -> anyhow::Result<()> {
    session.administer(|admin| async move {
        match command {
            Command::List(args) => list::run(&admin, args, out).await,
            Command::Describe(args) => describe::run(&admin, args, out).await,
            Command::Abort(args) => abort::run(&admin, args, out).await,
            Command::FindHanging(args) => find_hanging::run(&admin, args, out).await,
        }
    })
}

/// The error about a transactional id that is not known; it names the nearest one that is.
async fn unknown_id(admin: &Admin, id: &str) -> anyhow::Error {
    let known = match admin.list_transactions(&TransactionFilter::default()).await {
        Ok(known) => known,
        Err(error) => return error.into(),
    };
    not_known(id, known.iter().map(|known| known.id.as_str()))
}

fn not_known<'a>(id: &str, known: impl IntoIterator<Item = &'a str>) -> anyhow::Error {
    let hint = match nearest(id, known) {
        Some(near) => format!(
            "did you mean '{}'? klamm transaction list shows those that are known",
            printable(near)
        ),
        None => "klamm transaction list shows those that are known".to_owned(),
    };
    Hinted::error(format!("there is no transactional id '{}'", printable(id)), hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::hint;

    #[test]
    fn the_nearest_id_is_named_on_one_line_whatever_is_in_it() {
        let cases = [
            ("pay", "pays", "did you mean 'pays'? "),
            ("-pay", "-pays", "did you mean '-pays'? "),
            ("my pay", "my pays", "did you mean 'my pays'? "),
            ("pay x", "pay\nx", r"did you mean 'pay\nx'? "),
        ];
        for (id, known, expected) in cases {
            let error = not_known(id, [known]);
            let hint = hint(&error).unwrap();
            assert!(hint.starts_with(expected), "{hint}");
        }
        assert_eq!(
            not_known("a\nb", []).to_string(),
            r"there is no transactional id 'a\nb'"
        );
    }
}
