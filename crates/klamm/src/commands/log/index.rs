//! `klamm log index PATH`: makes the indexes of segments anew.
//!
//! Always holds: the segments are only read; an index is replaced as a whole.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use klamm_env::Env;
use klamm_log::repair;
use klamm_model::Offset;
use serde::Serialize;

use super::target::{Target, name_of};
use crate::commands::ask;
use crate::output::{Output, Show, Table};

#[derive(Args, Debug)]
pub(crate) struct IndexArgs {
    /// A log dir, a partition's folder in it, or a segment (*.log); no broker may run on it
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Bytes of a segment between two entries of an index (index.interval.bytes)
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    interval_bytes: u32,
    /// Only show of which segments
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Serialize)]
struct Row {
    partition: String,
    segment: i64,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl Show for Rows {
    fn tables(&self) -> Vec<Table> {
        let mut table = Table::new(&["PARTITION", "SEGMENT"]);
        for row in &self.0 {
            table.row([row.partition.clone(), row.segment.to_string()]);
        }
        vec![table]
    }
}

pub(super) fn run(args: &IndexArgs, out: &mut Output) -> anyhow::Result<()> {
    let env = Env::real();
    let files = &**env.files();
    let context = || args.path.display().to_string();
    let target = Target::find(files, &args.path).with_context(context)?;
    let _lock = target.lock(files)?;
    let mut segments: Vec<(PathBuf, Offset)> = Vec::new();
    let mut rows = Vec::new();
    for (folder, partition) in &target.partitions {
        for segment in repair::segments_in(files, folder)? {
            if target.segment.is_none_or(|only| only == segment) {
                rows.push(Row {
                    partition: name_of(folder, partition.as_ref()),
                    segment: segment.0,
                });
                segments.push((folder.clone(), segment));
            }
        }
    }
    out.show(&Rows(rows))?;
    out.flush()?;
    if args.dry_run || segments.is_empty() {
        return Ok(());
    }
    if !args.yes {
        let question = format!("Make the indexes of {} segments anew?", segments.len());
        ask::confirm(&question)?;
    }
    for (folder, segment) in &segments {
        repair::rebuild_indexes(files, folder, *segment, args.interval_bytes)
            .with_context(|| folder.display().to_string())?;
    }
    Ok(())
}
