//! The components as files, each built before the first test that needs it, with the command from the README.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// The component of this world of `wit/worlds.wit`, built when it is asked for first.
pub fn component(world: &str) -> PathBuf {
    static BUILT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut built = BUILT.lock().unwrap();
    let folder = profile_directory().join("components");
    if !built.contains(world) {
        build(world, &folder);
        built.insert(world.to_owned());
    }
    folder.join(world).with_extension("wasm")
}

/// `<target>/<profile>` of the running test.
pub fn profile_directory() -> PathBuf {
    // `<target>/<profile>/deps/<test>`
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned()
}

/// `cargo xtask`, built with the features of the whole workspace: it already exists, and doesn't need another build
/// with its own features.
pub fn xtask() -> PathBuf {
    built("xtask")
}

/// A program of this workspace, built with the running test's profile. Tests use the features of the workspace, whose
/// dependencies exist already; benchmarks use the program as it is released.
pub fn built(program: &str) -> PathBuf {
    let directory = profile_directory();
    let mut cargo = cargo();
    let packages: &[_] = if cfg!(debug_assertions) { &["--workspace"] } else { &["--package", program] };
    cargo.args(["build", "--quiet", "--bin", program, "--profile", &profile()]).args(packages).arg("--target-dir");
    let status = cargo.arg(directory.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(status.success(), "{program} cannot be built");
    directory.join(program).with_extension(std::env::consts::EXE_EXTENSION)
}

/// The running test's profile, by cargo's name.
fn profile() -> String {
    match profile_directory().file_name().and_then(OsStr::to_str) {
        None | Some("debug") => "dev".to_owned(),
        Some(profile) => profile.to_owned(),
    }
}

/// Cargo without the variables that it sets for this package's tests; build scripts would see a change and run again.
fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&*name);
        }
    }
    cargo
}

/// Builds a component where the host's build script has already built one of them, so that it isn't built again.
fn build(world: &str, folder: &Path) {
    let status = Command::new(xtask())
        .args(["components", world, "--target-dir"])
        .arg(profile_directory().join("component/posthog_llma_component"))
        .arg("--output")
        .arg(folder)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "the component {world} cannot be built");
}
