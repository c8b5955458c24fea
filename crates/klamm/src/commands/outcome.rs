//! What a command did to each of several things.

use klamm_client::Refusal;
use klamm_model::ErrorCode;
use serde::Serialize;

use crate::failure::{Hinted, of_refusal};
use crate::output::{Output, Show, Table, printable};

/// One thing, and what became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// Its name.
    pub(crate) name: String,
    /// In a word: created, deleted, failed.
    pub(crate) status: &'static str,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The code of the error, which says what to try next.
    #[serde(skip)]
    code: Option<ErrorCode>,
}

impl Outcome {
    /// `status` if it went well.
    pub(crate) fn new(name: impl Into<String>, status: &'static str, result: Result<(), Refusal>) -> Self {
        Self {
            name: name.into(),
            status: if result.is_ok() { status } else { "failed" },
            code: result.as_ref().err().map(|refusal| refusal.code),
            error: result.err().map(|refusal| refusal.to_string()),
        }
    }
}

/// What became of all of them.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Outcomes {
    /// What they are: topic, group.
    #[serde(skip)]
    noun: &'static str,
    outcomes: Vec<Outcome>,
}

impl Show for Outcomes {
    fn tables(&self) -> Vec<Table> {
        let heading = match self.noun {
            "group" => "GROUP",
            _ => "TOPIC",
        };
        let mut table = Table::new(&[heading, "STATUS"]);
        for outcome in &self.outcomes {
            let status = match &outcome.error {
                Some(error) => format!("failed: {error}"),
                None => outcome.status.to_owned(),
            };
            table.row([outcome.name.clone(), status]);
        }
        vec![table]
    }
}

impl Outcomes {
    /// What became of things of this kind.
    pub(crate) fn of(noun: &'static str, outcomes: Vec<Outcome>) -> Self {
        Self { noun, outcomes }
    }

    /// Shows them; a failure among them fails the command, with the first one's words if it is the only thing.
    pub(crate) fn show(self, what: &str, out: &mut Output) -> anyhow::Result<()> {
        let first = self
            .outcomes
            .iter()
            .find_map(|outcome| Some((&outcome.name, outcome.error.as_ref()?, outcome.code?)));
        let Some((name, error, code)) = first else {
            return out.show(&self);
        };
        let (count, hint) = (self.outcomes.len(), of_refusal(code, Some(name)));
        if count == 1 {
            return Err(Hinted::error(
                format!("{} '{}' was not {what}: {error}", self.noun, printable(name)),
                hint,
            ));
        }
        out.show(&self)?;
        out.flush()?;
        let failed = self.outcomes.iter().filter(|outcome| outcome.error.is_some());
        let message = format!("{} of {count} {}s were not {what}", failed.count(), self.noun);
        Err(Hinted::error(message, hint))
    }
}
