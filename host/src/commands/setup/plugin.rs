//! `plugin`: installs Claude Code's plugin for a program that was installed without it, or removes it.

use crate::claude_code::hooks::{Hooks, Ours};
use crate::claude_code::local_plugin::{self, MARKETPLACE, PLUGIN};
use crate::claude_code::settings::Environment;
use crate::delivery::status_file;
use crate::outbox;
use crate::system::directories;
use crate::system::terminal::print;
use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

/// Possible names of the `claude` command: npm installs a script on Windows.
const CLAUDE: &[&str] = if cfg!(windows) { &["claude", "claude.cmd"] } else { &["claude"] };

/// `plugin`
#[derive(Debug, Args)]
pub struct Plugin {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with the plugin.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Install the plugin in Claude Code, with hooks that call this program
    Install(Install),
    /// Take the plugin out of Claude Code, and say what stays
    Uninstall,
}

/// `plugin install`
#[derive(Debug, Args)]
pub struct Install {
    /// Write the plugin's files, and print the commands instead of running them
    #[arg(long)]
    pub files_only: bool,
}

/// Runs `plugin`.
pub fn run(arguments: &Plugin) -> anyhow::Result<ExitCode> {
    match &arguments.action {
        Action::Install(arguments) => install(arguments),
        Action::Uninstall => uninstall(),
    }
}

fn folder() -> anyhow::Result<PathBuf> {
    let data = directories::data(|name| std::env::var_os(name));
    Ok(local_plugin::folder(&data.context("no home directory found to install the plugin in: set HOME")?))
}

fn install(arguments: &Install) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("cannot determine this program's path")?;
    if local_plugin::is_passing(&program) {
        bail!(
            "{} is a copy that goes away, so no hook can call it: install the program (docs/installing.md), or the plugin \
             that brings one: claude plugin install posthog@posthog-llma",
            program.display()
        );
    }
    if let Some(config) = Environment::of_process().config_dir()
        && let Ours::Plugin(name) = Hooks::of(&config).ours
        && name != PLUGIN
    {
        bail!("{name} is installed already, and its hooks do the same: `claude plugin uninstall {name}` first");
    }
    let folder = folder()?;
    local_plugin::write(&folder, &program)
        .with_context(|| format!("cannot write the plugin to {}", folder.display()))?;
    let folder = folder.to_str().ok_or_else(|| anyhow!("{} is not UTF-8", folder.display()))?;
    let commands = [vec!["marketplace", "add", folder], vec!["install", PLUGIN]];
    if arguments.files_only {
        print(&format!("The plugin is in {folder}. To install it:\n{}", as_text(&commands)))?;
        return Ok(ExitCode::SUCCESS);
    }
    for command in &commands {
        claude(command)?;
    }
    print(&format!("Claude Code calls {} from the next session on. Next: posthog-llma setup\n", program.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn uninstall() -> anyhow::Result<ExitCode> {
    let folder = folder()?;
    let config = Environment::of_process().config_dir();
    let known = config.as_ref().is_some_and(|config| Hooks::knows_plugin(config, PLUGIN));
    let commands = [vec!["uninstall", PLUGIN], vec!["marketplace", "remove", MARKETPLACE]];
    if known {
        for command in &commands {
            claude(command)?;
        }
    }
    let was_there = local_plugin::remove(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    let mut text = if known || was_there {
        format!("{PLUGIN} is uninstalled, and {} is removed.\n", folder.display())
    } else {
        format!("{PLUGIN} is not installed.\n")
    };
    let of_environment = |name: &str| std::env::var_os(name);
    let in_config = |name: &str| config.as_ref().map(|config| config.join(name));
    let left = [
        ("the record of what was delivered (ids and paths, no content, no key)", outbox::directory().ok()),
        ("counts for `ingest --list`, which can be made again", directories::cache(of_environment)),
        ("what became of the last session", in_config(status_file::FILE_NAME)),
        ("settings that `posthog-llma setup` wrote", in_config("settings.json")),
    ];
    for (what, path) in left {
        if let Some(path) = path.filter(|path| path.exists()) {
            let _ = writeln!(text, "Left: {}: {what}", path.display());
        }
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The commands as a person would type them.
fn as_text(commands: &[Vec<&str>]) -> String {
    let quoted = |word: &str| {
        let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-@:\\".contains(c));
        if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    commands.iter().fold(String::new(), |mut text, command| {
        let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
        let _ = writeln!(text, "claude plugin {}", words.join(" "));
        text
    })
}

/// Runs one of the client's own commands, which reports what it did.
fn claude(arguments: &[&str]) -> anyhow::Result<()> {
    for name in CLAUDE {
        let status = Command::new(name).arg("plugin").args(arguments).stdin(Stdio::null()).status();
        match status {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("`claude` cannot be run"),
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => bail!("`{}` failed: {status}", as_text(&[arguments.to_vec()]).trim_end()),
        }
    }
    bail!("`claude` is not on the PATH. Where it is, run: {}", as_text(&[arguments.to_vec()]).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted() {
        let text = as_text(&[vec!["marketplace", "add", "/it's here"], vec!["install", PLUGIN]]);
        assert_eq!(
            text,
            "claude plugin marketplace add '/it'\\''s here'\nclaude plugin install posthog@posthog-llma-local\n"
        );
    }
}
