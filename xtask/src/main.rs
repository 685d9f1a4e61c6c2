//! Chores of this repository: see `cargo xtask --help`.

mod archive;
mod bills;
mod dist;
mod metadata;
mod npm;
mod publisher;
mod release;
mod zip;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use xtask::components::{COMPONENTS, default_target_directory};
use xtask::{wit, workspace};

/// Chores of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make what a user installs: the plugin with its program, as a folder and as an archive, for this machine's platform
    #[command(after_help = "\
Examples:
  cargo xtask dist                              builds the release, and puts everything into target/dist
  cargo xtask dist --profile dev --no-build     packs what the last `cargo build` made
  .ci/bills target/bills && cargo xtask dist --bills target/bills     with licenses and a bill of materials
  claude plugin marketplace add ./target/dist/posthog-llma-…     installs from the folder

The archive's bytes depend on its contents alone. SOURCE_DATE_EPOCH (seconds since 1970) sets the time of all files in it.")]
    Dist(dist::Arguments),
    /// Make what is published: npm packages, the plugin's archive, compressed programs, installers, and their checksums
    #[command(after_help = "\
Examples:
  cargo xtask release --programs built --bills target/bills     all platforms, into target/release-files
  cargo xtask release --programs built --partial --from http://127.0.0.1:8000     to try what was built here")]
    Release(release::Arguments),
    /// Build the components, and print the paths of their files
    #[command(after_help = "\
Examples:
  cargo xtask components                          all, into target/components
  cargo xtask components converter --output .     one of them, into this directory")]
    Components(Components),
    /// Write docs/wit.md anew
    Wit,
}

#[derive(Debug, Args)]
struct Components {
    /// Which; all unless said
    #[arg(value_parser = COMPONENTS.map(|component| component.world))]
    worlds: Vec<String>,
    /// Directory of the files; unless said, `components` in the target directory
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Where cargo builds; unless said, where it always does
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Dist(arguments) => dist::run(&arguments),
        Command::Release(arguments) => release::run(&arguments),
        Command::Components(arguments) => components(arguments),
        Command::Wit => write_interface(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn components(arguments: Components) -> Result<()> {
    let target_directory = arguments.target_dir.unwrap_or_else(default_target_directory);
    let output = arguments.output.unwrap_or_else(|| target_directory.join("components"));
    for component in COMPONENTS {
        if arguments.worlds.is_empty() || arguments.worlds.iter().any(|world| world == component.world) {
            println!("{}", component.build(&target_directory, &output)?.display());
        }
    }
    Ok(())
}

fn write_interface() -> Result<()> {
    let (resolve, package) = wit::current()?;
    fs::write(workspace().join(wit::PAGE), wit::markdown(&resolve, package))?;
    Ok(())
}
