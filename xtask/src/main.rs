//! `cargo xtask`: see `cargo xtask --help`.

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::fs;
use std::path::PathBuf;
use xtask::components::{COMPONENTS, default_target_directory};
use xtask::{wit, workspace};

/// What cargo does not do by itself in this workspace
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the components, and print the paths of their files
    #[command(after_help = "\
Examples:
  cargo xtask components                          all, into target/components
  cargo xtask components converter --output .     one of them, into this directory")]
    Components {
        /// Which; all unless said
        #[arg(value_parser = COMPONENTS.map(|component| component.world))]
        worlds: Vec<String>,
        /// Directory of the files; unless said, `components` in the target directory
        #[arg(long, short, value_name = "DIR")]
        output: Option<PathBuf>,
        /// Where cargo builds; unless said, where it always does
        #[arg(long, value_name = "DIR")]
        target_dir: Option<PathBuf>,
    },
    /// Write docs/wit.md anew
    Wit,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Components { worlds, output, target_dir } => {
            let target_directory = target_dir.unwrap_or_else(default_target_directory);
            let output = output.unwrap_or_else(|| target_directory.join("components"));
            for component in COMPONENTS {
                if worlds.is_empty() || worlds.iter().any(|world| world == component.world) {
                    println!("{}", component.build(&target_directory, &output)?.display());
                }
            }
        }
        Command::Wit => {
            let (resolve, package) = wit::current()?;
            fs::write(workspace().join(wit::PAGE), wit::markdown(&resolve, package))?;
        }
    }
    Ok(())
}
