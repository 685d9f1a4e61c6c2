//! Builds the component and compiles it for the program's platform, so that the program carries both with it.

use posthog_llma_component_build::{ComponentPackage, exit_code, package_directory, workspace_directory};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

/// What the component is built from, in the workspace.
const SOURCES: [&str; 7] =
    ["guest/component", "guest/pipeline/src", "guest/pipeline/Cargo.toml", "wit", "Cargo.toml", "Cargo.lock", ".cargo"];

fn main() -> ExitCode {
    exit_code(build())
}

fn build() -> Result<(), String> {
    let workspace = workspace_directory(&package_directory()?)?;
    let component = ComponentPackage {
        manifest: workspace.join("guest/component/Cargo.toml"),
        library: "posthog_llma_component",
        target: "wasm32-unknown-unknown",
        feature: Some("exporter"),
        profile: "component",
        workspace,
    }
    .build("POSTHOG_LLMA_COMPONENT", &SOURCES)?;
    compile(&component)
}

/// Writes the component's machine code. Sets the file's path as `env!("POSTHOG_LLMA_MACHINE_CODE")`, and the component's
/// digest as `env!("POSTHOG_LLMA_COMPONENT_SHA256")`.
#[expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a build script, with files that it just made"
)]
fn compile(component: &Path) -> Result<(), String> {
    let variable = |name: &str| env::var_os(name).ok_or_else(|| format!("{name} is not set"));
    let target = variable("TARGET")?.into_string().map_err(|_| "TARGET is not text")?;
    let wasm = fs::read(component).map_err(|error| format!("{}: {error}", component.display()))?;
    let code = posthog_llma_machine_code::compile(&wasm, &target)
        .map_err(|error| format!("the component cannot be compiled for {target}: {error:#}"))?;
    let path = PathBuf::from(variable("OUT_DIR")?).join("component.cwasm");
    fs::write(&path, code).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("cargo:rustc-env=POSTHOG_LLMA_MACHINE_CODE={}", path.display());
    println!("cargo:rustc-env=POSTHOG_LLMA_COMPONENT_SHA256={:x}", Sha256::digest(&wasm));
    Ok(())
}
