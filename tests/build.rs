//! Builds the component that misbehaves.

use posthog_llma_component_build::{ComponentPackage, exit_code, package_directory, workspace_directory};
use std::process::ExitCode;

fn main() -> ExitCode {
    exit_code(build())
}

fn build() -> Result<(), String> {
    let package = package_directory()?;
    let misbehaving = package.join("misbehaving");
    ComponentPackage {
        manifest: misbehaving.join("Cargo.toml"),
        library: "misbehaving",
        target: "wasm32-wasip2",
        feature: None,
        profile: "release",
        sources: vec![
            misbehaving.join("src"),
            misbehaving.join("Cargo.toml"),
            misbehaving.join("Cargo.lock"),
            workspace_directory(&package)?.join("wit"),
        ],
        workspace: misbehaving,
    }
    .build("MISBEHAVING_COMPONENT")?;
    Ok(())
}
