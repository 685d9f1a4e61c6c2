//! Builds the component that misbehaves.

use posthog_llma_component_build::{ComponentPackage, exit_code, package_directory};
use std::process::ExitCode;

fn main() -> ExitCode {
    exit_code(build())
}

fn build() -> Result<(), String> {
    let misbehaving = package_directory()?.join("misbehaving");
    ComponentPackage {
        manifest: misbehaving.join("Cargo.toml"),
        library: "misbehaving",
        target: "wasm32-wasip2",
        feature: None,
        profile: "release",
        workspace: misbehaving,
    }
    .build("MISBEHAVING_COMPONENT", &["src", "Cargo.toml", "Cargo.lock", "../../wit"])?;
    Ok(())
}
