//! `klamm config reference`: the one table of keys, which the server reads too.

use clap::Args;
use klamm_config::reference::{self, Row};
use serde::Serialize;

use crate::failure::{Hinted, nearest};
use crate::output::{Output, Show, Table};

#[derive(Args, Debug)]
pub(crate) struct ReferenceArgs {
    /// Only keys that contain this text
    text: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    theme: &'static str,
    key: &'static str,
    r#type: &'static str,
    default: String,
    allowed: String,
    unit: &'static str,
    scope: &'static str,
    served: String,
    meaning: &'static str,
}

impl From<Row> for Shown {
    fn from(row: Row) -> Self {
        Self {
            theme: row.theme,
            key: row.name,
            r#type: row.kind,
            default: row.default,
            allowed: row.allowed,
            unit: row.unit,
            scope: row.scope,
            served: row.served,
            meaning: row.meaning,
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Reference(Vec<Shown>);

impl Show for Reference {
    fn tables(&self) -> Vec<Table> {
        if let [one] = &self.0[..] {
            return vec![one.facts()];
        }
        let mut tables: Vec<Table> = Vec::new();
        let mut rest = &self.0[..];
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|key| key.theme == first.theme).count();
            let (theme, others) = rest.split_at(count);
            rest = others;
            let header = ["KEY", "TYPE", "DEFAULT", "SCOPE", "MEANING"];
            let mut table = Table::new(&header).titled(first.theme);
            for key in theme {
                table.row([
                    key.key.to_owned(),
                    key.kind(),
                    key.default.clone(),
                    key.scope.to_owned(),
                    key.meaning(),
                ]);
            }
            tables.push(table);
        }
        tables
    }
}

impl Shown {
    fn kind(&self) -> String {
        if self.unit.is_empty() {
            self.r#type.to_owned()
        } else {
            format!("{} ({})", self.r#type, self.unit)
        }
    }

    fn meaning(&self) -> String {
        if self.served == "yes" {
            self.meaning.to_owned()
        } else {
            format!("{} Served: {}.", self.meaning, self.served.trim_end_matches('.'))
        }
    }

    fn facts(&self) -> Table {
        let or_dash = |text: &str| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text.to_owned()
            }
        };
        Table::facts([
            ("key", self.key.to_owned()),
            ("type", self.kind()),
            ("default", or_dash(&self.default)),
            ("allowed", or_dash(&self.allowed)),
            ("scope", self.scope.to_owned()),
            ("served", self.served.clone()),
            ("meaning", self.meaning.to_owned()),
        ])
    }
}

pub(super) fn run(args: &ReferenceArgs, out: &mut Output) -> anyhow::Result<()> {
    let mut rows = reference::table();
    if let Some(text) = &args.text {
        let whole: Vec<Row> = rows.iter().filter(|row| row.name == text).cloned().collect();
        if whole.is_empty() {
            let all: Vec<&str> = rows.iter().map(|row| row.name).collect();
            rows.retain(|row| row.name.contains(text.as_str()));
            if rows.is_empty() {
                let hint = match nearest(text, all) {
                    Some(near) => format!("did you mean '{near}'?"),
                    None => "klamm config reference lists all keys".to_owned(),
                };
                return Err(Hinted::error(format!("no key contains '{text}'"), hint));
            }
        } else {
            rows = whole;
        }
    }
    out.show(&Reference(rows.into_iter().map(Shown::from).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_shown_under_its_theme() {
        let all = Reference(reference::table().into_iter().map(Shown::from).collect());
        let themes: std::collections::BTreeSet<&str> = all.0.iter().map(|key| key.theme).collect();
        assert_eq!(all.tables().len(), themes.len());
        assert!(all.0.len() > 100);
    }
}
