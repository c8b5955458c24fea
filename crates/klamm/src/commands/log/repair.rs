//! `klamm log repair PATH`: makes damaged partitions usable again, as far as that is possible.
//!
//! Always holds: what would be done is shown first; records are given up only with `--cut-damaged`, and their bytes stay in a
//! file beside.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use klamm_env::{Env, Files};
use klamm_log::repair::{self, Allowed, Plan};
use serde::Serialize;

use super::target::{Target, name_of};
use super::verify;
use crate::commands::ask;
use crate::failure::Hinted;
use crate::output::{Output, Show, Table};

#[derive(Args, Debug)]
pub(crate) struct RepairArgs {
    /// A log dir, a partition's folder in it, or a segment (*.log); no broker may run on it
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Move damaged ranges of segments into files beside them: their records are not served any more
    #[arg(long)]
    cut_damaged: bool,
    /// Bytes of a segment between two entries of an index (index.interval.bytes)
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    index_interval_bytes: u32,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Serialize)]
struct Row {
    partition: String,
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_because: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl Show for Rows {
    fn tables(&self) -> Vec<Table> {
        let mut table = Table::new(&["PARTITION", "ACTION"]);
        for row in &self.0 {
            let action = match row.left_because {
                Some(why) => format!("none: {} ({why})", row.action),
                None => row.action.clone(),
            };
            table.row([row.partition.clone(), action]);
        }
        vec![table]
    }
}

/// A folder, and what is to be done there.
struct Work {
    name: String,
    folder: PathBuf,
    plan: Plan,
}

pub(super) fn run(args: &RepairArgs, out: &mut Output) -> anyhow::Result<()> {
    let env = Env::real();
    let files = env.files();
    let context = || args.path.display().to_string();
    let target = Target::find(&**files, &args.path).with_context(context)?;
    let _lock = target.lock(&**files)?;
    let works = plan(&env, &target, args)?;
    let rows: Vec<Row> = works.iter().flat_map(rows_of).collect();
    if rows.is_empty() {
        super::target::note("nothing is damaged");
        return Ok(());
    }
    out.show(&Rows(rows))?;
    out.flush()?;
    let steps: usize = works.iter().map(|work| work.plan.steps.len()).sum();
    let left = works.iter().flat_map(|work| &work.plan.left);
    let left = left.filter(|(finding, _)| finding.kind.is_damage()).count();
    if steps > 0 && !args.dry_run {
        if !args.yes {
            ask::confirm(&format!("Change {steps} things in {}?", args.path.display()))?;
        }
        let dir = target.dir.as_deref();
        for work in &works {
            repair::execute(&**files, dir, &work.folder, &work.plan, args.index_interval_bytes)
                .with_context(|| work.name.clone())?;
        }
    }
    if left > 0 {
        return Err(Hinted::error(
            match left {
                1 => "one thing was left as it is".to_owned(),
                count => format!("{count} things were left as they are"),
            },
            "the table says why; klamm log verify shows where they are",
        ));
    }
    Ok(())
}

fn plan(env: &Env, target: &Target, args: &RepairArgs) -> anyhow::Result<Vec<Work>> {
    let files: &dyn Files = &**env.files();
    let allowed = Allowed {
        cut_damaged: args.cut_damaged,
    };
    let mut works = Vec::new();
    if let Some(dir) = target.dir.clone().filter(|_| target.segment.is_none()) {
        works.push(Work {
            name: "-".to_owned(),
            folder: dir,
            plan: repair::plan_of_dir(&target.facts.findings, allowed),
        });
    }
    let dir: Option<&Path> = target.dir.as_deref();
    // A folder that lies alone was closed, as far as anybody knows.
    let is_clean = target.facts.is_clean || dir.is_none();
    for ((folder, partition), report) in verify::read(env, target)? {
        works.push(Work {
            name: name_of(&folder, partition.as_ref()),
            plan: repair::plan(files, dir, is_clean, &report, allowed)?,
            folder,
        });
    }
    Ok(works)
}

fn rows_of(work: &Work) -> impl Iterator<Item = Row> {
    let done = work.plan.steps.iter().map(|step| (step.to_string(), None));
    let left = work.plan.left.iter().map(|(finding, why)| {
        let file = finding.path.file_name().unwrap_or_default().to_string_lossy();
        (
            format!("{} of {file}: {}", finding.kind, finding.what),
            Some(*why),
        )
    });
    done.chain(left).map(|(action, left_because)| Row {
        partition: work.name.clone(),
        action,
        left_because,
    })
}
