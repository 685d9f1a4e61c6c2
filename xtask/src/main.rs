//! Chores of this repository: `cargo xtask dist`.

mod archive;
mod dist;
mod metadata;
mod sbom;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

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
  claude plugin marketplace add ./target/dist/posthog-llma-…     installs from the folder

The archive's bytes depend on its contents alone. SOURCE_DATE_EPOCH (seconds since 1970) sets the time of all files in it.")]
    Dist(dist::Arguments),
}

fn main() -> ExitCode {
    let Command::Dist(arguments) = Cli::parse().command;
    match dist::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
