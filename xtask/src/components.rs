//! Builds the components, each as a separate file.
//!
//! All are the package `guest/component`, built for another target or with another feature. The linker of
//! `wasm32-wasip2` makes components; `.cargo/config.toml` selects it for `wasm32-unknown-unknown`, too.

use crate::annotations::annotate;
use crate::workspace;
use anyhow::{Context as _, Error, Result};
use posthog_llma_component_build::ComponentPackage;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// A component that can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// Its world in `wit/worlds.wit`, which is also the name of its file.
    pub world: &'static str,
    target: &'static str,
    /// A feature of the package.
    feature: Option<&'static str>,
}

/// The program's own, which its build script builds in a directory with this name.
const PROGRAMS: &str = "exporter";

/// All components.
pub const COMPONENTS: [Component; 4] = [
    Component { world: PROGRAMS, target: "wasm32-unknown-unknown", feature: Some(PROGRAMS) },
    Component { world: "command", target: "wasm32-wasip2", feature: None },
    Component { world: "converter", target: "wasm32-unknown-unknown", feature: None },
    Component { world: "server", target: "wasm32-unknown-unknown", feature: Some("server") },
];

/// Cargo's target directory, unless another is given.
pub fn default_target_directory() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

impl Component {
    /// Builds it in cargo's target directory and writes `<output>/<world>.wasm`; returns that path.
    pub fn build(self, target_directory: &Path, output: &Path) -> Result<PathBuf> {
        // Cargo runs in the workspace.
        let target_directory = std::path::absolute(target_directory)?;
        // They share dependencies, and each build replaces the last one's file. The program's has a directory of its own,
        // where the program's build has already built it.
        let directory = if self.world == PROGRAMS { target_directory.join(PROGRAMS) } else { target_directory };
        let package = ComponentPackage {
            manifest: workspace().join("guest/component/Cargo.toml"),
            workspace: workspace().to_owned(),
            library: "posthog_llma_component",
            target: self.target,
            feature: self.feature,
            profile: "component",
        };
        let built = package.compile(&directory).map_err(Error::msg)?;
        let mut component = fs::read(&built).with_context(|| format!("{} cannot be read", built.display()))?;
        annotate(&mut component, self.world)?;
        let file = output.join(self.world).with_extension("wasm");
        write(&file, &component).with_context(|| format!("{} cannot be written", file.display()))?;
        Ok(file)
    }
}

/// Writes a file atomically, so that no one ever sees a part of it.
fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let partial = file.with_extension(format!("{}.partial", std::process::id()));
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&partial, bytes)?;
    fs::rename(&partial, file)
}
