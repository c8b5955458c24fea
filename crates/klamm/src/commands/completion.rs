//! `klamm completion SHELL`: the script that makes a shell complete our commands.

use clap::Args;
use clap_complete::Shell;

use crate::output::Output;

#[derive(Args, Debug)]
pub(crate) struct CompletionArgs {
    /// For which shell
    shell: Shell,
}

pub(crate) fn run(
    args: &CompletionArgs,
    command: &mut clap::Command,
    out: &mut Output,
) -> anyhow::Result<()> {
    // The generator panics when it cannot write: it gets memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "klamm", &mut script);
    std::io::Write::write_all(out.raw(), &script)?;
    Ok(())
}
