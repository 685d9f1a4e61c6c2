//! Information from cargo about the workspace.

use anyhow::{Context as _, bail};
use serde_json::Value;
use std::ffi::OsString;
use std::process::Command;
use xtask::workspace;

/// The cargo that runs this, or the one on `PATH`.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// `cargo metadata` for the workspace only, without dependencies.
pub fn of_workspace() -> anyhow::Result<Value> {
    let output = cargo()
        .args(["metadata", "--locked", "--format-version=1", "--no-deps"])
        .current_dir(workspace())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")
}

/// This machine's target, such as `x86_64-unknown-linux-gnu`.
pub fn host_target() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(rustc).arg("-vV").current_dir(workspace()).output().context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(host.to_owned())
}
