//! Builds the guest, so that the program carries its component with it.

use posthog_llma_component_build::{ComponentPackage, exit_code, package_directory, workspace_directory};
use std::process::ExitCode;

fn main() -> ExitCode {
    exit_code(build())
}

fn build() -> Result<(), String> {
    let workspace = workspace_directory(&package_directory()?)?;
    ComponentPackage {
        manifest: workspace.join("guest/component/Cargo.toml"),
        library: "posthog_llma_component",
        target: "wasm32-unknown-unknown",
        feature: Some("exporter"),
        profile: "component",
        sources: [
            "guest/component",
            "guest/pipeline/src",
            "guest/pipeline/Cargo.toml",
            "wit",
            "Cargo.toml",
            "Cargo.lock",
            ".cargo",
        ]
        .iter()
        .map(|path| workspace.join(path))
        .collect(),
        workspace,
    }
    .build("POSTHOG_LLMA_COMPONENT")
}
