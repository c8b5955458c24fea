//! `klamm log adopt DIR`: takes over the data of a stopped Apache Kafka broker that was alone.
//!
//! Always holds: what will be done, and what will not be taken over, is shown before anything is changed; Kafka's folder stays
//! as it is unless `--in-place` is given.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use klamm_broker::adopt::{self, Adoption, Plan, Way};
use klamm_env::Env;
use serde::Serialize;

use super::target::note;
use crate::commands::ask;
use crate::output::{Output, Show, Table, argument};

#[derive(Args, Debug)]
pub(crate) struct AdoptArgs {
    /// The log dir of the Kafka broker, which must not run: the one that has __cluster_metadata-0
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    way: WayArgs,
    /// Where klamm's metadata log goes, if metadata.log.dir will not be the log dir
    #[arg(long, value_name = "DIR")]
    metadata_log_dir: Option<PathBuf>,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct WayArgs {
    /// Copy the data into this new log dir; Kafka's stays as it is
    #[arg(long, value_name = "DIR")]
    copy_to: Option<PathBuf>,
    /// Make the folder itself a log dir of klamm: nothing is copied, and Kafka does not start on it any more
    #[arg(long)]
    in_place: bool,
}

#[derive(Serialize)]
struct Shown {
    cluster_id: String,
    node_id: i32,
    is_clean: bool,
    log_dir: String,
    topics: usize,
    partitions: usize,
    bytes: u64,
    left_out: Vec<LeftOut>,
}

#[derive(Serialize)]
struct LeftOut {
    what: String,
    why: &'static str,
}

impl Show for Shown {
    fn tables(&self) -> Vec<Table> {
        let ended = match self.is_clean {
            true => "in order",
            false => "not in order: the first start looks through what was not flushed",
        };
        let mut tables = vec![Table::facts([
            ("cluster", self.cluster_id.clone()),
            ("node.id", self.node_id.to_string()),
            ("Kafka ended", ended.to_owned()),
            ("log dir", self.log_dir.clone()),
            ("topics", self.topics.to_string()),
            ("partitions", self.partitions.to_string()),
            ("bytes", self.bytes.to_string()),
        ])];
        if !self.left_out.is_empty() {
            let mut table = Table::new(&["NOT TAKEN OVER", "WHY"]);
            for left in &self.left_out {
                table.row([left.what.clone(), left.why.to_owned()]);
            }
            tables.push(table);
        }
        tables
    }
}

pub(super) fn run(args: AdoptArgs, out: &mut Output) -> anyhow::Result<()> {
    let env = Env::real();
    let files = env.files();
    let absolute = |path: &PathBuf| std::path::absolute(path);
    let adoption = Adoption {
        from: absolute(&args.dir)?,
        way: match &args.way.copy_to {
            Some(to) => Way::CopyTo(absolute(to)?),
            None => Way::InPlace,
        },
        metadata_log_dir: args.metadata_log_dir.as_ref().map(absolute).transpose()?,
    };
    let plan = adopt::plan(&**files, &adoption).with_context(|| args.dir.display().to_string())?;
    out.show(&shown(&plan, &adoption))?;
    out.flush()?;
    if args.dry_run {
        return Ok(());
    }
    if !args.yes {
        ask::confirm(&question(&adoption))?;
    }
    let bar = match adoption.way {
        Way::CopyTo(_) => bar(plan.partitions.values().sum()),
        Way::InPlace => ProgressBar::hidden(),
    };
    let owner = format!("klamm log adopt, process {}", std::process::id());
    adopt::carry_out(files, &adoption, &plan, &owner, &mut |bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    let target = adoption.target().to_string_lossy();
    note(&format!(
        "done; start it with: klamm serve --set node.id={} --set log.dirs={}",
        plan.dir.meta.node_id,
        argument(&target)
    ));
    Ok(())
}

fn question(adoption: &Adoption) -> String {
    let from = adoption.from.display();
    match &adoption.way {
        Way::InPlace => format!("Make {from} a log dir of klamm? Kafka will not start on it any more."),
        Way::CopyTo(to) => format!("Copy the data of {from} to {}?", to.display()),
    }
}

fn shown(plan: &Plan, adoption: &Adoption) -> Shown {
    let of_metadata = plan.left_out().iter().map(|(kind, count)| LeftOut {
        what: format!("{count} {kind}"),
        why: "klamm does not serve them yet",
    });
    let features = plan.left_features().iter().map(|feature| LeftOut {
        what: format!("feature {feature}"),
        why: "klamm does not serve it yet",
    });
    let folders = plan.left_folders.iter().map(|folder| LeftOut {
        what: format!("folder {folder}"),
        why: "it is of no partition that the metadata knows",
    });
    Shown {
        cluster_id: plan.dir.meta.cluster_id.clone(),
        node_id: plan.dir.meta.node_id.0,
        is_clean: plan.dir.is_clean,
        log_dir: adoption.target().display().to_string(),
        topics: plan.topics(),
        partitions: plan.partitions.len(),
        bytes: plan.partitions.values().sum(),
        left_out: of_metadata.chain(features).chain(folders).collect(),
    }
}

fn bar(bytes: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes);
    let style = ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
