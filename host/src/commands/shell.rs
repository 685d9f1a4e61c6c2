//! `completions` and `man`: shell completions and manual pages, generated from the argument parser so that they always
//! match what the program accepts.

use super::Unusable;
use crate::commands::cli::{Cli, Completions, Man};
use crate::system::terminal::print;
use anyhow::anyhow;
use clap::{Command, CommandFactory as _};
use std::fs;
use std::process::ExitCode;

/// Prints a shell's completions.
pub fn completions(arguments: &Completions) -> anyhow::Result<ExitCode> {
    let whole = Cli::command();
    // `generate` would complete hidden commands, too.
    let visible = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut command = Command::new("posthog-llma").version(env!("CARGO_PKG_VERSION")).subcommands(visible);
    let mut out = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "posthog-llma", &mut out);
    print(&String::from_utf8_lossy(&out))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a manual page, in roff, or writes all of them.
pub fn man(arguments: &Man) -> anyhow::Result<ExitCode> {
    let mut command = Cli::command();
    if let Some(folder) = &arguments.out {
        let failed = |error| anyhow!("cannot write the pages to {}: {error}", folder.display());
        fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(command, folder).map_err(failed)?;
        return Ok(ExitCode::SUCCESS);
    }
    command.build();
    if let Some(name) = &arguments.command {
        let found = command.get_subcommands().find(|c| c.get_name() == name && !c.is_hide_set()).cloned();
        let own = found.ok_or_else(|| Unusable(format!("no such command: {name:?}; --help lists them all").into()))?;
        command = own.version(env!("CARGO_PKG_VERSION"));
    }
    let mut out = Vec::new();
    clap_mangen::Man::new(command).render(&mut out)?;
    print(&String::from_utf8_lossy(&out))?;
    Ok(ExitCode::SUCCESS)
}
