//! The components as files, built before the first test that asks for one, with the command that the README gives.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(build);

/// The component of this world of `wit/worlds.wit`.
pub fn component(world: &str) -> PathBuf {
    FOLDER.join(world).with_extension("wasm")
}

/// `<target>/<profile>` of the test that runs.
pub fn profile_directory() -> PathBuf {
    // `<target>/<profile>/deps/<test>`
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned()
}

/// `cargo xtask`, built with the features of the whole workspace: it is there already, and need not be built with its own.
pub fn xtask() -> PathBuf {
    built("xtask")
}

/// A program of this workspace, built with the profile of the test that runs.
pub fn built(program: &str) -> PathBuf {
    let directory = profile_directory();
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "--workspace", "--bin", program, "--profile", &profile(), "--target-dir"]);
    let status = cargo.arg(directory.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(status.success(), "{program} cannot be built");
    directory.join(program).with_extension(std::env::consts::EXE_EXTENSION)
}

/// The profile of the test that runs, as cargo calls it.
pub(crate) fn profile() -> String {
    match profile_directory().file_name().and_then(OsStr::to_str) {
        None | Some("debug") => "dev".to_owned(),
        Some(profile) => profile.to_owned(),
    }
}

/// Cargo without what it says of this package to its tests; build scripts would take it for a change and run again.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&*name);
        }
    }
    cargo
}

/// They are built where the host's build script has built one of them, so that it need not be built again.
fn build() -> PathBuf {
    let profile = profile_directory();
    let folder = profile.join("components");
    let status = Command::new(xtask())
        .args(["components", "--target-dir"])
        .arg(profile.join("component/posthog_llma_component"))
        .arg("--output")
        .arg(&folder)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "the components cannot be built");
    folder
}
