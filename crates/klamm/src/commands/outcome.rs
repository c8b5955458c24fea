//! What a command did to each of several things.

use klamm_client::{ClientError, Refusal};
use serde::Serialize;

use crate::failure::{Hinted, of_call, of_refusal};
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
    /// What to try next.
    #[serde(skip)]
    hint: Option<String>,
}

impl Outcome {
    /// `status` if it went well.
    pub(crate) fn new(name: impl Into<String>, status: &'static str, result: Result<(), Refusal>) -> Self {
        let name = name.into();
        let failure = result.err().map(|refusal| {
            let hint = of_refusal(refusal.code, Some(&name));
            (refusal.to_string(), hint)
        });
        Self::with(name, status, failure)
    }

    /// As [`Outcome::new`], of what had to be asked for apart from the others.
    pub(crate) fn of_call(name: String, status: &'static str, result: Result<(), ClientError>) -> Self {
        match result {
            Ok(()) => Self::with(name, status, None),
            Err(ClientError::Refused { refusal, .. }) => Self::new(name, status, Err(refusal)),
            Err(error) => {
                let hint = of_call(&error);
                Self::with(name, status, Some((error.to_string(), hint)))
            }
        }
    }

    /// As [`Outcome::of_call`], where the call brings what a broker said of the thing itself.
    pub(crate) fn of_answer(
        name: &str,
        status: &'static str,
        result: Result<Result<(), Refusal>, ClientError>,
    ) -> Self {
        match result {
            Ok(said) => Self::new(name, status, said),
            Err(error) => Self::of_call(name.to_owned(), status, Err(error)),
        }
    }

    fn with(name: String, status: &'static str, failure: Option<(String, String)>) -> Self {
        let (error, hint) = failure.unzip();
        Self {
            name,
            status: if error.is_none() { status } else { "failed" },
            error,
            hint,
        }
    }
}

/// What became of all of them.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Outcomes {
    /// What they are: topic, group, transaction.
    #[serde(skip)]
    noun: &'static str,
    outcomes: Vec<Outcome>,
}

impl Show for Outcomes {
    fn tables(&self) -> Vec<Table> {
        let heading = match self.noun {
            "group" => "GROUP",
            "transaction" => "TRANSACTION",
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
            .find_map(|outcome| Some((&outcome.name, outcome.error.as_ref()?, outcome.hint.clone()?)));
        let Some((name, error, hint)) = first else {
            return out.show(&self);
        };
        let count = self.outcomes.len();
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
