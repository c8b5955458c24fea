//! What a command did to each of several things.

use anyhow::bail;
use klamm_client::Refusal;
use serde::Serialize;

use crate::output::{Output, Show, Table};

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
}

impl Outcome {
    /// `status` if it went well.
    pub(crate) fn new(name: impl Into<String>, status: &'static str, result: Result<(), Refusal>) -> Self {
        Self {
            name: name.into(),
            status: if result.is_ok() { status } else { "failed" },
            error: result.err().map(|refusal| refusal.to_string()),
        }
    }
}

/// What became of all of them.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Outcomes {
    pub(crate) outcomes: Vec<Outcome>,
}

impl Show for Outcomes {
    fn tables(&self) -> Vec<Table> {
        let mut table = Table::new(&["TOPIC", "STATUS"]);
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
    /// Shows them; a failure among them fails the command, with the first one's words if it is the only thing.
    pub(crate) fn show(self, what: &str, out: &mut Output) -> anyhow::Result<()> {
        if let [
            Outcome {
                name,
                error: Some(error),
                ..
            },
        ] = &self.outcomes[..]
        {
            bail!("topic '{name}' was not {what}: {error}");
        }
        out.show(&self)?;
        let failed = self
            .outcomes
            .iter()
            .filter(|outcome| outcome.error.is_some())
            .count();
        if failed > 0 {
            out.flush()?;
            bail!("{failed} of {} topics were not {what}", self.outcomes.len());
        }
        Ok(())
    }
}
