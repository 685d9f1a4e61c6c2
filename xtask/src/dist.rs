//! `cargo xtask dist`: what a user installs.

use crate::archive;
use crate::bills;
use crate::metadata::{self, cargo};
use crate::release::PLUGIN_EXECUTABLES;
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::workspace;

/// The package and its program.
const PROGRAM: &str = "posthog-llma";

/// The component's path in the profile's target directory, where `host/sandbox/build.rs` builds it.
const COMPONENT: &str =
    "component/posthog_llma_component/exporter/wasm32-unknown-unknown/component/posthog_llma_component.wasm";

/// Copied unchanged from the workspace into the folder: the plugin, the component's interface, and the license.
const COPIED: [&str; 3] = ["plugin", "wit", "LICENSE"];

/// `dist`
#[derive(Debug, Args)]
pub struct Arguments {
    /// Cargo's profile for the program
    #[arg(long, default_value = "release")]
    profile: String,
    /// Pack what was built before
    #[arg(long)]
    no_build: bool,
    /// Where to put the folder and the archive; target/dist unless given
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Folder with what `.ci/bills` makes: bills of materials and licenses. They are left out unless given
    #[arg(long, value_name = "FOLDER")]
    bills: Option<PathBuf>,
    /// Compression of the archive
    #[arg(long, value_name = "0-9", default_value = "9", value_parser = clap::value_parser!(u32).range(0..=9))]
    level: u32,
}

/// Creates the folder, the archive and its checksum, and prints their paths.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let target = metadata::host_target()?;
    let metadata = metadata::of_workspace()?;
    let target_directory =
        PathBuf::from(metadata["target_directory"].as_str().context("no target directory in cargo's metadata")?);
    if !arguments.no_build {
        build(&arguments.profile)?;
    }
    let built = target_directory.join(if arguments.profile == "dev" { "debug" } else { &arguments.profile });
    let program = built.join(format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX));
    let component = built.join(COMPONENT);
    check(&program, &component)?;

    let out = arguments.out.clone().unwrap_or_else(|| target_directory.join("dist"));
    let name = format!("{PROGRAM}-{}-{target}", env!("CARGO_PKG_VERSION"));
    let folder = out.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove the old {}", folder.display()))?;
    }
    for path in COPIED {
        copy(&workspace().join(path), &folder.join(path))?;
    }
    write(&folder.join(".claude-plugin/marketplace.json"), format!("{:#}\n", local_marketplace()?))?;
    let executable = format!("plugin/program/{PROGRAM}{}", std::env::consts::EXE_SUFFIX);
    copy(&program, &folder.join(&executable))?;
    copy(&component, &folder.join("posthog_llma_component.wasm"))?;
    document(&program, &folder)?;
    if let Some(folder_of_bills) = &arguments.bills {
        bills::copy(folder_of_bills, &folder)?;
    }
    write(&folder.join("SHA256SUMS"), checksums(&folder)?)?;

    let archive = out.join(format!("{name}.tar.gz"));
    let mut executables = vec![executable];
    executables.extend(PLUGIN_EXECUTABLES.map(|path| format!("plugin/{path}")));
    let executables: Vec<_> = executables.iter().map(String::as_str).collect();
    archive::pack(&folder, &executables, archive::mtime()?, arguments.level, &archive)?;
    let sum = format!("{}  {name}.tar.gz\n", archive::sha256(&archive)?);
    write(&out.join(format!("{name}.tar.gz.sha256")), sum)?;
    println!("{}\n{}", folder.display(), archive.display());
    Ok(())
}

/// The repository's marketplace, with the plugin beside it in place of the published ones.
fn local_marketplace() -> anyhow::Result<Value> {
    let path = workspace().join(".claude-plugin/marketplace.json");
    let mut marketplace: Value = serde_json::from_slice(&fs::read(path)?)?;
    let plugins = marketplace["plugins"].as_array_mut().context("the marketplace has no plugins")?;
    plugins.truncate(1);
    plugins[0]["source"] = "./plugin".into();
    Ok(marketplace)
}

fn build(profile: &str) -> anyhow::Result<()> {
    // Tests use what the workspace's tests have built, which has a compiler: without it, wasmtime would be built again.
    let packages: &[_] = if profile == "dev" { &["--workspace"] } else { &["--package", PROGRAM] };
    let status = cargo()
        .args(["build", "--locked", "--bin", PROGRAM, "--profile", profile])
        .args(packages)
        .current_dir(workspace())
        .status()
        .context("cannot run cargo")?;
    if status.success() { Ok(()) } else { bail!("the program cannot be built") }
}

/// Checks that both exist, and that the program was compiled from the component: it contains its digest.
fn check(program: &Path, component: &Path) -> anyhow::Result<()> {
    let read = |path: &Path| {
        fs::read(path).with_context(|| format!("cannot read {} (without --no-build it is built first)", path.display()))
    };
    let (program_bytes, component_bytes) = (read(program)?, read(component)?);
    let digest = format!("{:x}", Sha256::digest(&component_bytes));
    if memchr::memmem::find(&program_bytes, digest.as_bytes()).is_none() {
        bail!("{} was not compiled from {}: build again", program.display(), component.display());
    }
    Ok(())
}

/// Writes the completions and manual pages that the program prints to the folders of `share/` where systems look for
/// them.
fn document(program: &Path, folder: &Path) -> anyhow::Result<()> {
    let run = |arguments: &[&OsStr]| {
        let output = Command::new(program).args(arguments).output().context("cannot run the program")?;
        if !output.status.success() {
            bail!("the program cannot describe itself: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(output.stdout)
    };
    let share = folder.join("share");
    run(&["man".as_ref(), "--out".as_ref(), share.join("man/man1").as_ref()])?;
    for (shell, path) in [
        ("bash", "bash-completion/completions/posthog-llma"),
        ("zsh", "zsh/site-functions/_posthog-llma"),
        ("fish", "fish/vendor_completions.d/posthog-llma.fish"),
    ] {
        let completions = run(&["completions".as_ref(), shell.as_ref()])?;
        write(&share.join(path), &completions)?;
    }
    Ok(())
}

/// Copies a file, or a folder with all its contents.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if from.is_dir() {
        for file in archive::files(from)? {
            copy(&from.join(&file), &to.join(&file))?;
        }
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn write(path: &Path, contents: impl AsRef<[u8]>) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
}

/// Checksums in the format that `sha256sum` prints and checks.
fn checksums(folder: &Path) -> anyhow::Result<String> {
    let mut sums = String::new();
    for name in archive::file_names(folder)? {
        let _ = writeln!(sums, "{}  {name}", archive::sha256(&folder.join(&name))?);
    }
    Ok(sums)
}
